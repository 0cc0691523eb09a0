//! Datagrams as a sender makes them, and the frames of their fragments.

use crate::oracle::packet::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Segment, checksum, flag, icmp, protocol, seal_ip, sum, udp,
};
use fastrand::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a payload that say which datagram it is: its number and its length.
pub(super) const LABEL: usize = 12;
/// Bytes of the MTU.
pub(super) const MTU: usize = 1500;
/// Hosts that send, in each family: so many that none has more datagrams incomplete than it may.
pub(super) const SOURCES: u32 = 4096;
/// Where everything goes.
pub(super) const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 81, 0, 1);
/// Where everything goes.
pub(super) const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd81, 0, 0, 0, 0, 0, 0, 1);

/// Bytes of the link-layer header.
const ETHERNET: usize = 14;
/// Shortest frame of an Ethernet, without its checksum (IEEE 802.3, 4A.4.2).
const SHORTEST: usize = 60;
/// A header of options that has none, behind its next header and its length, which is 0: padding
/// (RFC 8200, 4.2).
const NO_OPTIONS: [u8; 6] = [1, 4, 0, 0, 0, 0];
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
/// Destination options.
pub(super) const OPTIONS: u8 = 60;

/// Source and destination, of which every datagram of a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub src: IpAddr,
    pub dst: IpAddr,
}

impl Ends {
    /// From source `nth` to the server. An IPv6 source has a /64 of its own.
    pub(super) fn new(v6: bool, nth: u32) -> Ends {
        if v6 {
            let src = Ipv6Addr::new(0xfd80, 0, 0, nth as u16, 0, 0, 0, 1);
            return Ends { src: src.into(), dst: SERVER_V6.into() };
        }
        let src = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 80, 16, 0)) + nth);
        Ends { src: src.into(), dst: SERVER_V4.into() }
    }

    pub(super) fn is_v6(&self) -> bool {
        self.src.is_ipv6()
    }

    /// Sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
    fn pseudo_header(&self, protocol: u8, length: usize) -> u32 {
        let addresses = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
            (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
            _ => unreachable!("both ends are of one family"),
        };
        sum(length as u32 + u32::from(protocol), &addresses)
    }

    /// The checksum of a transport message, whose own field counts as it stands: 0 when it is right.
    pub(super) fn checksum(&self, protocol: u8, message: &[u8]) -> u16 {
        let pseudo = match protocol {
            protocol::ICMP => 0,
            _ => self.pseudo_header(protocol, message.len()),
        };
        checksum(pseudo, message)
    }
}

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    /// UDP, TCP, ICMP or ICMPv6.
    pub protocol: u8,
    /// Destination port, or ICMP type.
    pub port: u16,
}

/// One datagram before it is cut: what it carries is a function of its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub ends: Ends,
    pub service: Service,
    /// Source port, or ICMP identifier.
    pub src_port: u16,
    /// Tells it from every other.
    pub number: u64,
    /// Bytes of payload, its label included.
    pub payload: usize,
    /// Whether destination options stand in its fragmentable part (IPv6 only).
    pub options: bool,
    /// What is wrong with its checksum.
    pub checksum: Checksum,
}

/// The checksum of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Right,
    Wrong,
    /// Not made: UDP over IPv4 only (RFC 768).
    None,
}

impl Datagram {
    /// Protocol, or next header, of its fragments.
    pub(super) fn next(&self) -> u8 {
        if self.options { OPTIONS } else { self.service.protocol }
    }

    /// Bytes of what stands before the data of its first fragment can end: extension headers in the
    /// fragmentable part, and the transport header.
    pub(super) fn headers(&self) -> usize {
        let transport = if self.service.protocol == protocol::TCP { 20 } else { 8 };
        transport + if self.options { 8 } else { 0 }
    }

    /// What is cut into fragments.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let payload = self.payload();
        let port = self.service.port;
        let mut message = match self.service.protocol {
            protocol::UDP => udp(self.src_port, port, &payload),
            protocol::TCP => Segment {
                ports: (self.src_port, port),
                // What differs in nothing but its data may come again on the same connection.
                seq: u32::from(self.src_port) << 8,
                ack: 0,
                flags: flag::SYN,
                window: 0x4000,
                options: &[],
                payload: &payload,
            }
            .bytes(),
            _ => icmp(port as u8, 0, u32::from(self.src_port) << 16, &payload),
        };
        let at = match self.service.protocol {
            protocol::UDP => 6,
            protocol::TCP => 16,
            _ => 2,
        };
        if self.checksum != Checksum::None {
            let mut value = self.ends.checksum(self.service.protocol, &message);
            if value == 0 && self.service.protocol == protocol::UDP {
                value = 0xffff;
            }
            message[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        if self.checksum == Checksum::Wrong {
            // A single bit never adds up to nothing.
            let last = message.len() - 1;
            message[last] ^= 1 << (self.number % 8);
        }
        if self.options {
            message.splice(0..0, [self.service.protocol, 0].into_iter().chain(NO_OPTIONS));
        }
        message
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.payload + 8);
        payload.extend(self.number.to_be_bytes());
        payload.extend((self.payload as u32).to_be_bytes());
        let mut words = Rng::with_seed(self.number);
        while payload.len() < self.payload {
            payload.extend(words.u64(..).to_be_bytes());
        }
        payload.truncate(self.payload);
        payload
    }
}

/// A fragment, or a whole packet, to be put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub id: u32,
    /// Protocol, or next header.
    pub next: u8,
    /// Where its data belongs, bytes; a multiple of 8.
    pub start: usize,
    pub more: bool,
    pub data: Vec<u8>,
    /// ECN codepoint (RFC 3168, 5).
    pub ecn: u8,
    /// Don't Fragment (IPv4 only), which may stand beside an offset.
    pub dont_fragment: bool,
    /// Whether a hop-by-hop header stands before the fragment header (IPv6 only).
    pub hop_by_hop: bool,
    /// Whether a short frame is padded with bytes that belong to nothing.
    pub padded: bool,
}

impl Fragment {
    /// Behind its last byte.
    pub(super) fn end(&self) -> usize {
        self.start + self.data.len()
    }

    /// Whether it is all of its datagram: a whole packet in IPv4, an atomic fragment in IPv6
    /// (RFC 6946).
    pub(super) fn is_whole(&self) -> bool {
        self.start == 0 && !self.more
    }

    /// Bytes of the headers before its data, without the IPv6 header and the fragment header.
    pub(super) fn unfragmentable(&self) -> usize {
        if self.hop_by_hop { 8 } else { 0 }
    }

    /// The frame.
    pub(super) fn frame(&self, ends: &Ends, macs: ([u8; 6], [u8; 6])) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ETHERNET + MTU);
        frame.extend(macs.1);
        frame.extend(macs.0);
        match (ends.src, ends.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                frame.extend([0x45, self.ecn]);
                frame.extend((20 + self.data.len() as u16).to_be_bytes());
                frame.extend((self.id as u16).to_be_bytes());
                let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more) << 13;
                frame.extend((flags | (self.start / 8) as u16).to_be_bytes());
                frame.extend([64, self.next, 0, 0]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                frame.extend((6 << 28 | u32::from(self.ecn) << 20).to_be_bytes());
                let length = self.unfragmentable() + 8 + self.data.len();
                frame.extend((length as u16).to_be_bytes());
                frame.extend([if self.hop_by_hop { HOP_BY_HOP } else { FRAGMENT }, 64]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                if self.hop_by_hop {
                    frame.extend([FRAGMENT, 0]);
                    frame.extend(NO_OPTIONS);
                }
                frame.extend([self.next, 0]);
                frame.extend((self.start as u16 | u16::from(self.more)).to_be_bytes());
                frame.extend(self.id.to_be_bytes());
            }
            _ => unreachable!("both ends are of one family"),
        }
        frame.extend(&self.data);
        seal_ip(&mut frame);
        if self.padded && frame.len() < SHORTEST {
            frame.resize(SHORTEST, 0xa5);
        }
        frame
    }
}
