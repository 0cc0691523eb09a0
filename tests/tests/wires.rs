//! Several wires in one gateway, and every way in which a worker waits.

use lab::clients::{Attempt, End, Program, expect_all};
use lab::gateway::{Gateway, GatewayOptions, list};
use lab::policies::{TWO_ZONES, denying};
use lab::services::Service;
use lab::{Family, Lab, Result, Side, need};
use std::time::Duration;

const FOUR_ZONES: &str = "version: 1
zones: { clients: {}, servers: {}, office: {}, plant: {} }
services: { ping: { protocol: icmp, type: 8 } }
rules:
  - { id: near, from: clients, to: servers, service: ping, action: allow }
  - { id: far, from: office, to: plant, service: ping, action: allow }
";

/// A second pair of veths beside the laboratory's, on a network of its own.
fn second_wire(lab: &Lab) -> Result<()> {
    let gateway = lab.namespace(Side::Gateway);
    for (side, port, address) in
        [(Side::Client, "bh2", "10.78.1.10/24"), (Side::Server, "bh3", "10.78.1.130/24")]
    {
        let pair = format!("link add name eth1 type veth peer name {port} netns {gateway}");
        lab.ip(side, &pair)?;
        lab.ip(side, &format!("addr add {address} dev eth1"))?;
        lab.ip(side, "link set eth1 up")?;
        lab.ip(Side::Gateway, &format!("link set {port} up"))?;
    }
    Ok(())
}

fn answers(lab: &Lab, address: &str) -> Result<bool> {
    let ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-w", "3", address];
    Ok(lab.exec(Side::Client, &ping, Duration::from_secs(10))?.success())
}

#[test]
fn two_wires_of_one_gateway_are_judged_by_their_own_zones() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    second_wire(&lab)?;
    let options = GatewayOptions { second_wire: true, ..GatewayOptions::default() };
    let gateway = Gateway::start(&lab, FOUR_ZONES, &options)?;
    assert!(answers(&lab, "10.77.1.130")?, "the first wire passes");
    assert!(answers(&lab, "10.78.1.130")?, "the second wire passes");

    gateway.apply(&denying(FOUR_ZONES, "far"))?;
    assert!(answers(&lab, "10.77.1.130")?, "the first wire still passes");
    assert!(!answers(&lab, "10.78.1.130")?, "the second wire is shut");

    let status = gateway.status()?;
    assert_eq!(list(&status["ports"]).len(), 4, "{status}");
    assert_eq!(list(&status["workers"]).len(), 2, "{status}");
    gateway.stop()
}

#[test]
fn a_wire_that_loses_an_interface_leaves_the_other_as_it_was() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    second_wire(&lab)?;
    let options = GatewayOptions { second_wire: true, ..GatewayOptions::default() };
    let gateway = Gateway::start(&lab, FOUR_ZONES, &options)?;
    assert!(answers(&lab, "10.77.1.130")? && answers(&lab, "10.78.1.130")?, "both wires pass");

    lab.ip(Side::Gateway, "link del bh1")?;
    assert!(!answers(&lab, "10.77.1.130")?, "the first wire has one end");
    assert!(answers(&lab, "10.78.1.130")?, "the second wire still passes");
    // Every worker takes a new table, the one without an interface too.
    gateway.apply(&denying(FOUR_ZONES, "far"))?;
    assert!(!answers(&lab, "10.78.1.130")?, "the second wire is shut");
    gateway.stop()
}

#[test]
fn a_worker_serves_its_wire_however_it_waits() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("curl"), Need::Program("ping"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    for (poll, busy_poll) in [("spin", false), ("adaptive", false), ("adaptive", true)] {
        let options = GatewayOptions { poll: Some(poll), busy_poll, ..GatewayOptions::default() };
        let gateway = Gateway::start(&lab, TWO_ZONES, &options)?;
        let try_it = |program, end| (Attempt::new(program, Family::V4), end);
        expect_all(
            &lab,
            &[
                try_it(Program::Http, End::Passed),
                try_it(Program::Ping, End::Passed),
                try_it(Program::Telnet, End::Blocked),
            ],
        )?;
        let sleeps = gateway.status()?["workers"][0]["sleeps"].as_u64();
        assert_eq!(sleeps == Some(0), poll == "spin", "{poll}: {sleeps:?} sleeps");
        gateway.stop()?;
    }
    Ok(())
}
