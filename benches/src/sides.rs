//! The two zones of every generated workload, and the networks that are theirs.

use classifier::{AddressMatch, Family, ZoneId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The zone of the first port of a wire.
pub const LEFT: ZoneId = ZoneId(0);
/// The zone of the second.
pub const RIGHT: ZoneId = ZoneId(1);

/// The name of [`LEFT`] or [`RIGHT`] in a policy.
pub fn name(zone: ZoneId) -> &'static str {
    if zone == LEFT { "left" } else { "right" }
}

/// The zone across the wire.
pub fn opposite(zone: ZoneId) -> ZoneId {
    if zone == LEFT { RIGHT } else { LEFT }
}

/// The network of a zone: every generated address of that zone lies in it, and nothing else does.
/// RFC 1918 and RFC 4193 addresses.
pub fn network(zone: ZoneId, family: Family) -> (IpAddr, u8) {
    match (family, zone == LEFT) {
        (Family::V4, true) => (Ipv4Addr::new(10, 0, 0, 0).into(), 9),
        (Family::V4, false) => (Ipv4Addr::new(10, 128, 0, 0).into(), 9),
        (Family::V6, true) => (Ipv6Addr::new(0xfd00, 0xa, 0, 0, 0, 0, 0, 0).into(), 32),
        (Family::V6, false) => (Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 0, 0).into(), 32),
    }
}

/// The lowest address of [`network`], as rules and keys carry addresses.
pub fn network_bits(zone: ZoneId, family: Family) -> u128 {
    Family::split(network(zone, family).0).1
}

/// The zone whose network holds `addresses`; `None` for anything but a
/// prefix in one of them.
pub fn zone_of(addresses: &AddressMatch) -> Option<ZoneId> {
    let AddressMatch::Prefix { family, value, .. } = *addresses else { return None };
    [LEFT, RIGHT].into_iter().find(|&zone| {
        let (addr, len) = network(zone, family);
        AddressMatch::prefix(addr, len).is_ok_and(|network| network.contains(family, value))
    })
}
