//! Every way the parser can refuse a packet, next to the nearest packet that it accepts.

mod addresses;
mod checksums;
mod cut;
mod ethernet;
mod ipv4;
mod ipv6;
mod options6;
mod oracle;
mod random;
mod tcp;
mod timing;
mod transport;
mod tunnels;

use super::*;
use crate::testing::{self, ethernet, frame, icmp, ip, sealed, tcp, udp};
use DropReason as D;

const ETHERNET: usize = 14;
const SRC: &str = "10.0.0.1";
const DST: &str = "10.0.0.2";
const SRC6: &str = "fd00::1";
const DST6: &str = "fd00::2";
const PAIRS: [(&str, &str); 2] = [(SRC, DST), (SRC6, DST6)];
const STRICT: ParseOptions = ParseOptions::STRICT;

fn by(options: &ParseOptions, bytes: &[u8]) -> Result<Parsed, DropReason> {
    parse(FrameView { bytes, wire_len: bytes.len() as u32 }, options)
}

fn whole(bytes: &[u8]) -> Result<Parsed, DropReason> {
    by(&STRICT, bytes)
}

fn packet_of(parsed: Result<Parsed, DropReason>) -> IpPacket {
    match parsed {
        Ok(Parsed { content: Content::Ip(packet), .. }) => packet,
        other => panic!("{other:?}"),
    }
}

/// The IP headers of a frame that must be accepted.
#[track_caller]
fn accepted(bytes: &[u8]) -> IpPacket {
    packet_of(whole(bytes))
}

#[track_caller]
fn refused(bytes: &[u8]) -> DropReason {
    whole(bytes).expect_err("the packet is wrong")
}

/// `frame` with the bytes at `at` replaced, and right checksums again.
fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    sealed(spoilt(frame, at, bytes))
}

/// `frame` with the bytes at `at` replaced, checksums as they were.
fn spoilt(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = frame.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

/// An IPv6 extension header of 8 bytes that is right wherever it stands: padding, in a routing
/// header no segments left, in a fragment header neither offset nor more fragments.
fn extension(kind: u8, next: u8) -> Vec<u8> {
    match kind {
        43 => vec![next, 0, 4, 0, 0, 0, 0, 0],
        44 => vec![next, 0, 0, 0, 0, 0, 0, 7],
        _ => vec![next, 0, 1, 4, 0, 0, 0, 0],
    }
}

/// A frame with a chain of 8-byte extension headers before `payload`.
fn chain(headers: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (nth, kind) in headers.iter().enumerate() {
        bytes.extend(extension(*kind, *headers.get(nth + 1).unwrap_or(&protocol)));
    }
    bytes.extend(payload);
    frame(SRC6, DST6, *headers.first().unwrap_or(&protocol), &bytes)
}
