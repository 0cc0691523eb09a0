//! The Linux receiver behind the gateway: sockets for whatever the senders send, allowed or denied.

use super::datagram::{SERVER_V4, SERVER_V6, Service};
use super::expected::{ALLOWED, DENIED, Delivery};
use crate::oracle::packet::protocol;
use crate::oracle::socket::{check, in_namespace};
use crate::{Error, Lab, Result, Side};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Datagrams of one system call.
const BATCH: usize = 32;
/// Room for the longest datagram, its header included.
const ROOM: usize = 65_600;
/// Bytes of each socket's receive buffer: more than all that is on its way at once.
const RECEIVE_BUFFER: libc::c_int = 64 << 20;
/// Port of the sentinels.
pub(super) const SENTINEL: Service = Service { protocol: protocol::UDP, port: 9 };
/// ICMPv6 messages of the kernel's own: group membership and neighbour discovery (RFC 2710, RFC
/// 3810, RFC 4861).
const HOUSEKEEPING: [u16; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];

/// What a socket hears.
#[derive(Clone, Copy, Debug)]
enum Socket {
    /// UDP to one port.
    Udp(u16),
    /// Whole messages of a protocol, behind an IPv4 header where the family is IPv4.
    Raw(u8),
}

/// All sockets of the server.
#[derive(Debug)]
pub(super) struct Receiver {
    sockets: Vec<(OwnedFd, Socket)>,
    buffers: Vec<Vec<u8>>,
}

impl Receiver {
    /// Opens them in the server's namespace.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn open(lab: &Lab) -> Result<Receiver> {
        let sockets = in_namespace(lab, Side::Server, || {
            let mut sockets = Vec::new();
            let udp = ALLOWED.iter().chain(&DENIED).chain([&SENTINEL]);
            for service in udp.filter(|service| service.protocol == protocol::UDP) {
                for address in [IpAddr::from(SERVER_V4), IpAddr::from(SERVER_V6)] {
                    let socket = UdpSocket::bind(SocketAddr::new(address, service.port))?;
                    sockets.push((OwnedFd::from(socket), Socket::Udp(service.port)));
                }
            }
            for (family, protocol) in [
                (libc::AF_INET, protocol::ICMP),
                (libc::AF_INET6, protocol::ICMPV6),
                (libc::AF_INET, protocol::TCP),
                (libc::AF_INET6, protocol::TCP),
            ] {
                sockets.push((raw_socket(family, protocol)?, Socket::Raw(protocol)));
            }
            for (fd, _) in &sockets {
                enlarge(fd)?;
            }
            Ok(sockets)
        })?;
        Ok(Receiver { sockets, buffers: vec![vec![0; ROOM]; BATCH] })
    }

    /// Hands what has arrived to `each`, after waiting for it for at most `limit`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn receive(
        &mut self,
        limit: Duration,
        mut each: impl FnMut(Delivery),
    ) -> Result<()> {
        let poll = |(fd, _): &(OwnedFd, Socket)| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut ready: Vec<_> = self.sockets.iter().map(poll).collect();
        let limit = limit.as_millis() as libc::c_int;
        // SAFETY: the array outlives the call, and its true length is given.
        check(unsafe { libc::poll(ready.as_mut_ptr(), ready.len() as libc::nfds_t, limit) })?;
        for (nth, socket) in ready.iter().enumerate() {
            if socket.revents != 0 {
                self.drain(nth, &mut each)?;
            }
        }
        Ok(())
    }

    /// Hands all that is in the buffer of socket `nth` to `each`.
    fn drain(&mut self, nth: usize, each: &mut impl FnMut(Delivery)) -> Result<()> {
        let (fd, socket) = &self.sockets[nth];
        loop {
            // SAFETY: addresses and message headers are integers and pointers, for which all zeroes
            // is a value.
            let (mut names, mut messages): (
                [libc::sockaddr_storage; BATCH],
                [libc::mmsghdr; BATCH],
            ) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            let mut parts: Vec<_> = self
                .buffers
                .iter_mut()
                .map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: ROOM })
                .collect();
            for ((message, name), part) in messages.iter_mut().zip(&mut names).zip(&mut parts) {
                message.msg_hdr.msg_name = (name as *mut libc::sockaddr_storage).cast();
                message.msg_hdr.msg_namelen = size_of_val(name) as libc::socklen_t;
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
            }
            // SAFETY: each message has an address and one part, a buffer of ROOM bytes, that outlive
            // the call and that nothing else uses.
            let received = check(unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    messages.as_mut_ptr(),
                    BATCH as u32,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            });
            let received = match received {
                Ok(received) => received as usize,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for ((message, name), buffer) in
                messages.iter().zip(&names).zip(&self.buffers).take(received)
            {
                let src = address(name);
                let bytes = &buffer[..(message.msg_len as usize).min(ROOM)];
                if let Some(delivery) = read(*socket, src, bytes)? {
                    each(delivery);
                }
            }
            if received < BATCH {
                return Ok(());
            }
        }
    }
}

/// What was delivered; nothing if it is the kernel's own business.
fn read(socket: Socket, src: IpAddr, bytes: &[u8]) -> Result<Option<Delivery>> {
    let short = || Error::new(format!("{socket:?} heard too little: {bytes:?}"));
    let protocol = match socket {
        Socket::Udp(port) => {
            let service = Service { protocol: protocol::UDP, port };
            return Ok(Some(Delivery { src, service, bytes: bytes.to_vec() }));
        }
        Socket::Raw(protocol) => protocol,
    };
    let header = match src {
        IpAddr::V4(_) => usize::from(bytes.first().ok_or_else(short)? & 0x0f) * 4,
        IpAddr::V6(_) => 0,
    };
    let message = bytes.get(header..).unwrap_or_default();
    let port = match (protocol, message) {
        (protocol::TCP, [_, _, a, b, ..]) => u16::from_be_bytes([*a, *b]),
        (protocol::ICMP | protocol::ICMPV6, [kind, ..]) => u16::from(*kind),
        _ => return Err(short()),
    };
    if protocol == protocol::ICMPV6 && HOUSEKEEPING.contains(&port) {
        return Ok(None);
    }
    let service = Service { protocol, port };
    Ok(Some(Delivery { src, service, bytes: message.to_vec() }))
}

fn address(name: &libc::sockaddr_storage) -> IpAddr {
    let name = (name as *const libc::sockaddr_storage).cast::<u8>();
    // SAFETY: the storage is larger than an address of either family, and aligned for both; the
    // kernel wrote one of the family that it names, or left zeroes.
    unsafe {
        if i32::from((*name.cast::<libc::sockaddr>()).sa_family) == libc::AF_INET6 {
            Ipv6Addr::from((*name.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr).into()
        } else {
            let address = (*name.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
            Ipv4Addr::from(u32::from_be(address)).into()
        }
    }
}

fn raw_socket(family: libc::c_int, protocol: u8) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes three integers.
    let fd = check(unsafe { libc::socket(family, kind, libc::c_int::from(protocol)) })?;
    // SAFETY: the descriptor was made a moment ago and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn enlarge(socket: &OwnedFd) -> io::Result<()> {
    let size = RECEIVE_BUFFER;
    // SAFETY: the kernel reads one integer, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
    })
    .map(drop)
}
