//! Header fields of one family, packed so that a mask is one AND per word.

use classifier::{AddressMatch, Family, PacketKey, PortRange, Rule, prefix_mask};
use std::hash::Hash;
use std::ops::BitAnd;

/// An address as wide as its family needs, so that IPv4 hashes and compares words of 32 bits.
pub(crate) trait Address: Copy + Ord + Hash + BitAnd<Output = Self> {
    /// The family whose addresses these are.
    const FAMILY: Family;
    /// The low bits of a key's or rule's address.
    fn truncate(bits: u128) -> Self;
}

impl Address for u32 {
    const FAMILY: Family = Family::V4;

    fn truncate(bits: u128) -> Self {
        bits as u32
    }
}

impl Address for u128 {
    const FAMILY: Family = Family::V6;

    fn truncate(bits: u128) -> Self {
        bits
    }
}

/// The fields of a packet, or a mask over them.
///
/// Packed into few words because every tuple of a table masks and hashes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fields<A> {
    src: A,
    dst: A,
    /// From zone, to zone, source port, destination port; 16 bits each, first highest.
    zones_ports: u64,
    protocol: u8,
}

impl<A: Address> Fields<A> {
    /// The fields of `key`, whose family must be `A`'s.
    #[inline]
    pub fn of(key: &PacketKey) -> Self {
        Fields {
            src: A::truncate(key.src),
            dst: A::truncate(key.dst),
            zones_ports: pack(key.from_zone.0, key.to_zone.0, key.src_port, key.dst_port),
            protocol: key.protocol,
        }
    }

    /// These fields where `mask` has ones, zero elsewhere.
    #[inline]
    pub fn masked(&self, mask: &Self) -> Self {
        Fields {
            src: self.src & mask.src,
            dst: self.dst & mask.dst,
            zones_ports: self.zones_ports & mask.zones_ports,
            protocol: self.protocol & mask.protocol,
        }
    }
}

/// What `rule` asks of packets of `A`'s family: the mask of the bits that must be equal, and their
/// values. `None` when it matches no packet of the family.
///
/// Port ranges of more than one port are not part of it: they have to be compared.
pub(crate) fn exact_part<A: Address>(rule: &Rule) -> Option<(Fields<A>, Fields<A>)> {
    let (src_mask, src) = address_part::<A>(&rule.src)?;
    let (dst_mask, dst) = address_part::<A>(&rule.dst)?;
    let (src_port_mask, src_port) = port_part(rule.src_ports)?;
    let (dst_port_mask, dst_port) = port_part(rule.dst_ports)?;
    let (from_mask, from) = rule.from_zone.map_or((0, 0), |zone| (u16::MAX, zone.0));
    let (to_mask, to) = rule.to_zone.map_or((0, 0), |zone| (u16::MAX, zone.0));
    let (protocol_mask, protocol) = rule.protocol.map_or((0, 0), |protocol| (u8::MAX, protocol));
    let mask = Fields {
        src: src_mask,
        dst: dst_mask,
        zones_ports: pack(from_mask, to_mask, src_port_mask, dst_port_mask),
        protocol: protocol_mask,
    };
    let value = Fields { src, dst, zones_ports: pack(from, to, src_port, dst_port), protocol };
    Some((mask, value))
}

fn address_part<A: Address>(addresses: &AddressMatch) -> Option<(A, A)> {
    match *addresses {
        AddressMatch::Any => Some((A::truncate(0), A::truncate(0))),
        AddressMatch::Prefix { family, value, len } => {
            let mask = prefix_mask(family, len);
            // A value with bits below its prefix equals no masked address.
            (family == A::FAMILY && value & mask == value)
                .then(|| (A::truncate(mask), A::truncate(value)))
        }
        // Refused before: see `Unsupported`.
        AddressMatch::Range { .. } | AddressMatch::Set(_) => None,
    }
}

fn port_part(ports: PortRange) -> Option<(u16, u16)> {
    match ports {
        PortRange { low, high } if low > high => None,
        PortRange { low, high } if low == high => Some((u16::MAX, low)),
        _ => Some((0, 0)),
    }
}

#[inline]
fn pack(from_zone: u16, to_zone: u16, src_port: u16, dst_port: u16) -> u64 {
    u64::from(from_zone) << 48
        | u64::from(to_zone) << 32
        | u64::from(src_port) << 16
        | u64::from(dst_port)
}
