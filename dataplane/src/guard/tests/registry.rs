//! The special-purpose addresses against the registries' text.

use super::super::bogons::{Class, Registry};
use super::*;

/// Block, then source, destination, forwardable, globally reachable, reserved by protocol, as the
/// IANA registries had them on 18 July 2026; blank where they are.
const IANA: &str = "\
0.0.0.0/8,True,False,False,False,True
0.0.0.0/32,True,False,False,False,True
10.0.0.0/8,True,True,True,False,False
100.64.0.0/10,True,True,True,False,False
127.0.0.0/8,False,False,False,False,True
169.254.0.0/16,True,True,False,False,True
172.16.0.0/12,True,True,True,False,False
192.0.0.0/24,False,False,False,False,False
192.0.0.0/29,True,True,True,False,False
192.0.0.8/32,True,False,False,False,False
192.0.0.9/32,True,True,True,True,False
192.0.0.10/32,True,True,True,True,False
192.0.0.170/32,False,False,False,False,True
192.0.0.171/32,False,False,False,False,True
192.0.2.0/24,False,False,False,False,False
192.31.196.0/24,True,True,True,True,False
192.52.193.0/24,True,True,True,True,False
192.88.99.0/24,,,,,
192.88.99.2/32,True,True,True,False,False
192.168.0.0/16,True,True,True,False,False
192.175.48.0/24,True,True,True,True,False
198.18.0.0/15,True,True,True,False,False
198.51.100.0/24,False,False,False,False,False
203.0.113.0/24,False,False,False,False,False
240.0.0.0/4,False,False,False,False,True
255.255.255.255/32,False,True,False,False,True
::1/128,False,False,False,False,True
::/128,True,False,False,False,True
::ffff:0:0/96,False,False,False,False,True
64:ff9b::/96,True,True,True,True,False
64:ff9b:1::/48,True,True,True,False,False
100::/64,True,True,True,False,False
100:0:0:1::/64,True,False,False,False,False
2001::/23,False,False,False,False,False
2001::/32,True,True,True,N/A,False
2001:1::1/128,True,True,True,True,False
2001:1::2/128,True,True,True,True,False
2001:1::3/128,True,True,True,True,False
2001:2::/48,True,True,True,False,False
2001:3::/32,True,True,True,True,False
2001:4:112::/48,True,True,True,True,False
2001:10::/28,,,,,
2001:20::/28,True,True,True,True,False
2001:30::/28,True,True,True,True,False
2001:db8::/32,False,False,False,False,False
2002::/16,True,True,True,N/A,False
2620:4f:8000::/48,True,True,True,True,False
3fff::/20,False,False,False,False,False
5f00::/16,True,True,True,False,False
fc00::/7,True,True,True,False,False
fe80::/10,True,True,False,False,True
";

/// What is not in the registries, and its class.
const BESIDES: [(&str, Class); 3] =
    [("224.0.0.0/4", Class::Group), ("ff00::/8", Class::Group), ("::/96", Class::NotGlobal)];

/// First address, last address and prefix length of a block, and its class.
struct Block {
    family: Family,
    first: u128,
    last: u128,
    len: u8,
    class: Class,
}

fn block(text: &str, class: Class) -> Block {
    let (address, len) = text.split_once('/').unwrap();
    let (family, first) = Family::split(address.parse().unwrap());
    let len: u8 = len.parse().unwrap();
    let host = u32::from(family.bits() - len);
    Block { family, first, last: first + ((1u128 << host) - 1), len, class }
}

/// The class that the columns of the registry mean, in words: see the comments of [`Class`].
fn class(columns: &str) -> Class {
    let columns: Vec<_> = columns.split(',').collect();
    match columns[..] {
        // Reserved, and nobody can be reached there.
        [_, "False", _, _, "True"] => Class::Invalid,
        // Reserved, reachable, never a source.
        ["False", "True", _, _, "True"] => Class::Group,
        // Reserved, both, never forwarded.
        ["True", "True", "False", _, "True"] => Class::LinkLocal,
        [_, _, _, "True", "False"] => Class::Global,
        [_, _, _, "False" | "N/A" | "", "False" | ""] => Class::NotGlobal,
        _ => panic!("{columns:?}"),
    }
}

fn blocks() -> Vec<Block> {
    let of_iana = |line: &str| {
        let (text, columns) = line.split_once(',').unwrap();
        block(text, class(columns))
    };
    let besides = BESIDES.into_iter().map(|(text, class)| block(text, class));
    IANA.lines().map(of_iana).chain(besides).collect()
}

#[test]
fn every_block_of_the_registries_is_known_to_its_ends() {
    let (blocks, registry) = (blocks(), Registry::new());
    assert_eq!(blocks.len(), 26 + 25 + 3);
    for Block { family, first, last, .. } in &blocks {
        let below = first.checked_sub(1);
        let above = last.checked_add(1).filter(|a| *family == Family::V6 || *a >> 32 == 0);
        let between = first + (last - first) / 2;
        for address in
            [Some(*first), Some(*last), Some(between), below, above].into_iter().flatten()
        {
            let within = blocks
                .iter()
                .filter(|b| b.family == *family && (b.first..=b.last).contains(&address));
            let expected = within.max_by_key(|b| b.len).map_or(Class::Global, |b| b.class);
            let found = registry.class(*family, address);
            assert_eq!(found, expected, "{}", family.ip_addr(address));
        }
    }
}

#[test]
fn addresses_that_nobody_can_have_are_neither_sources_nor_destinations() {
    // Of each block one inside its ends, and one outside that an honest packet can carry.
    let v4 = [
        ("0.0.0.1", "1.0.0.0"),
        ("0.255.255.255", "1.0.0.0"),
        ("127.0.0.0", "126.255.255.255"),
        ("127.255.255.255", "128.0.0.0"),
        ("192.0.0.170", "192.0.0.169"),
        ("192.0.0.171", "192.0.0.172"),
        ("240.0.0.0", "192.0.2.1"),
        ("255.255.255.254", "198.18.0.1"),
    ];
    let v6 = [
        ("::1", "::2"),
        ("::ffff:0.0.0.0", "::fffe:ffff:ffff"),
        ("::ffff:255.255.255.255", "::1:0:0:0"),
        ("::1", "2001:db8::1"),
        ("::1", "100::1"),
    ];
    for (cases, other) in [(&v4[..], "9.9.9.9"), (&v6[..], "2600::9")] {
        for (bad, good) in cases {
            let judged = |src, dst| dropped(OUTSIDE, &tcp(src, dst));
            assert_eq!(judged(bad, other), Some(BogonSource), "{bad}");
            assert_eq!(judged(other, bad), Some(BogonDestination), "{bad}");
            assert_eq!(judged(good, other), None, "{good}");
            assert_eq!(judged(other, good), None, "{good}");
        }
    }
    assert_eq!(dropped(OUTSIDE, &tcp("9.9.9.9", "0.0.0.0")), Some(BogonDestination));
    assert_eq!(dropped(OUTSIDE, &tcp("2600::9", "::")), Some(BogonDestination));
}

#[test]
fn groups_are_destinations_only() {
    let cases = [
        ("224.0.0.0", "223.255.255.255", "9.9.9.9"),
        ("239.255.255.255", "223.255.255.255", "9.9.9.9"),
        ("255.255.255.255", "223.255.255.255", "9.9.9.9"),
        ("ff02::", "feff:ffff::1", "2600::9"),
        ("ffff:ffff::1", "feff:ffff::1", "2600::9"),
    ];
    for (group, single, other) in cases {
        assert_eq!(dropped(OUTSIDE, &tcp(group, other)), Some(GroupSource), "{group}");
        assert_eq!(dropped(OUTSIDE, &tcp(other, group)), None, "{group}");
        assert_eq!(dropped(OUTSIDE, &tcp(single, other)), None, "{single}");
    }
}
