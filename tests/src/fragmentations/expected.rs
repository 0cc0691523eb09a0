//! What a receiver is to get of the fragments that were sent, said by the RFCs and not by the
//! gateway's code: every pair of fragments is compared, in the order they were sent.

use super::datagram::{Ends, Fragment, OPTIONS, Service};
use crate::oracle::packet::protocol;
use std::collections::HashMap;
use std::net::IpAddr;

/// Most fragments of a datagram: the gateway's default.
const MOST_FRAGMENTS: usize = 64;
/// Most bytes of an IPv4 packet, and of what follows an IPv6 header.
const LONGEST: usize = 65_535;
/// Services that the policy allows: two ports of UDP, one of TCP, and echo requests.
pub(super) const ALLOWED: [Service; 5] = [
    Service { protocol: protocol::UDP, port: 7001 },
    Service { protocol: protocol::UDP, port: 7002 },
    Service { protocol: protocol::TCP, port: 7001 },
    Service { protocol: protocol::ICMP, port: 8 },
    Service { protocol: protocol::ICMPV6, port: 128 },
];
/// Services that it denies: by a rule, and because no rule allows them.
pub(super) const DENIED: [Service; 5] = [
    Service { protocol: protocol::UDP, port: 8001 },
    Service { protocol: protocol::UDP, port: 8002 },
    Service { protocol: protocol::TCP, port: 8001 },
    Service { protocol: protocol::ICMP, port: 13 },
    Service { protocol: protocol::ICMPV6, port: 139 },
];

/// A datagram as a receiver has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delivery {
    pub src: IpAddr,
    pub service: Service,
    /// Of UDP the payload, of the others the whole message.
    pub bytes: Vec<u8>,
}

/// Why a datagram does not reach its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fault {
    /// RFC 791, 3.2; RFC 8200, 4.5.
    Empty,
    /// A middle fragment of a length that is no multiple of 8 (RFC 791, 3.2; RFC 8200, 4.5).
    Length,
    /// RFC 791, 3.1; RFC 8200, 4.5.
    Oversize,
    /// RFC 1858, RFC 3128.
    Tiny,
    /// RFC 5722.
    Overlap,
    /// Two last fragments, or one before the end (RFC 815).
    End,
    /// RFC 3168, 5.3.
    Ecn,
    /// More than the gateway is configured to take.
    Count,
}

/// A datagram that is not whole yet.
#[derive(Default)]
struct Held<'a> {
    pieces: Vec<&'a Fragment>,
    fault: Option<Fault>,
}

/// What the receiver gets of `fragments`, sent one after another between `ends`.
pub(super) fn deliveries(ends: &Ends, fragments: &[Fragment]) -> Vec<Delivery> {
    let mut delivered = Vec::new();
    let mut all: HashMap<(u32, u8), Held<'_>> = HashMap::new();
    for fragment in fragments {
        if is_cut_short(ends, fragment) {
            continue;
        }
        if fragment.is_whole() {
            delivered.extend(deliver(ends, fragment.next, &fragment.data));
            continue;
        }
        // The next header is no part of an IPv6 datagram's identity (RFC 8200, 4.5).
        let key = (fragment.id, if ends.is_v6() { 0 } else { fragment.next });
        let held = all.entry(key).or_default();
        if held.fault.is_some() {
            continue;
        }
        match add(ends, &mut held.pieces, fragment) {
            Err(fault) => *held = Held { pieces: Vec::new(), fault: Some(fault) },
            Ok(()) => {
                if let Some((next, bytes)) = whole(&held.pieces) {
                    delivered.extend(deliver(ends, next, &bytes));
                    all.remove(&key);
                }
            }
        }
    }
    delivered
}

/// Whether an IPv6 first fragment ends before its headers do: such a packet is dropped by itself
/// (RFC 7112, 5), as any malformed one.
fn is_cut_short(ends: &Ends, fragment: &Fragment) -> bool {
    if !ends.is_v6() || fragment.start > 0 {
        return false;
    }
    match transport(fragment.next, &fragment.data) {
        None => true,
        Some((protocol, message)) => message.len() < header_length(protocol),
    }
}

/// Bytes of a transport header without options, which these datagrams do not have.
fn header_length(protocol: u8) -> usize {
    if protocol == protocol::TCP { 20 } else { 8 }
}

/// The transport protocol and message behind the extension headers of a fragmentable part.
fn transport(next: u8, bytes: &[u8]) -> Option<(u8, &[u8])> {
    if next != OPTIONS {
        return Some((next, bytes));
    }
    let rest = bytes.get(8 + 8 * usize::from(*bytes.get(1)?)..)?;
    Some((bytes[0], rest))
}

/// Adds `new` to the pieces of its datagram, unless it is a copy of one.
fn add<'a>(ends: &Ends, pieces: &mut Vec<&'a Fragment>, new: &'a Fragment) -> Result<(), Fault> {
    if new.data.is_empty() {
        return Err(Fault::Empty);
    }
    if new.more && !new.data.len().is_multiple_of(8) {
        return Err(Fault::Length);
    }
    let v4 = !ends.is_v6();
    let hides_flags = v4 && new.next == protocol::TCP && new.start == 8;
    let hides_ports = v4 && new.start == 0 && new.data.len() < header_length(new.next);
    if hides_flags || hides_ports {
        return Err(Fault::Tiny);
    }
    let all = || pieces.iter().copied().chain([new]);
    let reach = all().map(Fragment::end).max().unwrap_or(0);
    let first = all().find(|piece| piece.start == 0);
    let header = if v4 { 20 } else { first.map_or(0, Fragment::unfragmentable) };
    if header + reach > LONGEST {
        return Err(Fault::Oversize);
    }
    let mut last = all().filter(|piece| !piece.more);
    if let Some(end) = last.next().map(Fragment::end)
        && (end < reach || last.any(|other| other.end() != end))
    {
        return Err(Fault::End);
    }
    for old in pieces.iter() {
        if old.start < new.end() && new.start < old.end() {
            let same = (old.start, old.more, &old.data) == (new.start, new.more, &new.data);
            let same_next = new.start > 0 || old.next == new.next;
            return if same && same_next { Ok(()) } else { Err(Fault::Overlap) };
        }
    }
    // 0 says that the sender does not know ECN.
    if all().any(|piece| (piece.ecn == 0) != (new.ecn == 0)) {
        return Err(Fault::Ecn);
    }
    if pieces.len() >= MOST_FRAGMENTS {
        return Err(Fault::Count);
    }
    pieces.push(new);
    Ok(())
}

/// The next header and the bytes of pieces that tile their datagram.
fn whole(pieces: &[&Fragment]) -> Option<(u8, Vec<u8>)> {
    let end = pieces.iter().find(|piece| !piece.more)?.end();
    if pieces.iter().map(|piece| piece.data.len()).sum::<usize>() != end {
        return None;
    }
    let mut bytes = vec![0; end];
    for piece in pieces {
        bytes[piece.start..piece.end()].copy_from_slice(&piece.data);
    }
    // No two overlap and none ends behind the end: one of them is the first.
    let first = pieces.iter().find(|piece| piece.start == 0)?;
    Some((first.next, bytes))
}

/// What becomes of a datagram that is whole.
fn deliver(ends: &Ends, next: u8, bytes: &[u8]) -> Option<Delivery> {
    let (protocol, message) = transport(next, bytes)?;
    let be16 = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let port = match protocol {
        protocol::UDP | protocol::TCP => be16(2)?,
        _ => u16::from(*message.first()?),
    };
    if protocol == protocol::UDP && usize::from(be16(4)?) != message.len() {
        return None;
    }
    let unmade = protocol == protocol::UDP && !ends.is_v6() && be16(6)? == 0;
    if !unmade && ends.checksum(protocol, message) != 0 {
        return None;
    }
    let service = Service { protocol, port };
    let skipped = if protocol == protocol::UDP { 8 } else { 0 };
    let bytes = message[skipped..].to_vec();
    ALLOWED.contains(&service).then_some(Delivery { src: ends.src, service, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::packet::udp;

    const LENGTH: usize = 40;

    fn ends() -> Ends {
        Ends::new(false, 1)
    }

    /// A UDP datagram of 40 bytes to an allowed port, and its bytes.
    fn datagram() -> Vec<u8> {
        let mut bytes = udp(1000, 7001, &[7; LENGTH - 8]);
        let sum = ends().checksum(protocol::UDP, &bytes);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn piece(start: usize, end: usize) -> Fragment {
        Fragment {
            id: 1,
            next: protocol::UDP,
            start,
            more: end < LENGTH,
            data: datagram()[start..end].to_vec(),
            ecn: 0,
            dont_fragment: false,
            hop_by_hop: false,
            padded: false,
        }
    }

    /// How many datagrams come out of `fragments`, all of them the one that was cut.
    fn delivered(fragments: &[Fragment]) -> usize {
        let all = deliveries(&ends(), fragments);
        assert!(all.iter().all(|delivery| delivery.bytes == [7; LENGTH - 8]));
        all.len()
    }

    #[test]
    fn what_tiles_is_delivered_once_in_any_order() {
        let [a, b, c] = [piece(0, 8), piece(8, 24), piece(24, 40)];
        assert_eq!(delivered(&[a.clone(), b.clone(), c.clone()]), 1);
        assert_eq!(delivered(&[c.clone(), b.clone(), a.clone()]), 1);
        assert_eq!(delivered(&[c.clone(), c.clone(), b.clone(), a.clone(), a.clone()]), 1);
        assert_eq!(
            delivered(&[a.clone(), b.clone(), c.clone(), c.clone(), b.clone(), a.clone()]),
            2
        );
        assert_eq!(delivered(&[a.clone(), b]), 0);
        assert_eq!(delivered(&[a, c]), 0);
    }

    #[test]
    fn what_contradicts_itself_is_not_delivered_and_nothing_after_it() {
        let whole = [piece(24, 40), piece(8, 24), piece(0, 8)];
        let other_bytes = Fragment { data: vec![8; 16], ..piece(8, 24) };
        let wrong = [
            other_bytes,
            piece(8, 16),
            piece(0, 16),
            Fragment { more: false, ..piece(8, 24) },
            Fragment { start: 40, more: false, ..piece(8, 24) },
            Fragment { start: 65_528, more: true, ..piece(8, 16) },
            Fragment { data: vec![7; 15], ..piece(8, 24) },
            Fragment { data: Vec::new(), ..piece(8, 24) },
            Fragment { start: 16, ecn: 1, ..piece(16, 24) },
        ];
        for wrong in wrong {
            // Before the last one completes it; afterwards it is too late.
            for at in 0..2 {
                let mut all = whole.to_vec();
                all.insert(at + 1, wrong.clone());
                all.extend(whole.clone());
                assert_eq!(delivered(&all), 0, "{wrong:?} at {at}");
            }
            let mut all = whole.to_vec();
            all.push(wrong);
            assert_eq!(delivered(&all), 1);
        }
    }

    #[test]
    fn what_is_denied_or_has_a_wrong_checksum_is_not_delivered() {
        let whole = |bytes: Vec<u8>| vec![Fragment { data: bytes, ..piece(0, LENGTH) }];
        assert_eq!(delivered(&whole(datagram())), 1);
        let mut denied = datagram();
        denied[2..4].copy_from_slice(&8001u16.to_be_bytes());
        denied[6..8].fill(0);
        assert_eq!(delivered(&whole(denied)), 0);
        let mut wrong = datagram();
        wrong[20] ^= 1;
        assert_eq!(delivered(&whole(wrong.clone())), 0);
        // None was made.
        wrong[20] ^= 1;
        wrong[6..8].fill(0);
        assert_eq!(delivered(&whole(wrong)), 1);
    }

    #[test]
    fn identification_and_protocol_tell_datagrams_apart() {
        let [a, b] = [piece(0, 24), piece(24, 40)];
        let strange = Fragment { id: 2, ..b.clone() };
        assert_eq!(delivered(&[a.clone(), strange, b.clone()]), 1);
        let strange = Fragment { next: protocol::ICMP, ..b.clone() };
        assert_eq!(delivered(&[a.clone(), strange, b.clone()]), 1);
        let other = Fragment { id: 2, ..a.clone() };
        assert_eq!(delivered(&[other, b.clone()]), 0);
    }

    #[test]
    fn a_datagram_may_have_64_fragments() {
        for (pieces, expected) in [(64, 1), (65, 0)] {
            let mut bytes = udp(1000, 7001, &vec![7; 8 * pieces - 8]);
            let sum = ends().checksum(protocol::UDP, &bytes);
            bytes[6..8].copy_from_slice(&sum.to_be_bytes());
            let cut = |nth: usize| Fragment {
                start: 8 * nth,
                more: nth + 1 < pieces,
                data: bytes[8 * nth..8 * nth + 8].to_vec(),
                ..piece(0, 8)
            };
            let all: Vec<_> = (0..pieces).map(cut).collect();
            assert_eq!(deliveries(&ends(), &all).len(), expected);
        }
    }
}
