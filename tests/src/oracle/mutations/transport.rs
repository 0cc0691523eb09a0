//! Fields of TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::super::packet::{L3, flag, protocol, transport};
use super::Mutation;
use super::edit::{bad_checksum, cut, l4, l4_icmp, put, set_length, tcp_options};
use protocol::{SCTP as SCTP_NUMBER, TCP as TCP_NUMBER, UDP as UDP_NUMBER};

pub(super) const TCP: &[Mutation] = &[
    ("TCP source port 0", |f, _| tcp(f, |f| f[..2].fill(0))),
    ("TCP destination port 0", |f, _| tcp(f, |f| f[2..4].fill(0))),
    ("TCP source port", |f, rng| tcp(f, |f| f[1] ^= rng.u8(1..))),
    ("TCP destination port", |f, rng| tcp(f, |f| f[3] ^= rng.u8(1..))),
    ("TCP sequence number", |f, rng| tcp(f, |f| f[4] ^= rng.u8(1..))),
    ("TCP acknowledgement number", |f, rng| tcp(f, |f| f[8] ^= rng.u8(1..))),
    ("TCP data offset", |f, rng| tcp(f, |f| f[12] = rng.u8(0..16) << 4)),
    ("TCP reserved bits", |f, rng| tcp(f, |f| f[12] |= rng.u8(1..16))),
    ("TCP flags", |f, rng| tcp(f, |f| f[13] = rng.u8(..))),
    ("TCP urgent flag", |f, _| tcp(f, |f| f[13] |= flag::URG)),
    ("TCP ECE and CWR", |f, rng| tcp(f, |f| f[13] |= rng.u8(1..4) << 6)),
    ("TCP without any flag", |f, _| tcp(f, |f| f[13] = 0)),
    ("TCP window", |f, rng| tcp(f, |f| f[14..16].fill(rng.u8(..)))),
    ("TCP urgent pointer", |f, rng| tcp(f, |f| f[18] = rng.u8(1..))),
    ("TCP checksum", |f, rng| bad_checksum(f, TCP_NUMBER, (16, 2), rng)),
    ("TCP checksum zero", |f, _| after(f, TCP_NUMBER, 16).is_some_and(|at| put(f, at, &[0, 0]))),
    ("TCP options of padding only", |f, _| tcp_options(f, &[1, 1, 1, 0])),
    ("TCP option unknown", |f, rng| tcp_options(f, &[rng.u8(40..), 4, 0, 0])),
    ("TCP option cut off", |f, rng| tcp_options(f, &[1, 1, rng.u8(2..), rng.u8(3..)])),
    ("TCP option without length", |f, rng| tcp_options(f, &[1, 1, 1, rng.u8(2..)])),
    ("TCP option of length 0 or 1", |f, rng| tcp_options(f, &[rng.u8(2..), rng.u8(0..2), 0, 0])),
    ("TCP option of a wrong length", |f, rng| {
        let [kind, length] = *rng.choice(WRONG_LENGTHS).unwrap_or(&[2, 3]);
        let mut options = [0; 12];
        options[..2].copy_from_slice(&[kind, length]);
        tcp_options(f, &options)
    }),
    ("TCP option twice", |f, _| tcp_options(f, &[2, 4, 5, 0xb4, 2, 4, 2, 0])),
    ("TCP bytes behind the end of options", |f, rng| tcp_options(f, &[0, 0, rng.u8(1..), 0])),
    ("TCP window scale", |f, rng| tcp_options(f, &[3, 3, rng.u8(..), 1])),
    ("TCP signature option", |f, _| {
        let mut options = [1; 20];
        options[..2].copy_from_slice(&[19, 18]);
        tcp_options(f, &options)
    }),
    ("TCP header cut short", |f, rng| cut(f, TCP_NUMBER, rng.usize(0..20))),
];

/// Kinds with a length that they never have: maximum segment size, window scale, SACK permitted,
/// SACK, timestamps (RFC 9293, 3.2; RFC 7323, 2.2 and 3.2; RFC 2018, 2 and 3).
const WRONG_LENGTHS: &[[u8; 2]] =
    &[[2, 3], [2, 5], [3, 2], [3, 4], [4, 3], [5, 2], [5, 9], [8, 9], [8, 11]];

pub(super) const UDP: &[Mutation] = &[
    ("UDP source port 0", |f, _| udp(f, |f| f[..2].fill(0))),
    ("UDP destination port 0", |f, _| udp(f, |f| f[2..4].fill(0))),
    ("UDP source port", |f, rng| udp(f, |f| f[1] ^= rng.u8(1..))),
    ("UDP destination port", |f, rng| udp(f, |f| f[3] ^= rng.u8(1..))),
    ("UDP length", |f, rng| {
        udp(f, |f| {
            let length = u16::from_be_bytes([f[4], f[5]]);
            let lengths = [0, 7, 8, length - 1, length + 1, 65_535];
            put(f, 4, &lengths[rng.usize(0..6)].to_be_bytes());
        })
    }),
    ("UDP data behind its length", |f, rng| {
        let Some((UDP_NUMBER, _)) = transport(f) else { return false };
        f.extend(vec![rng.u8(..); rng.usize(1..9)]);
        set_length(f);
        udp(f, |_| ())
    }),
    ("UDP checksum", |f, rng| bad_checksum(f, UDP_NUMBER, (6, 2), rng)),
    ("UDP checksum left out", |f, _| after(f, UDP_NUMBER, 6).is_some_and(|at| put(f, at, &[0, 0]))),
    ("UDP header cut short", |f, rng| cut(f, UDP_NUMBER, rng.usize(0..8))),
];

pub(super) const SCTP: &[Mutation] = &[
    ("SCTP source port 0", |f, _| sctp(f, |f| f[..2].fill(0))),
    ("SCTP destination port 0", |f, _| sctp(f, |f| f[2..4].fill(0))),
    ("SCTP source port", |f, rng| sctp(f, |f| f[1] ^= rng.u8(1..))),
    ("SCTP destination port", |f, rng| sctp(f, |f| f[3] ^= rng.u8(1..))),
    ("SCTP verification tag", |f, rng| sctp(f, |f| f[4] ^= rng.u8(1..))),
    ("SCTP verification tag 0", |f, _| sctp(f, |f| f[4..8].fill(0))),
    ("SCTP checksum", |f, rng| bad_checksum(f, SCTP_NUMBER, (8, 4), rng)),
    ("SCTP chunk type", |f, rng| sctp(f, |f| f[12] = rng.u8(..))),
    ("SCTP chunk flags", |f, rng| sctp(f, |f| f[13] ^= rng.u8(1..))),
    ("SCTP chunk length", |f, rng| {
        sctp(f, |f| {
            let length = u16::from_be_bytes([f[14], f[15]]);
            let lengths = [0, 1, 3, 4, length - 1, length + 1, length + 4, 65_535];
            put(f, 14, &lengths[rng.usize(0..8)].to_be_bytes());
        })
    }),
    ("SCTP initiate tag", |f, rng| {
        let at = after(f, SCTP_NUMBER, 16);
        at.is_some_and(|at| f.len() >= at + 4) && sctp(f, |f| f[16] ^= rng.u8(1..))
    }),
    ("SCTP chunk twice", |f, _| bundle(f, None)),
    ("SCTP chunk bundled", |f, rng| bundle(f, Some(rng.u8(..)))),
    ("SCTP chunk cut short", |f, rng| cut(f, SCTP_NUMBER, rng.usize(13..16))),
    ("SCTP without a chunk", |f, _| cut(f, SCTP_NUMBER, 12)),
    ("SCTP header cut short", |f, rng| cut(f, SCTP_NUMBER, rng.usize(0..12))),
];

pub(super) const ICMP: &[Mutation] = &[
    ("ICMP type", |f, rng| l4_icmp(f, |f, at| f[at] = rng.u8(..))),
    // Those in use, which are few among all.
    ("ICMP type in use", |f, rng| {
        l4_icmp(f, |f, at| f[at] = if f[at] < 128 { rng.u8(0..44) } else { rng.u8(127..162) })
    }),
    ("ICMP code", |f, rng| l4_icmp(f, |f, at| f[at + 1] = rng.u8(1..))),
    ("ICMP identifier", |f, rng| l4_icmp(f, |f, at| f[at + 4] ^= rng.u8(1..))),
    ("ICMP sequence number", |f, rng| l4_icmp(f, |f, at| f[at + 6] ^= rng.u8(1..))),
    ("ICMP checksum", |f, rng| {
        bad_checksum(f, protocol::ICMP, (2, 2), rng)
            || bad_checksum(f, protocol::ICMPV6, (2, 2), rng)
    }),
    ("ICMP header cut short", |f, rng| {
        let left = rng.usize(0..8);
        cut(f, protocol::ICMP, left) || cut(f, protocol::ICMPV6, left)
    }),
];

pub(super) const ICMPV6: &[Mutation] = &[
    // RFC 4861, 7.1: hop limit 255.
    ("ICMPv6 neighbour discovery", |f, rng| {
        put(f, L3 + 7, &[255]) && l4_icmp(f, |f, at| f[at] = rng.u8(135..=136))
    }),
];

/// Changes a TCP header: what it is given begins there.
fn tcp(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    l4(frame, TCP_NUMBER, |frame, at| change(&mut frame[at..]))
}

fn udp(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    l4(frame, UDP_NUMBER, |frame, at| change(&mut frame[at..]))
}

fn sctp(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    l4(frame, SCTP_NUMBER, |frame, at| change(&mut frame[at..]))
}

/// Where the byte `offset` of a header of `protocol` is.
fn after(frame: &[u8], protocol: u8, offset: usize) -> Option<usize> {
    transport(frame).filter(|(found, _)| *found == protocol).map(|(_, at)| at + offset)
}

/// Adds a chunk to an SCTP packet: the first once more, or an empty one of type `kind`.
fn bundle(frame: &mut Vec<u8>, kind: Option<u8>) -> bool {
    let Some(at) = after(frame, SCTP_NUMBER, 12) else { return false };
    let chunk = match kind {
        Some(kind) => vec![kind, 0, 0, 4],
        None => frame[at..].to_vec(),
    };
    frame.extend(chunk);
    set_length(frame);
    sctp(frame, |_| ())
}
