//! Fields of IPv4 (RFC 791), of IPv6 and of its extension headers (RFC 8200).

use super::super::packet::{L3, protocol};
use super::Mutation;
use super::edit::{addressed, extend, flip, is_v4, option, put, v4, v6};
use fastrand::Rng;

pub(super) const IPV4: &[Mutation] = &[
    ("IPv4 version", |f, rng| v4(f, |f| f[L3] = rng.u8(0..16) << 4 | 5)),
    ("IPv4 header length", |f, rng| v4(f, |f| f[L3] = 0x40 | rng.u8(0..16))),
    ("IPv4 DSCP and ECN", |f, rng| v4(f, |f| f[L3 + 1] = rng.u8(..))),
    ("IPv4 total length", |f, rng| {
        v4(f, |f| {
            let length = u16::from_be_bytes([f[L3 + 2], f[L3 + 3]]);
            let lengths = [0, 19, 20, 21, length - 1, length + 1, length.wrapping_add(100), 65_535];
            put(f, L3 + 2, &lengths[rng.usize(0..8)].to_be_bytes());
        })
    }),
    ("IPv4 identification", |f, rng| v4(f, |f| f[L3 + 4..L3 + 6].fill(rng.u8(..)))),
    ("IPv4 reserved flag", |f, _| v4(f, |f| f[L3 + 6] |= 0x80)),
    ("IPv4 without DF", |f, _| v4(f, |f| f[L3 + 6] = 0)),
    ("IPv4 more fragments", |f, _| v4(f, |f| f[L3 + 6] = 0x20)),
    ("IPv4 fragment offset", |f, rng| v4(f, |f| f[L3 + 7] = rng.u8(1..))),
    ("IPv4 TTL", |f, rng| v4(f, |f| f[L3 + 8] = [0, 1, 2, 255][rng.usize(0..4)])),
    ("IPv4 protocol", |f, rng| v4(f, |f| f[L3 + 9] = rng.u8(..))),
    ("IPv4 header checksum", |f, rng| is_v4(f) && flip(f, L3 + 10, 2, rng)),
    ("IPv4 source", |f, rng| is_v4(f) && addressed(f, |f| f[L3 + 15] ^= rng.u8(1..))),
    ("IPv4 destination", |f, rng| is_v4(f) && addressed(f, |f| f[L3 + 19] ^= rng.u8(1..))),
    ("IPv4 source that is none", |f, rng| address(f, L3 + 12, rng)),
    ("IPv4 destination that is none", |f, rng| address(f, L3 + 16, rng)),
    ("IPv4 source the destination", |f, _| {
        is_v4(f) && addressed(f, |f| f.copy_within(L3 + 16..L3 + 20, L3 + 12))
    }),
    ("IPv4 option no-operation", |f, _| option(f, &[1, 1, 1, 0])),
    ("IPv4 option record route", |f, _| option(f, &[7, 7, 4, 0, 0, 0, 0, 0])),
    ("IPv4 option loose source route", |f, _| option(f, &[131, 7, 4, 10, 0, 0, 1, 0])),
    ("IPv4 option strict source route", |f, _| option(f, &[137, 7, 4, 10, 0, 0, 1, 0])),
    ("IPv4 option timestamp", |f, _| option(f, &[68, 8, 5, 0, 0, 0, 0, 0])),
    ("IPv4 option router alert", |f, _| option(f, &[148, 4, 0, 0])),
    ("IPv4 option of a wrong length", |f, rng| option(f, &[7, rng.u8(..), 4, 0])),
    ("IPv4 option unknown", |f, rng| option(f, &[rng.u8(30..60), 4, 0, 0])),
];

pub(super) const IPV6: &[Mutation] = &[
    ("IPv6 version", |f, rng| v6(f, |f| f[L3] = rng.u8(0..16) << 4)),
    ("IPv6 traffic class", |f, rng| {
        v6(f, |f| {
            let class = rng.u8(..);
            f[L3] = 0x60 | class >> 4;
            f[L3 + 1] = class << 4 | f[L3 + 1] & 0x0f;
        })
    }),
    ("IPv6 flow label", |f, rng| v6(f, |f| f[L3 + 1] |= rng.u8(0..16))),
    ("IPv6 payload length", |f, rng| {
        v6(f, |f| {
            let length = u16::from_be_bytes([f[L3 + 4], f[L3 + 5]]);
            let lengths = [0, 1, length - 1, length + 1, length + 100, 65_535];
            put(f, L3 + 4, &lengths[rng.usize(0..6)].to_be_bytes());
        })
    }),
    ("IPv6 next header", |f, rng| v6(f, |f| f[L3 + 6] = rng.u8(..))),
    ("IPv6 no next header", |f, _| v6(f, |f| f[L3 + 6] = 59)),
    ("IPv6 hop limit", |f, rng| v6(f, |f| f[L3 + 7] = [0, 1, 2, 255][rng.usize(0..4)])),
    ("IPv6 source", |f, rng| !is_v4(f) && addressed(f, |f| f[L3 + 23] ^= rng.u8(1..))),
    ("IPv6 destination", |f, rng| !is_v4(f) && addressed(f, |f| f[L3 + 39] ^= rng.u8(1..))),
    ("IPv6 source that is none", |f, rng| address6(f, L3 + 8, rng)),
    ("IPv6 destination that is none", |f, rng| address6(f, L3 + 24, rng)),
    ("IPv6 source the destination", |f, _| {
        !is_v4(f) && addressed(f, |f| f.copy_within(L3 + 24..L3 + 40, L3 + 8))
    }),
];

/// Hop-by-hop options, destination options, routing and fragment headers (RFC 8200, 4).
const HOP: u8 = 0;
const DST: u8 = 60;
const RTG: u8 = 43;
const FRG: u8 = 44;

/// Six bytes of padding: PadN with four (RFC 8200, 4.2).
const PAD: &[u8] = &[1, 4, 0, 0, 0, 0];
/// A routing header without segments left, of a type for experiments (RFC 4727).
const USED_UP: &[u8] = &[253, 0, 0, 0, 0, 0];
/// A fragment header of a whole packet (RFC 6946).
const ATOMIC: &[u8] = &[0, 0, 0, 0, 0, 7];

pub(super) const EXTENSIONS: &[Mutation] = &[
    ("IPv6 hop-by-hop options", |f, _| extend(f, &[(HOP, PAD)])),
    ("IPv6 destination options", |f, _| extend(f, &[(DST, PAD)])),
    ("IPv6 every header in order", |f, _| {
        extend(f, &[(HOP, PAD), (DST, PAD), (RTG, USED_UP), (FRG, ATOMIC), (DST, PAD)])
    }),
    ("IPv6 hop-by-hop options twice", |f, _| extend(f, &[(HOP, PAD), (HOP, PAD)])),
    ("IPv6 hop-by-hop options not first", |f, _| extend(f, &[(DST, PAD), (HOP, PAD)])),
    ("IPv6 hop-by-hop options third", |f, _| extend(f, &[(DST, PAD), (RTG, USED_UP), (HOP, PAD)])),
    ("IPv6 destination options twice", |f, _| extend(f, &[(DST, PAD), (DST, PAD)])),
    ("IPv6 destination options twice behind others", |f, _| {
        extend(f, &[(HOP, PAD), (DST, PAD), (DST, PAD)])
    }),
    ("IPv6 destination options four times", |f, _| extend(f, &[(DST, PAD); 4])),
    ("IPv6 routing header twice", |f, _| extend(f, &[(RTG, USED_UP), (RTG, USED_UP)])),
    ("IPv6 fragment header twice", |f, _| extend(f, &[(FRG, ATOMIC), (FRG, ATOMIC)])),
    ("IPv6 routing header behind the fragment header", |f, _| {
        extend(f, &[(FRG, ATOMIC), (RTG, USED_UP)])
    }),
    ("IPv6 nine extension headers", |f, _| extend(f, &[(DST, PAD); 9])),
    ("IPv6 extension header length", |f, rng| {
        extend(f, &[(DST, PAD)]) && put(f, L3 + 41, &[rng.u8(1..)])
    }),
    ("IPv6 extension header cut short", |f, rng| {
        let left = rng.usize(0..8);
        extend(f, &[(*rng.choice(&[HOP, DST, RTG, FRG]).unwrap_or(&HOP), PAD)]) && {
            f.truncate(L3 + 40 + left);
            put(f, L3 + 4, &[0, left as u8])
        }
    }),
    ("IPv6 routing header of type 0", |f, _| extend(f, &[(RTG, &[0; 6])])),
    ("IPv6 routing header of type 0, segments left", |f, _| {
        extend(f, &[(RTG, &[0, 1, 0, 0, 0, 0])])
    }),
    ("IPv6 routing header of any type, none left", |f, rng| {
        extend(f, &[(RTG, &[rng.u8(1..), 0, 0, 0, 0, 0])])
    }),
    ("IPv6 routing header of any type, segments left", |f, rng| {
        extend(f, &[(RTG, &[rng.u8(1..), rng.u8(1..), 0, 0, 0, 0])])
    }),
    ("IPv6 atomic fragment", |f, rng| extend(f, &[(FRG, &[0, 0, 0, 0, 0, rng.u8(..)])])),
    ("IPv6 atomic fragment, reserved bits", |f, rng| {
        extend(f, &[(FRG, &[0, rng.u8(1..4) << 1, 0, 0, 0, 7])]) && put(f, L3 + 41, &[rng.u8(..)])
    }),
    ("IPv6 first fragment", |f, rng| extend(f, &[(FRG, &[0, 1, 0, 0, 0, rng.u8(..)])])),
    ("IPv6 later fragment", |f, rng| {
        extend(f, &[(FRG, &[rng.u8(..), rng.u8(1..32) << 3 | rng.u8(0..2), 0, 0, 0, 7])])
    }),
    ("IPv6 authentication header", |f, _| {
        extend(f, &[(protocol::AH, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0])])
    }),
    ("IPv6 mobility header", |f, _| extend(f, &[(135, &[0; 6])])),
    ("IPv6 host identity header", |f, _| extend(f, &[(139, &[0; 6])])),
    ("IPv6 shim6 header", |f, _| extend(f, &[(140, &[0; 6])])),
    ("IPv6 header for experiments", |f, rng| extend(f, &[(rng.u8(253..=254), &[0; 6])])),
    ("IPv6 router alert", |f, _| extend(f, &[(HOP, &[5, 2, 0, 0, 1, 0])])),
    ("IPv6 router alert twice", |f, _| {
        extend(f, &[(HOP, &[5, 2, 0, 0, 5, 2, 0, 0, 1, 4, 0, 0, 0, 0])])
    }),
    ("IPv6 router alert of a wrong length", |f, _| extend(f, &[(HOP, &[5, 3, 0, 0, 0, 0])])),
    ("IPv6 router alert for the destination", |f, _| extend(f, &[(DST, &[5, 2, 0, 0, 1, 0])])),
    ("IPv6 jumbo option", |f, rng| extend(f, &[(either(rng), &[0xc2, 4, 0, 1, 0, 0])])),
    // Padding aside; the upper two bits say what a node does that does not know it.
    ("IPv6 unknown option to be skipped", |f, rng| {
        extend(f, &[(either(rng), &[rng.u8(6..0x3f), 4, 0, 0, 0, 0])])
    }),
    ("IPv6 unknown option to be discarded", |f, rng| {
        extend(f, &[(either(rng), &[0x40 | rng.u8(0..), 4, 0, 0, 0, 0])])
    }),
    ("IPv6 option longer than its header", |f, rng| {
        extend(f, &[(either(rng), &[1, rng.u8(5..), 0, 0, 0, 0])])
    }),
    ("IPv6 padding that is not zero", |f, rng| {
        extend(f, &[(either(rng), &[1, 4, 0, 0, rng.u8(1..), 0])])
    }),
    ("IPv6 padding of single bytes", |f, rng| extend(f, &[(either(rng), &[0; 6])])),
    ("IPv6 padding of more than seven bytes", |f, rng| {
        let mut rest = [0; 14];
        rest[..2].copy_from_slice(&[1, 12]);
        extend(f, &[(either(rng), &rest)])
    }),
    ("IPv6 nine options", |f, rng| {
        let mut rest = [0; 22];
        rest[18..].copy_from_slice(&[1, 2, 0, 0]);
        rest[..18].chunks_mut(2).for_each(|option| option[0] = 0x1e);
        extend(f, &[(either(rng), &rest)])
    }),
];

fn either(rng: &mut Rng) -> u8 {
    if rng.bool() { HOP } else { DST }
}

fn address(frame: &mut [u8], at: usize, rng: &mut Rng) -> bool {
    const NONE: [[u8; 4]; 8] = [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [239, 1, 2, 3],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
        [169, 254, 1, 1],
    ];
    let none = &NONE[rng.usize(0..NONE.len())];
    is_v4(frame) && addressed(frame, |frame| _ = put(frame, at, none))
}

fn address6(frame: &mut [u8], at: usize, rng: &mut Rng) -> bool {
    const NONE: [[u8; 16]; 8] = [
        [0; 16],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
    ];
    let none = &NONE[rng.usize(0..NONE.len())];
    !is_v4(frame) && addressed(frame, |frame| _ = put(frame, at, none))
}
