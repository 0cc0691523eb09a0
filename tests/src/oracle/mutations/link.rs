//! Fields of Ethernet and of VLAN tags (IEEE 802.3, 802.1Q).

use super::super::packet::L3;
use super::Mutation;
use super::edit::{put, tag};

pub(super) const ETHERNET: &[Mutation] = &[
    ("Ethernet destination of another station", |f, _| put(f, 0, &[2, 9, 9, 9, 9, 9])),
    ("Ethernet destination broadcast", |f, _| put(f, 0, &[0xff; 6])),
    ("Ethernet destination multicast", |f, _| put(f, 0, &[1, 0, 0x5e, 1, 1, 1])),
    ("Ethernet destination zero", |f, _| put(f, 0, &[0; 6])),
    ("Ethernet source of another station", |f, _| put(f, 6, &[2, 9, 9, 9, 9, 9])),
    ("Ethernet source zero", |f, _| put(f, 6, &[0; 6])),
    ("Ethernet source multicast", |f, _| put(f, 6, &[3, 9, 9, 9, 9, 9])),
    ("Ethernet source broadcast", |f, _| put(f, 6, &[0xff; 6])),
    ("Ethernet source the destination", |f, _| {
        f.copy_within(0..6, 6);
        true
    }),
    ("EtherType", |f, rng| {
        let kinds: [u16; 6] = [0x0806, 0x8035, 0x8847, 0x88cc, 0x0802, 0x86dd];
        put(f, 12, &kinds[rng.usize(0..kinds.len())].to_be_bytes())
    }),
    ("an ARP request instead", |f, rng| {
        let (sender, asked) = (rng.u32(..), rng.u32(..));
        f.truncate(12);
        // Ethernet, IPv4, lengths of their addresses, a request (RFC 826).
        f.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        f.extend_from_within(6..12);
        f.extend(sender.to_be_bytes());
        f.extend([0; 6]);
        f.extend(asked.to_be_bytes());
        true
    }),
    ("802.3 length instead of the EtherType", |f, _| {
        let length = (f.len() - 14) as u16;
        put(f, 12, &length.to_be_bytes())
    }),
    ("padding after the packet", |f, rng| {
        f.extend(vec![0xaa; rng.usize(1..40)]);
        true
    }),
    ("the frame cut short", |f, rng| {
        f.truncate(rng.usize(L3..f.len()));
        true
    }),
];

pub(super) const VLAN: &[Mutation] = &[
    ("a VLAN tag", |f, rng| tag(f, &[[0x81, 0, 0, rng.u8(1..)]])),
    ("a VLAN tag with priority and drop eligible", |f, rng| {
        tag(f, &[[0x81, 0, rng.u8(1..16) << 4, rng.u8(1..)]])
    }),
    ("a VLAN tag with the reserved identifier", |f, _| tag(f, &[[0x81, 0, 0x0f, 0xff]])),
    ("a priority tag", |f, rng| tag(f, &[[0x81, 0, rng.u8(0..16) << 4, 0]])),
    ("a service tag", |f, rng| tag(f, &[[0x88, 0xa8, 0, rng.u8(1..)]])),
    ("a service tag without identifier", |f, _| tag(f, &[[0x88, 0xa8, 0, 0]])),
    ("a tag older than the standard", |f, rng| tag(f, &[[0x91, 0, 0, rng.u8(1..)]])),
    ("two VLAN tags", |f, rng| tag(f, &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, rng.u8(1..)]])),
    ("a VLAN tag in a priority tag", |f, rng| {
        tag(f, &[[0x81, 0, 0x60, 0], [0x81, 0, 0, rng.u8(1..)]])
    }),
    ("a priority tag in a VLAN tag", |f, _| tag(f, &[[0x81, 0, 0, 5], [0x81, 0, 0x60, 0]])),
    ("a priority tag in a priority tag", |f, _| tag(f, &[[0x81, 0, 0x60, 0], [0x81, 0, 0, 0]])),
    ("three VLAN tags", |f, _| tag(f, &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6], [0x81, 0, 0, 7]])),
    ("a VLAN tag cut short", |f, rng| {
        f.truncate(12);
        f.extend(&[0x81, 0, 0, 5][..rng.usize(2..4)]);
        // The kernel takes no frame without the 14 bytes of a header.
        f.resize(f.len().max(14), 0);
        true
    }),
];
