//! What a rule says: one conjunction of field conditions.

use crate::key::{Family, PacketKey, ZoneId};
use std::fmt;
use std::net::IpAddr;

/// Position of a rule in the list it was built from. The position is the priority: the first
/// matching rule wins.
pub type RuleIndex = u32;

/// A set of addresses: everything, or one prefix of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressMatch {
    /// Every address of both families.
    Any,
    /// The addresses that share the first `len` bits of `value`.
    Prefix {
        /// The family; the other family never matches.
        family: Family,
        /// Network address in the low [`Family::bits`] bits; bits below the prefix are zero.
        value: u128,
        /// Prefix length, 0 to [`Family::bits`].
        len: u8,
    },
}

impl AddressMatch {
    /// The prefix `addr/len`. Bits of `addr` below the prefix are cleared.
    ///
    /// # Errors
    /// [`PrefixError`] if `len` is longer than the family's addresses.
    pub fn prefix(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let (family, value) = Family::split(addr);
        if len > family.bits() {
            return Err(PrefixError { len, bits: family.bits() });
        }
        Ok(AddressMatch::Prefix { family, value: value & prefix_mask(family, len), len })
    }

    /// One address.
    pub fn host(addr: IpAddr) -> Self {
        let (family, value) = Family::split(addr);
        AddressMatch::Prefix { family, value, len: family.bits() }
    }

    /// Whether `addr` of `family` is in the set.
    pub fn contains(&self, family: Family, addr: u128) -> bool {
        match *self {
            AddressMatch::Any => true,
            AddressMatch::Prefix { family: f, value, len } => {
                f == family && addr & prefix_mask(f, len) == value
            }
        }
    }
}

/// The mask that keeps the first `len` bits of an address of `family`.
pub fn prefix_mask(family: Family, len: u8) -> u128 {
    let bits = u32::from(family.bits());
    let host = bits - u32::from(len);
    let all = if bits == 128 { u128::MAX } else { (1u128 << bits) - 1 };
    if host >= 128 { 0 } else { all & (u128::MAX << host) }
}

/// A prefix longer than its family's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixError {
    len: u8,
    bits: u8,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prefix length {} is longer than the {} bits of the address", self.len, self.bits)
    }
}

impl std::error::Error for PrefixError {}

/// An inclusive range of ports (or of ICMP types, or codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// First port of the range.
    pub low: u16,
    /// Last port of the range; at least `low`, or the range matches nothing.
    pub high: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: PortRange = PortRange { low: 0, high: u16::MAX };

    /// Just `port`.
    pub const fn one(port: u16) -> Self {
        PortRange { low: port, high: port }
    }

    /// Whether `port` lies in the range.
    pub const fn contains(&self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }
}

/// One rule: it matches a key when every field does. `None` matches every value of a field.
///
/// What a match means (allow, deny, count) is the caller's: the classifier answers with the
/// rule's [`RuleIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Zone the packet comes from.
    pub from_zone: Option<ZoneId>,
    /// Zone the packet goes to.
    pub to_zone: Option<ZoneId>,
    /// Source addresses.
    pub src: AddressMatch,
    /// Destination addresses.
    pub dst: AddressMatch,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Source ports, or ICMP types.
    pub src_ports: PortRange,
    /// Destination ports, or ICMP codes.
    pub dst_ports: PortRange,
}

impl Rule {
    /// A rule that matches every packet.
    pub const ANY: Rule = Rule {
        from_zone: None,
        to_zone: None,
        src: AddressMatch::Any,
        dst: AddressMatch::Any,
        protocol: None,
        src_ports: PortRange::ANY,
        dst_ports: PortRange::ANY,
    };

    /// Whether the rule matches `key`: the definition that every engine must agree with.
    pub fn matches(&self, key: &PacketKey) -> bool {
        self.from_zone.is_none_or(|z| z == key.from_zone)
            && self.to_zone.is_none_or(|z| z == key.to_zone)
            && self.protocol.is_none_or(|p| p == key.protocol)
            && self.src_ports.contains(key.src_port)
            && self.dst_ports.contains(key.dst_port)
            && self.src.contains(key.family, key.src)
            && self.dst.contains(key.family, key.dst)
    }
}
