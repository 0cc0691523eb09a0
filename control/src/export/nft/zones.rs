//! What zones say besides the rules: which sources may come from them, and what becomes of fragments.
//!
//! ```text
//! sources: networks, or a list -> set sources_ZONE_v4, sources_ZONE_v6: all others are dropped
//! sources: any                 -> set foreign_ZONE_v4, foreign_ZONE_v6: what belongs to other zones
//!                                 is dropped
//! fragments: drop              -> before connection tracking reassembles them
//! ```
//!
//! Of the guard it is only `spoofed` that a router needs: what link-layer addresses, neighbour
//! discovery and DHCP servers say goes no further than the router.

use super::{Interfaces, Used, interval, kind_of, write_set};
use crate::policy::Policy;
use classifier::{AddressMatch, Family, ZoneId};
use dataplane::FragmentMode;
use dataplane::guard::{Mode, Sources, ZoneGuard};
use std::cmp::Reverse;
use std::fmt::Write as _;

/// Sources that belong to no zone and are any zone's: hosts without an address yet, and what every
/// IPv6 host has besides its zone's (RFC 4291, 2.1).
const EXEMPT: &str =
    "        ip saddr 0.0.0.0 accept\n        ip6 saddr { ::, fe80::/10 } accept\n";

/// Writes sets and a chain for the zones that have interfaces or that rules name, where these say
/// anything.
pub(super) fn write(text: &mut String, policy: &Policy, interfaces: &Interfaces, used: &Used) {
    let ids: Vec<_> = (0..policy.zones().len()).map(|index| ZoneId(index as u16)).collect();
    let settings = policy.zone_settings(&ids);
    let owned = FAMILIES.map(|family| Owned::of(&settings.guard.zones, family));
    let (mut fragments, mut sources) = (String::new(), String::new());
    for (index, zone) in policy.zones().iter().enumerate() {
        if !used.zones.contains(&index) && !interfaces.contains_key(&zone.name) {
            continue;
        }
        let name = &zone.name;
        if settings.fragments[index] == FragmentMode::Drop {
            // An atomic fragment is a whole packet (RFC 6946).
            for matches in
                ["ip frag-off & 0x3fff != 0", "frag frag-off != 0", "frag more-fragments 1"]
            {
                let _ = writeln!(
                    fragments,
                    "        iifname $zone_{name} {matches} counter drop comment \"fragment\""
                );
            }
        }
        let guard = &settings.guard.zones[index];
        let verdict = match guard.modes.spoofed {
            Mode::Drop => "counter drop",
            Mode::Count => "counter",
            Mode::Off => continue,
        };
        for (family, owned) in FAMILIES.into_iter().zip(&owned) {
            if let Some(matches) = spoofed(text, name, index, guard, family, owned) {
                let _ = writeln!(
                    sources,
                    "        iifname $zone_{name} {matches} {verdict} comment \"source not of zone \
                     {name}\""
                );
            }
        }
    }
    if fragments.is_empty() && sources.is_empty() {
        return;
    }
    text.push_str(
        "    # Before connection tracking, which reassembles fragments at priority -400.\n    chain \
         zones {\n        type filter hook prerouting priority -450; policy accept;\n",
    );
    text.push_str(&fragments);
    if !sources.is_empty() {
        text.push_str(EXEMPT);
        text.push_str(&sources);
    }
    text.push_str("    }\n\n");
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What matches the sources of `family` that may not come from a zone, and its set; `None` when all
/// may.
fn spoofed(
    text: &mut String,
    name: &str,
    zone: usize,
    guard: &ZoneGuard,
    family: Family,
    owned: &Owned,
) -> Option<String> {
    let (ip, nfproto, version) = match family {
        Family::V4 => ("ip", "ipv4", "v4"),
        Family::V6 => ("ip6", "ipv6", "v6"),
    };
    let (prefix, operator, addresses) = match &guard.sources {
        Sources::Any => ("foreign", "", owned.where_owner(|zones| !zones.contains(&zone))),
        Sources::Networks => ("sources", "!= ", owned.where_owner(|zones| zones.contains(&zone))),
        Sources::Listed(listed) => ("sources", "!= ", AddressMatch::set(listed.iter().cloned())),
    };
    let intervals: Vec<_> = addresses
        .ranges(family)
        .into_iter()
        .map(|(low, high)| interval(family, low, high))
        .collect();
    if intervals.is_empty() {
        // nftables has no empty sets.
        return (guard.sources != Sources::Any).then(|| format!("meta nfproto {nfproto}"));
    }
    let set = format!("{prefix}_{name}_{version}");
    write_set(text, &set, kind_of(family), &intervals);
    Some(format!("{ip} saddr {operator}@{set}"))
}

/// Whom the addresses of one family belong to: to the zones that have the narrowest network around
/// them.
struct Owned {
    family: Family,
    /// Ranges that do not overlap, each with its zones.
    ranges: Vec<(u128, u128, Vec<usize>)>,
}

impl Owned {
    fn of(zones: &[ZoneGuard], family: Family) -> Self {
        let mut networks = Vec::new();
        for (index, zone) in zones.iter().enumerate() {
            let ranges = zone.networks.iter().flat_map(|network| network.ranges(family));
            networks.extend(ranges.map(|(low, high)| (low, Reverse(high), index)));
        }
        networks.sort_unstable();
        networks.dedup();
        let mut sweep = Sweep::default();
        // Networks are prefixes: of two, one holds the other, or they have nothing in common.
        for alike in networks.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (low, Reverse(high), _) = alike[0];
            sweep.leave(Some(low));
            sweep.enter(low, high, alike.iter().map(|(.., zone)| *zone).collect());
        }
        sweep.leave(None);
        Owned { family, ranges: sweep.ranges }
    }

    fn where_owner(&self, wanted: impl Fn(&[usize]) -> bool) -> AddressMatch {
        let family = self.family;
        let ranges = self.ranges.iter().filter(|(.., zones)| wanted(zones));
        AddressMatch::set(ranges.map(|(low, high, _)| AddressMatch::Range {
            family,
            low: *low,
            high: *high,
        }))
    }
}

/// A walk over the addresses, from network to network.
#[derive(Default)]
struct Sweep {
    ranges: Vec<(u128, u128, Vec<usize>)>,
    /// The networks around the place reached, the widest first: last address and zones.
    around: Vec<(u128, Vec<usize>)>,
    /// The first address that no range has yet, when a network is around.
    next: u128,
}

impl Sweep {
    /// Leaves the networks that end before `low`, or all of them.
    fn leave(&mut self, low: Option<u128>) {
        while let Some((high, zones)) =
            self.around.pop_if(|(high, _)| low.is_none_or(|low| *high < low))
        {
            if self.next <= high {
                self.ranges.push((self.next, high, zones));
            }
            // What ends with the last address there is has nothing behind it, nor has what is around.
            let Some(next) = high.checked_add(1) else {
                self.around.clear();
                return;
            };
            self.next = next;
        }
    }

    fn enter(&mut self, low: u128, high: u128, zones: Vec<usize>) {
        if let Some((_, around)) = self.around.last()
            && self.next < low
        {
            self.ranges.push((self.next, low - 1, around.clone()));
        }
        self.next = low;
        self.around.push((high, zones));
    }
}

#[cfg(test)]
mod tests;
