//! Packet keys and rules as a few words of 64 bits.
//!
//! A table of a family works on `N` words, and on addresses of `A` 32-bit units each:
//!
//! | word | bits, highest first |
//! |---|---|
//! | `0..A/2` (IPv4: one word for both) | source address, destination address |
//! | `transport` | source port 16, destination port 16, protocol 8, family 1, fragment 1, DSCP 6, TCP flags 16 |
//! | `transport + 1` | from zone 16, to zone 16, source identity 16, destination identity 16 |
//! | `transport + 2` | destination MAC address 48, VLAN 16 |
//! | `transport + 3` | source MAC address 48, length 16 |
//!
//! The last three exist only in tables whose rules look at them, and hardware addresses only where
//! the last one does: a field that a rule set does not use costs nothing. No rule asks for the
//! family's bit, which is the same in all keys of a table.

use crate::PacketKey;
use crate::rule::mac_bits;

/// Words of a key of `N`.
pub(crate) type Words<const N: usize> = [u64; N];

/// Most words of a key: IPv6 with every field.
const MOST: usize = 8;

/// Odd constants, one a word: the first digits of pi in base 2^64, made odd.
pub(crate) const MULTIPLIERS: [u64; MOST] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
];

/// The word of ports and protocol.
pub(crate) const fn transport(a: usize) -> usize {
    if a == 1 { 1 } else { a }
}

/// The word of zones and identities.
pub(crate) const fn sides(a: usize) -> usize {
    transport(a) + 1
}

/// The word of destination MAC address and VLAN.
pub(crate) const fn tag(a: usize) -> usize {
    transport(a) + 2
}

/// The word of source MAC address and length.
pub(crate) const fn link(a: usize) -> usize {
    transport(a) + 3
}

pub(crate) const DSCP_SHIFT: u32 = 16;
/// Bits of a code point.
pub(crate) const DSCP_ONES: u64 = 0x3f;
pub(crate) const PROTOCOL_SHIFT: u32 = 24;
pub(crate) const FRAGMENT_SHIFT: u32 = 22;
/// Of a hardware address, in both words that have one.
pub(crate) const MAC_SHIFT: u32 = 16;
/// Bits of a hardware address.
pub(crate) const MAC_ONES: u64 = (1 << 48) - 1;

/// A field of 16 bits that rules give as a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeField {
    pub word: usize,
    pub shift: u32,
}

/// How many fields rules give as ranges.
pub(crate) const RANGES: usize = 5;

/// Source port, destination port, source identity, destination identity, length.
pub(crate) const fn range_fields(a: usize) -> [RangeField; RANGES] {
    [
        RangeField { word: transport(a), shift: 48 },
        RangeField { word: transport(a), shift: 32 },
        RangeField { word: sides(a), shift: 16 },
        RangeField { word: sides(a), shift: 0 },
        RangeField { word: link(a), shift: 0 },
    ]
}

/// Packs `key`, of the family whose addresses have `A` units.
#[inline(always)]
pub(crate) fn pack<const A: usize, const N: usize>(key: &PacketKey) -> Words<N> {
    let mut words = [0; N];
    if A == 1 {
        words[0] = (key.src as u64) << 32 | u64::from(key.dst as u32);
    } else {
        words[0] = (key.src >> 64) as u64;
        words[1] = key.src as u64;
        words[2] = (key.dst >> 64) as u64;
        words[3] = key.dst as u64;
    }
    words[transport(A)] = u64::from(key.src_port) << 48
        | u64::from(key.dst_port) << 32
        | u64::from(key.protocol) << PROTOCOL_SHIFT
        | u64::from(key.ip.byte()) << DSCP_SHIFT
        | u64::from(key.tcp_flags);
    if N > sides(A) {
        words[sides(A)] = u64::from(key.from_zone.0) << 48
            | u64::from(key.to_zone.0) << 32
            | u64::from(key.src_identity) << 16
            | u64::from(key.dst_identity);
        words[tag(A)] = u64::from(key.vlan);
    }
    if N > link(A) {
        words[tag(A)] |= mac_bits(key.dst_mac) << MAC_SHIFT;
        words[link(A)] = mac_bits(key.src_mac) << MAC_SHIFT | u64::from(key.length);
    }
    words
}

/// Hash of the bits of `words` under `mask`; its high bits are the good ones (multiply-shift:
/// Dietzfelbinger and others, Journal of Algorithms 25, 1997).
#[inline(always)]
pub(crate) fn hash<const N: usize>(words: &Words<N>, mask: &Words<N>) -> u64 {
    let mut sum = 0u64;
    for i in 0..N {
        sum = sum.wrapping_add((words[i] & mask[i]).wrapping_mul(MULTIPLIERS[i]));
    }
    sum
}

/// Number of bits set.
pub(crate) fn ones<const N: usize>(mask: &Words<N>) -> u32 {
    mask.iter().map(|word| word.count_ones()).sum()
}
