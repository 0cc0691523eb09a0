//! Addresses that lie, through a worker: dropped before flows and rules, or counted and let go on.

use super::*;
use crate::guard::{GuardConfig, Mode, Modes, Sources, ZoneGuard};
use crate::table::ZoneSettings;

/// Everything is allowed; clients are 10.0.0.0/24, and what lies about that is treated by `mode`.
fn lab_with(mode: Mode) -> Lab {
    let clients = ZoneGuard {
        networks: vec![AddressMatch::prefix([10, 0, 0, 0].into(), 24).expect("it is short enough")],
        sources: Sources::Networks,
        modes: Modes { spoofed: mode, arp: mode, ..Modes::default() },
        ..ZoneGuard::default()
    };
    let guard = GuardConfig { zones: vec![clients, ZoneGuard::default()] };
    let zones = ZoneSettings { guard, ..ZoneSettings::default() };
    let any = [("any", Rule::ANY, Action::Allow)];
    Lab::with(0, Arc::new(table(1, &any, 1).with_zones(&zones)), small(), None)
}

fn from(src: &str) -> Vec<u8> {
    frame(src, SERVER, 17, &udp(1000, 53, &[7; 92]))
}

fn suspects(lab: &Lab, reason: D) -> u64 {
    lab.tally.ports[LEFT].suspects[reason as usize].get()
}

#[test]
fn a_source_that_is_not_its_zones_is_dropped_before_the_rules() {
    let mut lab = lab_with(Mode::Drop);
    assert_eq!(lab.send(LEFT, from("10.0.7.1")), Outcome::Drop(D::SourceNotInZone));
    assert_eq!(
        lab.send(RIGHT, frame(CLIENT, "10.0.0.7", 17, &udp(1, 2, &[]))),
        Outcome::Drop(D::SourceOtherZone)
    );
    assert_eq!((lab.table.hits(), lab.flows()), (vec![0], 0));
    let key = lab.worker.recent.iter().next().and_then(|drop| drop.key);
    assert!(key.is_some(), "who it said it was is remembered");
    assert_eq!(lab.send(LEFT, from(CLIENT)), BY_RULE);
    let claim = ethernet(&[], 0x0806, &arp(1, [10, 0, 7, 1], [10, 0, 0, 9]));
    assert_eq!(lab.send(LEFT, claim), Outcome::Drop(D::ArpAddress));
}

#[test]
fn what_is_only_counted_goes_its_way() {
    let mut lab = lab_with(Mode::Count);
    assert_eq!(lab.send(LEFT, from("10.0.7.1")), BY_RULE);
    assert_eq!(suspects(&lab, D::SourceNotInZone), 1);
    let claim = ethernet(&[], 0x0806, &arp(1, [10, 0, 7, 1], [10, 0, 0, 9]));
    assert_eq!(lab.send(LEFT, claim), Outcome::Forward(PassReason::Arp));
    assert_eq!(suspects(&lab, D::ArpAddress), 1);
    lab.assert_conserved();
}

#[test]
fn a_fragment_whose_source_lies_takes_no_room() {
    let mut lab = lab_with(Mode::Drop);
    for piece in super::fragments::cut(&from("10.0.7.1"), &[48]) {
        assert_eq!(lab.send(LEFT, piece), Outcome::Drop(D::SourceNotInZone));
    }
    assert_eq!(lab.tally.ports[LEFT].reassembling.get(), 0);
}

#[test]
fn what_hides_in_fragments_is_found_when_they_are_put_together() {
    let mut lab = lab_with(Mode::Drop);
    let mut offer = vec![2, 1, 6, 0];
    offer.resize(300, 0);
    let answer = frame(CLIENT, "255.255.255.255", 17, &udp(67, 68, &offer));
    for piece in super::fragments::cut(&answer, &[48]) {
        lab.worker.ports.deliver(LEFT, piece);
    }
    lab.judge(LEFT);
    assert!(lab.worker.ports.take_sent(RIGHT).is_empty());
    assert_eq!(lab.tally.ports[LEFT].drops[D::DhcpServer as usize].get(), 2);
    lab.assert_conserved();
}
