//! Ways to change a frame and leave the rest of it right. All tell whether the frame has what is to be
//! changed.

use super::super::packet::{
    ETHERTYPE_IPV4, L3, protocol, seal, seal_ip, seal_transport, transport,
};
use fastrand::Rng;

/// Writes over the bytes at `at`.
pub(super) fn put(frame: &mut [u8], at: usize, bytes: &[u8]) -> bool {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    true
}

/// Puts VLAN tags behind the addresses.
pub(super) fn tag(frame: &mut Vec<u8>, tags: &[[u8; 4]]) -> bool {
    frame.splice(12..12, tags.concat());
    true
}

pub(super) fn is_v4(frame: &[u8]) -> bool {
    frame[12..14] == ETHERTYPE_IPV4.to_be_bytes()
}

/// Changes an IPv4 header and makes its checksum right.
pub(super) fn v4(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    if !is_v4(frame) {
        return false;
    }
    change(frame);
    seal_ip(frame);
    true
}

/// Changes an IPv6 header.
pub(super) fn v6(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    let is_v6 = !is_v4(frame);
    if is_v6 {
        change(frame);
    }
    is_v6
}

/// Changes addresses, which the checksum of the transport covers too.
pub(super) fn addressed(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    change(frame);
    seal(frame);
    true
}

/// Changes a header of `protocol` and makes its checksum right.
pub(super) fn l4(frame: &mut [u8], protocol: u8, change: impl FnOnce(&mut [u8], usize)) -> bool {
    match transport(frame) {
        Some((found, at)) if found == protocol => {
            change(frame, at);
            seal_transport(frame, protocol, at);
            true
        }
        _ => false,
    }
}

/// As [`l4`], of ICMP or ICMPv6.
pub(super) fn l4_icmp(frame: &mut [u8], change: impl FnOnce(&mut [u8], usize)) -> bool {
    match transport(frame) {
        Some((found @ (protocol::ICMP | protocol::ICMPV6), _)) => l4(frame, found, change),
        _ => false,
    }
}

/// Changes one bit of the `length` bytes at `at`.
pub(super) fn flip(frame: &mut [u8], at: usize, length: usize, rng: &mut Rng) -> bool {
    frame[at + rng.usize(0..length)] ^= 1 << rng.u8(0..8);
    true
}

/// Changes one bit of a checksum, which is `length` bytes at `offset` in the header.
pub(super) fn bad_checksum(
    frame: &mut [u8],
    protocol: u8,
    (offset, length): (usize, usize),
    rng: &mut Rng,
) -> bool {
    match transport(frame) {
        Some((found, at)) if found == protocol => flip(frame, at + offset, length, rng),
        _ => false,
    }
}

/// Leaves `left` bytes of the transport header; the IP header says so.
pub(super) fn cut(frame: &mut Vec<u8>, protocol: u8, left: usize) -> bool {
    let Some((found, at)) = transport(frame) else { return false };
    if found != protocol {
        return false;
    }
    frame.truncate(at + left);
    set_length(frame);
    seal(frame);
    true
}

/// Has the IP header tell the length that the frame has.
pub(super) fn set_length(frame: &mut [u8]) {
    if is_v4(frame) {
        let length = (frame.len() - L3) as u16;
        put(frame, L3 + 2, &length.to_be_bytes());
        seal_ip(frame);
    } else {
        let length = (frame.len() - L3 - 40) as u16;
        put(frame, L3 + 4, &length.to_be_bytes());
    }
}

/// Puts options into the IPv4 header: a multiple of four bytes.
pub(super) fn option(frame: &mut Vec<u8>, options: &[u8]) -> bool {
    if !is_v4(frame) {
        return false;
    }
    frame.splice(L3 + 20..L3 + 20, options.iter().copied());
    frame[L3] += (options.len() / 4) as u8;
    set_length(frame);
    true
}

/// Gives the TCP header these options instead of its own: a multiple of four bytes.
pub(super) fn tcp_options(frame: &mut Vec<u8>, options: &[u8]) -> bool {
    let Some((protocol::TCP, at)) = transport(frame) else { return false };
    let old = usize::from(frame[at + 12] >> 4) * 4;
    frame.splice(at + 20..at + old, options.iter().copied());
    frame[at + 12] = (((20 + options.len()) / 4) << 4) as u8;
    set_length(frame);
    seal_transport(frame, protocol::TCP, at);
    true
}

/// Puts extension headers between the IPv6 header and the transport's: their numbers, and what
/// follows their first two bytes, 6 more than a multiple of 8.
pub(super) fn extend(frame: &mut Vec<u8>, headers: &[(u8, &[u8])]) -> bool {
    if is_v4(frame) {
        return false;
    }
    let last = frame[L3 + 6];
    let following = headers[1..].iter().map(|(number, _)| *number).chain([last]);
    let mut bytes = Vec::new();
    for ((number, rest), next) in headers.iter().zip(following) {
        // An authentication header counts in words, and two fewer (RFC 4302, 2.2); a fragment header
        // has no length.
        let length = match *number {
            44 => 0,
            protocol::AH => (rest.len() + 2) / 4 - 2,
            _ => rest.len() / 8,
        };
        bytes.extend([next, length as u8]);
        bytes.extend(*rest);
    }
    frame[L3 + 6] = headers[0].0;
    frame.splice(L3 + 40..L3 + 40, bytes);
    set_length(frame);
    true
}
