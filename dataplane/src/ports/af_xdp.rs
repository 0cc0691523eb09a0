//! AF_XDP sockets: the rings and the umem of one worker.
//!
//! Sources: the kernel's Documentation/networking/af_xdp.rst, and xsk-rs.

use super::{BURST, Ports};
use crate::counters::Count;
use crate::gateway::{BusyPoll, Rings};
use crate::parse::FrameView;
use std::ffi::CString;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

/// Tokens of frames that user space owns. Not `Copy`, not `Clone`: a frame is in one place.
pub(crate) struct Frame(FrameDesc);

/// The sockets of one worker, on one queue of each of its ports, over one umem.
pub(crate) struct XdpPorts {
    sockets: Vec<XdpSocket>,
    umem: Umem,
    /// Frames that lie in no ring.
    pool: Vec<FrameDesc>,
    /// Length of each frame that is in a transmit ring, by frame number: completions name only the
    /// frame.
    lengths: Vec<u32>,
    frame_shift: u32,
    /// Frames put into a fill ring at a time.
    fill_batch: usize,
    /// Frames kept from the fill rings, for [`adopt`](Ports::adopt).
    reserve: usize,
    /// Room for one burst of descriptors.
    scratch: Vec<FrameDesc>,
    /// When the clock stood at 0.
    clock: Instant,
}

struct XdpSocket {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    /// Frames handed to the kernel and not completed.
    in_flight: u32,
    /// Descriptors in the transmit ring.
    tx_size: u32,
}

/// Why a socket could not be opened.
#[derive(Debug)]
pub struct SocketError {
    /// What was tried.
    pub action: String,
    /// What the kernel said.
    pub source: io::Error,
}

/// How long a queue may stay busy after the socket of an earlier process closed: the kernel frees
/// it within some tens of milliseconds.
const BUSY_RETRY: Duration = Duration::from_secs(2);

impl XdpPorts {
    /// Opens a socket on `queue` of each of `interfaces`, all over one new umem. `adopts` says that
    /// frames will be adopted too: a burst of each port is then kept from the fill rings, so that
    /// what siblings hand over does not starve while the worker's own queue is flooded. Time is
    /// counted from `clock`.
    ///
    /// # Errors
    /// [`SocketError`]: the kernel's refusal; `EBUSY` when somebody else holds the queue for longer
    /// than an exit takes.
    pub fn open(
        interfaces: &[&str],
        queue: u32,
        rings: &Rings,
        busy_poll: Option<BusyPoll>,
        adopts: bool,
        clock: Instant,
    ) -> Result<Self, SocketError> {
        let (umem, mut pool) = create_umem(rings)?;
        let mut sockets = Vec::with_capacity(interfaces.len());
        for interface in interfaces {
            let mut socket = bind_with_retry(&umem, interface, queue, rings)?;
            if let Some(busy_poll) = busy_poll {
                set_busy_poll(socket.rx.fd().as_raw_fd(), busy_poll).map_err(|source| {
                    SocketError { action: format!("set busy polling on {interface}"), source }
                })?;
            }
            let filling = pool.split_off(pool.len().saturating_sub(rings.fill as usize));
            // SAFETY: the frames are of this umem and were in no ring; the fill ring owns them now.
            let taken = unsafe { socket.fill.produce(&filling) };
            pool.extend_from_slice(&filling[taken..]);
            sockets.push(socket);
        }
        pool.reserve_exact(rings.frames as usize - pool.len());
        Ok(XdpPorts {
            sockets,
            umem,
            pool,
            lengths: vec![0; rings.frames as usize],
            frame_shift: rings.frame_size.trailing_zeros(),
            fill_batch: BURST.min(rings.fill as usize),
            reserve: if adopts { BURST * interfaces.len() } else { 0 },
            scratch: vec![FrameDesc::default(); BURST],
            clock,
        })
    }

    /// The sockets' file descriptors, in port order.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|socket| {
            // SAFETY: the socket owns the descriptor and lives as long as the borrow of `self`.
            unsafe { BorrowedFd::borrow_raw(socket.rx.fd().as_raw_fd()) }
        })
    }

    /// Duplicates of the sockets' descriptors, to read kernel counters by from other threads.
    pub fn duplicate_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.fds().map(|fd| fd.as_fd().try_clone_to_owned()).collect()
    }

    /// Gives the fill ring of `port` what frames there are, a batch at a time.
    fn refill(&mut self, port: usize) {
        let fill = &mut self.sockets[port].fill;
        let batch = self.fill_batch;
        while self.pool.len() >= batch + self.reserve && fill.nb_free(batch as u32) >= batch as u32
        {
            let at = self.pool.len() - batch;
            // SAFETY: frames in the pool are of this umem and in no ring.
            let taken = unsafe { fill.produce(&self.pool[at..]) };
            // The ring said there is room, so it takes all; were it to take fewer, the rest of the
            // slice stays owned by the pool.
            self.pool.drain(at..at + taken);
            if taken == 0 {
                return;
            }
        }
    }
}

impl Ports for XdpPorts {
    type Frame = Frame;

    #[inline]
    fn rx_burst(&mut self, port: usize, frames: &mut Vec<Frame>) {
        self.refill(port);
        // SAFETY: the ring belongs to this umem, as `Frame::view` relies on; the frames it names
        // are user space's from here on.
        let received = unsafe { self.sockets[port].rx.consume(&mut self.scratch) };
        frames.extend(self.scratch[..received].iter().map(|desc| Frame(*desc)));
    }

    #[inline]
    fn adopt(&mut self, bytes: &[u8]) -> Option<Frame> {
        let mut desc = self.pool.pop()?;
        // SAFETY: frames in the pool are of this umem, in no ring, and no token names them, so that
        // nobody else reads or writes this one.
        let mut data = unsafe { self.umem.data_mut(&mut desc) };
        let mut cursor = data.cursor();
        cursor.set_pos(0);
        if cursor.write_all(bytes).is_err() {
            self.pool.push(desc);
            return None;
        }
        Some(Frame(desc))
    }

    #[inline]
    fn view<'a>(&'a self, frame: &'a Frame) -> FrameView<'a> {
        // SAFETY: tokens are made by `rx_burst` and `adopt` alone, of frames of this umem, and end when the
        // frame goes back to the kernel; so nobody writes to it while the token is borrowed.
        let bytes = unsafe { self.umem.data(&frame.0) }.contents();
        FrameView { bytes, wire_len: bytes.len() as u32 }
    }

    #[inline]
    fn tx_burst(&mut self, port: usize, frames: &mut Vec<Frame>) {
        let socket = &mut self.sockets[port];
        let wanted = frames.len().min(BURST);
        let room = wanted.min(socket.tx.nb_free(wanted as u32) as usize);
        for (desc, frame) in self.scratch.iter_mut().zip(frames.drain(..room)) {
            *desc = frame.0;
            // What the receive ring said about the frame is not an order for the transmit ring.
            desc.set_options(0);
            self.lengths[desc.addr() >> self.frame_shift] = desc.lengths().data() as u32;
        }
        // SAFETY: the tokens were given up above, so these frames of this umem are in no other
        // ring, and nothing reads or writes them until the completion ring returns them.
        let taken = unsafe { socket.tx.produce(&self.scratch[..room]) };
        debug_assert_eq!(taken, room, "the ring had room");
        self.pool.extend_from_slice(&self.scratch[taken..room]);
        socket.in_flight += taken as u32;
        socket.kick(taken);
    }

    #[inline]
    fn recycle(&mut self, frame: Frame) {
        self.pool.push(frame.0);
    }

    #[inline]
    fn completed(&mut self, port: usize) -> Count {
        let socket = &mut self.sockets[port];
        let mut done = Count::default();
        while socket.in_flight > 0 {
            // SAFETY: the ring belongs to this umem; what it returns is user space's again.
            let n = unsafe { socket.completion.consume(&mut self.scratch) };
            if n == 0 {
                break;
            }
            for desc in &self.scratch[..n] {
                done.bytes += u64::from(self.lengths[desc.addr() >> self.frame_shift]);
                self.pool.push(*desc);
            }
            done.packets += n as u64;
            socket.in_flight -= n as u32;
        }
        if socket.in_flight > 0 && !socket.tx_drained() {
            socket.kick(1);
        }
        done
    }

    #[inline]
    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

/// Frames that one `sendto` transmits in copy mode (`TX_BATCH_SIZE` in net/xdp/xsk.c).
const FRAMES_PER_SEND: usize = 32;

impl XdpSocket {
    /// Makes the kernel transmit what was just put into the ring. In copy mode nothing leaves
    /// without it.
    fn kick(&mut self, frames: usize) {
        if !self.tx.needs_wakeup() {
            return;
        }
        for _ in 0..frames.div_ceil(FRAMES_PER_SEND) {
            // Transient refusals are not errors here: the frames stay in the ring and are tried
            // again. Others mean that the interface is gone, which the link state shows.
            if self.tx.wakeup().is_err() {
                return;
            }
        }
    }

    /// Whether the kernel took everything out of the transmit ring.
    fn tx_drained(&mut self) -> bool {
        self.tx.nb_free_exact() >= self.tx_size
    }
}

/// Bytes of a worker's umem.
pub(crate) fn umem_bytes(rings: &Rings) -> u64 {
    u64::from(rings.frames) * u64::from(rings.frame_size)
}

fn create_umem(rings: &Rings) -> Result<(Umem, Vec<FrameDesc>), SocketError> {
    let invalid = |what: &str| SocketError {
        action: format!("use {what} of {rings:?}"),
        source: io::Error::from(io::ErrorKind::InvalidInput),
    };
    let config = UmemConfig::builder()
        .frame_size(FrameSize::new(rings.frame_size).map_err(|_| invalid("frame_size"))?)
        .fill_queue_size(QueueSize::new(rings.fill).map_err(|_| invalid("fill"))?)
        .comp_queue_size(QueueSize::new(rings.completion).map_err(|_| invalid("completion"))?)
        .build()
        .map_err(|_| invalid("frame_size"))?;
    let frames = NonZeroU32::new(rings.frames).ok_or_else(|| invalid("frames"))?;
    Umem::new(config, frames, false).map_err(|e| SocketError {
        action: format!("register a umem of {} KiB", umem_bytes(rings) / 1024),
        source: kernel_error(&e),
    })
}

fn bind_with_retry(
    umem: &Umem,
    interface: &str,
    queue: u32,
    rings: &Rings,
) -> Result<XdpSocket, SocketError> {
    let deadline = Instant::now() + BUSY_RETRY;
    let mut pause = Duration::from_millis(5);
    loop {
        match bind(umem, interface, queue, rings) {
            Err(e) if e.source.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            result => return result,
        }
    }
}

fn bind(umem: &Umem, interface: &str, queue: u32, rings: &Rings) -> Result<XdpSocket, SocketError> {
    let failed = |source| SocketError {
        action: format!("bind an AF_XDP socket to queue {queue} of {interface}"),
        source,
    };
    let invalid = || failed(io::Error::from(io::ErrorKind::InvalidInput));
    let config = SocketConfig::builder()
        .rx_queue_size(QueueSize::new(rings.rx).map_err(|_| invalid())?)
        .tx_queue_size(QueueSize::new(rings.tx).map_err(|_| invalid())?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let name: Interface = CString::new(interface).map_err(|_| invalid()).map(Interface::new)?;
    // SAFETY: libxdp loads no program (INHIBIT_PROG_LOAD), which is the condition for sharing a
    // umem.
    let (tx, rx, rings_of_queue) =
        unsafe { Socket::new(config, umem, &name, queue) }.map_err(|e| failed(kernel_error(&e)))?;
    // The umem is new and the interfaces of a worker differ, so the queue was never bound with it.
    let (fill, completion) = rings_of_queue.ok_or_else(invalid)?;
    Ok(XdpSocket { rx, tx, fill, completion, in_flight: 0, tx_size: rings.tx })
}

/// The errno behind one of xsk-rs's errors.
fn kernel_error(e: &dyn std::error::Error) -> io::Error {
    match e.source().and_then(|s| s.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(e.to_string()),
    }
}

fn set_busy_poll(fd: i32, busy_poll: BusyPoll) -> io::Result<()> {
    let options = [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, busy_poll.micros as libc::c_int),
        (libc::SO_BUSY_POLL_BUDGET, busy_poll.budget as libc::c_int),
    ];
    for (option, value) in options {
        // SAFETY: `value` is a C int that outlives the call, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
