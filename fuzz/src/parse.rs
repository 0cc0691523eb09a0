//! The parser over frames of any bytes and every set of options.
//!
//! Input: what is asked ([`HEAD`] bytes), then the frame. Most mutations break a checksum; a bit
//! has them, and the lengths, [set right](crate::seal) first.

use crate::seal::seal;
use classifier::Family;
use dataplane::fuzzing::parse::{Content, IpPacket, L4, Parsed, SctpPacket, parse};
use dataplane::{Checksums, DropReason, FrameView, Ipv4Options, ParseOptions, Tunnels};
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// Bytes before the frame: checksums and what is repaired, options that pass, bytes that a snap
/// length cut, longest frame.
pub const HEAD: usize = 4;
/// Set lengths and checksums right, and nothing else: what seeds ask for.
pub const REPAIRED: [u8; HEAD] = [0b0000_1100, 0, 0, 0];

/// Reads a frame under the options that `data` asks for, under the strictest and under the
/// loosest.
///
/// # Panics
/// When something does not hold that holds of every frame.
pub fn run(data: &[u8]) -> bool {
    let Some((&head, bytes)) = data.split_first_chunk::<HEAD>() else { return false };
    let mut bytes = bytes.to_vec();
    let asked = Asked::read(head);
    if asked.checksums_right {
        seal(&mut bytes, asked.lengths_right);
    }
    let frame = FrameView { bytes: &bytes, wire_len: bytes.len() as u32 + asked.cut };
    let options = &asked.options;
    let found = parse(frame, options);
    if let Ok(parsed) = &found {
        assert_within(parsed, frame);
        if asked.cut == 0 {
            assert_as_etherparse(parsed, &bytes);
        }
        assert_eq!(parse(frame, &LOOSEST), found, "looser options change what is read");
    }
    if options.max_frame >= ParseOptions::STRICT.max_frame {
        let strict = parse(frame, &ParseOptions::STRICT);
        assert!(strict.is_err() || strict == found, "{strict:?} by the strictest, {found:?}");
    }
    if asked.cut == 0 {
        assert_padding_is_nothing(&bytes, options, found);
    } else {
        assert_cut_says_no_more(&bytes, frame, options, found);
    }
    true
}

const LOOSEST: ParseOptions = ParseOptions {
    max_frame: u32::MAX,
    checksums: Checksums::Off,
    ipv4_options: IPV4_OPTIONS[0]
        .with(IPV4_OPTIONS[1])
        .with(IPV4_OPTIONS[2])
        .with(IPV4_OPTIONS[3])
        .with(IPV4_OPTIONS[4]),
    ipv6_hop_by_hop_options: true,
    ipv6_source_routes: true,
    ipv6_unknown_headers: true,
    inside: Tunnels::NONE,
};

const IPV4_OPTIONS: [Ipv4Options; 5] = [
    Ipv4Options::RECORD_ROUTE,
    Ipv4Options::LOOSE_SOURCE_ROUTE,
    Ipv4Options::STRICT_SOURCE_ROUTE,
    Ipv4Options::TIMESTAMP,
    Ipv4Options::ROUTER_ALERT,
];

struct Asked {
    options: ParseOptions,
    /// Bytes on the wire beyond those at hand.
    cut: u32,
    checksums_right: bool,
    lengths_right: bool,
}

impl Asked {
    fn read([how, what, cut, longest]: [u8; HEAD]) -> Self {
        let bit = |byte: u8, n: usize| byte >> n & 1 == 1;
        let allowed = (0..5).filter(|&n| bit(what, n)).map(|n| IPV4_OPTIONS[n]);
        let options = ParseOptions {
            max_frame: match longest {
                0 => ParseOptions::STRICT.max_frame,
                1 => u32::MAX,
                other => 8 * u32::from(other),
            },
            checksums: [Checksums::Verify, Checksums::AcceptPartial, Checksums::Off]
                [usize::from(how & 3) % 3],
            ipv4_options: allowed.fold(Ipv4Options::NONE, Ipv4Options::with),
            ipv6_hop_by_hop_options: bit(what, 5),
            ipv6_source_routes: bit(what, 6),
            ipv6_unknown_headers: bit(what, 7),
            inside: Tunnels::NONE,
        };
        Asked {
            options,
            cut: u32::from(cut),
            checksums_right: bit(how, 2),
            lengths_right: bit(how, 3),
        }
    }
}

/// Everything that is said of a frame is of the frame, and none of it contradicts the rest.
fn assert_within(parsed: &Parsed, frame: FrameView<'_>) {
    assert!(parsed.src_mac[0] & 1 == 0 && parsed.src_mac != [0; 6]);
    let [outer, only] = [parsed.vlan >> 16, parsed.vlan & 0xffff];
    assert!(outer < 0xfff && only < 0xfff && (outer == 0 || parsed.vlan != 0));
    let Content::Ip(packet) = &parsed.content else { return };
    let wire = frame.wire_len as usize;
    let end = |offset: u16, len: u16| usize::from(offset) + usize::from(len);
    let ip_header = if packet.family == Family::V4 { 20 } else { 40 };
    assert!(packet.l4_offset >= 14 + ip_header && end(packet.l4_offset, packet.l4_len) <= wire);
    assert!(usize::from(packet.length) + 14 <= wire && packet.length >= ip_header);
    // Only the last header of an IPv6 packet is shorter than the packet by more than its own.
    assert!(packet.l4_len <= packet.length - ip_header || packet.length == u16::MAX);
    assert!(packet.hop_limit > 0 && packet.dscp < 64);
    assert_ne!(packet.src, packet.dst);
    if packet.family == Family::V4 {
        assert!(packet.src.max(packet.dst) <= u32::MAX.into());
    }
    if let Some(fragment) = packet.fragment {
        assert!(fragment.offset.is_multiple_of(8) && fragment.header_len >= ip_header);
        assert!(end(fragment.payload_offset, fragment.payload_len) <= wire);
        assert!(fragment.payload_offset >= 14 + fragment.header_len);
        assert_eq!(fragment.is_atomic(), !packet.is_partial());
        assert!(packet.family == Family::V6 || packet.is_partial());
    }
    if packet.is_partial() {
        let fragment = packet.fragment.expect("a part has a place");
        assert_eq!(
            (packet.l4_offset, packet.l4_len),
            (fragment.payload_offset, fragment.payload_len)
        );
        assert_eq!((packet.src_port, packet.dst_port, packet.l4), (0, 0, L4::None));
        assert!(!packet.neighbour_discovery && packet.echo().is_none());
        return;
    }
    assert_transport(packet);
}

fn assert_transport(packet: &IpPacket) {
    let has_ports = matches!(packet.protocol, 6 | 17 | 132);
    assert!(!has_ports || (packet.src_port > 0 && packet.dst_port > 0));
    match packet.l4 {
        L4::Tcp(segment) => {
            assert!(packet.protocol == 6 && segment.payload + 20 <= packet.l4_len);
            assert!(segment.window_scale.is_none_or(|scale| scale <= 14 && segment.flags & 2 != 0));
            assert_eq!(packet.tcp_flags(), segment.flags);
        }
        L4::Icmp(icmp) => {
            let protocol = if packet.family == Family::V4 { 1 } else { 58 };
            assert!(packet.protocol == protocol && packet.l4_len >= 8);
            assert_eq!((packet.src_port, packet.dst_port), (icmp.kind.into(), icmp.code.into()));
            assert!(icmp.echo.is_none() || !icmp.is_error, "an echo that is an error");
        }
        L4::Sctp(SctpPacket { chunk, tag, .. }) => {
            assert!(packet.protocol == 132 && packet.l4_len >= 16 && (chunk == 1) == (tag == 0));
        }
        L4::None => assert!(!matches!(packet.protocol, 6 | 132)),
    }
    if packet.neighbour_discovery {
        assert!(packet.protocol == 58 && packet.hop_limit == 255 && packet.l4_len >= 24);
    }
}

/// What lies behind the packet is not read: the shortest frame that a wire takes is padded.
fn assert_padding_is_nothing(
    bytes: &[u8],
    options: &ParseOptions,
    found: Result<Parsed, DropReason>,
) {
    const SHORTEST: usize = 60;
    let Ok(Parsed { content: Content::Ip(_) | Content::Arp(_), .. }) = found else { return };
    for padding in [0, 0x5a] {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().max(SHORTEST), padding);
        // One more byte, for frames that are long enough.
        padded.push(padding);
        if padded.len() <= options.max_frame as usize {
            let frame = FrameView { bytes: &padded, wire_len: padded.len() as u32 };
            assert_eq!(parse(frame, options), found, "padding is read");
        }
    }
}

/// A frame that was cut is read as far as it goes, or is dropped for being cut: what is found in it
/// is what is found in the whole one, whatever was in the part that is not there.
fn assert_cut_says_no_more(
    bytes: &[u8],
    frame: FrameView<'_>,
    options: &ParseOptions,
    found: Result<Parsed, DropReason>,
) {
    if !matches!(found, Ok(Parsed { content: Content::Ip(_) | Content::Arp(_), .. })) {
        return;
    }
    let mut whole = bytes.to_vec();
    whole.resize(frame.wire_len as usize, 0);
    let whole = FrameView { bytes: &whole, ..frame };
    match parse(whole, options) {
        // The chunks of SCTP go on to the end, and a checksum is over all.
        Err(
            DropReason::TcpChecksum
            | DropReason::UdpChecksum
            | DropReason::IcmpChecksum
            | DropReason::SctpChecksum
            | DropReason::SctpChunk,
        ) => {}
        complete => assert_eq!(complete, found, "a cut frame is read otherwise"),
    }
}

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

/// What etherparse, which was written by others from the same RFCs, reads of a frame that carries
/// IP.
fn theirs(bytes: &[u8]) -> Option<Facts> {
    let packet = LaxSlicedPacket::from_ethernet(bytes).ok()?;
    let link = packet.link.as_ref()?.to_header()?.ethernet2()?;
    let vlan = packet.vlan_ids().iter().fold(0, |vlan, id| vlan << 16 | u32::from(id.value()));
    let v4 = |octets: [u8; 4]| u128::from(u32::from_be_bytes(octets));
    let (src, dst, dscp, hop_limit) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (v4(header.source()), v4(header.destination()), header.dcp(), header.ttl())
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let v6 = u128::from_be_bytes;
            (v6(header.source()), v6(header.destination()), header.dscp(), header.hop_limit())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let payload = packet.ip_payload()?;
    assert!(!payload.incomplete, "a packet longer than its frame was accepted");
    let mut tcp = None;
    let (src_port, dst_port) = match &packet.transport {
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Tcp(h)) => {
            let flags = [h.fin(), h.syn(), h.rst(), h.psh(), h.ack(), h.urg(), h.ece(), h.cwr()];
            let bits = flags.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum();
            let numbers = (h.sequence_number(), h.acknowledgment_number());
            tcp = Some((numbers.0, numbers.1, h.window_size(), bits, h.payload().len()));
            (h.source_port(), h.destination_port())
        }
        Some(TransportSlice::Icmpv4(icmp)) => (icmp.type_u8().into(), icmp.code_u8().into()),
        Some(TransportSlice::Icmpv6(icmp)) => (icmp.type_u8().into(), icmp.code_u8().into()),
        // etherparse does not know SCTP: its ports stand where UDP's do.
        _ if payload.ip_number.0 == 132 && !payload.fragmented => {
            let port = |nth| payload.payload.as_chunks::<2>().0.get(nth).copied();
            let number = |nth| u16::from_be_bytes(port(nth).unwrap_or_default());
            (number(0), number(1))
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

/// Both parsers agree on an accepted packet as far as both understand it.
fn assert_as_etherparse(parsed: &Parsed, bytes: &[u8]) {
    let Content::Ip(packet) = parsed.content else { return };
    let theirs = theirs(bytes).expect("etherparse finds addresses where we do");
    let tcp = match packet.l4 {
        L4::Tcp(tcp) => Some((tcp.seq, tcp.ack, tcp.window, tcp.flags, tcp.payload.into())),
        _ => None,
    };
    let ours = Facts {
        macs: [parsed.src_mac, parsed.dst_mac],
        vlan: parsed.vlan,
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
    };
    let ends =
        |facts: &Facts| (facts.macs, facts.vlan, facts.src, facts.dst, facts.dscp, facts.hop_limit);
    assert_eq!(ends(&ours), ends(&theirs));
    // A first fragment's headers are its datagram's: only where it is, is compared.
    if ours.partial {
        assert!(theirs.partial);
    } else if !differ_by_choice(&packet) {
        assert_eq!(ours, theirs);
    }
}

/// etherparse looks behind authentication headers and those for mobility, HIP and Shim6, which to
/// us are protocols; at ICMP whatever the family; reads an ICMPv4 timestamp as an error unless it
/// has just its 20 bytes; and takes an IPv6 payload length of 0 for a jumbogram's without its
/// option, where to RFC 8200 there is no payload.
fn differ_by_choice(packet: &IpPacket) -> bool {
    if packet.family == Family::V6 && packet.length == 40 {
        return true;
    }
    match (packet.protocol, packet.family) {
        (51, _) | (135 | 139 | 140, Family::V6) => true,
        (1, Family::V4) => matches!(packet.src_port, 13 | 14),
        (1, Family::V6) | (58, Family::V4) => true,
        _ => false,
    }
}
