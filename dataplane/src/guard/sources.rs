//! Which zone an address belongs to, and which addresses may be sources in a zone.

use super::config::{Sources, ZoneGuard};
use classifier::{AddressMatch, Family, ZoneId, prefix_mask};
use std::collections::{BTreeSet, HashMap};

/// A value for every address of both families: sorted intervals, found by binary search.
#[derive(Debug)]
pub(super) struct IntervalMap<T> {
    v4: Intervals<u32, T>,
    v6: Intervals<u128, T>,
}

#[derive(Debug)]
struct Intervals<A, T> {
    /// Where each value but the first begins to hold; the first holds from address 0.
    starts: Box<[A]>,
    /// One more than `starts`.
    values: Box<[T]>,
}

impl<A: Ord + Copy, T: Copy> Intervals<A, T> {
    #[inline]
    fn at(&self, address: A) -> T {
        self.values[self.starts.partition_point(|start| *start <= address)]
    }
}

impl<T: Copy + PartialEq> IntervalMap<T> {
    /// Each address gets the value of the narrowest range it is in, or `rest`. Of ranges alike, all
    /// values are handed to `join` in the order given.
    pub(super) fn narrowest<L: Copy>(
        entries: &[(AddressMatch, L)],
        rest: T,
        mut join: impl FnMut(&[L]) -> T,
    ) -> Self {
        let mut intervals = |family| painted(ranges_of(entries, family, &mut join), rest, family);
        let (v4, v6) = (intervals(Family::V4), intervals(Family::V6));
        IntervalMap {
            v4: Intervals {
                starts: v4[1..].iter().map(|(start, _)| *start as u32).collect(),
                values: v4.iter().map(|(_, value)| *value).collect(),
            },
            v6: Intervals {
                starts: v6[1..].iter().map(|(start, _)| *start).collect(),
                values: v6.iter().map(|(_, value)| *value).collect(),
            },
        }
    }

    #[inline]
    pub(super) fn at(&self, family: Family, address: u128) -> T {
        match family {
            Family::V4 => self.v4.at(address as u32),
            Family::V6 => self.v6.at(address),
        }
    }

    /// Bytes held.
    fn memory_usage(&self) -> usize {
        size_of_val(&*self.v4.starts)
            + size_of_val(&*self.v4.values)
            + size_of_val(&*self.v6.starts)
            + size_of_val(&*self.v6.values)
    }
}

/// The distinct ranges of one family, each with its value, by their first address.
fn ranges_of<L: Copy, T>(
    entries: &[(AddressMatch, L)],
    family: Family,
    join: &mut impl FnMut(&[L]) -> T,
) -> Vec<(u128, u128, T)> {
    let mut ranges: Vec<(u128, u128, L)> = Vec::new();
    for (network, label) in entries {
        ranges.extend(network.ranges(family).into_iter().map(|(low, high)| (low, high, *label)));
    }
    // Stable: what is alike stays in the order given.
    ranges.sort_by_key(|(low, high, _)| (*low, *high));
    let alike = ranges.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
    let joined = alike.map(|alike| {
        let labels: Vec<L> = alike.iter().map(|(_, _, label)| *label).collect();
        (alike[0].0, alike[0].1, join(&labels))
    });
    joined.collect()
}

/// Where each value begins to hold, from address 0 on. The narrowest range wins; of partial overlaps
/// of one width, which prefixes never are, the one that begins first.
fn painted<T: Copy + PartialEq>(
    ranges: Vec<(u128, u128, T)>,
    rest: T,
    family: Family,
) -> Vec<(u128, T)> {
    let last = prefix_mask(family, family.bits());
    let mut ends: Vec<usize> = (0..ranges.len()).collect();
    ends.sort_by_key(|nth| ranges[*nth].1);
    let after = ranges.iter().filter(|(_, high, _)| *high < last).map(|(_, high, _)| high + 1);
    let bounds: BTreeSet<u128> = ranges.iter().map(|(low, _, _)| *low).chain(after).collect();
    let (mut begins, mut ends) = ((0..ranges.len()).peekable(), ends.into_iter().peekable());
    let mut within = BTreeSet::new();
    let mut painted = vec![(0, rest)];
    for bound in bounds {
        let key = |nth: usize| (ranges[nth].1 - ranges[nth].0, nth);
        while let Some(nth) = ends.next_if(|nth| ranges[*nth].1 < bound) {
            within.remove(&key(nth));
        }
        while let Some(nth) = begins.next_if(|nth| ranges[*nth].0 <= bound) {
            within.insert(key(nth));
        }
        let value = within.first().map_or(rest, |(_, nth)| ranges[*nth].2);
        if bound == 0 {
            painted[0].1 = value;
        } else if painted.last().is_none_or(|(_, before)| *before != value) {
            painted.push((bound, value));
        }
    }
    painted
}

/// Whom an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Zone(ZoneId),
    /// Zones that name the same network, an index into [`Bindings::shared`].
    Several(u32),
}

/// How an address stands to the zone it is said to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// It may be there, and something names it: the zone's networks, or its list.
    Named,
    /// It may be there, as any address may that belongs to no other zone.
    Free,
    /// It belongs to another zone.
    OtherZone,
    /// It is not among those that may be there.
    Unlisted,
}

/// What ARP and neighbour discovery say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The sender has it.
    Holds(u128),
    /// The sender asks whether anybody has it, and means to take it.
    Wants(u128),
}

/// Which addresses may be sources in which zone.
#[derive(Debug)]
pub(super) struct Bindings {
    owners: IntervalMap<Owner>,
    shared: Vec<Box<[ZoneId]>>,
    zones: Box<[Allowed]>,
}

/// [`Sources`], compiled.
#[derive(Debug)]
enum Allowed {
    Any,
    Networks,
    Listed(IntervalMap<bool>),
}

impl Bindings {
    pub(super) fn new(zones: &[ZoneGuard]) -> Self {
        let mut named = Vec::new();
        for (zone, id) in zones.iter().zip(0..) {
            named.extend(zone.networks.iter().map(|network| (network.clone(), ZoneId(id))));
        }
        let mut shared = Vec::new();
        let mut known = HashMap::new();
        let owners = IntervalMap::narrowest(&named, Owner::Nobody, |owners: &[ZoneId]| {
            let mut owners = owners.to_vec();
            owners.dedup();
            match owners[..] {
                [zone] => Owner::Zone(zone),
                _ => Owner::Several(*known.entry(owners.clone()).or_insert_with(|| {
                    shared.push(owners.into());
                    shared.len() as u32 - 1
                })),
            }
        });
        let allowed = |zone: &ZoneGuard| match &zone.sources {
            Sources::Any => Allowed::Any,
            Sources::Networks => Allowed::Networks,
            Sources::Listed(listed) => {
                let listed: Vec<_> = listed.iter().map(|source| (source.clone(), ())).collect();
                Allowed::Listed(IntervalMap::narrowest(&listed, false, |_| true))
            }
        };
        Bindings { owners, zones: zones.iter().map(allowed).collect(), shared }
    }

    /// How `address` stands to `zone`.
    #[inline]
    pub(super) fn of(&self, zone: ZoneId, family: Family, address: u128) -> Binding {
        let allowed = self.zones.get(usize::from(zone.0)).unwrap_or(&Allowed::Any);
        if let Allowed::Listed(listed) = allowed
            && listed.at(family, address)
        {
            return Binding::Named;
        }
        // What a capture does not tell the zone of can be of any.
        if zone == ZoneId::UNKNOWN {
            return Binding::Free;
        }
        let (own, others) = match self.owners.at(family, address) {
            Owner::Nobody => (false, false),
            Owner::Zone(owner) => (owner == zone, owner != zone),
            Owner::Several(nth) => {
                let own = self.shared[nth as usize].binary_search(&zone).is_ok();
                (own, !own)
            }
        };
        match allowed {
            Allowed::Any | Allowed::Networks if own => Binding::Named,
            _ if others => Binding::OtherZone,
            Allowed::Any => Binding::Free,
            Allowed::Networks | Allowed::Listed(_) => Binding::Unlisted,
        }
    }

    /// Bytes held.
    pub(super) fn memory_usage(&self) -> usize {
        let of_zone = |allowed: &Allowed| match allowed {
            Allowed::Any | Allowed::Networks => 0,
            Allowed::Listed(listed) => listed.memory_usage(),
        };
        self.owners.memory_usage()
            + self.shared.iter().map(|zones| size_of_val(&**zones)).sum::<usize>()
            + size_of_val(&*self.zones)
            + self.zones.iter().map(of_zone).sum::<usize>()
    }
}
