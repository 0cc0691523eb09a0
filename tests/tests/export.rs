//! What `bulkhead export nft` writes, nftables loads.

use lab::gateway::{bulkhead, workspace};
use lab::process::Output;
use lab::{Lab, Result, Side, need};
use std::time::Duration;

const COMMAND: Duration = Duration::from_secs(20);

/// Names that are words of nftables or begin like numbers, intervals that overlap, hold one another
/// or everything, families that contradict each other, text that would end a comment.
const AWKWARD: &str = r#"
version: 1
zones:
  clients: { sources: [10.0.0.0/8, 10.1.0.0/16], fragments: drop }
  servers: { networks: ["fd00::/16"], guard: { spoofed: count } }
  1.office-x_: {}
inside: [vxlan, gre]
hosts:
  ip: { zone: servers, addresses: [10.0.0.1, "fd00::1", 10.0.0.2, 10.0.0.3] }
  -v4: { addresses: [10.9.9.9] }
networks:
  9to5.: { networks: [10.1.0.0/16, 10.1.2.0/24, "fd01::/64"] }
  all: { zone: 1.office-x_, networks: [0.0.0.0/0, "::/0"] }
services:
  tcp:
    - { protocol: tcp, ports: [8080-8090, 80, 8085-9000, 8091] }
    - { protocol: udp, ports: [0-65535] }
    - { protocol: sctp, ports: [0-65535] }
  ping: [{ protocol: icmp, type: 8, code: 3 }, { protocol: icmpv6, type: 255, code: 0 }]
  raw: [{ protocol: gre }, { protocol: icmp }, { protocol: icmpv6 }, { protocol: 255 }, { protocol: 0 }]
rules:
  - { id: a, from: clients, to: ip, service: tcp, action: allow, description: "one\\\n\"two\" # \\" }
  - { id: b, from: ["9to5.", clients, all], to: any, service: ping, action: deny }
  - { id: -c.., from: "-v4", to: any, service: raw, action: allow }
  - { id: "0123456789012345678901234567890123456789012345678901234567890123", from: any, to: any, service: any, action: deny }
  - { id: mac, from: ip, to: any, service: tcp, action: allow, src_mac: "02:00:5E:00:00:01",
      dst_mac: ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:5e:00:00:00/ff:ff:ff:00:00:00"] }
  - { id: length, from: any, to: any, service: ping, action: deny, length: [1500, 20-40, 41-60, 0-65535] }
  - { id: dscp, from: any, to: ip, service: any, action: allow, dscp: [ef, 0, 63] }
  - { id: flags, from: any, to: any, service: tcp, action: allow,
      tcp_flags: [{ set: syn, clear: [ack, fin, rst] }, { set: [fin, ack] }, { clear: [urg, ece, cwr, psh] }] }
  - { id: parts, from: clients, to: any, service: raw, action: deny, fragment: true, dscp: cs7 }
  - { id: whole, from: clients, to: ip, service: any, action: allow, fragment: false, length: 65535 }
"#;

/// Exports `policy` with these zones on interfaces; the file.
fn export(lab: &Lab, policy: &str, zones: &[&str]) -> Result<String> {
    let file = lab.write("export.yaml", policy)?;
    let out = lab.dir().join("export.nft").display().to_string();
    let mut argv = vec!["export", "nft", &file, "--hardened", "--out", &out];
    argv.extend(zones.iter().flat_map(|zone| ["--zone", zone]));
    bulkhead(lab.dir(), &argv, COMMAND)?.expect_success()?;
    Ok(out)
}

fn nft(lab: &Lab, arguments: &[&str]) -> Result<Output> {
    lab.exec(Side::Gateway, &[&["nft"], arguments].concat(), COMMAND)
}

#[test]
fn nft_accepts_what_is_exported() -> Result<()> {
    need!(Need::Lab, Need::Program("nft"));
    let lab = Lab::new()?;
    let examples = workspace().join("control/examples");
    for name in ["policy-two-zones.yaml", "policy-allow-all.yaml", "policy-deny-all.yaml"] {
        let policy = std::fs::read_to_string(examples.join(name))?;
        let file = export(&lab, &policy, &["clients=bh0", "servers=bh1"])?;
        nft(&lab, &["-c", "-f", &file])?.expect_success()?;
    }
    let zones = ["clients=bh0", "servers=bh1", "servers=eth7", "1.office-x_=a.b@c-d_0123"];
    let file = export(&lab, AWKWARD, &zones)?;
    // Twice: what was loaded before is replaced, not added to.
    nft(&lab, &["-f", &file])?.expect_success()?;
    let once = nft(&lab, &["list", "ruleset"])?.expect_success()?.stdout;
    nft(&lab, &["-f", &file])?.expect_success()?;
    let twice = nft(&lab, &["list", "ruleset"])?.expect_success()?.stdout;
    assert_eq!(once, twice);
    assert!(once.contains("comment \"-c..\""), "{once}");
    Ok(())
}

/// What is sent over the loopback interface has zero link-layer addresses and passes the same hooks.
#[test]
fn hardened_rules_leave_a_hosts_own_traffic_alone() -> Result<()> {
    need!(Need::Lab, Need::Program("nft"), Need::Program("ping"));
    let lab = Lab::new()?;
    let file = export(&lab, AWKWARD, &["clients=bh0", "servers=bh1", "1.office-x_=eth7"])?;
    let up = "echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6; ip link set lo up";
    lab.exec(Side::Gateway, &["sh", "-ec", up], COMMAND)?.expect_success()?;
    nft(&lab, &["-f", &file])?.expect_success()?;
    for address in ["127.0.0.1", "::1"] {
        let ping = ["ping", "-c", "1", "-W", "5", address];
        lab.exec(Side::Gateway, &ping, COMMAND)?.expect_success()?;
    }
    Ok(())
}

#[test]
fn nft_refuses_a_zone_without_interfaces_until_it_is_defined() -> Result<()> {
    need!(Need::Lab, Need::Program("nft"));
    let lab = Lab::new()?;
    let file = export(&lab, AWKWARD, &["clients=bh0", "servers=bh1"])?;
    let refused = nft(&lab, &["-c", "-f", &file])?;
    assert!(refused.stderr.contains("unknown identifier"), "{}", refused.describe());
    let define = "zone_1.office-x_={ \"eth7\", \"eth8\" }";
    nft(&lab, &["--define", define, "-c", "-f", &file])?.expect_success().map(drop)
}
