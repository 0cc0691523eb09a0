//! Dividing the entries of a table among its roots.

use crate::entry::{Entry, family};
use crate::words::{Words, hash, ones, pack, sides, tag, transport};
use crate::{PacketKey, prefix_mask};
use fastrand::Rng;

/// For each root the bits that all of its entries ask for, and the entries in order.
pub(crate) type Plan<const N: usize> = Vec<(Words<N>, Vec<u32>)>;

/// Most roots of a table. Every one costs most lookups a probe.
const MOST_ROOTS: usize = 8;

/// The plans worth a try.
///
/// They differ in how many entries are left together at the end. Those have few bits in common: many
/// of them make deep trees, few of them take more roots.
pub(crate) fn plans<const A: usize, const N: usize>(entries: &[Entry<A, N>]) -> Vec<Plan<N>> {
    let shares: &[usize] = if entries.len() > 200_000 { &[512] } else { &[8, 32, 128, 512] };
    let mut plans: Vec<Plan<N>> = Vec::new();
    for share in shares {
        let plan = divide(entries, entries.len() / share);
        if plans.iter().all(|other| other.len() != plan.len()) {
            plans.push(plan);
        }
    }
    plans
}

/// Keys like those that a table will be asked about: points inside of entries, and points with
/// the fields of several entries.
pub(crate) fn sample<const A: usize, const N: usize>(entries: &[Entry<A, N>]) -> Vec<Words<N>> {
    const POINTS: usize = 512;
    if entries.is_empty() {
        return Vec::new();
    }
    // The same every time: the same rules give the same table.
    let mut rng = Rng::with_seed(0x1e5);
    let point = |rng: &mut Rng| {
        let entry = &entries[rng.usize(..entries.len())];
        std::array::from_fn(|i| entry.value[i] | rng.u64(..) & !entry.mask[i])
    };
    let mut sample: Vec<Words<N>> = (0..POINTS).map(|_| point(&mut rng)).collect();
    for _ in 0..POINTS {
        let (a, b) = (point(&mut rng), point(&mut rng));
        // Half of the address words, or of the one, and the others of another entry.
        let address = |i: usize| {
            if A == 1 {
                u64::MAX << 32
            } else if i < 2 {
                u64::MAX
            } else {
                0
            }
        };
        let mask = |i: usize| if i < transport(A) { address(i) } else { 0 };
        sample.push(std::array::from_fn(|i| a[i] & mask(i) | b[i] & !mask(i)));
    }
    sample.extend((0..POINTS).map(|_| -> Words<N> { std::array::from_fn(|_| rng.u64(..)) }));
    sample
}

/// Takes the entries that the best mask tells apart into a root, and goes on with the others as
/// long as roots would have at least `least` entries.
fn divide<const A: usize, const N: usize>(entries: &[Entry<A, N>], least: usize) -> Plan<N> {
    let mut plan = Vec::new();
    let mut left: Vec<u32> = (0..entries.len() as u32).collect();
    while !left.is_empty() {
        let mask = if left.len() <= least { [0; N] } else { best_mask(entries, &left) };
        let asks = |item: &u32| {
            let entry = &entries[*item as usize];
            (0..N).all(|i| mask[i] & !entry.mask[i] == 0)
        };
        let (mut taken, mut rest): (Vec<u32>, Vec<u32>) = left.iter().copied().partition(asks);
        if taken.len() < least || plan.len() + 1 == MOST_ROOTS {
            (taken, rest) = (left, Vec::new());
        }
        let mut base = [u64::MAX; N];
        for item in &taken {
            for i in 0..N {
                base[i] &= entries[*item as usize].mask[i];
            }
        }
        plan.push((base, taken));
        left = rest;
    }
    plan
}

/// The mask by which the entries that ask for all of it are told apart best: most bits of
/// information, summed over the entries.
fn best_mask<const A: usize, const N: usize>(entries: &[Entry<A, N>], items: &[u32]) -> Words<N> {
    let mut gauge =
        Gauge { entries, items, counts: vec![0; (items.len() * 2).next_power_of_two()] };
    let lens: Vec<(u8, u8)> =
        items.iter().map(|item| entries[*item as usize].prefix_lens()).collect();
    let steps = |len: fn(&(u8, u8)) -> u8| {
        let mut lens: Vec<u8> = lens.iter().map(len).collect();
        lens.sort_unstable();
        let mut steps: Vec<u8> = (0..10).map(|i| lens[(lens.len() - 1) * i / 9]).collect();
        steps.push(0);
        steps.dedup();
        steps.sort_unstable();
        steps.dedup();
        steps
    };
    let (src, dst) = (steps(|lens| lens.0), steps(|lens| lens.1));
    let mut best = (0.0, [0; N]);
    for &src in &src {
        for &dst in &dst {
            let mask = address_mask::<A, N>(src, dst);
            best = gauge.better(best, mask);
        }
    }
    // Then the other fields, each whole or not at all.
    loop {
        let before = best.0;
        for (word, bits) in fields::<A, N>() {
            let mut mask = best.1;
            mask[word] ^= if mask[word] & bits == bits { bits } else { bits & !mask[word] };
            best = gauge.better(best, mask);
        }
        if best.0 <= before {
            return best.1;
        }
    }
}

struct Gauge<'a, const A: usize, const N: usize> {
    entries: &'a [Entry<A, N>],
    items: &'a [u32],
    counts: Vec<u32>,
}

impl<const A: usize, const N: usize> Gauge<'_, A, N> {
    fn better(&mut self, best: (f64, Words<N>), mask: Words<N>) -> (f64, Words<N>) {
        let score = self.information(&mask);
        if score > best.0 || (score == best.0 && ones(&mask) > ones(&best.1)) {
            (score, mask)
        } else {
            best
        }
    }

    /// For each entry that asks for the bits of `mask`: how much they narrow the entries down, in
    /// bits; the sum.
    fn information(&mut self, mask: &Words<N>) -> f64 {
        self.counts.fill(0);
        let shift = 64 - self.counts.len().trailing_zeros();
        let mut asked = 0u32;
        for item in self.items {
            let entry = &self.entries[*item as usize];
            if (0..N).all(|i| mask[i] & !entry.mask[i] == 0) {
                let slot = if shift == 64 { 0 } else { hash(&entry.value, mask) >> shift };
                self.counts[slot as usize] += 1;
                asked += 1;
            }
        }
        let all = f64::from(self.items.len() as u32).log2();
        let left = |count: &u32| f64::from(*count) * f64::from(*count).log2();
        f64::from(asked) * all
            - self.counts.iter().filter(|count| **count > 1).map(left).sum::<f64>()
    }
}

fn address_mask<const A: usize, const N: usize>(src: u8, dst: u8) -> Words<N> {
    let family = family(A);
    let key = PacketKey {
        src: prefix_mask(family, src),
        dst: prefix_mask(family, dst),
        ..PacketKey::empty(family)
    };
    let packed = pack::<A, N>(&key);
    let mut mask = [0; N];
    let words = transport(A);
    mask[..words].copy_from_slice(&packed[..words]);
    mask
}

/// The fields that are not addresses, as bits of words.
fn fields<const A: usize, const N: usize>() -> impl Iterator<Item = (usize, u64)> {
    let transport =
        [0xffff << 48, 0xffff << 32, 0xff << 24, 0xff << 16].map(|bits| (transport(A), bits));
    let sides = [0xffff << 48, 0xffff << 32, 0xffff << 16, 0xffff].map(|bits| (sides(A), bits));
    let tag = [1 << 16, 0xffff].map(|bits| (tag(A), bits));
    transport.into_iter().chain(sides).chain(tag).filter(|(word, _)| *word < N)
}
