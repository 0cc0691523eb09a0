//! What a lookup is asked about: the header fields of one packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A zone's index in the policy. Small and dense; [`ZoneId::UNKNOWN`] is never the zone of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// The fields of one packet that rules can look at. 40 bytes of facts, all host order.
///
/// Protocols without ports carry zero in both. ICMP and ICMPv6 carry their type in `src_port` and
/// their code in `dst_port`, so that one port comparison serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketKey {
    /// Source address, in the low [`Family::bits`] bits.
    pub src: u128,
    /// Destination address, in the low [`Family::bits`] bits.
    pub dst: u128,
    /// Family of both addresses.
    pub family: Family,
    /// IP protocol number: of the last header of an IPv6 chain.
    pub protocol: u8,
    /// Source port, or ICMP type.
    pub src_port: u16,
    /// Destination port, or ICMP code.
    pub dst_port: u16,
    /// The zone the packet came from.
    pub from_zone: ZoneId,
    /// The zone it is going to.
    pub to_zone: ZoneId,
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
