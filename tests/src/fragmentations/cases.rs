//! Cases: datagrams of one pair of hosts, cut at random, and what is done to their fragments.

use super::class::Class;
use super::datagram::{Checksum, Datagram, Ends, Fragment, LABEL, MTU, OPTIONS, SOURCES, Service};
use super::expected::{ALLOWED, DENIED, Delivery, deliveries};
use crate::oracle::packet::protocol;
use fastrand::Rng;

/// Most fragments of one case: they are sent in one burst.
pub(super) const MOST_FRAMES: usize = 200;
/// Identifications that a case may use.
const IDS: u64 = 4;
/// Numbers of datagrams that a case may use.
const NUMBERS: u64 = 8;
/// More bytes than a fragmentable part of ordinary length has.
const LONG: usize = 65_000;
/// Source port of UDP, and identifier of ICMP.
const SOURCE_PORT: u16 = 40_000;

/// What is sent, in order, and what the receiver is to get of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub class: Class,
    pub ends: Ends,
    pub fragments: Vec<Fragment>,
    pub expected: Vec<Delivery>,
    /// Datagrams that were cut up for it.
    pub datagrams: u64,
}

impl Case {
    /// Case `nth` of the run, which no other case has anything in common with that the gateway or
    /// the receiver remembers.
    pub(super) fn draw(nth: u64, rng: &mut Rng) -> Case {
        let class = Class::ALL[rng.usize(..Class::ALL.len())];
        Case::of(class, nth, rng)
    }

    /// The same of a given class.
    pub(super) fn of(class: Class, nth: u64, rng: &mut Rng) -> Case {
        let v6 = class.is_v6_only() || rng.bool();
        let ends = Ends::new(v6, (nth % u64::from(SOURCES)) as u32);
        let turn = nth / u64::from(SOURCES);
        let id = if v6 { nth * IDS } else { turn * IDS % (1 << 16) } as u32;
        let mut draw = Draw { class, ends, nth, turn, id, numbers: 0, rng };
        let mut fragments = draw.fragments();
        if draw.rng.u8(..5) == 0 {
            draw.disturb(&mut fragments);
        }
        let datagrams = draw.numbers.min(draw.originals());
        assert!(fragments.len() <= MOST_FRAMES, "{class:?}: {} fragments", fragments.len());
        let expected = deliveries(&ends, &fragments);
        Case { class, ends, fragments, expected, datagrams }
    }

    /// Whether what is expected holds however the fragments are spread over queues, which keep no
    /// order between them. Linux spreads by addresses and next header, and the latter may differ
    /// within one IPv6 datagram; then all of it has to be there, each byte once.
    pub(super) fn suits_queues(&self) -> bool {
        let all = &self.fragments;
        let is_mixed = all.iter().any(|a| all.iter().any(|b| a.id == b.id && a.next != b.next));
        let bytes: usize = all.iter().map(|fragment| fragment.data.len()).sum();
        let tiles = all.iter().filter(|fragment| !fragment.more).count() == 1
            && all.iter().map(Fragment::end).max() == Some(bytes)
            && all.iter().all(|fragment| !fragment.data.is_empty())
            && self.expected.len() == 1;
        !self.ends.is_v6() || !is_mixed || tiles
    }
}

struct Draw<'a> {
    class: Class,
    ends: Ends,
    nth: u64,
    /// How often its source had a case before.
    turn: u64,
    /// Its first identification.
    id: u32,
    /// Datagrams made so far.
    numbers: u64,
    rng: &'a mut Rng,
}

impl Draw<'_> {
    fn fragments(&mut self) -> Vec<Fragment> {
        match self.class {
            Class::Interleaved => return self.interleaved(),
            Class::Atomic => return self.atomic(),
            _ => {}
        }
        let datagram = self.datagram();
        let bytes = datagram.bytes();
        let mut fragments = self.cut(&datagram, &bytes);
        let all = &mut fragments;
        match self.class {
            Class::InOrder | Class::BadChecksum | Class::Many | Class::Tiny | Class::Atomic => {}
            Class::Interleaved => {}
            Class::Shuffled => self.rng.shuffle(all),
            Class::Extensions => self.maybe_shuffle(all),
            Class::Duplicate => self.duplicate(all),
            Class::DuplicateOther => {
                let other = self.other(&datagram, datagram.service);
                let nth = self.rng.usize(..all.len());
                self.insert_other(all, nth, &other);
            }
            Class::Rewritten => {
                let service = self.opposite(datagram.service);
                let other = self.other(&datagram, service);
                self.insert_other(all, 0, &other);
            }
            Class::Overlap => self.overlap(all, &datagram, bytes),
            Class::Gap => {
                self.maybe_shuffle(all);
                all.remove(self.rng.usize(..all.len()));
            }
            Class::TwoEnds => self.two_ends(all),
            Class::Oversize if bytes.len() > LONG => self.maybe_shuffle(all),
            Class::Oversize => self.oversize(all),
            Class::OddLength => {
                let nth = self.rng.usize(..all.len() - 1);
                let cut = self.rng.usize(1..8);
                let length = all[nth].data.len() - cut;
                all[nth].data.truncate(length);
                self.maybe_shuffle(all);
            }
            Class::Empty => self.empty(all),
            Class::Mixture => {
                let other = self.other(&datagram, datagram.service);
                let nth = self.rng.usize(..all.len());
                let range = all[nth].start..all[nth].end();
                all[nth].data = other[range].to_vec();
                self.maybe_shuffle(all);
            }
            Class::Twice => self.twice(all, &datagram),
            Class::Ecn => {
                let set: &[u8] = if self.rng.bool() { &[1, 2, 3] } else { &[0, 0, 0, 1, 2, 3] };
                for fragment in all.iter_mut() {
                    fragment.ecn = set[self.rng.usize(..set.len())];
                }
                self.maybe_shuffle(all);
            }
            Class::NextHeader => {
                const NEXT: [u8; 4] = [protocol::UDP, protocol::TCP, protocol::ICMPV6, OPTIONS];
                for fragment in all.iter_mut().skip(1) {
                    fragment.next = NEXT[self.rng.usize(..NEXT.len())];
                }
                self.maybe_shuffle(all);
            }
        }
        fragments
    }

    /// Datagrams of the case that are not made only to differ from another.
    fn originals(&self) -> u64 {
        if matches!(self.class, Class::Interleaved | Class::Atomic) { self.numbers } else { 1 }
    }

    /// Something more, whatever the class.
    fn disturb(&mut self, all: &mut Vec<Fragment>) {
        match self.rng.u8(..5) {
            0 => self.rng.shuffle(all),
            1 => self.duplicate(all),
            2 => {
                let nth = self.rng.usize(..all.len());
                all.remove(nth);
            }
            3 => self.empty(all),
            _ => {
                let nth = self.rng.usize(..all.len());
                all[nth].ecn = self.rng.u8(..4);
            }
        }
    }

    fn service(&mut self) -> Service {
        let list = if self.rng.u8(..4) == 0 { &DENIED } else { &ALLOWED };
        let wanted = match self.rng.u8(..20) {
            _ if self.class == Class::Tiny && !self.ends.is_v6() => protocol::TCP,
            0..2 if self.ends.is_v6() => protocol::ICMPV6,
            0..2 => protocol::ICMP,
            2 => protocol::TCP,
            _ => protocol::UDP,
        };
        self.one_of(list, wanted)
    }

    fn one_of(&mut self, list: &[Service], wanted: u8) -> Service {
        let of_protocol: Vec<_> =
            list.iter().filter(|service| service.protocol == wanted).collect();
        *of_protocol[self.rng.usize(..of_protocol.len())]
    }

    /// A service of the same protocol that is denied if this one is allowed, and allowed if not.
    fn opposite(&mut self, service: Service) -> Service {
        let list = if ALLOWED.contains(&service) { &DENIED } else { &ALLOWED };
        self.one_of(list, service.protocol)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.nth * NUMBERS + self.numbers - 1
    }

    fn datagram(&mut self) -> Datagram {
        let service = self.service();
        self.datagram_for(service)
    }

    fn datagram_for(&mut self, service: Service) -> Datagram {
        let v6 = self.ends.is_v6();
        let options = v6
            && match self.class {
                Class::Extensions => self.rng.u8(..4) > 0,
                Class::Tiny => service.protocol != protocol::TCP,
                _ => self.rng.u8(..10) == 0,
            };
        let unmade = !v6 && service.protocol == protocol::UDP && self.rng.u8(..20) == 0;
        let checksum = match self.class {
            Class::BadChecksum => Checksum::Wrong,
            _ if unmade => Checksum::None,
            _ => Checksum::Right,
        };
        let number = self.number();
        let src_port = match service.protocol {
            // A connection of its own.
            protocol::TCP => 1024 + ((self.turn * NUMBERS + self.numbers) % 64_000) as u16,
            _ => SOURCE_PORT,
        };
        let ends = self.ends;
        let mut datagram =
            Datagram { ends, service, src_port, number, payload: LABEL, options, checksum };
        datagram.payload = self.length(&datagram);
        datagram
    }

    /// Bytes of payload.
    fn length(&mut self, datagram: &Datagram) -> usize {
        let few = match self.class {
            Class::Many => return 8 * self.rng.usize(58..72),
            Class::Atomic | Class::Interleaved => 1_200,
            _ => 600,
        };
        if self.class == Class::Atomic {
            return self.rng.usize(LABEL..few);
        }
        // A hop-by-hop header may come before it.
        let around = if self.ends.is_v6() { 8 } else { 20 };
        let most = 65_535 - around - datagram.headers();
        if self.class == Class::Oversize && self.rng.u8(..4) == 0 {
            // By as much as its own length field can still say.
            return most + self.rng.usize(1..=around);
        }
        match self.rng.u8(..100) {
            0..60 => self.rng.usize(LABEL..few),
            60..90 => self.rng.usize(LABEL..4_000),
            _ if self.class == Class::Interleaved => self.rng.usize(LABEL..6_000),
            90..99 => self.rng.usize(LABEL..9_000),
            _ if self.rng.bool() => most,
            _ => self.rng.usize(9_000..most),
        }
    }

    /// The fragments of `datagram`, which has `bytes`, in order.
    fn cut(&mut self, datagram: &Datagram, bytes: &[u8]) -> Vec<Fragment> {
        let v6 = self.ends.is_v6();
        let often = if self.class == Class::Extensions { 2 } else { 10 };
        let too_long = self.class == Class::Oversize && bytes.len() > LONG;
        let hop_by_hop = v6 && (too_long || self.rng.u8(..often) == 0);
        let ecn = if self.rng.u8(..4) == 0 { self.rng.u8(..4) } else { 0 };
        let room = self.room(hop_by_hop);
        let mut edges = self.edges(datagram, bytes.len(), room);
        edges.push(bytes.len());
        let mut start = 0;
        let mut fragments = Vec::with_capacity(edges.len());
        for end in edges {
            fragments.push(Fragment {
                id: self.id,
                next: datagram.next(),
                start,
                more: end < bytes.len(),
                data: bytes[start..end].to_vec(),
                ecn,
                dont_fragment: !v6 && self.rng.u8(..10) == 0,
                hop_by_hop,
                padded: self.rng.bool(),
            });
            start = end;
        }
        fragments
    }

    /// Most bytes of data in one fragment, a multiple of 8.
    fn room(&self, hop_by_hop: bool) -> usize {
        let headers = match (self.ends.is_v6(), hop_by_hop) {
            (false, _) => 20,
            (true, false) => 48,
            (true, true) => 56,
        };
        (MTU - headers) & !7
    }

    /// Where to cut.
    fn edges(&mut self, datagram: &Datagram, length: usize, room: usize) -> Vec<usize> {
        let last = (length - 1) / 8;
        let mut edges: Vec<usize> = match self.class {
            Class::Many => (1..=last).collect(),
            _ => {
                let pieces = match self.rng.u8(..10) {
                    _ if length > 20_000 => self.rng.usize(2..15),
                    0..6 => self.rng.usize(2..7),
                    6..9 => self.rng.usize(2..17),
                    _ => self.rng.usize(2..41),
                };
                let pieces = if self.class == Class::Interleaved { pieces.min(10) } else { pieces };
                let whole_header = datagram.headers().div_ceil(8);
                (1..pieces).map(|_| self.rng.usize(whole_header..=last)).collect()
            }
        };
        if self.class == Class::Tiny {
            edges.push(self.rng.usize(1..datagram.headers().div_ceil(8)));
        }
        edges.sort_unstable();
        edges.dedup();
        let mut fitting = Vec::with_capacity(edges.len());
        let mut before = 0;
        for edge in edges.into_iter().map(|edge| edge * 8).chain([length]) {
            while edge - before > room {
                before += room;
                fitting.push(before);
            }
            if edge < length {
                fitting.push(edge);
            }
            before = edge;
        }
        fitting
    }

    fn maybe_shuffle(&mut self, all: &mut [Fragment]) {
        if self.rng.bool() {
            self.rng.shuffle(all);
        }
    }

    fn insert(&mut self, all: &mut Vec<Fragment>, fragment: Fragment) {
        all.insert(self.rng.usize(..=all.len()), fragment);
    }

    fn duplicate(&mut self, all: &mut Vec<Fragment>) {
        self.maybe_shuffle(all);
        for _ in 0..self.rng.usize(1..4) {
            let copy = all[self.rng.usize(..all.len())].clone();
            self.insert(all, copy);
        }
    }

    /// The bytes of a datagram of the same length for `service`, as it would be cut.
    fn other(&mut self, datagram: &Datagram, service: Service) -> Vec<u8> {
        let number = self.number();
        Datagram { service, number, ..*datagram }.bytes()
    }

    /// A copy of fragment `nth` with bytes of `other`.
    fn insert_other(&mut self, all: &mut Vec<Fragment>, nth: usize, other: &[u8]) {
        let range = all[nth].start..all[nth].end();
        let copy = Fragment { data: other[range].to_vec(), ..all[nth].clone() };
        self.maybe_shuffle(all);
        self.insert(all, copy);
    }

    fn overlap(&mut self, all: &mut Vec<Fragment>, datagram: &Datagram, bytes: Vec<u8>) {
        let bytes = match self.rng.u8(..3) {
            0 => bytes,
            1 => self.other(datagram, datagram.service),
            _ => {
                let service = self.opposite(datagram.service);
                self.other(datagram, service)
            }
        };
        let length = bytes.len();
        let room = self.room(all[0].hop_by_hop);
        let nth = self.rng.usize(..all.len());
        let piece = &all[nth];
        let (mut start, mut end) = match self.rng.u8(..4) {
            // Inside.
            0 if piece.data.len() > 8 => match self.rng.bool() {
                true => (piece.start + 8, piece.end()),
                false => (piece.start, piece.start + 8),
            },
            // Around.
            1 => (piece.start.saturating_sub(8 * self.rng.usize(..3)), piece.end() + 8),
            // Of a first fragment's beginning.
            2 => (0, 8 * self.rng.usize(1..=room / 8)),
            // Across.
            _ => {
                let start = 8 * self.rng.usize(..length.div_ceil(8));
                (start, start + 8 * self.rng.usize(1..=room / 8))
            }
        };
        start &= !7;
        end = end.min(length).min(start + room);
        let data = bytes[start..end].to_vec();
        let new = Fragment { start, more: end < length, data, ..all[0].clone() };
        self.maybe_shuffle(all);
        self.insert(all, new);
    }

    fn two_ends(&mut self, all: &mut Vec<Fragment>) {
        let end = all.iter().map(Fragment::end).max().unwrap_or(0);
        let behind = (end.next_multiple_of(8) + 8 * self.rng.usize(..3)).min(65_528);
        let middle = self.rng.usize(..all.len() - 1);
        let new = match self.rng.u8(..3) {
            // Earlier: one in the middle, which says now that it is the last.
            0 => Fragment { more: false, ..all[middle].clone() },
            // Behind the end, for one that is missing: there are as many bytes as there should be.
            1 if end < 60_000 => Fragment { start: behind, ..all.remove(middle) },
            _ => {
                let data = vec![0x5a; self.rng.usize(1..64)];
                Fragment { start: behind, more: false, data, ..all[0].clone() }
            }
        };
        self.maybe_shuffle(all);
        self.insert(all, new);
    }

    fn oversize(&mut self, all: &mut Vec<Fragment>) {
        let start = 65_528 - 8 * self.rng.usize(..20);
        let more = self.rng.bool();
        let length = self.rng.usize(8..180);
        let data = vec![0x5a; if more { length & !7 } else { length }];
        let new = Fragment { start, more, data, ..all[0].clone() };
        self.maybe_shuffle(all);
        self.insert(all, new);
    }

    fn empty(&mut self, all: &mut Vec<Fragment>) {
        let nth = self.rng.usize(..all.len());
        let new = Fragment { more: self.rng.bool(), data: Vec::new(), ..all[nth].clone() };
        self.insert(all, new);
    }

    fn twice(&mut self, all: &mut Vec<Fragment>, datagram: &Datagram) {
        let mut again = all.clone();
        if self.rng.bool() {
            let service =
                if self.rng.bool() { datagram.service } else { self.opposite(datagram.service) };
            let other = self.other(datagram, service);
            for fragment in &mut again {
                fragment.data = other[fragment.start..fragment.end()].to_vec();
            }
        }
        self.maybe_shuffle(all);
        self.maybe_shuffle(&mut again);
        all.extend(again);
    }

    fn interleaved(&mut self) -> Vec<Fragment> {
        let mut lists = Vec::new();
        // What tells them apart: the identification, or at most the protocol.
        let apart = self.rng.u8(..4) > 0;
        let first = self.id;
        for nth in 0..self.rng.u32(2..5) {
            let datagram = self.datagram();
            if apart {
                self.id = first + nth;
            }
            let bytes = datagram.bytes();
            let mut list = self.cut(&datagram, &bytes);
            self.maybe_shuffle(&mut list);
            lists.push(list.into_iter());
        }
        let mut all = Vec::new();
        while !lists.is_empty() {
            let nth = self.rng.usize(..lists.len());
            match lists[nth].next() {
                Some(fragment) => all.push(fragment),
                None => drop(lists.remove(nth)),
            }
        }
        all
    }

    fn atomic(&mut self) -> Vec<Fragment> {
        let datagram = self.datagram();
        let bytes = datagram.bytes();
        let whole = self.cut(&datagram, &bytes)[0].clone();
        let whole = Fragment { more: false, data: bytes, ..whole };
        if self.rng.u8(..3) == 0 {
            return vec![whole];
        }
        let datagram = self.datagram();
        let bytes = datagram.bytes();
        let mut all = self.cut(&datagram, &bytes);
        self.maybe_shuffle(&mut all);
        self.insert(&mut all, whole);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a class says by itself of a datagram that is allowed agrees with what the rules say of
    /// its fragments: how often it is delivered at least and at most.
    fn promise(class: Class) -> (usize, usize) {
        match class {
            Class::InOrder | Class::Shuffled | Class::Extensions | Class::NextHeader => (1, 1),
            // All of a few may be repeated.
            Class::Duplicate => (1, 2),
            Class::Gap | Class::Tiny | Class::BadChecksum | Class::OddLength => (0, 0),
            // Unless it comes when all the others were there.
            Class::DuplicateOther
            | Class::Rewritten
            | Class::TwoEnds
            | Class::Oversize
            | Class::Empty
            | Class::Mixture
            | Class::Many
            | Class::Ecn => (0, 1),
            // Around all of them, it is a packet by itself.
            Class::Overlap | Class::Twice | Class::Atomic => (0, 2),
            Class::Interleaved => (0, 4),
        }
    }

    fn undisturbed(class: Class, nth: u64, rng: &mut Rng) -> (Vec<Fragment>, usize) {
        let v6 = class.is_v6_only() || rng.bool();
        let ends = Ends::new(v6, nth as u32 % SOURCES);
        let fragments = Draw { class, ends, nth, turn: 0, id: 1, numbers: 0, rng }.fragments();
        let count = deliveries(&ends, &fragments).len();
        (fragments, count)
    }

    /// Whether one of `fragments` begins with the transport header of an allowed service.
    fn is_allowed(fragments: &[Fragment]) -> bool {
        let first = fragments.iter().find(|fragment| fragment.start == 0);
        first.is_some_and(|first| {
            let (protocol, header) = match first.next {
                OPTIONS => (first.data[0], &first.data[8..]),
                next => (next, &first.data[..]),
            };
            let port = match protocol {
                protocol::UDP | protocol::TCP => u16::from_be_bytes([header[2], header[3]]),
                _ => header[0].into(),
            };
            ALLOWED.contains(&Service { protocol, port })
        })
    }

    #[test]
    fn classes_and_rules_agree_on_what_is_delivered() {
        let mut rng = Rng::with_seed(1);
        for class in Class::ALL {
            let (least, most) = promise(class);
            let mut reached = 0;
            for nth in 0..300 {
                let (fragments, count) = undisturbed(class, nth, &mut rng);
                assert!(count <= most, "{class:?}: {count} of {fragments:?}");
                let enough = least == 0 || count >= least || !is_allowed(&fragments);
                assert!(enough, "{class:?}: {count} of {fragments:?}");
                reached = reached.max(count);
            }
            assert_eq!(reached, most, "{class:?}");
        }
    }

    #[test]
    fn a_case_can_be_sent() {
        let mut rng = Rng::with_seed(2);
        for nth in 0..5_000 {
            let case = Case::draw(nth * 7_919, &mut rng);
            assert!(case.datagrams > 0);
            for fragment in &case.fragments {
                let frame = fragment.frame(&case.ends, ([2; 6], [4; 6]));
                assert!(frame.len() <= 14 + MTU, "{:?}: {} bytes", case.class, frame.len());
                assert!(fragment.start.is_multiple_of(8) && fragment.start < 1 << 16);
            }
        }
    }

    #[test]
    fn cases_of_one_source_have_no_identification_in_common() {
        let mut rng = Rng::with_seed(3);
        let mut seen = std::collections::HashMap::new();
        for nth in (5..).step_by(SOURCES as usize).take(3_000) {
            let case = Case::draw(nth, &mut rng);
            for fragment in &case.fragments {
                let before = seen.insert((case.ends, fragment.id), nth);
                assert!(before.is_none_or(|before| before == nth));
            }
        }
    }
}
