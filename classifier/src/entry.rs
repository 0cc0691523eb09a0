//! Rules in the form that tables are built from: known bits and ranges.

use crate::words::{
    DSCP_ONES, DSCP_SHIFT, FRAGMENT_SHIFT, MAC_SHIFT, PROTOCOL_SHIFT, RANGES, Words, link,
    range_fields, sides, tag, transport,
};
use crate::{AddressMatch, Family, PacketKey, Range16, Rule, RuleIndex, ZoneId, prefix_mask};

/// A rule of one family with one prefix on each side. A rule whose addresses are a range or a set
/// becomes several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry<const A: usize, const N: usize> {
    /// The bits that a key must have, where `mask` has ones.
    pub value: Words<N>,
    pub mask: Words<N>,
    /// Bounds of the [`range_fields`].
    pub low: [u16; RANGES],
    pub high: [u16; RANGES],
    /// Bit `f` is set when `mask` does not say all that range field `f` asks.
    pub ranged: u8,
    pub rule: RuleIndex,
}

/// What a table of one family has to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// DSCP, fragment bit or TCP flags.
    pub misc: bool,
    pub zones: bool,
    pub identities: bool,
    pub vlan: bool,
    pub src_mac: bool,
    pub dst_mac: bool,
    pub length: bool,
}

impl Uses {
    pub fn of(rules: &[Rule]) -> Self {
        let mut uses = Uses::default();
        for rule in rules {
            uses.misc |= rule.dscp.is_some() || rule.fragment.is_some() || rule.tcp_flags.mask != 0;
            uses.zones |= rule.from_zone.is_some() || rule.to_zone.is_some();
            uses.identities |=
                rule.src_identities != Range16::ANY || rule.dst_identities != Range16::ANY;
            uses.vlan |= rule.vlan.is_some();
            uses.src_mac |= rule.src_mac.mask != [0; 6];
            uses.dst_mac |= rule.dst_mac.mask != [0; 6];
            uses.length |= rule.lengths != Range16::ANY;
        }
        uses
    }

    /// Whether this has all that `other` has.
    pub fn has(self, other: Uses) -> bool {
        (self.misc || !other.misc)
            && (self.zones || !other.zones)
            && (self.identities || !other.identities)
            && (self.vlan || !other.vlan)
            && (self.src_mac || !other.src_mac)
            && (self.dst_mac || !other.dst_mac)
            && (self.length || !other.length)
    }

    /// Whether the two words after the transport word are needed.
    pub fn sides(self) -> bool {
        self.zones || self.identities || self.vlan
    }

    /// Whether hardware addresses and the last word are needed.
    pub fn link(self) -> bool {
        self.src_mac || self.dst_mac || self.length
    }
}

/// The entries that `rule`, the `index`th, becomes in the family of `A`, added to `out`.
pub(crate) fn push_entries<const A: usize, const N: usize>(
    rule: &Rule,
    index: RuleIndex,
    out: &mut Vec<Entry<A, N>>,
) {
    let Some(rest) = without_addresses::<A, N>(rule, index) else { return };
    let (src, dst) = (prefixes::<A>(&rule.src), prefixes::<A>(&rule.dst));
    for &src in &src {
        for &dst in &dst {
            let mut entry = rest;
            entry.set_addresses(src, dst);
            out.push(entry);
        }
    }
}

/// How many entries [`push_entries`] would add.
pub(crate) fn entries_of(rule: &Rule) -> usize {
    let of = |family| match family {
        Family::V4 => prefixes::<1>(&rule.src).len().saturating_mul(prefixes::<1>(&rule.dst).len()),
        Family::V6 => prefixes::<4>(&rule.src).len().saturating_mul(prefixes::<4>(&rule.dst).len()),
    };
    of(Family::V4).saturating_add(of(Family::V6))
}

/// The family whose addresses have `a` units of 32 bits.
pub(crate) const fn family(a: usize) -> Family {
    if a == 1 { Family::V4 } else { Family::V6 }
}

/// Value and mask of each prefix that `addresses` takes.
fn prefixes<const A: usize>(addresses: &AddressMatch) -> Vec<(u128, u128)> {
    let family = family(A);
    match addresses {
        AddressMatch::Any => vec![(0, 0)],
        other => {
            let mut out = Vec::new();
            for (low, high) in other.ranges(family) {
                push_prefixes(family, low, high, &mut out);
            }
            out
        }
    }
}

/// The fewest prefixes that make up `low..=high`.
fn push_prefixes(family: Family, mut low: u128, high: u128, out: &mut Vec<(u128, u128)>) {
    let bits = u32::from(family.bits());
    loop {
        // The largest aligned block that starts at `low` and does not pass `high`.
        let mut host = low.trailing_zeros().min(bits);
        let last = |host: u32| {
            if host == 128 { u128::MAX } else { low | ((1u128 << host) - 1) }
        };
        while last(host) > high {
            host -= 1;
        }
        out.push((low, prefix_mask(family, (bits - host) as u8)));
        let end = last(host);
        if end >= high {
            return;
        }
        low = end + 1;
    }
}

/// The entry of `rule` for any addresses; `None` when some field can match nothing.
fn without_addresses<const A: usize, const N: usize>(
    rule: &Rule,
    index: RuleIndex,
) -> Option<Entry<A, N>> {
    let flags = rule.tcp_flags;
    let (src_mac, dst_mac) = (rule.src_mac.bits(), rule.dst_mac.bits());
    let unmasked = |(value, mask): (u64, u64)| value & !mask != 0;
    if flags.value & !flags.mask != 0
        || unmasked(src_mac)
        || unmasked(dst_mac)
        || rule.dscp.is_some_and(|dscp| u64::from(dscp) > DSCP_ONES)
    {
        return None;
    }
    let ranges: [Range16; RANGES] =
        [rule.src_ports, rule.dst_ports, rule.src_identities, rule.dst_identities, rule.lengths];
    let mut entry = Entry {
        value: [0; N],
        mask: [0; N],
        low: ranges.map(|range| range.low),
        high: ranges.map(|range| range.high),
        ranged: 0,
        rule: index,
    };
    let mut exact = |word: usize, shift: u32, ones: u64, value: Option<u64>| {
        if let Some(value) = value {
            entry.mask[word] |= ones << shift;
            entry.value[word] |= value << shift;
        }
    };
    exact(transport(A), PROTOCOL_SHIFT, 0xff, rule.protocol.map(u64::from));
    exact(transport(A), DSCP_SHIFT, DSCP_ONES, rule.dscp.map(u64::from));
    exact(transport(A), FRAGMENT_SHIFT, 1, rule.fragment.map(u64::from));
    exact(transport(A), 0, flags.mask.into(), Some(flags.value.into()));
    if N > sides(A) {
        let zone = |zone: Option<ZoneId>| zone.map(|zone| zone.0.into());
        exact(sides(A), 48, 0xffff, zone(rule.from_zone));
        exact(sides(A), 32, 0xffff, zone(rule.to_zone));
        exact(tag(A), 0, 0xffff, rule.vlan.map(u64::from));
    }
    if N > link(A) {
        exact(tag(A), MAC_SHIFT, dst_mac.1, Some(dst_mac.0));
        exact(link(A), MAC_SHIFT, src_mac.1, Some(src_mac.0));
    }
    for (f, field) in range_fields(A).into_iter().enumerate() {
        let Range16 { low, high } = ranges[f];
        if low > high {
            return None;
        }
        if field.word >= N {
            continue;
        }
        let (mask, whole) = common_prefix(low, high);
        entry.mask[field.word] |= u64::from(mask) << field.shift;
        entry.value[field.word] |= u64::from(low & mask) << field.shift;
        if !whole {
            entry.ranged |= 1 << f;
        }
    }
    Some(entry)
}

/// The leading bits that all of `low..=high` share, and whether they are the whole condition.
pub(crate) fn common_prefix(low: u16, high: u16) -> (u16, bool) {
    let differ = 16 - (low ^ high).leading_zeros();
    let mask = (u32::from(u16::MAX) << differ) as u16;
    (mask, low & !mask == 0 && high | mask == u16::MAX)
}

impl<const A: usize, const N: usize> Entry<A, N> {
    fn set_addresses(&mut self, src: (u128, u128), dst: (u128, u128)) {
        let key = |src, dst| {
            let key = PacketKey { src, dst, ..PacketKey::empty(family(A)) };
            crate::words::pack::<A, N>(&key)
        };
        let (value, mask) = (key(src.0, dst.0), key(src.1, dst.1));
        let words = transport(A);
        self.value[..words].copy_from_slice(&value[..words]);
        self.mask[..words].copy_from_slice(&mask[..words]);
    }

    /// Prefix lengths of source and destination.
    pub fn prefix_lens(&self) -> (u8, u8) {
        if A == 1 {
            let word = self.mask[0];
            ((word >> 32).count_ones() as u8, (word as u32).count_ones() as u8)
        } else {
            let ones = |i: usize| self.mask[i].count_ones() as u8;
            (ones(0) + ones(1), ones(2) + ones(3))
        }
    }

    /// Whether it asks for every bit of `mask`.
    pub fn asks_for(&self, mask: &Words<N>) -> bool {
        (0..N).all(|i| mask[i] & !self.mask[i] == 0)
    }

    /// Whether every key that `other` matches, this matches as well.
    pub fn covers(&self, other: &Self) -> bool {
        (0..N).all(|i| {
            self.mask[i] & !other.mask[i] == 0
                && (self.value[i] ^ other.value[i]) & self.mask[i] == 0
        }) && (0..RANGES).all(|f| self.low[f] <= other.low[f] && other.high[f] <= self.high[f])
    }
}
