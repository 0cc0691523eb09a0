//! Frames that no ordinary program sends, from a packet socket in a namespace.

use crate::{Error, Lab, Result, Side};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A frame of 60 bytes: to `destination`, with `ethertype`, from a locally administered address.
pub fn frame(destination: [u8; 6], ethertype: u16) -> Vec<u8> {
    let mut frame = destination.to_vec();
    frame.extend([0x02, 0, 0, 0, 0, 0x77]);
    frame.extend(ethertype.to_be_bytes());
    frame.resize(60, 0);
    frame
}

/// Sends `frames` out of `interface` of `side`, as they are.
///
/// # Errors
/// What the kernel answers when it refuses one.
pub fn send(lab: &Lab, side: Side, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    let namespace = File::open(format!("/run/netns/{}", lab.namespace(side)))?;
    // A thread of its own: the namespace belongs to the thread, and the thread ends with it.
    std::thread::scope(|scope| scope.spawn(|| send_from(&namespace, interface, frames)).join())
        .map_err(|_| Error::new("the sending thread panicked"))?
        .map_err(|e| Error::new(format!("cannot send out of {interface}: {e}")))
}

fn send_from(namespace: &File, interface: &str, frames: &[Vec<u8>]) -> io::Result<()> {
    // SAFETY: setns takes an open file descriptor and a flag.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: `name` is a string that ends with NUL and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: socket takes three integers.
    let fd =
        check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was made a moment ago and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_ll is plain integers, for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index as i32;
    for frame in frames {
        // SAFETY: frame and address outlive the call, and their true lengths are given.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent != frame.len() as isize {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
