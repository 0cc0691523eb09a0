//! The table against a naive reassembler, which knows each datagram as a map of bytes, over random
//! fragmentations; and what the table released against etherparse's reassembly.

use super::frames::{Spec, v4, v6};
use super::*;
use etherparse::SlicedPacket;
use etherparse::defrag::IpDefragPool;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// A datagram as a receiver without any cleverness would keep it.
#[derive(Default)]
struct Naive {
    /// Every byte that was received.
    bytes: BTreeMap<usize, u8>,
    /// The fragments, with their tokens.
    fragments: Vec<(Spec, usize)>,
    spoilt: Option<DropReason>,
}

/// What the naive reassembler says of a fragment.
enum Expected {
    Held,
    Duplicate,
    /// It breaks all of these rules.
    Spoils(Vec<DropReason>),
    /// It is of a datagram that was spoilt.
    Spoilt(DropReason),
    Complete(Vec<u8>),
}

impl Naive {
    /// `headers` is how many bytes of the datagram are headers.
    fn take(&mut self, spec: &Spec, token: usize, headers: usize) -> Expected {
        if let Some(reason) = self.spoilt {
            return Expected::Spoilt(reason);
        }
        let end = spec.offset + spec.data.len();
        let mut broken = Vec::new();
        let mut rule = |holds: bool, reason| {
            if !holds {
                broken.push(reason);
            }
        };
        rule(!spec.data.is_empty(), DropReason::FragmentEmpty);
        rule(!spec.more || spec.data.len().is_multiple_of(8), DropReason::FragmentLength);
        rule(spec.offset > 0 || spec.data.len() >= headers, DropReason::FragmentTiny);
        rule(spec.offset > 0 || spec.data.len() >= headers, DropReason::FragmentChain);

        let others = || self.fragments.iter().map(|(other, _)| other);
        let with = || others().chain([spec]);
        let mut ends: Vec<usize> =
            with().filter(|s| !s.more).map(|s| s.offset + s.data.len()).collect();
        ends.sort_unstable();
        ends.dedup();
        let highest = with().map(|s| s.offset + s.data.len()).max();
        let ends_agree = ends.len() < 2 && ends.iter().all(|&end| Some(end) == highest);
        rule(ends_agree, DropReason::FragmentEnd);

        let free = (spec.offset..end).all(|at| !self.bytes.contains_key(&at));
        let copy = others().any(|other| {
            (other.offset, other.more, &other.data) == (spec.offset, spec.more, &spec.data)
        });
        rule(free || copy, DropReason::FragmentOverlap);
        rule(copy || self.fragments.len() < 64, DropReason::FragmentCount);
        let capable = with().filter(|s| s.ecn != 0).count();
        let mixed = capable != 0 && capable != self.fragments.len() + 1;
        rule(copy || !mixed, DropReason::FragmentEcn);
        if !broken.is_empty() {
            return Expected::Spoils(broken);
        }
        if copy {
            return Expected::Duplicate;
        }
        self.bytes.extend((spec.offset..end).zip(spec.data.iter().copied()));
        self.fragments.push((spec.clone(), token));
        match ends.first() {
            Some(&end) if (0..end).all(|at| self.bytes.contains_key(&at)) => {
                Expected::Complete(self.bytes.values().copied().collect())
            }
            _ => Expected::Held,
        }
    }

    /// The tokens in order of offset.
    fn tokens(&self) -> Vec<usize> {
        let mut fragments: Vec<_> = self.fragments.iter().map(|(s, t)| (s.offset, *t)).collect();
        fragments.sort_unstable();
        fragments.into_iter().map(|(_, token)| token).collect()
    }
}

/// Something to send that was not among a datagram's own fragments.
#[derive(Clone, Debug)]
enum Noise {
    /// The nth once more.
    Copy(prop::sample::Index),
    /// The nth with its last byte changed.
    Forged(prop::sample::Index),
    /// The nth, with More Fragments the other way.
    Flipped(prop::sample::Index),
    /// The nth, shifted by this many eights.
    Shifted(prop::sample::Index, i8),
    /// The nth, cut or grown by this many bytes.
    Resized(prop::sample::Index, i8),
    /// The nth with another ECN codepoint.
    Marked(prop::sample::Index, u8),
}

fn noise() -> impl Strategy<Value = Noise> {
    let nth = any::<prop::sample::Index>;
    prop_oneof![
        4 => nth().prop_map(Noise::Copy),
        1 => nth().prop_map(Noise::Forged),
        1 => nth().prop_map(Noise::Flipped),
        1 => (nth(), prop_oneof![Just(-1i8), Just(1), -8..8i8]).prop_map(|(n, by)| Noise::Shifted(n, by)),
        1 => (nth(), prop_oneof![Just(-8i8), Just(-1), Just(1), Just(8), -40..40i8])
            .prop_map(|(n, by)| Noise::Resized(n, by)),
        1 => (nth(), 1..4u8).prop_map(|(n, ecn)| Noise::Marked(n, ecn)),
    ]
}

impl Noise {
    fn make(&self, own: &[Spec]) -> Spec {
        let (Noise::Copy(nth)
        | Noise::Forged(nth)
        | Noise::Flipped(nth)
        | Noise::Shifted(nth, _)
        | Noise::Resized(nth, _)
        | Noise::Marked(nth, _)) = self;
        let mut spec = nth.get(own).clone();
        match *self {
            Noise::Copy(_) => {}
            Noise::Forged(_) => *spec.data.last_mut().expect("it has data") ^= 1,
            Noise::Flipped(_) => spec.more = !spec.more,
            Noise::Shifted(_, by) => {
                // Never to the front, where its bytes would be headers.
                spec.offset = spec.offset.saturating_add_signed(8 * isize::from(by)).max(8);
            }
            Noise::Resized(_, by) => {
                let len = spec.data.len().saturating_add_signed(by.into());
                spec.data.resize(len, 7);
            }
            Noise::Marked(_, ecn) => spec.ecn = ecn,
        }
        spec
    }
}

/// One datagram: its fragments in an order, with noise among them; and how many of its bytes are
/// headers.
fn datagram(id: u32) -> impl Strategy<Value = (Vec<Spec>, usize)> {
    let length = prop_oneof![9..80usize, Just(64), Just(65), 80..1500usize];
    let noises =
        prop_oneof![Just(Vec::new()).boxed(), prop::collection::vec(noise(), 1..4).boxed()];
    (any::<bool>(), any::<bool>(), length, prop::collection::vec(1..12usize, 200), noises)
        .prop_flat_map(move |(ipv6, options, length, eights, noises)| {
            let make = if ipv6 { v6 } else { v4 };
            let mut bytes = data(length);
            let mut whole = Spec { id, ..make(0, false, &[]) };
            let mut headers = 8;
            if ipv6 && options {
                // Destination options before UDP.
                bytes.splice(..0, [17, 0, 1, 4, 0, 0, 0, 0]);
                whole.next = 60;
                headers = 16;
            }
            let mut own = Vec::new();
            let mut eights = eights.into_iter();
            let mut at = 0;
            while at < bytes.len() {
                let least = if at == 0 { headers } else { 8 };
                let end = bytes.len().min(at + (8 * eights.next().unwrap_or(100)).max(least));
                let more = end < bytes.len();
                own.push(Spec { offset: at, more, data: bytes[at..end].to_vec(), ..whole.clone() });
                at = end;
            }
            // An atomic fragment would not meet its siblings.
            let not_atomic = |s: &Spec| s.offset > 0 || s.more;
            let extra: Vec<Spec> = noises.iter().map(|noise| noise.make(&own)).collect();
            let all: Vec<Spec> = own.into_iter().chain(extra).filter(not_atomic).collect();
            (Just(all).prop_shuffle(), Just(headers))
        })
}

/// Datagrams whose fragments arrive intermixed.
fn arrivals() -> impl Strategy<Value = Vec<(Spec, usize)>> {
    (datagram(1), datagram(2), datagram(3), any::<u64>()).prop_map(|(a, b, c, seed)| {
        let mut queues: Vec<_> =
            [a, b, c].map(|(specs, headers)| (specs.into_iter(), headers)).into_iter().collect();
        let (mut all, mut random) = (Vec::new(), seed);
        while !queues.is_empty() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let nth = (random >> 33) as usize % queues.len();
            match queues[nth].0.next() {
                Some(spec) => all.push((spec, queues[nth].1)),
                None => drop(queues.swap_remove(nth)),
            }
        }
        all
    })
}

/// What etherparse makes of these frames, in this order.
fn etherparse_reassembles(frames: &[&[u8]]) -> Option<Vec<u8>> {
    let mut pool = IpDefragPool::<(), ()>::new();
    let mut result = None;
    for frame in frames {
        let sliced = SlicedPacket::from_ethernet(frame).expect("a test writes frames");
        assert!(result.is_none(), "complete before its last frame");
        result = pool.process_sliced_packet(&sliced, (), ()).expect("no rule is broken");
    }
    result.map(|whole| whole.payload)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_comes_out_is_what_a_naive_reassembler_puts_together(arrivals in arrivals()) {
        let mut lab = lab();
        let mut model: HashMap<DatagramKey, Naive> = HashMap::new();
        for (token, (spec, headers)) in arrivals.iter().enumerate() {
            let outcome = lab.offer(spec);
            let naive = model.entry(spec.key()).or_default();
            match naive.take(spec, token, *headers) {
                Expected::Held => {
                    prop_assert_eq!(outcome.offered, Some(Offered::Held));
                    prop_assert_eq!(outcome.dropped, []);
                }
                Expected::Duplicate => {
                    prop_assert_eq!(outcome.dropped, [(token, DropReason::FragmentDuplicate)]);
                }
                Expected::Spoilt(reason) => {
                    prop_assert_eq!(outcome.dropped, [(token, reason)]);
                }
                Expected::Spoils(broken) => {
                    let reason = outcome.dropped.last().map(|(_, reason)| *reason);
                    prop_assert!(reason.is_some_and(|r| broken.contains(&r)), "{reason:?} {broken:?}");
                    let mut gone: Vec<_> = outcome.dropped.iter().map(|(n, _)| *n).collect();
                    gone.sort_unstable();
                    let mut held = naive.tokens();
                    held.push(token);
                    held.sort_unstable();
                    prop_assert_eq!(gone, held);
                    prop_assert!(outcome.dropped.iter().all(|(_, r)| Some(*r) == reason));
                    naive.spoilt = reason;
                }
                Expected::Complete(bytes) => {
                    let whole = whole(outcome.offered);
                    prop_assert_eq!(&outcome.whole, &naive.tokens());
                    let transport = &bytes[headers - 8..];
                    prop_assert_eq!(usize::from(whole.payload_len), bytes.len());
                    prop_assert_eq!(usize::from(whole.transport_len()), transport.len());
                    prop_assert_eq!(whole.protocol, 17);
                    prop_assert_eq!(whole.head.bytes(), &transport[..transport.len().min(128)]);
                    prop_assert_eq!(whole.sum, naive_sum(transport));
                    // etherparse looks for extension headers in every fragment, not in the first.
                    if *headers == 8 {
                        let frames: Vec<&[u8]> =
                            outcome.whole.iter().map(|&n| &lab.ports.0[n][..]).collect();
                        prop_assert_eq!(etherparse_reassembles(&frames), Some(bytes));
                    }
                    model.remove(&spec.key());
                }
            }
        }
        lab.finish();
    }
}
