//! The parser against etherparse, which was written by others from the same RFCs.

use super::*;
use etherparse::{LaxNetSlice, LaxSlicedPacket, SlicedPacket, TransportSlice};
use proptest::prelude::*;

/// What both parsers can say of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    vlan: u32,
    src: u128,
    dst: u128,
    protocol: u8,
    src_port: u16,
    dst_port: u16,
    tcp_flags: u8,
}

fn ours(bytes: &[u8]) -> Option<(Facts, IpPacket)> {
    let Parsed { vlan, content: Content::Ip(packet) } = whole(bytes).ok()? else { return None };
    let IpPacket { src, dst, protocol, src_port, dst_port, tcp_flags, .. } = packet;
    Some((Facts { vlan, src, dst, protocol, src_port, dst_port, tcp_flags }, packet))
}

/// What etherparse reads of a frame that carries IP, with the bytes of the IP payload.
fn theirs(bytes: &[u8]) -> Option<Facts> {
    let packet = LaxSlicedPacket::from_ethernet(bytes).ok()?;
    let vlan = packet.vlan_ids().iter().fold(0, |vlan, id| vlan << 16 | u32::from(id.value()));
    let (src, dst) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (
            u128::from(ip.header().source_addr().to_bits()),
            u128::from(ip.header().destination_addr().to_bits()),
        ),
        LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().to_bits(), ip.header().destination_addr().to_bits())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let payload = packet.ip_payload()?;
    let (src_port, dst_port, tcp_flags) = match &packet.transport {
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port(), 0),
        Some(TransportSlice::Tcp(tcp)) => {
            let flags = [
                tcp.fin(),
                tcp.syn(),
                tcp.rst(),
                tcp.psh(),
                tcp.ack(),
                tcp.urg(),
                tcp.ece(),
                tcp.cwr(),
            ];
            let bits = flags.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit);
            (tcp.source_port(), tcp.destination_port(), bits.sum())
        }
        Some(TransportSlice::Icmpv4(icmp)) => (icmp.type_u8().into(), icmp.code_u8().into(), 0),
        Some(TransportSlice::Icmpv6(icmp)) => (icmp.type_u8().into(), icmp.code_u8().into(), 0),
        // etherparse does not know SCTP: its ports stand where UDP's do.
        _ if payload.ip_number.0 == 132 && payload.payload.len() >= 12 => {
            let port = |at| u16::from_be_bytes([payload.payload[at], payload.payload[at + 1]]);
            (port(0), port(2), 0)
        }
        _ => (0, 0, 0),
    };
    let protocol = payload.ip_number.0;
    Some(Facts { vlan, src, dst, protocol, src_port, dst_port, tcp_flags })
}

/// Where the two differ by choice: etherparse looks behind authentication headers, which to us are
/// a protocol, stops at extension headers that it does not know, and reads an ICMPv4 timestamp as
/// an error unless it has just its 20 bytes.
fn incomparable(ours: &Facts, theirs: &Facts, bytes: &[u8]) -> bool {
    let icmp_timestamp = ours.protocol == 1 && matches!(ours.src_port, 13 | 14);
    let icmp_of_other_family = bytes.len() > 14
        && matches!((bytes[14 + 4 * tags(bytes)] >> 4, ours.protocol), (4, 58) | (6, 1));
    ours.protocol == 51
        || matches!(theirs.protocol, 135 | 139 | 140)
        || icmp_timestamp
        || icmp_of_other_family
}

fn tags(bytes: &[u8]) -> usize {
    bytes[12..]
        .chunks_exact(4)
        .take_while(|tag| matches!(tag[..2], [0x81, 0] | [0x88, 0xa8]))
        .count()
}

/// Panics unless both agree on `bytes` as far as both understand them.
fn compare(bytes: &[u8]) {
    let Some((our_facts, packet)) = ours(bytes) else { return };
    let their_facts = theirs(bytes).expect("etherparse finds addresses where we do");
    assert_eq!(
        (our_facts.src, our_facts.dst, our_facts.vlan),
        (their_facts.src, their_facts.dst, their_facts.vlan)
    );
    if incomparable(&our_facts, &their_facts, bytes) {
        return;
    }
    assert_eq!(our_facts, their_facts);
    let payload = LaxSlicedPacket::from_ethernet(bytes).ok().and_then(|p| p.ip_payload().cloned());
    let payload = payload.expect("compared above");
    assert!(!payload.fragmented, "a fragment was taken for a whole packet");
    assert!(!payload.incomplete, "a packet longer than its frame was accepted");
    if let Some(echo) = packet.echo {
        let id = u16::from_be_bytes([payload.payload[4], payload.payload[5]]);
        assert_eq!((echo.id, our_facts.dst_port), (id, 0));
    }
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp(u16, u16, u8),
    Udp(u16, u16),
    Icmp(u8, u8, u16),
    Other(u8),
}

#[derive(Clone, Debug)]
struct Built {
    bytes: Vec<u8>,
    facts: (u32, u8, u16, u16, u8),
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![
        3 => (any::<u16>(), any::<u16>(), any::<u8>()).prop_map(|(s, d, f)| Transport::Tcp(s, d, f)),
        3 => (any::<u16>(), any::<u16>()).prop_map(|(s, d)| Transport::Udp(s, d)),
        2 => (prop_oneof![Just(0u8), Just(8), Just(128), Just(129), Just(135), any::<u8>()],
              prop_oneof![Just(0u8), any::<u8>()],
              any::<u16>()).prop_map(|(k, c, id)| Transport::Icmp(k, c, id)),
        1 => prop_oneof![Just(47u8), Just(50), Just(59), Just(89)].prop_map(Transport::Other),
    ]
}

/// Well-formed frames, and what they say.
fn built() -> impl Strategy<Value = Built> {
    let vlans = prop::collection::vec(1u16..4095, 0..=2);
    let extensions = prop::collection::vec((prop_oneof![Just(60u8), Just(43)], 0u8..3), 0..4);
    let data = prop::collection::vec(any::<u8>(), 0..64);
    (any::<bool>(), any::<bool>(), vlans, extensions, transport(), data, 0usize..20).prop_map(
        |(v6, hop_by_hop, vlans, extensions, transport, data, padding)| {
            let (protocol, mut payload, ports) = match transport {
                Transport::Tcp(src, dst, flags) => (6, tcp(src, dst, flags), (src, dst, flags)),
                Transport::Udp(src, dst) => (17, udp(src, dst, &data), (src, dst, 0)),
                Transport::Icmp(kind, code, id) => {
                    (if v6 { 58 } else { 1 }, icmp(kind, code, id), (kind.into(), code.into(), 0))
                }
                Transport::Other(protocol) => (protocol, Vec::new(), (0, 0, 0)),
            };
            if protocol != 17 {
                payload.extend(&data);
            }
            let mut first = protocol;
            let (src, dst) = if v6 {
                // The chain is built from its end.
                for (kind, units) in extensions.iter().rev() {
                    let mut header = vec![first, *units];
                    header.resize(8 + 8 * usize::from(*units), 0);
                    header.append(&mut payload);
                    payload = header;
                    first = *kind;
                }
                if hop_by_hop {
                    let mut header = extension(first);
                    header.append(&mut payload);
                    payload = header;
                    first = 0;
                }
                (SRC6, DST6)
            } else {
                (SRC, DST)
            };
            let address = |text: &str| text.parse().expect("an address");
            let (ethertype, packet) = ip(address(src), address(dst), first, &payload);
            let mut bytes = ethernet(&vlans, ethertype, &packet);
            bytes.extend(std::iter::repeat_n(0x5a, padding));
            let vlan = vlans.iter().fold(0, |sum, id| sum << 16 | u32::from(*id));
            Built { bytes, facts: (vlan, protocol, ports.0, ports.1, ports.2) }
        },
    )
}

/// Bytes overwritten, and a cut.
fn mutations() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, prop::sample::Index)> {
    let byte = prop_oneof![any::<u8>(), Just(0u8), Just(0xff), Just(0x45), Just(44), Just(6)];
    (
        prop::collection::vec((any::<prop::sample::Index>(), byte), 0..6),
        any::<prop::sample::Index>(),
    )
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn a_well_formed_frame_is_read_as_it_was_built_and_as_etherparse_reads_it(built in built()) {
        let (facts, _) = ours(&built.bytes).expect("it is well-formed");
        let Facts { vlan, protocol, src_port, dst_port, tcp_flags, .. } = facts;
        prop_assert_eq!((vlan, protocol, src_port, dst_port, tcp_flags), built.facts);
        compare(&built.bytes);
    }

    #[test]
    fn a_spoilt_frame_is_read_as_etherparse_reads_it_or_refused(
        built in built(),
        (writes, cut) in mutations(),
    ) {
        let mut bytes = built.bytes;
        for (at, byte) in writes {
            // Headers are where it hurts.
            let at = at.index(bytes.len().min(100));
            bytes[at] = byte;
        }
        compare(&bytes);
        let cut = &bytes[..cut.index(bytes.len() + 1)];
        compare(cut);
        // A cut capture never says more than the whole frame.
        let judged = parse(FrameView { bytes: cut, wire_len: bytes.len() as u32 });
        match (judged, whole(&bytes)) {
            (Ok(cut), whole) => prop_assert_eq!(Ok(cut), whole),
            (Err(D::CaptureCut), _) => prop_assert!(cut.len() < bytes.len()),
            (Err(reason), whole) => prop_assert_eq!(Err(reason), whole),
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), more: u32) {
        compare(&bytes);
        let _ = parse(FrameView { bytes: &bytes, wire_len: more });
    }
}

#[test]
fn what_etherparse_reads_strictly_of_real_captures_is_read_or_refused_for_a_known_reason() {
    let mut judged = 0;
    each_shared_packet(|bytes| {
        compare(bytes);
        judged += 1;
        let strict = SlicedPacket::from_ethernet(bytes).is_ok_and(|p| p.transport.is_some());
        if let (true, Err(reason)) = (strict, whole(bytes)) {
            assert_eq!(reason, D::Fragment, "{bytes:02x?}");
        }
    });
    println!("{judged} packets compared");
}

#[test]
fn every_prefix_of_every_packet_of_real_captures_parses_without_panic() {
    each_shared_packet(|bytes| {
        for len in 0..bytes.len().min(256) {
            let _ = whole(&bytes[..len]);
            let _ = parse(FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 });
        }
    });
}

/// The packets of the captures that lie beside the repository, where there are some.
fn each_shared_packet(mut each: impl FnMut(&[u8])) {
    let Some(shared) = lab::need::shared("pcaps") else { return };
    for file in std::fs::read_dir(shared).expect("the directory can be listed") {
        let path = file.expect("the directory can be listed").path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            let mut capture = crate::capture::Capture::default();
            capture.read(&path, |_| {}).expect("the shared captures are whole");
            for record in capture.records() {
                each(capture.view(record).bytes);
            }
        }
    }
}
