//! What single scalars of a policy mean: addresses, networks, ports, protocols, and what else rules
//! ask for.
//!
//! Errors are the messages for the user.

use crate::diagnostic::{did_you_mean, shown};
use crate::protocol;
use crate::yaml::number;
use classifier::{AddressMatch, Family, LengthRange, MacMatch, PortRange};
use dataplane::Tunnel;
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

/// A length of an IP packet in bytes, or a range of lengths.
pub(super) fn length(text: &str) -> Result<LengthRange, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (number(low, 0..=u16::MAX), number(high, 0..=u16::MAX)) {
        (Ok(low), Ok(high)) if low > high => {
            Err(format!("the range `{low}-{high}` is backwards: write `{high}-{low}`"))
        }
        (Ok(low), Ok(high)) => Ok(LengthRange { low, high }),
        _ => Err(format!(
            "`{}` is not a number of bytes (0 to 65535) or a range such as `0-1500`",
            shown(text)
        )),
    }
}

/// A hardware address, or what a mask leaves of one.
pub(super) fn mac(text: &str) -> Result<MacMatch, String> {
    let wrong = || {
        format!(
            "`{}` is not a MAC address: six octets such as `02:00:5e:10:00:01`, perhaps `/` and a \
             mask such as `ff:ff:ff:00:00:00`",
            shown(text)
        )
    };
    let Some((value, mask)) = text.split_once('/') else {
        return octets(text).map(MacMatch::one).ok_or_else(wrong);
    };
    let (Some(value), Some(mask)) = (octets(value), octets(mask)) else { return Err(wrong()) };
    let found = MacMatch { value, mask };
    if mask == [0; 6] {
        return Err(format!("the mask of `{}` leaves nothing to compare", shown(text)));
    }
    // As of networks: what the mask clears was meant to be compared, or was not meant at all.
    if !found.contains(value) {
        let masked: [u8; 6] = std::array::from_fn(|i| value[i] & mask[i]);
        return Err(format!(
            "`{}` has bits that its mask leaves out; without them it is `{}/{}`",
            shown(text),
            mac_text(masked),
            mac_text(mask)
        ));
    }
    Ok(found)
}

fn octets(text: &str) -> Option<[u8; 6]> {
    let mut octets = text.split(':').map(|octet| {
        let digits = octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit());
        u8::from_str_radix(octet, 16).ok().filter(|_| digits)
    });
    let mut address = [0; 6];
    for octet in &mut address {
        *octet = octets.next()??;
    }
    octets.next().is_none().then_some(address)
}

/// A hardware address as it is written.
pub(crate) fn mac_text(address: [u8; 6]) -> String {
    address.map(|octet| format!("{octet:02x}")).join(":")
}

/// Code points by name (IANA, Differentiated Services Field Codepoints: RFC 2474, RFC 2597, RFC 3246,
/// RFC 5865, RFC 8622).
const CODE_POINTS: [(&str, u8); 23] = [
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
    ("voice-admit", 44),
    ("le", 1),
];

/// A differentiated services code point, from its name or number.
pub(super) fn dscp(text: &str) -> Result<u8, String> {
    if let Some((_, point)) = CODE_POINTS.iter().find(|(name, _)| *name == text) {
        return Ok(*point);
    }
    number(text, 0..=63).map_err(|_| {
        let hint = did_you_mean(text, CODE_POINTS.map(|(name, _)| name));
        let text = shown(text);
        format!("`{text}` is not a code point: a name such as `ef`, or a number from 0 to 63{hint}")
    })
}

/// Flags of the TCP header, the lowest first (RFC 9293, 3.1).
pub(crate) const TCP_FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// The bit of a TCP flag.
pub(super) fn tcp_flag(text: &str) -> Result<u16, String> {
    let bit = TCP_FLAGS.iter().position(|name| *name == text);
    bit.map(|bit| 1 << bit).ok_or_else(|| {
        let hint = did_you_mean(text, TCP_FLAGS);
        format!("`{}` is not a TCP flag: {}{hint}", shown(text), TCP_FLAGS.join(", "))
    })
}

/// A tunnel that can be looked into.
pub(super) fn tunnel(text: &str) -> Result<Tunnel, String> {
    const TUNNELS: [(&str, Tunnel); 3] =
        [("vxlan", Tunnel::Vxlan), ("geneve", Tunnel::Geneve), ("gre", Tunnel::Gre)];
    let found = TUNNELS.iter().find(|(name, _)| *name == text).map(|(_, tunnel)| *tunnel);
    found.ok_or_else(|| {
        let names = TUNNELS.map(|(name, _)| name);
        let hint = did_you_mean(text, names);
        format!("`{}` is not a tunnel: {}{hint}", shown(text), names.join(", "))
    })
}
