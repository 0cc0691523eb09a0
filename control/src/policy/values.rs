//! What single scalars of a policy mean: addresses, networks, ports, protocols.
//!
//! Errors are the messages for the user.

use crate::diagnostic::{did_you_mean, shown};
use crate::protocol;
use crate::yaml::number;
use classifier::{AddressMatch, Family, PortRange};
use std::net::IpAddr;

/// The family that a protocol exists in only, if it does: ICMP and ICMPv6 (RFC 792, RFC 4443).
pub(crate) fn family_of(protocol: u8) -> Option<Family> {
    match protocol {
        protocol::ICMP => Some(Family::V4),
        protocol::ICMPV6 => Some(Family::V6),
        _ => None,
    }
}

/// The address of a host.
pub(super) fn address(text: &str) -> Result<AddressMatch, String> {
    match text.parse() {
        Ok(address) => Ok(AddressMatch::host(plain(text, address)?)),
        Err(_) if text.contains('/') => Err(format!(
            "`{}` has a prefix length; a host has single addresses, and prefixes go under \
             `networks`",
            shown(text)
        )),
        Err(_) => Err(format!("`{}` is not an IPv4 or IPv6 address", shown(text))),
    }
}

/// A network: an address and a prefix length.
pub(super) fn network(text: &str) -> Result<AddressMatch, String> {
    let Some((address, len)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(a)) => format!("`{a}` has no prefix length; one address is `{a}/32`"),
            Ok(IpAddr::V6(a)) => format!("`{a}` has no prefix length; one address is `{a}/128`"),
            Err(_) => not_a_network(text),
        });
    };
    let address = address.parse().map_err(|_| not_a_network(text))?;
    let address = plain(text, address)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let len: u8 = number(len, 0..=bits).map_err(|_| {
        format!("the prefix length of `{}` is not a number from 0 to {bits}", shown(text))
    })?;
    let found = AddressMatch::prefix(address, len).map_err(|error| error.to_string())?;
    match found {
        AddressMatch::Prefix { family, value, .. } if address != family.ip_addr(value) => {
            Err(format!(
                "`{}` has address bits below its prefix length; the network is `{}/{len}`",
                shown(text),
                family.ip_addr(value)
            ))
        }
        found => Ok(found),
    }
}

fn not_a_network(text: &str) -> String {
    format!("`{}` is not a network (an address, `/`, a prefix length)", shown(text))
}

/// Refuses IPv4 written inside IPv6 (RFC 4291, 2.5.5.2): no packet carries it, so the rule would
/// never match what its author meant.
fn plain(text: &str, address: IpAddr) -> Result<IpAddr, String> {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => Err(format!(
                "`{}` is an IPv4-mapped address, which no packet carries; write `{v4}`",
                shown(text)
            )),
            None => Ok(address),
        },
        IpAddr::V4(_) => Ok(address),
    }
}

/// A port or a range of ports.
pub(super) fn ports(text: &str) -> Result<PortRange, String> {
    let port = |text: &str| number(text, 0..=u16::MAX);
    let range = match text.split_once('-') {
        None => port(text).map(PortRange::one),
        Some((low, high)) => port(low).and_then(|low| Ok(PortRange { low, high: port(high)? })),
    };
    match range {
        Ok(PortRange { low, high }) if low > high => {
            Err(format!("the range `{low}-{high}` is backwards: write `{high}-{low}`"))
        }
        Ok(range) => Ok(range),
        Err(_) => Err(format!(
            "`{}` is not a port (0 to 65535) or a range such as `8080-8090`",
            shown(text)
        )),
    }
}

/// A protocol's number, from its name or number.
pub(super) fn protocol(text: &str) -> Result<u8, String> {
    if let Some((_, number)) = protocol::NAMED.iter().find(|(name, _)| *name == text) {
        return Ok(*number);
    }
    number(text, 0..=u8::MAX).map_err(|_| {
        let names = protocol::NAMED.map(|(name, _)| name);
        let hint = did_you_mean(text, names);
        if hint.is_empty() {
            let names = names.join(", ");
            format!("`{}` is not a protocol: {names}, or a number from 0 to 255", shown(text))
        } else {
            format!("unknown protocol `{}`{hint}", shown(text))
        }
    })
}
