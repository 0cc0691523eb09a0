//! What the policy allows passes, what it denies does not: real programs over IPv4 and IPv6.

use lab::capture::{Recording, packets};
use lab::clients::{self, Attempt, End, Program, expect_all};
use lab::gateway::{Gateway, GatewayOptions};
use lab::policies::{ALLOW_ALL, DENY_ALL, TWO_ZONES};
use lab::services::{Service, large_file};
use lab::{Family, Lab, Result, Side, address, frames, need};
use std::time::Duration;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// The nearest-bridge group address of LLDP (IEEE 802.1AB) and its EtherType.
const LLDP_GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
const LLDP: u16 = 0x88cc;

/// Attempts under `TWO_ZONES` and how they are to end.
fn table() -> Vec<(Attempt, End)> {
    use End::{Blocked, Passed};
    use Program::{Dig, DigTcp, Http, Https, Iperf, Ping, Psql, Ssh, Telnet};
    let mut table = Vec::new();
    for family in FAMILIES {
        let try_it = |program| Attempt::new(program, family);
        table.extend([
            (try_it(Http), Passed),
            (try_it(Https), Passed),
            (try_it(Telnet), Blocked),
            (try_it(Psql), Passed),
            (try_it(Ssh), Passed),
            (try_it(Dig), Passed),
            (try_it(DigTcp), Blocked),
            (try_it(Ping), Passed),
            // Another client, then another server, then the other direction.
            (try_it(Http).from(Side::Client, 2), Passed),
            (try_it(Http).to(Side::Server, 2), Blocked),
            (try_it(Psql).to(Side::Server, 2), Blocked),
            (try_it(Ssh).to(Side::Server, 2), Blocked),
            (try_it(Dig).to(Side::Server, 2), Blocked),
            (try_it(Ping).from(Side::Client, 2).to(Side::Server, 2), Passed),
            (try_it(Ping).from(Side::Server, 1).to(Side::Client, 1), Blocked),
        ]);
    }
    table.push((Attempt::new(Iperf, Family::V4), Passed));
    table
}

#[test]
fn every_attempt_ends_as_the_policy_says() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Service(Service::Postgresql),
        Need::Service(Service::Ssh),
        Need::Service(Service::Dns),
        Need::Service(Service::Iperf),
        Need::Program("curl"),
        Need::Program("psql"),
        Need::Program("ssh"),
        Need::Program("dig"),
        Need::Program("ping")
    );
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let table = table();
    for service in table.iter().filter_map(|(attempt, _)| attempt.service()) {
        lab.start(service)?;
    }
    expect_all(&lab, &table)?;
    // Only one rule denies; what it dropped is what is counted for the reason.
    let telnet = gateway.hits("no-telnet")?;
    assert!(telnet >= 2, "a SYN over each family");
    assert_eq!(gateway.dropped_for("policy_deny")?, telnet);
    assert!(gateway.dropped_for("policy_default")? >= 10, "a packet of each other denial");
    for rule in ["web", "database", "ssh", "dns", "iperf", "ping"] {
        assert!(gateway.hits(rule)? > 0, "{rule} allowed nothing");
    }
    gateway.stop()
}

#[test]
fn the_same_attempts_pass_or_fail_together_under_allow_all_and_deny_all() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Service(Service::Dns),
        Need::Program("curl"),
        Need::Program("dig"),
        Need::Program("ping")
    );
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    lab.start(Service::Dns)?;
    let all = |end| -> Vec<_> {
        let programs = [Program::Http, Program::Telnet, Program::Dig, Program::Ping];
        let both = |program| FAMILIES.map(|family| (Attempt::new(program, family), end));
        programs.into_iter().flat_map(both).collect()
    };
    let gateway = Gateway::start(&lab, ALLOW_ALL, &GatewayOptions::default())?;
    expect_all(&lab, &all(End::Passed))?;
    gateway.apply(DENY_ALL)?;
    expect_all(&lab, &all(End::Blocked))?;
    gateway.stop()
}

#[test]
fn large_transfers_arrive_whole_in_both_directions() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Iperf),
        Need::Service(Service::Web),
        Need::Program("curl")
    );
    let lab = Lab::new()?;
    lab.start(Service::Iperf)?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    clients::transfer(&lab, Family::V4, 64, false)?;
    clients::transfer(&lab, Family::V6, 64, true)?;
    for family in FAMILIES {
        let target = address(Side::Server, 1, family);
        let host = if family == Family::V6 { format!("[{target}]") } else { target.to_owned() };
        let url = format!("http://{host}/large");
        let argv = ["curl", "-sS", "--max-time", "40", "-o", "fetched", &url];
        lab.exec(Side::Client, &argv, Duration::from_secs(60))?.expect_success()?;
        let fetched = std::fs::read(lab.dir().join("fetched"))?;
        assert!(fetched == large_file(), "{} bytes, or changed ones", fetched.len());
    }
    gateway.stop()
}

#[test]
fn what_is_allowed_leaves_unchanged() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Program("curl"),
        Need::Program("tcpdump")
    );
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let record = |side, name| {
        Recording::start(&lab, (side, "eth0"), lab.dir().join(name), &[], "tcp port 80")
    };
    let at_client = record(Side::Client, "client.pcap")?;
    let at_server = record(Side::Server, "server.pcap")?;
    let attempts = FAMILIES.map(|family| (Attempt::new(Program::Http, family), End::Passed));
    expect_all(&lab, &attempts)?;
    let (client, server) =
        (std::fs::read(at_client.finish()?)?, std::fs::read(at_server.finish()?)?);
    // The two directions may be seen in another order at the other end.
    let sorted = |capture| -> Result<Vec<Vec<u8>>> {
        let mut frames: Vec<_> = packets(capture)?.into_iter().map(|(_, p)| p.to_vec()).collect();
        frames.sort();
        Ok(frames)
    };
    let (client, server) = (sorted(&client)?, sorted(&server)?);
    assert!(client.len() >= 20, "{} frames of two connections", client.len());
    assert!(
        client == server,
        "{} frames at the client, {} at the server",
        client.len(),
        server.len()
    );
    gateway.stop()
}

#[test]
fn arp_and_neighbour_discovery_pass_where_nothing_else_does() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, DENY_ALL, &GatewayOptions::default())?;
    let attempts = FAMILIES.map(|family| (Attempt::new(Program::Ping, family), End::Blocked));
    expect_all(&lab, &attempts)?;
    let server = lab.link(Side::Server, "eth0")?["address"].clone();
    let argv = ["ip", "-j", "neigh", "show", "dev", "eth0"];
    let known = lab.exec(Side::Client, &argv, Duration::from_secs(5))?.expect_success()?;
    let known: serde_json::Value = serde_json::from_str(&known.stdout)?;
    for family in FAMILIES {
        let target = address(Side::Server, 1, family);
        let entry = lab::gateway::list(&known).iter().find(|entry| entry["dst"] == target);
        assert_eq!(entry.map(|e| &e["lladdr"]), Some(&server), "{target} in {known}");
    }
    gateway.stop()
}

/// Sends ten LLDP frames from the clients' side: how many arrive at the servers', and how many the
/// gateway dropped for their EtherType.
fn send_lldp(ethertypes: Vec<u16>) -> Result<(usize, u64)> {
    let lab = Lab::new()?;
    let options = GatewayOptions { ethertypes, ..GatewayOptions::default() };
    let gateway = Gateway::start(&lab, ALLOW_ALL, &options)?;
    let file = lab.dir().join("lldp.pcap");
    let filter = format!("ether proto {LLDP:#06x}");
    let recording = Recording::start(&lab, (Side::Server, "eth0"), file, &[], &filter)?;
    let sent = vec![frames::frame(LLDP_GROUP, LLDP); 10];
    frames::send(&lab, Side::Client, "eth0", &sent)?;
    let capture = std::fs::read(recording.finish()?)?;
    let arrived = packets(&capture)?;
    assert!(arrived.iter().all(|(_, packet)| *packet == sent[0]), "a frame was changed");
    let counts = (arrived.len(), gateway.dropped_for("ethertype")?);
    gateway.stop()?;
    Ok(counts)
}

#[test]
fn other_ethertypes_are_dropped_for_that_reason_even_where_all_is_allowed() -> Result<()> {
    need!(Need::Gateway, Need::Program("tcpdump"));
    assert_eq!(send_lldp(Vec::new())?, (0, 10));
    Ok(())
}

#[test]
fn a_configured_ethertype_passes_unchanged() -> Result<()> {
    need!(Need::Gateway, Need::Program("tcpdump"));
    assert_eq!(send_lldp(vec![LLDP])?, (10, 0));
    Ok(())
}

#[test]
fn fragmented_datagrams_pass_in_both_directions() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, ALLOW_ALL, &GatewayOptions::default())?;
    for family in FAMILIES {
        let target = address(Side::Server, 1, family);
        // 4,000 bytes and the ICMP header are three fragments of at most 1,480 bytes, or 1,448
        // after IPv6's fragment header.
        let argv = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-s", "4000", target];
        let output = lab.exec(Side::Client, &argv, Duration::from_secs(10))?;
        assert!(output.stdout.contains(" 2 received"), "{}", output.describe());
    }
    gateway.stop()
}
