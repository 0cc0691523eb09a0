//! What a lookup is asked about: the header fields of one packet.

use std::fmt;
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

/// What the IP header says in less than a byte each: the family, whether the packet is a fragment,
/// and the differentiated services code point. Together in one, so that a [`PacketKey`] is a cache
/// line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct IpBits(u8);

impl IpBits {
    const V6: u8 = 1 << 7;
    const FRAGMENT: u8 = 1 << 6;
    const DSCP: u8 = 0x3f;

    /// Of a whole packet of `family`, code point 0.
    pub const fn new(family: Family) -> Self {
        match family {
            Family::V4 => IpBits(0),
            Family::V6 => IpBits(Self::V6),
        }
    }

    /// The same with another code point: the low 6 bits of `dscp`.
    #[must_use]
    pub const fn with_dscp(self, dscp: u8) -> Self {
        IpBits(self.0 & !Self::DSCP | dscp & Self::DSCP)
    }

    /// The same of a fragment, or of a whole packet.
    #[must_use]
    pub const fn with_fragment(self, fragment: bool) -> Self {
        let whole = self.0 & !Self::FRAGMENT;
        IpBits(if fragment { whole | Self::FRAGMENT } else { whole })
    }

    /// The family.
    pub const fn family(self) -> Family {
        if self.0 & Self::V6 == 0 { Family::V4 } else { Family::V6 }
    }

    /// Differentiated services code point, 6 bits (RFC 2474).
    pub const fn dscp(self) -> u8 {
        self.0 & Self::DSCP
    }

    /// Whether it is of a fragment.
    pub const fn fragment(self) -> bool {
        self.0 & Self::FRAGMENT != 0
    }

    /// The byte: family (1 for IPv6), fragment bit, code point, highest first.
    pub(crate) const fn byte(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for IpBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpBits")
            .field("family", &self.family())
            .field("fragment", &self.fragment())
            .field("dscp", &self.dscp())
            .finish()
    }
}

/// The fields of one packet that rules can look at. Host order; hardware addresses as they are on
/// the wire.
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
    /// Family of both addresses, fragment bit and code point.
    pub ip: IpBits,
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
    /// Bytes of the IP packet, its header included.
    pub length: u16,
    /// Hardware address of the sender.
    pub src_mac: [u8; 6],
    /// Hardware address it is sent to.
    pub dst_mac: [u8; 6],
}

const _: () = assert!(size_of::<PacketKey>() == 64, "one cache line");

impl PacketKey {
    /// A key with every field zero and no known zone, to fill in.
    pub const fn empty(family: Family) -> Self {
        PacketKey {
            src: 0,
            dst: 0,
            ip: IpBits::new(family),
            protocol: 0,
            src_port: 0,
            dst_port: 0,
            from_zone: ZoneId::UNKNOWN,
            to_zone: ZoneId::UNKNOWN,
            vlan: 0,
            tcp_flags: 0,
            src_identity: 0,
            dst_identity: 0,
            length: 0,
            src_mac: [0; 6],
            dst_mac: [0; 6],
        }
    }

    /// Family of both addresses.
    #[inline(always)]
    pub const fn family(&self) -> Family {
        self.ip.family()
    }

    /// Differentiated services code point, 6 bits (RFC 2474).
    pub const fn dscp(&self) -> u8 {
        self.ip.dscp()
    }

    /// Whether the packet is a fragment.
    pub const fn fragment(&self) -> bool {
        self.ip.fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_byte_does_not_mix() {
        for family in [Family::V4, Family::V6] {
            for dscp in 0..=u8::MAX {
                for fragment in [false, true] {
                    let bits = IpBits::new(family).with_dscp(!dscp).with_fragment(!fragment);
                    let bits = bits.with_fragment(fragment).with_dscp(dscp);
                    let read = (bits.family(), bits.dscp(), bits.fragment());
                    assert_eq!(read, (family, dscp & 0x3f, fragment));
                }
            }
        }
    }

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
