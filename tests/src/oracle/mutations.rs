//! Good packets with one field changed. Checksums are made right again unless they are what is
//! changed, so that what looks at the field is asked, and not what looks at checksums.

use super::packet::{
    self, ETHERTYPE_IPV4, L3, flag, protocol, seal, seal_ip, seal_transport, transport,
};
use super::scripts::{Class, Connection, Script, Talk, Writer};
use fastrand::Rng;

/// Changes a frame; `false` where it has no such field.
type Change = fn(&mut Vec<u8>, &mut Rng) -> bool;

/// A mutated packet within, or before, good traffic of its conversation.
pub(super) fn script(writer: &mut Writer<'_>) -> Script {
    let numbers = [protocol::UDP, protocol::TCP, protocol::TCP, protocol::ICMP];
    let number = numbers[writer.rng.usize(0..numbers.len())];
    let mut talk = writer.talk(number);
    let mut tcp = Connection::new(writer.rng);
    if writer.rng.bool() {
        if is_tcp(&talk) {
            tcp.open(writer, &mut talk);
        } else {
            good(writer, &mut talk, &mut tcp, false);
            good(writer, &mut talk, &mut tcp, true);
        }
    }
    let first = talk.steps.is_empty();
    let mutated = talk.steps.len();
    if first && is_tcp(&talk) {
        let start = tcp;
        tcp.segment(writer, &mut talk, ("SYN", false, flag::SYN), &[]);
        tcp = start;
    } else {
        let start = tcp;
        good(writer, &mut talk, &mut tcp, false);
        tcp = start;
    }
    let step = &mut talk.steps[mutated];
    step.label = mutate(&mut step.frame, writer.rng);
    step.answer = false;
    // What the packet changed of the conversation's state shows in what comes after it.
    let after = talk.steps.len();
    if first && is_tcp(&talk) {
        tcp.segment(writer, &mut talk, ("SYN-ACK afterwards", true, flag::SYN | flag::ACK), &[]);
        talk.steps[after].answer = true;
    } else {
        good(writer, &mut talk, &mut tcp, false);
        good(writer, &mut talk, &mut tcp, true);
        talk.steps[after].answer = false;
    }
    talk.script(Class::Mutations)
}

fn is_tcp(talk: &Talk) -> bool {
    talk.protocol == protocol::TCP
}

/// A good packet of the conversation.
fn good(writer: &mut Writer<'_>, talk: &mut Talk, tcp: &mut Connection, back: bool) {
    match talk.protocol {
        protocol::UDP => {
            let ports = talk.ports(back);
            let payload = writer.payload();
            writer.say(talk, "UDP", back, packet::udp(ports.0, ports.1, &payload));
        }
        protocol::TCP => {
            let payload = [3; 24];
            tcp.segment(writer, talk, ("data", back, flag::PSH | flag::ACK), &payload);
        }
        _ if back => writer.reply(talk, 7),
        _ => writer.ask(talk, 7),
    }
}

/// Changes one field of `frame`: which, in words.
fn mutate(frame: &mut Vec<u8>, rng: &mut Rng) -> &'static str {
    let layers = [ETHERNET, IPV4, IPV6, TCP, UDP, ICMP];
    loop {
        let changes = layers[rng.usize(0..layers.len())];
        let (label, change) = changes[rng.usize(0..changes.len())];
        if change(frame, rng) {
            return label;
        }
    }
}

const ETHERNET: &[(&str, Change)] = &[
    ("Ethernet destination of another station", |f, _| put(f, 0, &[2, 9, 9, 9, 9, 9])),
    ("Ethernet destination broadcast", |f, _| put(f, 0, &[0xff; 6])),
    ("Ethernet destination multicast", |f, _| put(f, 0, &[1, 0, 0x5e, 1, 1, 1])),
    ("Ethernet source zero", |f, _| put(f, 6, &[0; 6])),
    ("Ethernet source multicast", |f, _| put(f, 6, &[3, 9, 9, 9, 9, 9])),
    ("EtherType", |f, rng| {
        let kinds: [u16; 6] = [0x0806, 0x8035, 0x8847, 0x88cc, 0x0802, 0x86dd];
        put(f, 12, &kinds[rng.usize(0..kinds.len())].to_be_bytes())
    }),
    ("802.3 length instead of the EtherType", |f, _| {
        let length = (f.len() - 14) as u16;
        put(f, 12, &length.to_be_bytes())
    }),
    ("a VLAN tag", |f, rng| tag(f, &[[0x81, 0, 0, rng.u8(1..=200)]])),
    ("a priority tag", |f, _| tag(f, &[[0x81, 0, 0x60, 0]])),
    ("a service tag", |f, rng| tag(f, &[[0x88, 0xa8, 0, rng.u8(1..=200)]])),
    ("two VLAN tags", |f, rng| tag(f, &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, rng.u8(..)]])),
    ("three VLAN tags", |f, _| tag(f, &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6], [0x81, 0, 0, 7]])),
    ("padding after the packet", |f, rng| {
        f.extend(vec![0xaa; rng.usize(1..40)]);
        true
    }),
    ("the frame cut short", |f, rng| {
        f.truncate(rng.usize(L3..f.len()));
        true
    }),
];

const IPV4: &[(&str, Change)] = &[
    ("IPv4 version", |f, rng| v4(f, |f| f[L3] = rng.u8(0..16) << 4 | 5)),
    ("IPv4 header length", |f, rng| {
        v4(f, |f| {
            f[L3] = 0x40 | rng.u8(0..16);
            seal_ip(f);
        })
    }),
    ("IPv4 DSCP and ECN", |f, rng| v4(f, |f| f[L3 + 1] = rng.u8(..))),
    ("IPv4 total length", |f, rng| {
        v4(f, |f| {
            let length = u16::from_be_bytes([f[L3 + 2], f[L3 + 3]]);
            let lengths = [0, 19, 20, 21, length - 1, length + 1, length.wrapping_add(100), 65_535];
            put(f, L3 + 2, &lengths[rng.usize(0..8)].to_be_bytes());
            seal_ip(f);
        })
    }),
    ("IPv4 identification", |f, rng| v4(f, |f| f[L3 + 4..L3 + 6].fill(rng.u8(..)))),
    ("IPv4 reserved flag", |f, _| v4(f, |f| f[L3 + 6] |= 0x80)),
    ("IPv4 without DF", |f, _| v4(f, |f| f[L3 + 6] = 0)),
    ("IPv4 more fragments", |f, _| v4(f, |f| f[L3 + 6] = 0x20)),
    ("IPv4 fragment offset", |f, rng| v4(f, |f| f[L3 + 7] = rng.u8(1..))),
    ("IPv4 TTL", |f, rng| v4(f, |f| f[L3 + 8] = [0, 1, 2, 255][rng.usize(0..4)])),
    ("IPv4 protocol", |f, rng| v4(f, |f| f[L3 + 9] = rng.u8(..))),
    ("IPv4 header checksum", |f, rng| v4(f, |_| ()) && flip(f, L3 + 10, rng)),
    ("IPv4 source that is none", |f, rng| address(f, L3 + 12, rng)),
    ("IPv4 destination that is none", |f, rng| address(f, L3 + 16, rng)),
    ("IPv4 option no-operation", |f, _| option(f, &[1, 1, 1, 0])),
    ("IPv4 option record route", |f, _| option(f, &[7, 7, 4, 0, 0, 0, 0, 0])),
    ("IPv4 option loose source route", |f, _| option(f, &[131, 7, 4, 10, 0, 0, 1, 0])),
    ("IPv4 option strict source route", |f, _| option(f, &[137, 7, 4, 10, 0, 0, 1, 0])),
    ("IPv4 option timestamp", |f, _| option(f, &[68, 8, 5, 0, 0, 0, 0, 0])),
    ("IPv4 option router alert", |f, _| option(f, &[148, 4, 0, 0])),
    ("IPv4 option of a wrong length", |f, rng| option(f, &[7, rng.u8(..), 4, 0])),
    ("IPv4 option unknown", |f, rng| option(f, &[rng.u8(30..60), 4, 0, 0])),
];

const IPV6: &[(&str, Change)] = &[
    ("IPv6 version", |f, rng| v6(f, |f| f[L3] = rng.u8(0..16) << 4)),
    ("IPv6 traffic class", |f, rng| v6(f, |f| f[L3] = 0x60 | rng.u8(0..16))),
    ("IPv6 flow label", |f, rng| v6(f, |f| f[L3 + 1] |= rng.u8(0..16))),
    ("IPv6 payload length", |f, rng| {
        v6(f, |f| {
            let length = u16::from_be_bytes([f[L3 + 4], f[L3 + 5]]);
            let lengths = [0, 1, length - 1, length + 1, length + 100, 65_535];
            put(f, L3 + 4, &lengths[rng.usize(0..6)].to_be_bytes());
        })
    }),
    ("IPv6 next header", |f, rng| v6(f, |f| f[L3 + 6] = rng.u8(..))),
    ("IPv6 hop limit", |f, rng| v6(f, |f| f[L3 + 7] = [0, 1, 2, 255][rng.usize(0..4)])),
    ("IPv6 source that is none", |f, rng| address6(f, L3 + 8, rng)),
    ("IPv6 destination that is none", |f, rng| address6(f, L3 + 24, rng)),
    ("IPv6 hop-by-hop options", |f, _| extend(f, &[(0, PADDING)])),
    ("IPv6 destination options", |f, _| extend(f, &[(60, PADDING)])),
    ("IPv6 hop-by-hop options twice", |f, _| extend(f, &[(0, PADDING), (0, PADDING)])),
    ("IPv6 hop-by-hop options not first", |f, _| extend(f, &[(60, PADDING), (0, PADDING)])),
    ("IPv6 destination options twice", |f, _| extend(f, &[(60, PADDING), (60, PADDING)])),
    ("IPv6 destination options four times", |f, _| extend(f, &[(60, PADDING); 4])),
    ("IPv6 nine extension headers", |f, _| extend(f, &[(60, PADDING); 9])),
    ("IPv6 routing header of type 0", |f, _| extend(f, &[(43, [0, 0, 0, 0, 0, 0])])),
    ("IPv6 routing header of type 0, segments left", |f, _| extend(f, &[(43, [0, 1, 0, 0, 0, 0])])),
    ("IPv6 routing header of type 2", |f, _| extend(f, &[(43, [2, 0, 0, 0, 0, 0])])),
    ("IPv6 atomic fragment", |f, rng| extend(f, &[(44, [0, 0, 0, 0, 0, rng.u8(..)])])),
    ("IPv6 first fragment", |f, rng| extend(f, &[(44, [0, 1, 0, 0, 0, rng.u8(..)])])),
    ("IPv6 later fragment", |f, rng| extend(f, &[(44, [0, 8, 0, 0, 0, rng.u8(..)])])),
    ("IPv6 mobility header", |f, _| extend(f, &[(135, [0, 0, 0, 0, 0, 0])])),
    ("IPv6 host identity header", |f, _| extend(f, &[(139, [0, 0, 0, 0, 0, 0])])),
    ("IPv6 no next header", |f, _| v6(f, |f| f[L3 + 6] = 59)),
    ("IPv6 router alert", |f, _| extend(f, &[(0, [5, 2, 0, 0, 1, 0])])),
    ("IPv6 unknown option to be discarded", |f, _| extend(f, &[(0, [0x7e, 4, 0, 0, 0, 0])])),
];

const TCP: &[(&str, Change)] = &[
    ("TCP source port 0", |f, _| l4(f, protocol::TCP, |f, at| f[at..at + 2].fill(0))),
    ("TCP destination port 0", |f, _| l4(f, protocol::TCP, |f, at| f[at + 2..at + 4].fill(0))),
    ("TCP destination port", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 3] ^= rng.u8(1..))),
    ("TCP sequence number", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 4] ^= rng.u8(1..))),
    ("TCP acknowledgement number", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 8] ^= rng.u8(1..))),
    ("TCP data offset", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 12] = rng.u8(0..16) << 4)),
    ("TCP reserved bits", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 12] |= rng.u8(1..16))),
    ("TCP flags", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 13] = rng.u8(..))),
    ("TCP flags", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 13] = rng.u8(0..64))),
    ("TCP urgent flag", |f, _| l4(f, protocol::TCP, |f, at| f[at + 13] |= flag::URG)),
    ("TCP ECE and CWR", |f, _| l4(f, protocol::TCP, |f, at| f[at + 13] |= 0xc0)),
    ("TCP window", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 14..at + 16].fill(rng.u8(..)))),
    ("TCP urgent pointer", |f, rng| l4(f, protocol::TCP, |f, at| f[at + 18] = rng.u8(1..))),
    ("TCP checksum", |f, rng| bad_checksum(f, protocol::TCP, 16, rng)),
    ("TCP option broken", |f, rng| {
        l4(f, protocol::TCP, |f, at| {
            if f[at + 12] >> 4 > 5 {
                f[at + 21] = rng.u8(..);
            }
        })
    }),
    ("TCP header cut short", |f, rng| cut(f, protocol::TCP, rng.usize(0..20))),
];

const UDP: &[(&str, Change)] = &[
    ("UDP source port 0", |f, _| l4(f, protocol::UDP, |f, at| f[at..at + 2].fill(0))),
    ("UDP destination port 0", |f, _| l4(f, protocol::UDP, |f, at| f[at + 2..at + 4].fill(0))),
    ("UDP destination port", |f, rng| l4(f, protocol::UDP, |f, at| f[at + 3] ^= rng.u8(1..))),
    ("UDP length", |f, rng| {
        l4(f, protocol::UDP, |f, at| {
            let length = u16::from_be_bytes([f[at + 4], f[at + 5]]);
            let lengths = [0, 7, 8, length - 1, length + 1, 65_535];
            put(f, at + 4, &lengths[rng.usize(0..6)].to_be_bytes());
        })
    }),
    ("UDP checksum", |f, rng| bad_checksum(f, protocol::UDP, 6, rng)),
    ("UDP checksum left out", |f, _| match transport(f) {
        Some((protocol::UDP, at)) if f.len() >= at + 8 => put(f, at + 6, &[0, 0]),
        _ => false,
    }),
    ("UDP header cut short", |f, rng| cut(f, protocol::UDP, rng.usize(0..8))),
];

const ICMP: &[(&str, Change)] = &[
    ("ICMP type", |f, rng| l4_icmp(f, |f, at| f[at] = rng.u8(..))),
    ("ICMP code", |f, rng| l4_icmp(f, |f, at| f[at + 1] = rng.u8(..))),
    ("ICMP identifier", |f, rng| l4_icmp(f, |f, at| f[at + 4] ^= rng.u8(1..))),
    ("ICMP checksum", |f, rng| {
        bad_checksum(f, protocol::ICMP, 2, rng) || bad_checksum(f, protocol::ICMPV6, 2, rng)
    }),
    ("ICMP header cut short", |f, rng| {
        let left = rng.usize(0..8);
        cut(f, protocol::ICMP, left) || cut(f, protocol::ICMPV6, left)
    }),
];

/// Six bytes of padding: PadN with four (RFC 8200, 4.2).
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) -> bool {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    true
}

fn tag(frame: &mut Vec<u8>, tags: &[[u8; 4]]) -> bool {
    frame.splice(12..12, tags.concat());
    true
}

fn is_v4(frame: &[u8]) -> bool {
    frame[12..14] == ETHERTYPE_IPV4.to_be_bytes()
}

/// Changes an IPv4 header and makes its checksum right.
fn v4(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    if !is_v4(frame) {
        return false;
    }
    change(frame);
    seal_ip(frame);
    true
}

fn v6(frame: &mut [u8], change: impl FnOnce(&mut [u8])) -> bool {
    let is_v6 = !is_v4(frame);
    if is_v6 {
        change(frame);
    }
    is_v6
}

/// Changes a header of `protocol` and makes its checksum right.
fn l4(frame: &mut [u8], protocol: u8, change: impl FnOnce(&mut [u8], usize)) -> bool {
    match transport(frame) {
        Some((found, at)) if found == protocol => {
            change(frame, at);
            seal_transport(frame, protocol, at);
            true
        }
        _ => false,
    }
}

fn l4_icmp(frame: &mut [u8], change: impl FnOnce(&mut [u8], usize)) -> bool {
    match transport(frame) {
        Some((found @ (protocol::ICMP | protocol::ICMPV6), _)) => l4(frame, found, change),
        _ => false,
    }
}

/// Changes one bit of the two bytes at `at`.
fn flip(frame: &mut [u8], at: usize, rng: &mut Rng) -> bool {
    frame[at + rng.usize(0..2)] ^= 1 << rng.u8(0..8);
    true
}

fn bad_checksum(frame: &mut [u8], protocol: u8, offset: usize, rng: &mut Rng) -> bool {
    match transport(frame) {
        Some((found, at)) if found == protocol => flip(frame, at + offset, rng),
        _ => false,
    }
}

/// Leaves `left` bytes of the transport header; the IP header says so.
fn cut(frame: &mut Vec<u8>, protocol: u8, left: usize) -> bool {
    let Some((found, at)) = transport(frame) else { return false };
    if found != protocol {
        return false;
    }
    frame.truncate(at + left);
    set_length(frame);
    true
}

/// Has the IP header tell the length that the frame has.
fn set_length(frame: &mut [u8]) {
    if is_v4(frame) {
        let length = (frame.len() - L3) as u16;
        put(frame, L3 + 2, &length.to_be_bytes());
        seal_ip(frame);
    } else {
        let length = (frame.len() - L3 - 40) as u16;
        put(frame, L3 + 4, &length.to_be_bytes());
    }
}

fn address(frame: &mut [u8], at: usize, rng: &mut Rng) -> bool {
    const NONE: [[u8; 4]; 8] = [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [239, 1, 2, 3],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
        [169, 254, 1, 1],
    ];
    is_v4(frame) && put(frame, at, &NONE[rng.usize(0..NONE.len())]) && sealed(frame)
}

fn address6(frame: &mut [u8], at: usize, rng: &mut Rng) -> bool {
    const NONE: [[u8; 16]; 6] = [
        [0; 16],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
    ];
    !is_v4(frame) && put(frame, at, &NONE[rng.usize(0..NONE.len())]) && sealed(frame)
}

fn sealed(frame: &mut [u8]) -> bool {
    seal(frame);
    true
}

/// Puts options into the IPv4 header.
fn option(frame: &mut Vec<u8>, options: &[u8]) -> bool {
    if !is_v4(frame) {
        return false;
    }
    frame.splice(L3 + 20..L3 + 20, options.iter().copied());
    frame[L3] += (options.len() / 4) as u8;
    set_length(frame);
    true
}

/// Puts extension headers of eight bytes between the IPv6 header and the transport's: their
/// numbers, and what follows their first two bytes.
fn extend(frame: &mut Vec<u8>, headers: &[(u8, [u8; 6])]) -> bool {
    if is_v4(frame) {
        return false;
    }
    let last = frame[L3 + 6];
    let following = headers[1..].iter().map(|(number, _)| *number).chain([last]);
    let bytes: Vec<u8> = headers
        .iter()
        .zip(following)
        .flat_map(|((_, rest), next)| [&[next, 0], &rest[..]].concat())
        .collect();
    frame[L3 + 6] = headers[0].0;
    frame.splice(L3 + 40..L3 + 40, bytes);
    set_length(frame);
    true
}
