//! A part of the space of keys, and what is left of an entry in it.

use crate::entry::{Entry, common_prefix};
use crate::words::{RangeField, Words, range_fields};

/// The keys that have the bits `value` where `mask` has ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell<const N: usize> {
    pub value: Words<N>,
    pub mask: Words<N>,
}

impl<const N: usize> Cell<N> {
    /// All keys.
    pub const ALL: Cell<N> = Cell { value: [0; N], mask: [0; N] };

    /// The part of this cell with the bits of `value` under `mask` too.
    pub fn within(&self, value: &Words<N>, mask: &Words<N>) -> Self {
        let mut cell = *self;
        for i in 0..N {
            cell.mask[i] |= mask[i];
            cell.value[i] |= value[i] & mask[i];
        }
        cell
    }

    /// Smallest and largest value of a range field, and whether all between them are in the cell.
    pub fn bounds(&self, field: RangeField) -> (u16, u16, bool) {
        if field.word >= N {
            return (0, u16::MAX, true);
        }
        let mask = (self.mask[field.word] >> field.shift) as u16;
        let low = (self.value[field.word] >> field.shift) as u16 & mask;
        (low, low | !mask, mask.leading_ones() == mask.count_ones())
    }

    /// Whether `entry` matches every key of the cell.
    pub fn covered_by<const A: usize>(&self, entry: &Entry<A, N>) -> bool {
        (0..N).all(|i| {
            entry.mask[i] & !self.mask[i] == 0
                && (entry.value[i] ^ self.value[i]) & entry.mask[i] == 0
        }) && (entry.ranged == 0 || self.within_ranges(entry))
    }

    fn within_ranges<const A: usize>(&self, entry: &Entry<A, N>) -> bool {
        range_fields(A).into_iter().enumerate().all(|(f, field)| {
            let (low, high, _) = self.bounds(field);
            entry.low[f] <= low && high <= entry.high[f]
        })
    }

    /// The bits that a key of the cell must have for `entry` to match it: value and mask. `None`
    /// when no key of the cell matches.
    pub fn view<const A: usize>(&self, entry: &Entry<A, N>) -> Option<(Words<N>, Words<N>)> {
        let mut value = entry.value;
        let mut mask = entry.mask;
        for i in 0..N {
            if (value[i] ^ self.value[i]) & mask[i] & self.mask[i] != 0 {
                return None;
            }
        }
        if entry.ranged != 0 {
            for (f, field) in range_fields(A).into_iter().enumerate() {
                if entry.ranged >> f & 1 == 0 {
                    continue;
                }
                let (low, high, whole) = self.bounds(field);
                let (low, high) = (low.max(entry.low[f]), high.min(entry.high[f]));
                if low > high {
                    return None;
                }
                if whole {
                    let (common, _) = common_prefix(low, high);
                    mask[field.word] |= u64::from(common) << field.shift;
                    value[field.word] |= u64::from(low & common) << field.shift;
                }
            }
        }
        Some((value, mask))
    }
}
