//! Packet sockets at the far ends of the wires: many frames for one system call.

use crate::{Lab, Result, Side};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Frames of one system call.
const BATCH: usize = 64;
/// Room for a frame: more than the MTU and its headers.
const ROOM: usize = 2048;
/// Bytes of the receive buffer: every frame of a burst fits many times over.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;

/// A packet socket that sends out of one interface and hears what arrives there, whatever it is.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    buffers: Vec<[u8; ROOM]>,
}

impl PacketSocket {
    /// On `interface` of `side` in `lab`.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn open(lab: &Lab, side: Side, interface: &str) -> Result<PacketSocket> {
        let fd = in_namespace(lab, side, || packet_socket(interface))?;
        Ok(PacketSocket { fd, buffers: vec![[0; ROOM]; BATCH] })
    }

    /// Sends `frames` in order.
    ///
    /// # Errors
    /// What the kernel answers when it refuses one.
    pub(crate) fn send(&self, frames: &[&[u8]]) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(BATCH)];
            let mut parts: Vec<_> = now
                .iter()
                .map(|f| libc::iovec { iov_base: f.as_ptr() as *mut _, iov_len: f.len() })
                .collect();
            let mut messages = messages(&mut parts);
            // SAFETY: each message has one part, a frame that outlives the call and is only read.
            let sent = check(unsafe {
                libc::sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), now.len() as u32, 0)
            })?;
            rest = &rest[sent as usize..];
        }
        Ok(())
    }

    /// Hands what has arrived to `each`, in order; does not wait.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut parts: Vec<_> = self
                .buffers
                .iter_mut()
                .map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: ROOM })
                .collect();
            let mut messages = messages(&mut parts);
            // SAFETY: each message has one part, a buffer of ROOM bytes that nothing else uses.
            let received = unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    messages.as_mut_ptr(),
                    BATCH as u32,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            };
            let received = match check(received) {
                Ok(received) => received as usize,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let lengths: Vec<_> = messages[..received].iter().map(|m| m.msg_len as usize).collect();
            for (buffer, length) in self.buffers.iter().zip(lengths) {
                each(&buffer[..length.min(ROOM)]);
            }
            if received < BATCH {
                return Ok(());
            }
        }
    }

    /// Frames that arrived since the last call and were lost for want of room.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn lost(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, which is the size of `statistics`.
        check(unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        })?;
        Ok(u64::from(statistics.tp_drops))
    }
}

/// One message for each part.
fn messages(parts: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    parts
        .iter_mut()
        .map(|part| {
            // SAFETY: mmsghdr is integers and pointers, for which all zeroes is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect()
}

/// Forgets every connection that the kernel tracks in the namespace of `side`.
///
/// # Errors
/// What the kernel answers.
pub(crate) fn flush_conntrack(lab: &Lab, side: Side) -> Result<()> {
    in_namespace(lab, side, || {
        // nlmsghdr, then nfgenmsg; without attributes, a deletion is of everything
        // (linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h).
        const CT_DELETE: u16 = 1 << 8 | 2;
        let mut request = 20u32.to_ne_bytes().to_vec();
        request.extend(CT_DELETE.to_ne_bytes());
        request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
        request.resize(20, 0);
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes three integers.
        let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER) })?;
        // SAFETY: the descriptor was made a moment ago and has no other owner.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut answer = [0u8; 256];
        // SAFETY: both calls are given buffers that outlive them, and their true lengths.
        let received = unsafe {
            let sent = libc::send(fd, request.as_ptr().cast(), request.len(), 0);
            check(sent as libc::c_int)?;
            libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        check(received as libc::c_int)?;
        drop(socket);
        // The acknowledgement: an error number, 0 for none, after the header.
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    })
}

/// What the kernel counts in the namespace of `side`: its network devices, and the statistics of
/// connection tracking.
///
/// # Errors
/// What the kernel answers.
pub(crate) fn counters(lab: &Lab, side: Side) -> Result<String> {
    in_namespace(lab, side, || {
        // Of the thread: the process is in another namespace.
        let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        Ok(read("dev")? + &read("stat/nf_conntrack")?)
    })
}

/// Runs `work` in the namespace of `side`, on a thread of its own: the namespace belongs to the
/// thread, and ends with it; sockets stay in the namespace they were made in.
pub(crate) fn in_namespace<T: Send>(
    lab: &Lab,
    side: Side,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T> {
    let namespace = File::open(format!("/run/netns/{}", lab.namespace(side)))?;
    let entered = || {
        // SAFETY: setns takes an open file descriptor and a flag.
        check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(entered).join())
        .map_err(|_| crate::Error::new("a thread in a namespace panicked"))?
        .map_err(Into::into)
}

fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: `name` is a string that ends with NUL and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes three integers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was made a moment ago and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let set = |level, option, value: libc::c_int| {
        // SAFETY: the kernel reads one integer, which outlives the call.
        check(unsafe {
            libc::setsockopt(
                fd,
                level,
                option,
                (&raw const value).cast(),
                size_of_val(&value) as libc::socklen_t,
            )
        })
    };
    set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)?;
    set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    // SAFETY: sockaddr_ll is plain integers, for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the address outlives the call, and its true length is given.
    check(unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
