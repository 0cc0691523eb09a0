//! What a rule says: one conjunction of field conditions.

use crate::address::AddressMatch;
use crate::key::{PacketKey, ZoneId};

/// Position of a rule in the list it was built from. The position is the priority: the first
/// matching rule wins.
pub type RuleIndex = u32;

/// An inclusive range of a field of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range16 {
    /// First value of the range.
    pub low: u16,
    /// Last value of the range; at least `low`, or the range matches nothing.
    pub high: u16,
}

/// An inclusive range of ports (or of ICMP types, or codes).
pub type PortRange = Range16;

/// An inclusive range of policy identities: small integers that each stand for one label set, so
/// that a rule names the label sets it is about and not the addresses that have them. Numbered in
/// the order of their labels, the sets that a selector picks lie in few ranges.
pub type IdentityRange = Range16;

impl Range16 {
    /// Every value.
    pub const ANY: Range16 = Range16 { low: 0, high: u16::MAX };

    /// Just `value`.
    pub const fn one(value: u16) -> Self {
        Range16 { low: value, high: value }
    }

    /// Whether `value` lies in the range.
    pub const fn contains(&self, value: u16) -> bool {
        self.low <= value && value <= self.high
    }
}

/// TCP flags that must be as given: `flags & mask == value`.
///
/// Packets of other protocols carry no flags, which is zero: a rule that asks for cleared flags
/// wants the protocol as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlagsMatch {
    /// The flags wanted, of those in `mask`.
    pub value: u16,
    /// The flags looked at.
    pub mask: u16,
}

impl FlagsMatch {
    /// Whatever the flags.
    pub const ANY: FlagsMatch = FlagsMatch { value: 0, mask: 0 };

    /// Whether `flags` are as wanted.
    pub const fn contains(&self, flags: u16) -> bool {
        flags & self.mask == self.value
    }
}

/// An inclusive range of lengths of IP packets, in bytes.
pub type LengthRange = Range16;

/// A hardware address that must be as given: `address & mask == value`, bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacMatch {
    /// The bits wanted, of those in `mask`.
    pub value: [u8; 6],
    /// The bits looked at.
    pub mask: [u8; 6],
}

impl MacMatch {
    /// Whatever the address.
    pub const ANY: MacMatch = MacMatch { value: [0; 6], mask: [0; 6] };

    /// Just `address`.
    pub const fn one(address: [u8; 6]) -> Self {
        MacMatch { value: address, mask: [u8::MAX; 6] }
    }

    /// Whether `address` is as wanted.
    pub const fn contains(&self, address: [u8; 6]) -> bool {
        let (value, mask) = self.bits();
        mac_bits(address) & mask == value
    }

    /// Value and mask in the low 48 bits, the first octet highest.
    pub(crate) const fn bits(&self) -> (u64, u64) {
        (mac_bits(self.value), mac_bits(self.mask))
    }
}

/// A hardware address in the low 48 bits, its first octet highest.
#[inline(always)]
pub(crate) const fn mac_bits(address: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = address;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// One rule: it matches a key when every field does. `None` matches every value of a field.
///
/// What a match means (allow, deny, count) is the caller's: the classifier answers with the
/// rule's [`RuleIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Zone the packet comes from.
    pub from_zone: Option<ZoneId>,
    /// Zone the packet goes to.
    pub to_zone: Option<ZoneId>,
    /// VLAN of the packet; `Some(0)` asks for none.
    pub vlan: Option<u16>,
    /// Source addresses.
    pub src: AddressMatch,
    /// Destination addresses.
    pub dst: AddressMatch,
    /// Label sets of the source.
    pub src_identities: IdentityRange,
    /// Label sets of the destination.
    pub dst_identities: IdentityRange,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Source ports, or ICMP types.
    pub src_ports: PortRange,
    /// Destination ports, or ICMP codes.
    pub dst_ports: PortRange,
    /// TCP flags.
    pub tcp_flags: FlagsMatch,
    /// Differentiated services code point, 6 bits.
    pub dscp: Option<u8>,
    /// Fragments only, or whole packets only.
    pub fragment: Option<bool>,
    /// Hardware address of the sender.
    pub src_mac: MacMatch,
    /// Hardware address it is sent to.
    pub dst_mac: MacMatch,
    /// Bytes of the IP packet.
    pub lengths: LengthRange,
}

impl Rule {
    /// A rule that matches every packet.
    pub const ANY: Rule = Rule {
        from_zone: None,
        to_zone: None,
        vlan: None,
        src: AddressMatch::Any,
        dst: AddressMatch::Any,
        src_identities: IdentityRange::ANY,
        dst_identities: IdentityRange::ANY,
        protocol: None,
        src_ports: PortRange::ANY,
        dst_ports: PortRange::ANY,
        tcp_flags: FlagsMatch::ANY,
        dscp: None,
        fragment: None,
        src_mac: MacMatch::ANY,
        dst_mac: MacMatch::ANY,
        lengths: LengthRange::ANY,
    };

    /// Whether the rule matches `key`: the definition that every engine must agree with.
    pub fn matches(&self, key: &PacketKey) -> bool {
        self.from_zone.is_none_or(|zone| zone == key.from_zone)
            && self.to_zone.is_none_or(|zone| zone == key.to_zone)
            && self.vlan.is_none_or(|vlan| vlan == key.vlan)
            && self.protocol.is_none_or(|protocol| protocol == key.protocol)
            && self.src_ports.contains(key.src_port)
            && self.dst_ports.contains(key.dst_port)
            && self.src_identities.contains(key.src_identity)
            && self.dst_identities.contains(key.dst_identity)
            && self.tcp_flags.contains(key.tcp_flags)
            && self.dscp.is_none_or(|dscp| dscp == key.dscp())
            && self.fragment.is_none_or(|fragment| fragment == key.fragment())
            && self.lengths.contains(key.length)
            && self.src_mac.contains(key.src_mac)
            && self.dst_mac.contains(key.dst_mac)
            && self.src.contains(key.family(), key.src)
            && self.dst.contains(key.family(), key.dst)
    }
}
