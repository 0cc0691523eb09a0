//! Frames and tables for tests, put together byte by byte and apart from the parser.

use crate::table::{Established, Table, TableRule};
use crate::verdict::Action;
use classifier::{Builder, Config, Rule};
use std::net::IpAddr;

/// A well-formed Ethernet frame around `payload`, with a VLAN tag for each of `vlans`.
pub(crate) fn ethernet(vlans: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (nth, vlan) in vlans.iter().enumerate() {
        // The outer one of two is a service tag (802.1ad).
        let tag: u16 = if nth + 1 < vlans.len() { 0x88a8 } else { 0x8100 };
        frame.extend(tag.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 or IPv6 packet with right checksums: EtherType and bytes.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    let (ethertype, mut packet) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut packet = vec![0x45, 0];
            packet.extend((20 + payload.len() as u16).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            (0x0800, packet)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            (0x86dd, packet)
        }
        _ => panic!("both addresses are of one family"),
    };
    packet.extend(payload);
    seal_packet(&mut packet);
    (ethertype, packet)
}

/// `frame` with the checksums that its headers want, as far as they can be followed.
pub(crate) fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    let mut start = 12;
    while matches!(frame.get(start..start + 2), Some([0x81, 0] | [0x88, 0xa8])) {
        start += 4;
    }
    if let Some(packet) = frame.get_mut(start + 2..) {
        seal_packet(packet);
    }
    frame
}

fn seal_packet(packet: &mut [u8]) {
    let number = |at: usize| {
        packet.get(at..at + 2).map_or(0, |n| usize::from(u16::from_be_bytes([n[0], n[1]])))
    };
    let (addresses, mut protocol, mut start, end) = match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            (12..20, packet[9], usize::from(packet[0] & 15) * 4, number(2))
        }
        Some(6) if packet.len() >= 40 => (8..40, packet[6], 40, 40 + number(4)),
        _ => return,
    };
    let is_fragment = addresses.len() == 8 && number(6) & 0x3fff != 0;
    if addresses.len() == 8 {
        if let Some(header) = packet.get_mut(..start).filter(|header| header.len() >= 20) {
            header[10..12].fill(0);
            let sum = checksum(&[header]);
            header[10..12].copy_from_slice(&sum);
        }
    } else {
        while matches!(protocol, 0 | 43 | 60 | 44) && packet.len() >= start + 8 {
            let units = if protocol == 44 { 0 } else { usize::from(packet[start + 1]) };
            protocol = packet[start];
            start += 8 + 8 * units;
        }
    }
    let addresses = packet[addresses].to_vec();
    let Some(l4) = packet.get_mut(start..end).filter(|_| !is_fragment) else { return };
    let length = (l4.len() as u32).to_be_bytes();
    let pseudo = [&addresses[..], &length, &[0, 0, 0, protocol]].concat();
    let (field, pseudo) = match protocol {
        6 => (16, &pseudo[..]),
        17 => (6, &pseudo[..]),
        1 if addresses.len() == 8 => (2, &[][..]),
        58 if addresses.len() == 32 => (2, &pseudo[..]),
        132 if l4.len() >= 12 => {
            l4[8..12].fill(0);
            let sum = crc32c(l4).to_le_bytes();
            l4[8..12].copy_from_slice(&sum);
            return;
        }
        _ => return,
    };
    if l4.len() >= field + 2 {
        l4[field..field + 2].fill(0);
        let sum = match checksum(&[pseudo, l4]) {
            [0, 0] if protocol == 17 => [0xff, 0xff],
            sum => sum,
        };
        l4[field..field + 2].copy_from_slice(&sum);
    }
}

/// The checksum of RFC 1071 over `parts` one after the other, by its definition.
pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    (!(sum as u16)).to_be_bytes()
}

/// CRC32c bit by bit: division by the polynomial of RFC 3720, 12.1, bits reflected.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// A TCP header without options, of a connection without data whose two ends begin with number 1.
pub(crate) fn tcp(src_port: u16, dst_port: u16, flags: u8) -> Vec<u8> {
    let is_syn = flags & 2 != 0;
    tcp_at(src_port, dst_port, flags, if is_syn { 1 } else { 2 }, 2)
}

/// A TCP header without options, with these numbers of sequence and acknowledgement.
pub(crate) fn tcp_at(src_port: u16, dst_port: u16, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut header = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    header.extend(seq.to_be_bytes());
    header.extend(ack.to_be_bytes());
    header.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

/// A UDP datagram.
pub(crate) fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An SCTP packet of these chunks: type and content.
pub(crate) fn sctp(src_port: u16, dst_port: u16, tag: u32, chunks: &[(u8, &[u8])]) -> Vec<u8> {
    let mut packet = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    for (kind, content) in chunks {
        packet.extend([*kind, 0]);
        packet.extend((4 + content.len() as u16).to_be_bytes());
        packet.extend(*content);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    packet
}

/// An ARP packet: 1 asks, 2 answers.
pub(crate) fn arp(operation: u16, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend([2, 0, 0, 0, 0, 2]);
    packet.extend(sender);
    packet.extend([2, 0, 0, 0, 0, 1]);
    packet.extend(target);
    packet
}

/// The eight bytes that every ICMP and ICMPv6 message begins with.
pub(crate) fn icmp(kind: u8, code: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![kind, code, 0, 0, high, low, 0, 1]
}

/// An untagged frame with an IP packet.
pub(crate) fn frame(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse().expect("a test writes addresses");
    let (ethertype, packet) = ip(address(src), address(dst), protocol, payload);
    ethernet(&[], ethertype, &packet)
}

/// Table `generation` of these rules, each lowered to itself, for `workers` workers.
pub(crate) fn table(generation: u64, rules: &[(&str, Rule, Action)], workers: usize) -> Table {
    let mut builder = Builder::new(Config::default());
    for (_, rule, _) in rules {
        builder.push(rule.clone());
    }
    let classifier = builder.build().expect("a test has few rules");
    let entries = (0..rules.len() as u32).collect();
    let named = |(id, _, action): &(&str, Rule, Action)| TableRule {
        id: (*id).into(),
        action: *action,
        established: Established::Recheck,
    };
    Table::new(generation, classifier, entries, rules.iter().map(named).collect(), workers)
}
