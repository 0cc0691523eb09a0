//! Frames and tables for tests, put together byte by byte and apart from the parser.

use crate::table::{Table, TableRule};
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

/// An IPv4 or IPv6 packet: EtherType and bytes.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut packet = vec![0x45, 0];
            packet.extend((20 + payload.len() as u16).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            packet.extend(payload);
            (0x0800, packet)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            packet.extend(payload);
            (0x86dd, packet)
        }
        _ => panic!("both addresses are of one family"),
    }
}

/// A TCP header without options.
pub(crate) fn tcp(src_port: u16, dst_port: u16, flags: u8) -> Vec<u8> {
    let mut header = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    header.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
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
    let named =
        |(id, _, action): &(&str, Rule, Action)| TableRule { id: (*id).into(), action: *action };
    Table::new(generation, classifier, entries, rules.iter().map(named).collect(), workers)
}
