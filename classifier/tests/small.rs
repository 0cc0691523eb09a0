//! A few rules of every kind and the keys around them: little enough for an interpreter, or under
//! valgrind, which look at every memory access of a build and a lookup.
//!
//!     valgrind --error-exitcode=1 target/debug/deps/small-…
//!     cargo +nightly miri test -p bulkhead-classifier --test small
//!
//! Miri has only the portable path, valgrind AVX2 as well.

#[allow(dead_code)]
#[path = "agreement/check.rs"]
mod check;
#[path = "agreement/corners.rs"]
mod corners;

use check::{assert_agrees, compile};
use classifier::{AddressMatch, Family, FlagsMatch, MacMatch, PortRange, Range16, Rule, ZoneId};
use corners::{Draw, keys};
use fastrand::Rng;

fn prefix(address: [u8; 16], len: u8) -> AddressMatch {
    AddressMatch::prefix(address.into(), len).expect("not too long")
}

fn host(n: u8) -> AddressMatch {
    AddressMatch::host([10, 0, 0, n].into())
}

fn agree(rules: &[Rule]) {
    let draw = Draw { accepted: 8, corners: 2, mixed: 16, near: 8 };
    let mut keys = keys(rules, draw, &mut Rng::with_seed(1));
    // One batch of every length is two hundred and a few more than a burst each.
    keys.truncate(450);
    let answers = assert_agrees(rules, &compile(rules), &keys);
    assert!(answers.iter().flatten().count() > 10, "{answers:?}");
}

/// Tables whose keys have no words but addresses, ports and protocol.
#[test]
fn addresses_and_ports() {
    let mut rules: Vec<_> = (0..12)
        .map(|n| Rule {
            src: host(n),
            dst_ports: PortRange { low: n.into(), high: u16::MAX - u16::from(n) },
            ..Rule::ANY
        })
        .collect();
    rules.extend((0..6).map(|n| Rule { dst: prefix([0xfd; 16], n * 25), ..Rule::ANY }));
    let set = AddressMatch::set([
        host(3),
        prefix([0xfd; 16], 60),
        AddressMatch::Range { family: Family::V4, low: 5, high: 17 },
    ]);
    rules.push(Rule { dst: set, protocol: Some(6), ..Rule::ANY });
    agree(&rules);
}

/// Tables with every optional column.
#[test]
fn every_field() {
    let rules: Vec<_> = (0..20u16)
        .map(|n| Rule {
            from_zone: (n % 2 == 0).then_some(ZoneId(n)),
            to_zone: (n % 3 == 0).then_some(ZoneId(n)),
            vlan: (n % 4 == 0).then_some(n),
            src: if n % 2 == 0 { host(n as u8) } else { prefix([n as u8; 16], 64) },
            src_identities: Range16 { low: n, high: 3 * n },
            dst_identities: Range16 { low: 0, high: n },
            protocol: Some(6),
            tcp_flags: FlagsMatch { value: 2, mask: 0x12 },
            dscp: (n % 5 == 0).then_some(n as u8),
            fragment: (n % 7 == 0).then_some(false),
            src_mac: MacMatch { value: [2, 0, 0, 0, 0, 0], mask: [3, 0, 0, 0, 0, n as u8 & 1] },
            dst_mac: if n % 3 == 0 { MacMatch::one([n as u8; 6]) } else { MacMatch::ANY },
            lengths: Range16 { low: 20, high: 1500 + n },
            ..Rule::ANY
        })
        .collect();
    agree(&rules);
}

/// More rules at one place than a block has, and than a leaf.
#[test]
fn ranges_that_all_overlap() {
    let rules: Vec<_> = (0..40)
        .rev()
        .map(|i| Rule { dst_ports: PortRange { low: i, high: u16::MAX - i }, ..Rule::ANY })
        .collect();
    agree(&rules);
}
