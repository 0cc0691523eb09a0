//! Crafted packets, table by table: what arrives and what is dropped for which reason. The tables
//! are scapy's, in `tests/crafted`.

use lab::crafted::{PYTHON, SCAPY, expect_all, table};
use lab::gateway::{Gateway, GatewayOptions};
use lab::{Lab, Result, need};

/// Host 1 of the servers offers the web, DNS and signalling over SCTP, and may be pinged.
const POLICY: &str = r#"version: 1
zones: { clients: {}, servers: {} }
hosts:
  server-1: { zone: servers, addresses: [10.77.1.130, "fd77::2:10"] }
services:
  http: { protocol: tcp, ports: [80] }
  dns: { protocol: udp, ports: [53] }
  s1: { protocol: sctp, ports: [36412] }
  ping: [ { protocol: icmp, type: 8 }, { protocol: icmpv6, type: 128 } ]
rules:
  - { id: web, from: clients, to: server-1, service: [http, dns, s1, ping], action: allow }
"#;

/// Who is who, and rules that allow everything: what is dropped is not believed.
const GUARDED: &str = r#"version: 1
zones:
  clients: { networks: [10.77.1.0/25, "fd77::1:0/112"] }
  servers:
    networks: [10.77.1.128/25, "fd77::2:0/112"]
    routers: ["fe80::1"]
    dhcp_servers: [10.77.1.140, "fe80::2"]
rules:
  - { id: everything, from: any, to: any, service: any, action: allow }
"#;

fn expect_table(name: &str, policy: &str) -> Result<()> {
    need!(Need::Gateway, Need::Program("tcpdump"), Need::Program(PYTHON), Need::Program(SCAPY));
    let lab = Lab::new()?;
    let cases = table(&lab, name)?;
    lab.silence()?;
    let gateway = Gateway::start(&lab, policy, &GatewayOptions::default())?;
    expect_all(&lab, &gateway, &cases)?;
    gateway.stop()
}

#[test]
fn packets_are_judged_by_their_headers() -> Result<()> {
    expect_table("headers", POLICY)
}

#[test]
fn fragments_pass_when_they_are_whole() -> Result<()> {
    expect_table("fragments", POLICY)
}

#[test]
fn packets_are_judged_by_their_past() -> Result<()> {
    expect_table("state", POLICY)
}

#[test]
fn addresses_that_lie_are_not_believed() -> Result<()> {
    expect_table("guard", GUARDED)
}
