//! Keys drawn from the corners of rules: each boundary of each field, one inside, one outside.
//!
//! Random keys almost never match a rule, and never by one bit or one port; these do.

use classifier::{
    AddressMatch, Classifier, Family, Linear, Lookup, PacketKey, PortRange, Rule, ZoneId,
    prefix_mask,
};
use fastrand::Rng;

/// For each field of a key of one family, the values around one rule's boundaries. The first of
/// each is one that the rule accepts, if it accepts any.
pub struct Corners {
    family: Family,
    fields: [Vec<u128>; 7],
}

impl Corners {
    pub fn of(rule: &Rule, family: Family) -> Self {
        Corners {
            family,
            fields: [
                addresses(rule.src, family),
                addresses(rule.dst, family),
                ports(rule.src_ports),
                ports(rule.dst_ports),
                rule.protocol.map_or(vec![6, 0, 255], |p| vec![p.into(), (p ^ 1).into()]),
                zones(rule.from_zone),
                zones(rule.to_zone),
            ],
        }
    }

    /// The key that the rule accepts, then that key with each field in turn at each of its corners.
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

/// Keys around the corners of `rules`: every corner of every rule alone, and for each rule `mixed`
/// keys whose fields are corners of rules taken at random from `near` neighbours.
pub fn keys(rules: &[Rule], mixed: usize, near: usize, rng: &mut Rng) -> Vec<PacketKey> {
    let mut keys = Vec::new();
    for family in [Family::V4, Family::V6] {
        let corners: Vec<_> = rules.iter().map(|rule| Corners::of(rule, family)).collect();
        for (i, of_rule) in corners.iter().enumerate() {
            keys.extend(of_rule.one_field_at_a_time());
            let neighbours = &corners[i..corners.len().min(i + near)];
            keys.extend((0..mixed).map(|_| {
                let fields = std::array::from_fn(|field| {
                    let corners = &neighbours[rng.usize(..neighbours.len())];
                    corners.fields[field][rng.usize(..corners.fields[field].len())]
                });
                key(family, fields)
            }));
        }
    }
    keys
}

/// Asserts that `compiled` answers as the linear scan of `rules` does, one by one and in batches;
/// the answers.
pub fn assert_agree(rules: &[Rule], compiled: &Classifier, keys: &[PacketKey]) -> Vec<Option<u32>> {
    let linear = Linear::new(rules);
    let expected: Vec<_> = keys.iter().map(|key| linear.lookup(key)).collect();
    for (key, expected) in keys.iter().zip(&expected) {
        assert_eq!(compiled.lookup(key), *expected, "{key:?}");
    }
    // Stale answers in `out`, and a place past the batch that must stay as it is.
    let mut out = vec![Some(u32::MAX); keys.len() + 1];
    for (at, batch) in (0..).step_by(61).zip(keys.chunks(61)) {
        compiled.lookup_batch(batch, &mut out[at..]);
    }
    assert_eq!(out[..keys.len()], expected);
    assert_eq!(out[keys.len()], Some(u32::MAX));
    expected
}

fn key(family: Family, fields: [u128; 7]) -> PacketKey {
    let [src, dst, src_port, dst_port, protocol, from_zone, to_zone] = fields;
    PacketKey {
        src,
        dst,
        family,
        protocol: protocol as u8,
        src_port: src_port as u16,
        dst_port: dst_port as u16,
        from_zone: ZoneId(from_zone as u16),
        to_zone: ZoneId(to_zone as u16),
    }
}

fn addresses(addresses: AddressMatch, family: Family) -> Vec<u128> {
    let all = prefix_mask(family, family.bits());
    match addresses {
        AddressMatch::Prefix { family: f, value, len } if f == family => {
            let last = value | (all & !prefix_mask(family, len));
            let inside = value + (last - value) / 2;
            vec![inside, value, last, value.wrapping_sub(1) & all, last.wrapping_add(1) & all]
        }
        _ => vec![all / 3, 0, all],
    }
}

fn ports(range: PortRange) -> Vec<u128> {
    let PortRange { low, high } = range;
    let inside = low.midpoint(high);
    [inside, low, high, low.wrapping_sub(1), high.wrapping_add(1)].map(u128::from).to_vec()
}

fn zones(zone: Option<ZoneId>) -> Vec<u128> {
    let unknown = u128::from(ZoneId::UNKNOWN.0);
    zone.map_or(vec![1, unknown], |z| vec![z.0.into(), u128::from(z.0) + 1, unknown])
}
