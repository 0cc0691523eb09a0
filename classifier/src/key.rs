//! What a lookup is asked about: the header fields of one packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A zone's index in the policy. Small and dense; [`ZoneId::UNKNOWN`] is never the zone of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct ZoneId(pub u16);

impl ZoneId {
    /// The zone of a packet whose side nobody told: only rules that say "any zone" match it.
    pub const UNKNOWN: ZoneId = ZoneId(u16::MAX);
}

/// The address family of a key or prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4: addresses stand in the low 32 bits.
    V4,
    /// IPv6: addresses take all 128 bits.
    V6,
}

impl Family {
    /// Bits in an address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The family of an address, and its bits as keys and prefixes carry them.
    pub fn split(address: IpAddr) -> (Family, u128) {
        match address {
            IpAddr::V4(a) => (Family::V4, u128::from(a.to_bits())),
            IpAddr::V6(a) => (Family::V6, a.to_bits()),
        }
    }

    /// The address that [`split`](Family::split) would take apart. Bits above those of the family
    /// are left out.
    pub fn ip_addr(self, bits: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from_bits(bits as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

/// The fields of one packet that rules can look at. Host order.
///
/// A field that a packet does not have is zero. ICMP and ICMPv6 carry their type in `src_port` and
/// their code in `dst_port`, so that one port comparison serves both.
///
/// Exactly one cache line; the order of the fields is that in which tables pack them into words, so
/// that packing is a few loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(64))]
pub struct PacketKey {
    /// Source address, in the low [`Family::bits`] bits.
    pub src: u128,
    /// Destination address, in the low [`Family::bits`] bits.
    pub dst: u128,
    /// Flag bits of the TCP header, FIN lowest (RFC 9293, section 3.1).
    pub tcp_flags: u16,
    /// Differentiated services code point, 6 bits (RFC 2474).
    pub dscp: u8,
    /// IP protocol number: of the last header of an IPv6 chain.
    pub protocol: u8,
    /// Destination port, or ICMP code.
    pub dst_port: u16,
    /// Source port, or ICMP type.
    pub src_port: u16,
    /// The label set of the destination.
    pub dst_identity: u16,
    /// The label set of the source; see [`IdentityRange`](crate::IdentityRange).
    pub src_identity: u16,
    /// The zone the packet is going to.
    pub to_zone: ZoneId,
    /// The zone it came from.
    pub from_zone: ZoneId,
    /// VLAN identifier of the outer tag, 1 to 4094; 0 for none (IEEE 802.1Q: a priority tag names
    /// no VLAN).
    pub vlan: u16,
    /// Whether the packet is a fragment.
    pub fragment: bool,
    /// Family of both addresses.
    pub family: Family,
}

impl PacketKey {
    /// A key with every field zero and no known zone, to fill in.
    pub const fn empty(family: Family) -> Self {
        PacketKey {
            src: 0,
            dst: 0,
            family,
            protocol: 0,
            src_port: 0,
            dst_port: 0,
            from_zone: ZoneId::UNKNOWN,
            to_zone: ZoneId::UNKNOWN,
            vlan: 0,
            tcp_flags: 0,
            dscp: 0,
            fragment: false,
            src_identity: 0,
            dst_identity: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_put_together_in_their_family_as_they_were_taken_apart() {
        let v6 = 0xfd77_0001_0000_0000_0000_0000_0000_0020;
        for (family, bits, text) in
            [(Family::V4, 0x0a4d_0114, "10.77.1.20"), (Family::V6, v6, "fd77:1::20")]
        {
            let address = family.ip_addr(bits);
            assert_eq!(address.to_string(), text);
            assert_eq!(Family::split(address), (family, bits));
        }
    }
}
