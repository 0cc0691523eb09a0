//! The parser against etherparse, which was written by others from the same RFCs: frames that it
//! builds, and frames spoilt, read by both.

use super::*;
use etherparse::{
    Ethernet2Header, IpDscp, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header,
    Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions,
    LaxNetSlice, LaxSlicedPacket, PacketBuilder, PacketBuilderStep, SlicedPacket, TcpHeader,
    TransportSlice, VlanId,
};
use proptest::prelude::*;

/// What both parsers can say of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    macs: [[u8; 6]; 2],
    vlan: u32,
    src: u128,
    dst: u128,
    dscp: u8,
    hop_limit: u8,
    protocol: u8,
    partial: bool,
    /// Length of the IP payload behind extension headers.
    l4_len: usize,
    src_port: u16,
    dst_port: u16,
    /// Sequence, acknowledgement, window, flags and bytes of data.
    tcp: Option<(u32, u32, u16, u8, usize)>,
}

fn ours(bytes: &[u8]) -> Option<Facts> {
    let Parsed { src_mac, dst_mac, vlan, content } = whole(bytes).ok()?;
    let Content::Ip(packet) = content else { return None };
    let tcp = match packet.l4 {
        L4::Tcp(tcp) => Some((tcp.seq, tcp.ack, tcp.window, tcp.flags, tcp.payload.into())),
        _ => None,
    };
    Some(Facts {
        macs: [src_mac, dst_mac],
        vlan,
        src: packet.src,
        dst: packet.dst,
        dscp: packet.dscp,
        hop_limit: packet.hop_limit,
        protocol: packet.protocol,
        partial: packet.is_partial(),
        l4_len: packet.l4_len.into(),
        src_port: packet.src_port,
        dst_port: packet.dst_port,
        tcp,
    })
}

/// What etherparse reads of a frame that carries IP.
fn theirs(bytes: &[u8]) -> Option<Facts> {
    let packet = LaxSlicedPacket::from_ethernet(bytes).ok()?;
    let link = packet.link.as_ref()?.to_header()?.ethernet2()?;
    let vlan = packet.vlan_ids().iter().fold(0, |vlan, id| vlan << 16 | u32::from(id.value()));
    let (src, dst, dscp, hop_limit) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let address = |octets: [u8; 4]| u128::from(u32::from_be_bytes(octets));
            (address(header.source()), address(header.destination()), header.dcp(), header.ttl())
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let address = u128::from_be_bytes;
            (
                address(header.source()),
                address(header.destination()),
                header.dscp(),
                header.hop_limit(),
            )
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let payload = packet.ip_payload()?;
    assert!(!payload.incomplete, "a packet longer than its frame was accepted");
    let mut tcp = None;
    let (src_port, dst_port) = match &packet.transport {
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Tcp(header)) => {
            let h = header;
            let flags = [h.fin(), h.syn(), h.rst(), h.psh(), h.ack(), h.urg(), h.ece(), h.cwr()];
            let bits = flags.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum();
            let data = h.payload().len();
            tcp =
                Some((h.sequence_number(), h.acknowledgment_number(), h.window_size(), bits, data));
            (h.source_port(), h.destination_port())
        }
        Some(TransportSlice::Icmpv4(icmp)) => (icmp.type_u8().into(), icmp.code_u8().into()),
        Some(TransportSlice::Icmpv6(icmp)) => (icmp.type_u8().into(), icmp.code_u8().into()),
        // etherparse does not know SCTP: its ports stand where UDP's do.
        _ if payload.ip_number.0 == 132 && !payload.fragmented => {
            let port = |at| u16::from_be_bytes([payload.payload[at], payload.payload[at + 1]]);
            (port(0), port(2))
        }
        _ => (0, 0),
    };
    Some(Facts {
        macs: [link.source, link.destination],
        vlan,
        src,
        dst,
        dscp: dscp.value(),
        hop_limit,
        protocol: payload.ip_number.0,
        partial: payload.fragmented,
        l4_len: payload.payload.len(),
        src_port,
        dst_port,
        tcp,
    })
}

/// Where the two differ by choice: etherparse looks behind authentication headers, which to us are
/// a protocol, into the data of first fragments, and reads an ICMPv4 timestamp as an error unless it
/// has just its 20 bytes.
fn incomparable(ours: &Facts) -> bool {
    let icmp_timestamp = ours.protocol == 1 && matches!(ours.src_port, 13 | 14);
    ours.protocol == 51 || icmp_timestamp
}

/// Panics unless both agree on `bytes` as far as both understand them.
fn compare(bytes: &[u8]) {
    let Some(ours) = ours(bytes) else { return };
    let theirs = theirs(bytes).expect("etherparse finds addresses where we do");
    assert_eq!((ours.src, ours.dst, ours.vlan), (theirs.src, theirs.dst, theirs.vlan));
    if incomparable(&ours) {
        return;
    }
    if ours.partial {
        // A first fragment's headers are its datagram's: only where it is is compared.
        assert!(theirs.partial);
        assert_eq!((ours.dscp, ours.hop_limit), (theirs.dscp, theirs.hop_limit));
        return;
    }
    assert_eq!(ours, theirs);
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp(TcpHeader),
    Udp(u16, u16),
    Echo(bool, u16),
}

fn transport() -> impl Strategy<Value = Transport> {
    let port = || 1u16..;
    let flags = prop::sample::select(vec![0x02u8, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x30, 0xc2]);
    let options = prop_oneof![
        Just(vec![]),
        Just(vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
        Just(vec![2, 4, 5, 0xb4, 1, 3, 3, 7]),
    ];
    let segment = (port(), port(), any::<(u32, u32, u16)>(), flags, options).prop_map(
        |(src, dst, (seq, ack, window), flags, options)| {
            let mut header = TcpHeader::new(src, dst, seq, window);
            header.acknowledgment_number = ack;
            let bit = |bit: u8| flags >> bit & 1 == 1;
            (header.fin, header.syn, header.rst, header.psh) = (bit(0), bit(1), bit(2), bit(3));
            (header.ack, header.urg, header.ece, header.cwr) = (bit(4), bit(5), bit(6), bit(7));
            header.set_options_raw(&options).expect("they are short");
            Transport::Tcp(header)
        },
    );
    prop_oneof![
        3 => segment,
        3 => (port(), port()).prop_map(|(src, dst)| Transport::Udp(src, dst)),
        1 => any::<(bool, u16)>().prop_map(|(request, id)| Transport::Echo(request, id)),
    ]
}

fn raw_header(first: u8, units: usize) -> Ipv6RawExtHeader {
    // Padding options, or a routing header of type 1 without segments left.
    let mut content = vec![first, 4, 0, 0, 0, 0];
    for _ in 0..units {
        content.extend([0x1e, 6, 1, 2, 3, 4, 5, 6]);
    }
    if first != 1 {
        content[1] = 0;
    }
    Ipv6RawExtHeader::new_raw(IpNumber(0), &content).expect("it is of a right length")
}

fn network() -> impl Strategy<Value = IpHeaders> {
    let v4 = (any::<[u8; 3]>(), any::<[u8; 3]>(), 0u8..64, 1u8.., any::<bool>()).prop_map(
        |(src, dst, dscp, ttl, dont_fragment)| {
            let address = |first, [b, c, d]: [u8; 3]| [first, b, c, d];
            let mut header =
                Ipv4Header::new(0, ttl, IpNumber(0), address(10, src), address(11, dst))
                    .expect("a length of 0 fits");
            header.dscp = IpDscp::try_new(dscp).expect("it has six bits");
            header.dont_fragment = dont_fragment;
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        },
    );
    let extensions = (any::<[bool; 5]>(), 0usize..3).prop_map(|(has, units)| Ipv6Extensions {
        hop_by_hop_options: has[0].then(|| raw_header(1, 0)),
        destination_options: (has[1] && (has[2] || !has[3])).then(|| raw_header(1, units)),
        routing: has[2].then(|| Ipv6RoutingExtensions {
            routing: raw_header(4, units),
            final_destination_options: has[3].then(|| raw_header(1, units)),
        }),
        fragment: has[4]
            .then(|| Ipv6FragmentHeader::new(IpNumber(0), IpFragOffset::ZERO, false, 77)),
        auth: None,
    });
    let v6 = (any::<[u8; 15]>(), any::<[u8; 15]>(), any::<u8>(), 1u8.., extensions).prop_map(
        |(src, dst, traffic_class, hop_limit, extensions)| {
            let address = |first: u8, rest: [u8; 15]| {
                let mut octets = [first; 16];
                octets[1..].copy_from_slice(&rest);
                octets
            };
            let header = Ipv6Header {
                traffic_class,
                hop_limit,
                source: address(0xfc, src),
                destination: address(0xfd, dst),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, extensions)
        },
    );
    prop_oneof![v4, v6]
}

/// A frame built by etherparse, and what was put into it: tags, ports, bytes of payload.
#[derive(Clone, Debug)]
struct Built {
    bytes: Vec<u8>,
    vlan: u32,
    protocol: u8,
    ports: (u16, u16),
    data: usize,
}

fn built() -> impl Strategy<Value = Built> {
    let vlans = prop::collection::vec(1u16..4095, 0..=2);
    let data = prop::collection::vec(any::<u8>(), 0..64);
    (vlans, network(), transport(), data, 0usize..20).prop_map(
        |(vlans, network, transport, data, padding)| {
            let v4 = matches!(network, IpHeaders::Ipv4(..));
            let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
            let network = with_tags(link, &vlans, network);
            let mut bytes = Vec::new();
            let (protocol, ports) = match transport {
                Transport::Tcp(header) => {
                    let ports = (header.source_port, header.destination_port);
                    network.tcp_header(header).write(&mut bytes, &data).expect("it fits");
                    (6, ports)
                }
                Transport::Udp(src, dst) => {
                    network.udp(src, dst).write(&mut bytes, &data).expect("it fits");
                    (17, (src, dst))
                }
                Transport::Echo(request, id) => {
                    let (four, six) = if request { (8, 128) } else { (0, 129) };
                    let rest = [(id >> 8) as u8, id as u8, 0, 1];
                    if v4 {
                        let message = network.icmpv4_raw(four, 0, rest);
                        message.write(&mut bytes, &data).expect("it fits");
                        (1, (four.into(), 0))
                    } else {
                        let message = network.icmpv6_raw(six, 0, rest);
                        message.write(&mut bytes, &data).expect("it fits");
                        (58, (six.into(), 0))
                    }
                }
            };
            bytes.extend(std::iter::repeat_n(0x5a, padding));
            let vlan = vlans.iter().fold(0, |sum, id| sum << 16 | u32::from(*id));
            Built { bytes, vlan, protocol, ports, data: data.len() }
        },
    )
}

fn with_tags(
    link: PacketBuilderStep<Ethernet2Header>,
    vlans: &[u16],
    network: IpHeaders,
) -> PacketBuilderStep<IpHeaders> {
    let id = |id: u16| VlanId::try_new(id).expect("it has twelve bits");
    match *vlans {
        [] => link.ip(network),
        [only] => link.single_vlan(id(only)).ip(network),
        [outer, inner, ..] => link.double_vlan(id(outer), id(inner)).ip(network),
    }
}

/// Bytes overwritten, and a cut.
fn mutations() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, prop::sample::Index)> {
    let byte = prop_oneof![any::<u8>(), Just(0u8), Just(0xff), Just(0x45), Just(44), Just(6)];
    (
        prop::collection::vec((any::<prop::sample::Index>(), byte), 0..6),
        any::<prop::sample::Index>(),
    )
}

proptest! {
    #![proptest_config(super::random::config(4096))]

    #[test]
    fn a_frame_is_read_as_etherparse_built_it_and_as_it_reads_it(built in built()) {
        let packet = packet_of(whole(&built.bytes));
        prop_assert_eq!(packet.protocol, built.protocol);
        prop_assert_eq!((packet.src_port, packet.dst_port), built.ports);
        prop_assert_eq!(whole(&built.bytes).map(|parsed| parsed.vlan), Ok(built.vlan));
        let header = match packet.l4 {
            L4::Tcp(segment) => usize::from(packet.l4_len) - usize::from(segment.payload),
            _ => 8,
        };
        prop_assert_eq!(usize::from(packet.l4_len), header + built.data);
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
        compare(&sealed(bytes.clone()));
        compare(&bytes[..cut.index(bytes.len() + 1)]);
    }
}

#[test]
fn real_captures_are_read_as_etherparse_reads_them_or_refused_for_a_known_reason() {
    let mut judged = 0;
    let mut refused = std::collections::BTreeMap::new();
    each_shared_packet(|bytes| {
        compare(bytes);
        judged += 1;
        let strict = SlicedPacket::from_ethernet(bytes).is_ok_and(|p| p.transport.is_some());
        if let (true, Err(reason)) = (strict, whole(bytes)) {
            *refused.entry(reason.as_str()).or_insert(0) += 1;
        }
    });
    println!("{judged} packets compared, refused {refused:?}");
}

#[test]
fn every_prefix_of_every_packet_of_real_captures_parses_without_panic() {
    each_shared_packet(|bytes| {
        for len in 0..bytes.len().min(256) {
            let _ = whole(&bytes[..len]);
            let _ =
                parse(FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 }, &STRICT);
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
