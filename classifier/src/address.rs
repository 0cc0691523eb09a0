//! Sets of addresses that a rule can name.

use crate::key::Family;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AddressMatch {
    /// Every address of both families.
    Any,
    /// The addresses that share the first `len` bits of `value`.
    Prefix {
        /// The family; the other family never matches.
        family: Family,
        /// Network address in the low [`Family::bits`] bits; bits below the prefix are zero.
        value: u128,
        /// Prefix length, 0 to [`Family::bits`].
        len: u8,
    },
    /// The addresses from `low` to `high`, both of `family`.
    Range {
        /// The family; the other family never matches.
        family: Family,
        /// First address, in the low [`Family::bits`] bits.
        low: u128,
        /// Last address; at least `low`, or nothing matches.
        high: u128,
    },
    /// A set of prefixes and ranges, of either family.
    Set(Arc<AddressSet>),
}

impl AddressMatch {
    /// The prefix `addr/len`. Bits of `addr` below the prefix are cleared.
    ///
    /// # Errors
    /// [`PrefixError`] if `len` is longer than the family's addresses.
    pub fn prefix(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let (family, value) = Family::split(addr);
        if len > family.bits() {
            return Err(PrefixError { len, bits: family.bits() });
        }
        Ok(AddressMatch::Prefix { family, value: value & prefix_mask(family, len), len })
    }

    /// One address.
    pub fn host(addr: IpAddr) -> Self {
        let (family, value) = Family::split(addr);
        AddressMatch::Prefix { family, value, len: family.bits() }
    }

    /// The union of `members`, in the least number of ranges.
    pub fn set(members: impl IntoIterator<Item = AddressMatch>) -> Self {
        let mut set = AddressSet::default();
        for member in members {
            match member {
                AddressMatch::Any => return AddressMatch::Any,
                AddressMatch::Set(other) => {
                    set.v4.extend_from_slice(&other.v4);
                    set.v6.extend_from_slice(&other.v6);
                }
                one => {
                    for family in [Family::V4, Family::V6] {
                        set.ranges_mut(family).extend(one.ranges(family));
                    }
                }
            }
        }
        merge(&mut set.v4);
        merge(&mut set.v6);
        AddressMatch::Set(Arc::new(set))
    }

    /// The addresses of `family` in it, as ranges `low..=high` that neither overlap nor touch.
    pub fn ranges(&self, family: Family) -> Vec<(u128, u128)> {
        match self {
            AddressMatch::Any => vec![(0, prefix_mask(family, family.bits()))],
            AddressMatch::Prefix { family: f, value, len } => {
                let mask = prefix_mask(*f, *len);
                // A value with bits below its prefix equals no masked address.
                let some = *f == family && value & mask == *value;
                let host = prefix_mask(*f, f.bits()) & !mask;
                if some { vec![(*value, value | host)] } else { Vec::new() }
            }
            AddressMatch::Range { family: f, low, high } => {
                let high = (*high).min(prefix_mask(family, family.bits()));
                if *f == family && *low <= high { vec![(*low, high)] } else { Vec::new() }
            }
            AddressMatch::Set(set) => set.ranges(family).to_vec(),
        }
    }

    /// Whether `addr` of `family` is in the set.
    pub fn contains(&self, family: Family, addr: u128) -> bool {
        match self {
            AddressMatch::Any => true,
            AddressMatch::Prefix { family: f, value, len } => {
                *f == family && addr & prefix_mask(*f, *len) == *value
            }
            AddressMatch::Range { family: f, low, high } => {
                *f == family && (*low..=*high).contains(&addr)
            }
            AddressMatch::Set(set) => set.contains(family, addr),
        }
    }
}

/// The mask that keeps the first `len` bits of an address of `family`.
pub fn prefix_mask(family: Family, len: u8) -> u128 {
    let bits = u32::from(family.bits());
    let host = bits - u32::from(len);
    let all = if bits == 128 { u128::MAX } else { (1u128 << bits) - 1 };
    if host >= 128 { 0 } else { all & (u128::MAX << host) }
}

/// Addresses of both families, as sorted ranges that neither overlap nor touch. Made by
/// [`AddressMatch::set`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressSet {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl AddressSet {
    /// The ranges `low..=high` of one family, in order.
    pub fn ranges(&self, family: Family) -> &[(u128, u128)] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn ranges_mut(&mut self, family: Family) -> &mut Vec<(u128, u128)> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Whether `addr` of `family` is in the set.
    pub fn contains(&self, family: Family, addr: u128) -> bool {
        let ranges = self.ranges(family);
        let after = ranges.partition_point(|(low, _)| *low <= addr);
        after > 0 && addr <= ranges[after - 1].1
    }
}

/// Sorts ranges and joins those that overlap or touch.
fn merge(ranges: &mut Vec<(u128, u128)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let joins = next.0 <= kept.1.saturating_add(1);
        if joins {
            kept.1 = kept.1.max(next.1);
        }
        joins
    });
}

/// A prefix longer than its family's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixError {
    len: u8,
    bits: u8,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prefix length {} is longer than the {} bits of the address", self.len, self.bits)
    }
}

impl std::error::Error for PrefixError {}
