//! Keys drawn from the corners of rules: each boundary of each field, one inside, one outside.
//!
//! Random keys almost never match a rule, and never by one bit or one port; these do.

use classifier::{
    AddressMatch, Family, FlagsMatch, IpBits, MacMatch, PacketKey, Range16, Rule, ZoneId,
    prefix_mask,
};
use fastrand::Rng;

/// Fields of a key, its family aside.
const FIELDS: usize = 16;

/// For each field of a key of one family, the values around one rule's boundaries. The first of
/// each is one that the rule accepts, if it accepts any.
struct Corners {
    family: Family,
    fields: [Vec<u128>; FIELDS],
}

impl Corners {
    fn of(rule: &Rule, family: Family, rng: &mut Rng) -> Self {
        // Where the rule wants nothing, first a value that few others want.
        let exact = |wanted: Option<u16>, others: &[u16]| {
            let values = wanted.into_iter().flat_map(|v| [v, v ^ 1, v.wrapping_add(1)]);
            values.chain(others.iter().copied()).map(u128::from).collect::<Vec<_>>()
        };
        let unknown = ZoneId::UNKNOWN.0;
        let fragment = rule.fragment.unwrap_or(false);
        Corners {
            family,
            fields: [
                addresses(&rule.src, family, rng),
                addresses(&rule.dst, family, rng),
                range(rule.src_ports, rng),
                range(rule.dst_ports, rng),
                exact(rule.protocol.map(u16::from), &[253, 6, 0, 255])
                    .into_iter()
                    .map(|protocol| protocol & 0xff)
                    .collect(),
                exact(rule.from_zone.map(|zone| zone.0), &[unknown, 1]),
                exact(rule.to_zone.map(|zone| zone.0), &[unknown, 1]),
                exact(rule.vlan, &[3999, 0, 4094]),
                flags(rule.tcp_flags),
                exact(rule.dscp.map(u16::from), &[37, 0, 63])
                    .into_iter()
                    .map(|dscp| dscp & 0x3f)
                    .collect(),
                vec![fragment.into(), (!fragment).into()],
                range(rule.src_identities, rng),
                range(rule.dst_identities, rng),
                mac(rule.src_mac, rng),
                mac(rule.dst_mac, rng),
                range(rule.lengths, rng),
            ],
        }
    }

    /// A key that the rule accepts, if there is one.
    fn accepted(&self) -> PacketKey {
        key(self.family, self.fields.each_ref().map(|values| values[0]))
    }

    /// The accepted key, then that key with each field in turn at each of its corners.
    fn one_field_at_a_time(&self) -> impl Iterator<Item = PacketKey> {
        let base = self.fields.each_ref().map(|values| values[0]);
        let deviations = self.fields.iter().enumerate().flat_map(move |(field, values)| {
            values.iter().map(move |&value| {
                let mut fields = base;
                fields[field] = value;
                fields
            })
        });
        std::iter::once(base).chain(deviations).map(|fields| key(self.family, fields))
    }
}

/// How many keys to draw from a rule set.
#[derive(Clone, Copy)]
pub struct Draw {
    /// Rules of which a key that they accept is tried; taken at random where there are more.
    pub accepted: usize,
    /// Of these, rules whose every corner is tried.
    pub corners: usize,
    /// For each of the latter, keys whose fields are corners of rules among its neighbours.
    pub mixed: usize,
    /// How many rules, it and those after it, are its neighbours.
    pub near: usize,
}

/// Keys of both families around the corners of `rules`, in random order.
pub fn keys(rules: &[Rule], draw: Draw, rng: &mut Rng) -> Vec<PacketKey> {
    let mut chosen: Vec<usize> = (0..rules.len()).collect();
    rng.shuffle(&mut chosen);
    chosen.truncate(draw.accepted);
    let mut keys = Vec::new();
    for (nth, at) in chosen.into_iter().enumerate() {
        let near = &rules[at..rules.len().min(at + draw.near.max(1))];
        for family in [Family::V4, Family::V6] {
            let own = Corners::of(&rules[at], family, rng);
            // Of a family that the rule does not reach, one key must do.
            if nth >= draw.corners || !reaches(&rules[at], family) {
                keys.push(own.accepted());
                continue;
            }
            keys.extend(own.one_field_at_a_time());
            // A few neighbours a key: each costs as much as all of its own corners.
            for _ in 0..draw.mixed.div_ceil(4) {
                let some: [_; 3] = std::array::from_fn(|_| {
                    Corners::of(&near[rng.usize(..near.len())], family, rng)
                });
                let mut mix = || {
                    key(
                        family,
                        std::array::from_fn(|field| {
                            let corners = &some[rng.usize(..some.len())].fields[field];
                            corners[rng.usize(..corners.len())]
                        }),
                    )
                };
                keys.extend((0..4).map(|_| mix()));
            }
        }
    }
    rng.shuffle(&mut keys);
    keys
}

/// Whether addresses of `family` can match `rule`.
fn reaches(rule: &Rule, family: Family) -> bool {
    !rule.src.ranges(family).is_empty() && !rule.dst.ranges(family).is_empty()
}

fn key(family: Family, fields: [u128; FIELDS]) -> PacketKey {
    let [src, dst, src_port, dst_port, protocol, from_zone, to_zone, rest @ ..] = fields;
    let [vlan, tcp_flags, dscp, fragment, src_identity, dst_identity, src_mac, dst_mac, length] =
        rest;
    PacketKey {
        src,
        dst,
        ip: IpBits::new(family).with_dscp(dscp as u8).with_fragment(fragment != 0),
        protocol: protocol as u8,
        src_port: src_port as u16,
        dst_port: dst_port as u16,
        from_zone: ZoneId(from_zone as u16),
        to_zone: ZoneId(to_zone as u16),
        vlan: vlan as u16,
        tcp_flags: tcp_flags as u16,
        src_identity: src_identity as u16,
        dst_identity: dst_identity as u16,
        length: length as u16,
        src_mac: octets(src_mac),
        dst_mac: octets(dst_mac),
    }
}

/// Around one of the ranges of `addresses`, and the ends of the family.
fn addresses(addresses: &AddressMatch, family: Family, rng: &mut Rng) -> Vec<u128> {
    let all = prefix_mask(family, family.bits());
    let ranges = addresses.ranges(family);
    let mut corners = match &ranges[..] {
        [] => vec![all / 3],
        ranges => {
            let (low, high) = ranges[rng.usize(..ranges.len())];
            let inside = low + (high - low) / 2;
            let mut corners = vec![inside, low, high];
            // Ranges around one another have the same middle.
            rng.shuffle(&mut corners);
            corners.extend([low.wrapping_sub(1) & all, high.wrapping_add(1) & all]);
            corners
        }
    };
    // What the rule says, even where no address matches it: ends exchanged, or of another family.
    match addresses {
        AddressMatch::Range { low, high, .. } => corners.extend([low & all, high & all]),
        AddressMatch::Prefix { value, .. } => corners.push(value & all),
        AddressMatch::Any | AddressMatch::Set(_) => {}
    }
    corners.extend([0, all]);
    corners
}

fn range(range: Range16, rng: &mut Rng) -> Vec<u128> {
    let Range16 { low, high } = range;
    let mut corners = vec![low.midpoint(high), low, high];
    rng.shuffle(&mut corners);
    corners.extend([low.wrapping_sub(1), high.wrapping_add(1)]);
    corners.into_iter().map(u128::from).collect()
}

/// As wanted with some of the other bits set, none and all; with one wanted bit wrong, and all.
fn flags(flags: FlagsMatch) -> Vec<u128> {
    let FlagsMatch { value, mask } = flags;
    let lowest = mask & mask.wrapping_neg();
    let right = [value | !mask & 0x0aa, value, value | !mask];
    let wrong = [value ^ lowest, value ^ mask, 0, u16::MAX];
    right.into_iter().chain(wrong).map(u128::from).collect()
}

/// As wanted with some of the other bits set, none and all; with one wanted bit wrong, the first,
/// the last or some other, and all.
fn mac(mac: MacMatch, rng: &mut Rng) -> Vec<u128> {
    let [value, mask] = [mac.value, mac.mask]
        .map(|octets| octets.into_iter().fold(0u64, |bits, octet| bits << 8 | u64::from(octet)));
    const ALL: u64 = (1 << 48) - 1;
    let mut right = vec![value | !mask & 0x0aaa_aaaa_aaaa, value, value | !mask & ALL];
    rng.shuffle(&mut right);
    let ones: Vec<_> = (0..48).map(|bit| 1 << bit).filter(|bit| mask & bit != 0).collect();
    let some = rng.choice(&ones).copied().unwrap_or(0);
    let (first, last) = (ones.last().unwrap_or(&0), ones.first().unwrap_or(&0));
    let wrong = [value ^ first, value ^ last, value ^ some, value ^ mask, 0, ALL];
    right.into_iter().chain(wrong).map(u128::from).collect()
}

fn octets(mac: u128) -> [u8; 6] {
    std::array::from_fn(|i| (mac >> (8 * (5 - i))) as u8)
}
