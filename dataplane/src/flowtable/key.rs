//! What two packets of one flow have in common.

use super::hash::HashKey;
use super::sources::Source;
use classifier::Family;

/// Which way a packet goes through its flow.
///
/// A key has two ends in an order that both directions agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first end of the key to the second.
    Forward,
    /// From the second to the first.
    Reverse,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Address, in the low bits.
    pub address: u128,
    /// Port, or what the protocol has in its place.
    pub port: u16,
    /// The worker's port behind which it lives: a packet from the wrong side is another flow.
    pub side: u16,
}

/// Identity of a flow, the same for both of its directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub(super) first: u128,
    pub(super) second: u128,
    /// Ports of the first and second end, VLANs and protocol, from the lowest bits: 16, 16, 12
    /// (inner or only), 12 (outer), 8.
    pub(super) tuple: u64,
    /// The worker's port behind which the first end lives. Behind which the second one does follows
    /// from how the ports are joined.
    pub(super) side: u16,
    pub(super) family: Family,
}

impl FlowKey {
    /// The key of a packet on its way between two ends, and the packet's direction: the end with the
    /// lower address, port and side comes first.
    ///
    /// `vlan` as in [`Parsed::vlan`](crate::parse::Parsed::vlan).
    #[inline]
    pub fn between(
        source: End,
        target: End,
        protocol: u8,
        vlan: u32,
        family: Family,
    ) -> (FlowKey, Direction) {
        if source <= target {
            (FlowKey::ordered(source, target, protocol, vlan, family), Direction::Forward)
        } else {
            (FlowKey::ordered(target, source, protocol, vlan, family), Direction::Reverse)
        }
    }

    /// The key of a flow whose protocol says which end comes first, as ICMP echo does.
    #[inline]
    pub fn ordered(first: End, second: End, protocol: u8, vlan: u32, family: Family) -> FlowKey {
        let vlans = u64::from(vlan & 0xfff | (vlan >> 16 & 0xfff) << 12);
        FlowKey {
            first: first.address,
            second: second.address,
            tuple: u64::from(first.port)
                | u64::from(second.port) << 16
                | vlans << 32
                | u64::from(protocol) << 56,
            side: first.side,
            family,
        }
    }

    /// Its hash.
    #[inline]
    pub fn hash(&self, key: HashKey) -> u64 {
        let side = u64::from(self.side);
        // The numbers of bytes differ, and so do the hashes of both families.
        match self.family {
            Family::V4 => key.hash(&[self.addresses_v4(), self.tuple], side | 18 << 56),
            Family::V6 => {
                let [a, b] = [self.first, self.second];
                let words = [a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64, self.tuple];
                key.hash(&words, side | 42 << 56)
            }
        }
    }

    /// Both IPv4 addresses, the first in the low half.
    #[inline]
    pub(super) fn addresses_v4(&self) -> u64 {
        u64::from(self.first as u32) | u64::from(self.second as u32) << 32
    }

    /// Address and port of the first and the second end.
    pub fn ends(&self) -> [(u128, u16); 2] {
        [(self.first, self.tuple as u16), (self.second, (self.tuple >> 16) as u16)]
    }

    /// The worker's port behind which the first end lives.
    pub fn side(&self) -> u16 {
        self.side
    }

    /// IP protocol.
    pub fn protocol(&self) -> u8 {
        (self.tuple >> 56) as u8
    }

    /// As in [`Parsed::vlan`](crate::parse::Parsed::vlan).
    pub fn vlan(&self) -> u32 {
        (self.tuple >> 32) as u32 & 0xfff | ((self.tuple >> 44) as u32 & 0xfff) << 16
    }

    /// Address family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Who opened it, if its first packet went in direction `opened`.
    #[inline]
    pub(super) fn source(&self, opened: Direction) -> Source {
        let address = match opened {
            Direction::Forward => self.first,
            Direction::Reverse => self.second,
        };
        Source::of(address, self.family)
    }
}
