//! Rules that never decide anything, and the rules that hide them.

use crate::rule::mac_bits;
use crate::{Classifier, Family, IpBits, Lookup, PacketKey, Rule, RuleIndex, ZoneId};
use std::cell::OnceCell;
use std::collections::VecDeque;

/// A rule that could be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleIndex,
    /// Why.
    pub kind: FindingKind,
    /// The rules that match first, or instead, in order; together they match all that the rule
    /// matches. Empty when it matches nothing.
    pub by: Vec<RuleIndex>,
}

/// Why a rule could be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// No key can match it: a range with its ends exchanged, addresses of different families.
    Empty,
    /// Earlier rules match all that it matches, and some have another outcome.
    Shadowed,
    /// Earlier rules match all that it matches, with the same outcome; or one later rule would,
    /// and between the two is nothing that has another outcome and overlaps.
    Redundant,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// In the order of the rules.
    pub findings: Vec<Finding>,
    /// Rules for which the search was given up: hidden by very many rules together, perhaps.
    pub undecided: Vec<RuleIndex>,
}

/// Most keys tried for one rule.
const MOST_POINTS: usize = 256;

/// How many rules below a rule are searched for one that makes it redundant.
const AHEAD: usize = 256;

/// Finds the rules of `classifier`, which was built from `rules`, that could be left out.
///
/// `outcome` tells what a rule does, in numbers of the caller's. A rule is hidden when every key that
/// it matches is matched by an earlier rule. That is decided exactly: a key of the rule is looked
/// up; what the rule found matches is cut out of what the rule matches, and so on with a key of
/// what is left, until nothing is left or the rule itself is found.
pub fn audit(classifier: &Classifier, rules: &[Rule], outcome: impl Fn(RuleIndex) -> u32) -> Audit {
    let mut audit = Audit::default();
    let hidden: Vec<Hidden> =
        (0..rules.len() as RuleIndex).map(|index| hiders(classifier, rules, index)).collect();
    let outlines: Vec<Outline> = rules.iter().map(Outline::of).collect();
    // The regions of this rule and of those below it, as far as they were needed.
    let mut ahead: VecDeque<OnceCell<Vec<Region>>> = VecDeque::new();
    for (index, found) in (0..).zip(&hidden) {
        ahead.pop_front();
        ahead.resize_with(AHEAD + 1, OnceCell::new);
        let regions_of = |rule: RuleIndex| {
            ahead[(rule - index) as usize].get_or_init(|| regions(&rules[rule as usize])).as_slice()
        };
        match found {
            Hidden::By(by) => {
                let alike = by.iter().all(|hider| outcome(*hider) == outcome(index));
                let kind = match (by.is_empty(), alike) {
                    (true, _) => FindingKind::Empty,
                    (false, true) => FindingKind::Redundant,
                    (false, false) => FindingKind::Shadowed,
                };
                audit.findings.push(Finding { rule: index, kind, by: by.clone() });
            }
            Hidden::No => {
                let outline = &outlines[index as usize];
                let below = (index + 1..).zip(&outlines[index as usize + 1..]).take(AHEAD);
                let instead = below
                    .filter(|(_, other)| outline.overlaps(other))
                    .filter(|(other, _)| overlap(regions_of(index), regions_of(*other)))
                    .take_while(|(other, _)| outcome(*other) == outcome(index))
                    // One that is hidden itself may be so by this very rule.
                    .filter(|(other, _)| matches!(hidden[*other as usize], Hidden::No))
                    .filter(|(_, other)| other.covers(outline))
                    .find(|(other, _)| covers(regions_of(*other), regions_of(index)));
                if let Some((by, _)) = instead {
                    let kind = FindingKind::Redundant;
                    audit.findings.push(Finding { rule: index, kind, by: vec![by] });
                }
            }
            Hidden::Undecided => audit.undecided.push(index),
        }
    }
    audit
}

enum Hidden {
    By(Vec<RuleIndex>),
    No,
    Undecided,
}

fn hiders(classifier: &Classifier, rules: &[Rule], index: RuleIndex) -> Hidden {
    let mut left = regions(&rules[index as usize]);
    let mut by = Vec::new();
    for _ in 0..MOST_POINTS {
        let Some(region) = left.pop() else {
            by.sort_unstable();
            by.dedup();
            return Hidden::By(by);
        };
        let key = region.corner();
        let Some(first) = classifier.lookup(&key).filter(|first| *first < index) else {
            return Hidden::No;
        };
        by.push(first);
        let hider = &rules[first as usize];
        match regions_of(hider, region.family).into_iter().find(|other| other.contains(&key)) {
            Some(hider) => left.extend(region.without(&hider)),
            None => return Hidden::Undecided,
        }
    }
    Hidden::Undecided
}

/// What a rule matches at most, in a cache line: this tells most rules apart.
struct Outline {
    /// First and last value of source and destination address, in [`brief`]; of source and
    /// destination port, from and to zone, and protocol.
    addresses: [(u64, u64); 2],
    rest: [(u16, u16); 5],
}

impl Outline {
    fn of(rule: &Rule) -> Self {
        let zone = |zone: Option<ZoneId>| zone.map_or((0, u16::MAX), |zone| (zone.0, zone.0));
        let range = |range: crate::Range16| (range.low, range.high);
        let protocol = rule.protocol.map(u16::from);
        let mut addresses = [(u64::MAX, 0); 2];
        for family in [Family::V4, Family::V6] {
            let sides = [&rule.src, &rule.dst].map(|side| side.ranges(family));
            if sides.iter().any(|ranges| ranges.is_empty()) {
                continue;
            }
            for (all, ranges) in addresses.iter_mut().zip(sides) {
                for (low, high) in ranges {
                    *all = (all.0.min(brief(family, low)), all.1.max(brief(family, high)));
                }
            }
        }
        Outline {
            addresses,
            rest: [
                range(rule.src_ports),
                range(rule.dst_ports),
                zone(rule.from_zone),
                zone(rule.to_zone),
                protocol.map_or((0, u16::MAX), |protocol| (protocol, protocol)),
            ],
        }
    }

    /// `false` only when no key matches both.
    fn overlaps(&self, other: &Outline) -> bool {
        let mut meet = true;
        for ((a, b), (c, d)) in self.addresses.iter().zip(&other.addresses) {
            meet &= a <= d && c <= b;
        }
        for ((a, b), (c, d)) in self.rest.iter().zip(&other.rest) {
            meet &= a <= d && c <= b;
        }
        meet
    }

    /// `false` only when some key matches the other and not this.
    fn covers(&self, other: &Outline) -> bool {
        let addresses = self.addresses.iter().zip(&other.addresses);
        let rest = self.rest.iter().zip(&other.rest);
        addresses.into_iter().all(|((a, b), (c, d))| a <= c && d <= b)
            && rest.into_iter().all(|((a, b), (c, d))| a <= c && d <= b)
    }
}

/// An address of either family on one line, in order, its last bits left out where there is no room.
fn brief(family: Family, address: u128) -> u64 {
    match family {
        Family::V4 => address as u64,
        Family::V6 => 1 << 63 | (address >> 65) as u64,
    }
}

/// Whether some key is in both.
fn overlap(a: &[Region], b: &[Region]) -> bool {
    a.iter().any(|a| b.iter().any(|b| a.overlaps(b)))
}

/// Whether one region of `outer` contains each of `inner`.
fn covers(outer: &[Region], inner: &[Region]) -> bool {
    inner.iter().all(|inner| outer.iter().any(|outer| outer.covers(inner)))
}

/// The fields that are ranges, in a region.
const FIELDS: usize = 13;

/// The fields that are bits under a mask.
const MASKED: usize = 3;

/// A box of keys of one family.
#[derive(Clone, Debug)]
struct Region {
    family: Family,
    /// First and last value of source and destination address; source and destination port;
    /// source and destination identity; from and to zone; VLAN; protocol; DSCP; fragment bit; length.
    ranges: [(u128, u128); FIELDS],
    /// Value and mask of the TCP flags, the source MAC and the destination MAC address.
    masked: [(u64, u64); MASKED],
}

/// The last code point.
const DSCP: u128 = 0x3f;

/// The hardware address in the low 48 bits.
fn mac(bits: u64) -> [u8; 6] {
    let [_, _, mac @ ..] = bits.to_be_bytes();
    mac
}

/// What a rule matches, as boxes.
fn regions(rule: &Rule) -> Vec<Region> {
    let mut regions = regions_of(rule, Family::V4);
    regions.extend(regions_of(rule, Family::V6));
    regions
}

fn regions_of(rule: &Rule, family: Family) -> Vec<Region> {
    let exact = |value: Option<u128>, last: u128| value.map_or((0, last), |value| (value, value));
    let zone = |zone: Option<ZoneId>| exact(zone.map(|zone| zone.0.into()), u16::MAX.into());
    let range = |range: crate::Range16| (range.low.into(), range.high.into());
    let (word, byte) = (u16::MAX.into(), u8::MAX.into());
    let rest = [
        range(rule.src_ports),
        range(rule.dst_ports),
        range(rule.src_identities),
        range(rule.dst_identities),
        zone(rule.from_zone),
        zone(rule.to_zone),
        exact(rule.vlan.map(u128::from), word),
        exact(rule.protocol.map(u128::from), byte),
        exact(rule.dscp.map(u128::from), DSCP),
        exact(rule.fragment.map(u128::from), 1),
        range(rule.lengths),
    ];
    let flags = (rule.tcp_flags.value.into(), rule.tcp_flags.mask.into());
    let masked = [flags, rule.src_mac.bits(), rule.dst_mac.bits()];
    if rest.iter().any(|(low, high)| low > high)
        || masked.iter().any(|(value, mask)| value & !mask != 0)
        || rule.dscp.is_some_and(|dscp| u128::from(dscp) > DSCP)
    {
        return Vec::new();
    }
    let (src, dst) = (rule.src.ranges(family), rule.dst.ranges(family));
    let mut regions = Vec::with_capacity(src.len() * dst.len());
    for &src in &src {
        for &dst in &dst {
            let mut all = [(0, 0); FIELDS];
            all[0] = src;
            all[1] = dst;
            all[2..].copy_from_slice(&rest);
            regions.push(Region { family, ranges: all, masked });
        }
    }
    regions
}

impl Region {
    /// The key with the least value in every field.
    fn corner(&self) -> PacketKey {
        let low = |field: usize| self.ranges[field].0;
        let word = |field: usize| low(field) as u16;
        PacketKey {
            src: low(0),
            dst: low(1),
            src_port: word(2),
            dst_port: word(3),
            src_identity: word(4),
            dst_identity: word(5),
            from_zone: ZoneId(word(6)),
            to_zone: ZoneId(word(7)),
            vlan: word(8),
            protocol: word(9) as u8,
            ip: IpBits::new(self.family).with_dscp(word(10) as u8).with_fragment(word(11) == 1),
            length: word(12),
            tcp_flags: self.masked[0].0 as u16,
            src_mac: mac(self.masked[1].0),
            dst_mac: mac(self.masked[2].0),
        }
    }

    /// Whether `key`, a [`corner`](Region::corner) of a region of this family, is inside.
    fn contains(&self, key: &PacketKey) -> bool {
        let values: [u128; FIELDS] = [
            key.src,
            key.dst,
            key.src_port.into(),
            key.dst_port.into(),
            key.src_identity.into(),
            key.dst_identity.into(),
            key.from_zone.0.into(),
            key.to_zone.0.into(),
            key.vlan.into(),
            key.protocol.into(),
            key.dscp().into(),
            key.fragment().into(),
            key.length.into(),
        ];
        let bits = [key.tcp_flags.into(), mac_bits(key.src_mac), mac_bits(key.dst_mac)];
        let inside = |(value, (low, high)): (&u128, &(u128, u128))| low <= value && value <= high;
        values.iter().zip(&self.ranges).all(inside)
            && bits.iter().zip(&self.masked).all(|(bits, (value, mask))| bits & mask == *value)
    }

    fn overlaps(&self, other: &Region) -> bool {
        let meet = |((a, b), (c, d)): (&(u128, u128), &(u128, u128))| a <= d && c <= b;
        self.family == other.family
            && self.ranges.iter().zip(&other.ranges).all(meet)
            && self
                .masked
                .iter()
                .zip(&other.masked)
                .all(|((a, a_mask), (b, b_mask))| (a ^ b) & a_mask & b_mask == 0)
    }

    fn covers(&self, other: &Region) -> bool {
        let inside = |((a, b), (c, d)): (&(u128, u128), &(u128, u128))| a <= c && d <= b;
        self.family == other.family
            && self.ranges.iter().zip(&other.ranges).all(inside)
            && self
                .masked
                .iter()
                .zip(&other.masked)
                .all(|((a, a_mask), (b, b_mask))| a_mask & !b_mask == 0 && (a ^ b) & a_mask == 0)
    }

    /// What is left of this region, as boxes, when `cut`, which overlaps it, is taken out.
    fn without(mut self, cut: &Region) -> Vec<Region> {
        let mut left = Vec::new();
        for field in 0..FIELDS {
            let (low, high) = cut.ranges[field];
            let (first, last) = self.ranges[field];
            if first < low {
                let mut below = self.clone();
                below.ranges[field] = (first, low - 1);
                left.push(below);
                self.ranges[field].0 = low;
            }
            if high < last {
                let mut above = self.clone();
                above.ranges[field] = (high + 1, last);
                left.push(above);
                self.ranges[field].1 = high;
            }
        }
        for field in 0..MASKED {
            let (value, mask) = cut.masked[field];
            let mut open = mask & !self.masked[field].1;
            while open != 0 {
                let bit = open & open.wrapping_neg();
                open ^= bit;
                self.masked[field].1 |= bit;
                let mut other = self.clone();
                other.masked[field].0 |= !value & bit;
                left.push(other);
                self.masked[field].0 |= value & bit;
            }
        }
        left
    }
}
