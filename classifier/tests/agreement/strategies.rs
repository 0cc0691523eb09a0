//! Random rules over a small universe, so that they overlap, nest and touch in every field.

use classifier::{
    AddressMatch, Family, FlagsMatch, MacMatch, PortRange, Range16, Rule, ZoneId, prefix_mask,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Any, a prefix, a range or a set.
pub fn addresses() -> impl Strategy<Value = AddressMatch> {
    let member =
        || prop_oneof![prefix(Family::V4), prefix(Family::V6), near_range(), Just(empty_range())];
    prop_oneof![
        4 => Just(AddressMatch::Any),
        4 => prefix(Family::V4),
        4 => prefix(Family::V6),
        2 => near_range(),
        2 => vec(member(), 0..6).prop_map(AddressMatch::set),
        1 => Just(empty_range()),
    ]
}

/// Prefixes of a few addresses that differ in their first, middle and last bits: they nest and
/// touch each other. Some have address bits below their length, and match nothing.
pub fn prefix(family: Family) -> impl Strategy<Value = AddressMatch> {
    let lens: &[u8] = match family {
        Family::V4 => &[0, 1, 2, 16, 17, 31, 32],
        Family::V6 => &[0, 1, 2, 32, 64, 65, 127, 128],
    };
    let len = prop_oneof![3 => select(lens), 1 => 0..=family.bits()];
    (len, address(family), prop::bool::weighted(0.05)).prop_map(move |(len, address, junk)| {
        let value = if junk { address } else { address & prefix_mask(family, len) };
        AddressMatch::Prefix { family, value, len }
    })
}

/// A few addresses, the first and the last of the family among them.
fn address(family: Family) -> impl Strategy<Value = u128> {
    let bits = family.bits();
    let all = prefix_mask(family, bits);
    let flipped = proptest::bits::u8::between(0, 4).prop_map(move |flips| {
        let base = 0xa5a5_a5a5_a5a5_a5a5_a5a5_a5a5_a5a5_a5a5 & all;
        [0, 1, bits / 2, bits - 1].iter().enumerate().fold(base, |value: u128, (i, bit)| {
            value ^ (u128::from(flips >> i & 1) << (bits - 1 - bit))
        })
    });
    prop_oneof![4 => flipped, 1 => select(vec![0, 1, all - 1, all])]
}

fn family() -> impl Strategy<Value = Family> {
    select(vec![Family::V4, Family::V6])
}

/// A range of few addresses: a handful of prefixes.
fn near_range() -> impl Strategy<Value = AddressMatch> {
    family().prop_flat_map(|family| {
        (address(family), 0..300u128).prop_map(move |(low, more)| {
            let high = low.saturating_add(more).min(prefix_mask(family, family.bits()));
            AddressMatch::Range { family, low, high }
        })
    })
}

/// A range between any two addresses: up to twice as many prefixes as the family has bits. Sometimes
/// with the ends exchanged, or with the last address outside the family.
pub fn far_range() -> impl Strategy<Value = AddressMatch> {
    family().prop_flat_map(|family| {
        let outside = Just(u128::from(u32::MAX) + 5);
        (address(family), prop_oneof![9 => address(family), 1 => outside], 0..8u8).prop_map(
            move |(a, b, ends)| {
                let (low, high) = if ends == 0 { (a, b) } else { (a.min(b), a.max(b)) };
                AddressMatch::Range { family, low, high }
            },
        )
    })
}

fn empty_range() -> AddressMatch {
    AddressMatch::Range { family: Family::V4, low: 0xa5a5_a5a6, high: 0xa5a5_a5a5 }
}

/// Every value, one, some, and ranges with the ends exchanged.
pub fn range16() -> impl Strategy<Value = Range16> {
    let edges = &[0, 1, 2, 79, 80, 81, 1023, 1024, 65534, 65535][..];
    prop_oneof![
        3 => Just(PortRange::ANY),
        3 => select(edges).prop_map(PortRange::one),
        4 => (select(edges), select(edges)).prop_map(|(a, b)| PortRange {
            low: a.min(b),
            high: a.max(b),
        }),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange {
            low: a.min(b),
            high: a.max(b),
        }),
        1 => (select(edges), select(edges)).prop_map(|(low, high)| PortRange { low, high }),
    ]
}

/// Flags under a mask; a few want what their mask cleared, and match nothing.
fn flags() -> impl Strategy<Value = FlagsMatch> {
    let masks = select(&[0x02, 0x10, 0x12, 0x3f, 0x1ff, 0xffff][..]);
    (masks, select(&[0, 0x02, 0x10, 0x12, 0x1ff, 0xffff][..]), prop::bool::weighted(0.1)).prop_map(
        |(mask, value, junk)| FlagsMatch { value: if junk { value } else { value & mask }, mask },
    )
}

/// Addresses that differ in their first, a middle and their last bit, under masks that are prefixes
/// and such that are not; a few want what their mask cleared, and match nothing.
pub fn mac() -> impl Strategy<Value = MacMatch> {
    let masks = select(vec![
        [0xff; 6],
        [0xff, 0xff, 0xff, 0, 0, 0],
        [0, 0, 0, 0xff, 0xff, 0xff],
        [1, 0, 0, 0, 0, 0],
        [0x80, 0, 0, 0x10, 0, 1],
        [0xfe, 0xff, 0xff, 0xff, 0xff, 0],
    ]);
    (masks, 0..8u8, prop::bool::weighted(0.05)).prop_map(|(mask, bits, junk)| {
        let bit = |at: u8| bits >> at & 1;
        let address = [0xa4 ^ bit(0) << 7, 0x11, 0x22, 0x33 ^ bit(1) << 4, 0x44, 0x55 ^ bit(2)];
        let value = std::array::from_fn(|i| if junk { address[i] } else { address[i] & mask[i] });
        MacMatch { value, mask }
    })
}

/// A rule that may ask for anything in any field.
pub fn rule() -> impl Strategy<Value = Rule> {
    let zone = || option::weighted(0.4, select(&[0, 1, 2, 65534][..]).prop_map(ZoneId));
    let protocol = option::weighted(0.6, select(&[0, 1, 6, 7, 17, 255][..]));
    let identities = || prop_oneof![2 => Just(Range16::ANY), 1 => range16()];
    let vlan = option::weighted(0.2, select(&[0, 1, 2, 4094, 4095, 65535][..]));
    let dscp = option::weighted(0.2, select(&[0, 1, 46, 63, 64][..]));
    let flags = prop_oneof![3 => Just(FlagsMatch::ANY), 1 => flags()];
    let fragment = option::weighted(0.2, any::<bool>());
    let mac = || prop_oneof![4 => Just(MacMatch::ANY), 1 => mac()];
    let lengths = prop_oneof![4 => Just(Range16::ANY), 1 => range16()];
    (
        (zone(), zone(), vlan, mac(), mac(), lengths),
        (addresses(), addresses(), identities(), identities()),
        (protocol, range16(), range16(), flags, dscp, fragment),
    )
        .prop_map(|(link, ends, transport)| {
            let (from_zone, to_zone, vlan, src_mac, dst_mac, lengths) = link;
            let (src, dst, src_identities, dst_identities) = ends;
            let (protocol, src_ports, dst_ports, tcp_flags, dscp, fragment) = transport;
            Rule {
                from_zone,
                to_zone,
                vlan,
                src,
                dst,
                src_identities,
                dst_identities,
                protocol,
                src_ports,
                dst_ports,
                tcp_flags,
                dscp,
                fragment,
                src_mac,
                dst_mac,
                lengths,
            }
        })
}

/// What `rule` asks of the fields that are set in `fields`, a bit for each in the order of the
/// struct; nothing of the others.
pub fn only(fields: u16, rule: Rule) -> Rule {
    fn pick<T>(wanted: bool, value: T, any: T) -> T {
        if wanted { value } else { any }
    }
    let bit = |field: u32| fields >> field & 1 == 1;
    Rule {
        from_zone: pick(bit(0), rule.from_zone, None),
        to_zone: pick(bit(1), rule.to_zone, None),
        vlan: pick(bit(2), rule.vlan, None),
        src: pick(bit(3), rule.src, AddressMatch::Any),
        dst: pick(bit(4), rule.dst, AddressMatch::Any),
        src_identities: pick(bit(5), rule.src_identities, Range16::ANY),
        dst_identities: pick(bit(6), rule.dst_identities, Range16::ANY),
        protocol: pick(bit(7), rule.protocol, None),
        src_ports: pick(bit(8), rule.src_ports, PortRange::ANY),
        dst_ports: pick(bit(9), rule.dst_ports, PortRange::ANY),
        tcp_flags: pick(bit(10), rule.tcp_flags, FlagsMatch::ANY),
        dscp: pick(bit(11), rule.dscp, None),
        fragment: pick(bit(12), rule.fragment, None),
        src_mac: pick(bit(13), rule.src_mac, MacMatch::ANY),
        dst_mac: pick(bit(14), rule.dst_mac, MacMatch::ANY),
        lengths: pick(bit(15), rule.lengths, Range16::ANY),
    }
}
