//! What the kernel says of a network interface.

use crate::counters::Link;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A network interface, by name and index: one that was deleted and made again is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub name: String,
    pub index: u32,
}

impl Interface {
    /// Finds an interface of this network namespace.
    ///
    /// # Errors
    /// `ENODEV` when there is none of this name.
    pub fn find(name: &str) -> io::Result<Self> {
        let c_name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the name is a C string that outlives the call.
        match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
            0 => Err(io::Error::last_os_error()),
            index => Ok(Interface { name: name.to_owned(), index }),
        }
    }

    /// How many queues receive and transmit (ethtool channels, the smaller of the two); 1 where the
    /// driver has no notion of them.
    pub fn queues(&self) -> io::Result<u32> {
        /// `struct ethtool_channels` of linux/ethtool.h.
        #[repr(C)]
        #[derive(Default)]
        struct Channels {
            cmd: u32,
            max: [u32; 4],
            rx: u32,
            tx: u32,
            other: u32,
            combined: u32,
        }
        const ETHTOOL_GCHANNELS: u32 = 0x3c;
        let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
        let mut request = self.request();
        request.ifr_ifru.ifru_data = (&raw mut channels).cast();
        match ioctl(libc::SIOCETHTOOL, &mut request) {
            Ok(()) => Ok((channels.combined + channels.rx.min(channels.tx)).max(1)),
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(1),
            Err(e) => Err(e),
        }
    }

    /// Whether there is carrier.
    pub fn link(&self) -> Link {
        match Interface::find(&self.name) {
            Ok(found) if found == *self => {}
            _ => return Link::Gone,
        }
        let mut request = self.request();
        if ioctl(libc::SIOCGIFFLAGS, &mut request).is_err() {
            return Link::Gone;
        }
        // SAFETY: SIOCGIFFLAGS fills in the flags.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        let running = libc::IFF_UP | libc::IFF_RUNNING;
        if flags & running == running { Link::Up } else { Link::Down }
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: all zero bytes are a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The name was found, so it is shorter than IFNAMSIZ; the last byte stays zero.
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..room].iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        request
    }
}

fn ioctl(request: libc::Ioctl, argument: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: plain system call; the result is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the argument is the ifreq that these requests take, and what it points to outlives
    // the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut *argument) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_one_queue_and_an_unknown_name_is_not() {
        let lo = Interface::find("lo").expect("every namespace has lo");
        assert_eq!(lo.queues().expect("lo answers or does not know queues"), 1);
        assert_ne!(lo.link(), Link::Gone);
        assert!(Interface::find("no-such-if").is_err());
        let other = Interface { name: "lo".into(), index: lo.index + 1000 };
        assert_eq!(other.link(), Link::Gone);
    }
}
