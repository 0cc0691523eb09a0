//! Dividing the entries of a table among its roots.

use crate::block::LANES;
use crate::entry::{Entry, family};
use crate::words::{
    DSCP_ONES, DSCP_SHIFT, FRAGMENT_SHIFT, MAC_ONES, MAC_SHIFT, PROTOCOL_SHIFT, Words, hash, link,
    ones, pack, sides, tag, transport,
};
use crate::{PacketKey, prefix_mask};
use fastrand::Rng;

/// For each root the bits that all of its entries ask for, and the entries in order.
pub(crate) type Plan<const N: usize> = Vec<(Words<N>, Vec<u32>)>;

/// Most roots of a table. Every one costs most lookups a probe.
const MOST_ROOTS: usize = 12;

/// So many entries that have little in common are compared without asking where they are: that
/// costs less than the probe, the slot and the block of a root.
pub(crate) const DIRECT: usize = 3 * LANES;

/// The plan with the most roots. Plans with fewer are [`merged`] from it.
pub(crate) fn finest<const A: usize, const N: usize>(entries: &[Entry<A, N>]) -> Plan<N> {
    divide(entries, (entries.len() / 2048).max(DIRECT))
}

/// `plan` with its roots from `at` on made one: entries that have less in common, in deeper trees,
/// and fewer probes for the keys that come that far.
pub(crate) fn merged<const A: usize, const N: usize>(
    entries: &[Entry<A, N>],
    plan: &Plan<N>,
    at: usize,
) -> Plan<N> {
    let mut left: Vec<u32> = plan[at..].iter().flat_map(|(_, items)| items).copied().collect();
    left.sort_unstable();
    let mut merged = plan[..at].to_vec();
    merged.push((base(entries, &left), left));
    merged
}

/// The bits that all of `items` ask for.
fn base<const A: usize, const N: usize>(entries: &[Entry<A, N>], items: &[u32]) -> Words<N> {
    items.iter().fold([u64::MAX; N], |base, item| {
        std::array::from_fn(|i| base[i] & entries[*item as usize].mask[i])
    })
}

/// Keys like those that a table will be asked about: points inside of entries, and points with
/// the fields of several entries.
pub(crate) fn sample<const A: usize, const N: usize>(entries: &[Entry<A, N>]) -> Vec<Words<N>> {
    const POINTS: usize = 512;
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
        let asks = |item: &u32| entries[*item as usize].asks_for(&mask);
        let (mut taken, mut rest): (Vec<u32>, Vec<u32>) = left.iter().copied().partition(asks);
        if taken.len() < least || plan.len() + 1 == MOST_ROOTS {
            (taken, rest) = (left, Vec::new());
        }
        plan.push((base(entries, &taken), taken));
        left = rest;
    }
    plan
}

/// The mask by which the entries that ask for all of it are told apart best: most bits of
/// information, summed over the entries.
///
/// Found by trying: from prefix lengths of both addresses together and from nothing, the change of
/// one field that makes it best, as long as one makes it better.
fn best_mask<const A: usize, const N: usize>(entries: &[Entry<A, N>], items: &[u32]) -> Words<N> {
    let mut gauge =
        Gauge { entries, items, counts: vec![0; (items.len() * 2).next_power_of_two()] };
    let fields = fields::<A, N>();
    let steps: Vec<Vec<Words<N>>> = fields
        .iter()
        .enumerate()
        .map(|(i, field)| steps(entries, items, field, if i < ADDRESSES { 6 } else { 4 }))
        .collect();
    let mut best = (0.0, [0; N]);
    for src in &steps[0] {
        for dst in &steps[1] {
            best = gauge.better(best, std::array::from_fn(|i| src[i] | dst[i]));
        }
    }
    let mut climb = |start: (f64, Words<N>)| {
        let mut best = start;
        loop {
            let (before, mask) = best;
            for (field, steps) in fields.iter().zip(&steps) {
                for step in steps {
                    let changed = std::array::from_fn(|i| mask[i] & !field[i] | step[i]);
                    best = gauge.better(best, changed);
                }
            }
            if best.0 <= before {
                return best;
            }
        }
    };
    let (from_addresses, from_nothing) = (climb(best), climb((0.0, [0; N])));
    if from_nothing.0 > from_addresses.0 { from_nothing.1 } else { from_addresses.1 }
}

/// How many of the [`fields`] are addresses; they come first.
const ADDRESSES: usize = 2;

/// The bits of each field of a key.
fn fields<const A: usize, const N: usize>() -> Vec<Words<N>> {
    let address = |src: u8, dst: u8| address_mask::<A, N>(src, dst);
    let bits = family(A).bits();
    let field = |word: usize, bits: u64| {
        let mut mask = [0; N];
        if word < N {
            mask[word] = bits;
        }
        mask
    };
    let (t, s, g, l) = (transport(A), sides(A), tag(A), link(A));
    let mut fields = vec![
        address(bits, 0),
        address(0, bits),
        field(t, 0xffff << 48),
        field(t, 0xffff << 32),
        field(t, 0xff << PROTOCOL_SHIFT),
        field(t, DSCP_ONES << DSCP_SHIFT),
        field(t, 1 << FRAGMENT_SHIFT),
        field(s, 0xffff << 48),
        field(s, 0xffff << 32),
        field(s, 0xffff << 16),
        field(s, 0xffff),
        field(g, 0xffff),
        // Without the last word no hardware addresses.
        field(g, if N > l { MAC_ONES << MAC_SHIFT } else { 0 }),
        field(l, MAC_ONES << MAC_SHIFT),
        field(l, 0xffff),
    ];
    fields.retain(|field| ones(field) > 0);
    fields
}

/// What entries ask for in a field, from nothing to most: at most `most` steps and nothing.
fn steps<const A: usize, const N: usize>(
    entries: &[Entry<A, N>],
    items: &[u32],
    field: &Words<N>,
    most: usize,
) -> Vec<Words<N>> {
    let asked = |item: &u32| -> Words<N> {
        std::array::from_fn(|i| entries[*item as usize].mask[i] & field[i])
    };
    let mut all: Vec<Words<N>> = items.iter().map(asked).collect();
    all.sort_unstable_by_key(ones);
    let mut steps: Vec<Words<N>> = vec![[0; N]];
    steps.extend((0..=most).map(|i| all[(all.len() - 1) * i / most]));
    steps.dedup();
    steps
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
            if entry.asks_for(mask) {
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
