//! Floods and denials of service: what the policy does not allow does not reach the server, and
//! who is honest is served.

use lab::clients::{Attempt, End, Program, expect_all};
use lab::gateway::{Gateway, GatewayOptions};
use lab::services::Service;
use lab::watch::Watch;
use lab::{Error, Family, Lab, Result, Side, address, need};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The web server may be used, over TCP, by the clients' zone.
const POLICY: &str = r#"version: 1
zones:
  clients: { networks: [10.77.1.0/25, "fd77::1:0/112"] }
  servers: { networks: [10.77.1.128/25, "fd77::2:0/112"] }
hosts:
  server-1: { zone: servers, addresses: [10.77.1.130, "fd77::2:10"] }
services:
  http: { protocol: tcp, ports: [80] }
rules:
  - { id: web, from: clients, to: server-1, service: http, action: allow }
"#;

/// What arrives at the server, by the first class that it matches. hping3 sends from ports below
/// 32,768, curl from those above (`ip_local_port_range`). The RSTs are the clients' kernel's answers
/// to SYN-ACKs that it did not ask for.
const CLASSES: &[(&str, &[&str])] = &[
    ("fragment", &["ip frag-off & 0x3fff != 0", "exthdr frag exists"]),
    ("options", &["ip hdrlength > 5"]),
    ("resolution", &["ether type arp", "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"]),
    ("foreign", &["ip saddr != 10.77.1.0/25", "ip6 saddr != fd77::1:0/112"]),
    (
        "web",
        &[
            "tcp dport 80 tcp sport 32768-65535 tcp flags & (fin | syn | rst | ack) != 0",
            "tcp dport 80 tcp sport 1025-6100 tcp flags & (fin | syn | rst | ack) == { syn, rst }",
        ],
    ),
];

/// hping3's floods of 2 s each, at 2,500 packets a second. Only the first is what the policy
/// allows. Those whose packets could belong to its connections have ports of their own.
const FLOODS: &[&str] = &[
    "-S -p 80 -s 1025",
    // Sources that are not the zone's, the server's own among them (LAND).
    "-S -p 80 --rand-source",
    "-2 -p 53 --rand-source",
    "-S -p 80 -s 80 -k -a 10.77.1.130",
    "-S -p 80 -a 127.0.0.1",
    // Ports and protocols without a rule.
    "-S -p 22",
    "-2 -p 9 -d 512",
    "-1",
    "-1 --icmp-ts",
    "-0 -H 47",
    "-0 -H 4",
    // Errors that quote what nobody sent, and redirects.
    "-1 -C 3 -K 1 --force-icmp",
    "-1 -C 11 --force-icmp",
    "-1 -C 5 -K 1 --icmp-gw 10.77.1.11 --force-icmp",
    // Segments that open no connection, on the allowed port.
    "-A -p 80 -s 7000",
    "-R -p 80 -s 13000",
    "-S -A -p 80 -s 19000",
    "-F -p 80",
    "-F -P -U -p 80",
    "-p 80",
    "-S -F -p 80",
    // Fragments: in 16 bytes, a first one alone, a later one alone.
    "-S -p 80 -f -d 64",
    "-S -p 80 -x",
    "-S -p 80 -x -g 1480",
    // Wrong checksums and lengths, source routes.
    "-S -p 80 -b",
    "-S -p 80 -O 4",
    "-S -p 80 --lsrr 10.77.1.131",
];

/// thc-ipv6's floods and denials of service, for a moment each, as fast as they can. Left out are
/// those that fill neighbour tables, of which all namespaces of a machine share one.
const FLOODS_V6: &[&str] = &[
    "atk6-flood_router6 eth0",
    "atk6-flood_router6 -H eth0",
    "atk6-flood_router6 -F eth0",
    "atk6-flood_router6 -D eth0",
    "atk6-flood_router26 eth0",
    "atk6-flood_advertise6 eth0",
    "atk6-flood_rs6 eth0",
    "atk6-flood_redir6 eth0 fd77::2:10",
    "atk6-flood_unreach6 eth0 fd77::2:10",
    "atk6-flood_unreach6 -F eth0 fd77::2:10",
    "atk6-flood_mld6 eth0",
    "atk6-flood_mld26 eth0",
    "atk6-flood_mldrouter6 eth0",
    "atk6-flood_dhcpc6 eth0",
    "atk6-rsmurf6 eth0 fd77::2:10",
    "atk6-denial6 eth0 fd77::2:10 1",
    "atk6-denial6 eth0 fd77::2:10 2",
    "atk6-denial6 eth0 fd77::2:10 3",
    "atk6-denial6 eth0 fd77::2:10 4",
    "atk6-denial6 eth0 fd77::2:10 5",
    "atk6-denial6 eth0 fd77::2:10 6",
    "atk6-denial6 eth0 fd77::2:10 7",
];

/// Fetches the page over both families, from the client that takes no part in the floods: what a
/// flood costs its own source is no matter.
fn fetch(lab: &Lab) -> Result<()> {
    let honest = |family| Attempt::new(Program::Http, family).from(Side::Client, 2);
    expect_all(lab, &[Family::V4, Family::V6].map(|family| (honest(family), End::Passed)))
}

/// Runs `flood` while the page is fetched again and again; how often that was.
fn served_during(lab: &Lab, flood: impl FnOnce() -> Result<()> + Send) -> Result<u32> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let outcome = flood();
            over.store(true, Ordering::Release);
            outcome
        });
        let mut served = 0;
        while !over.load(Ordering::Acquire) {
            fetch(lab)?;
            served += 1;
        }
        flooding.join().map_err(|_| Error::new("the flood's thread panicked"))??;
        Ok(served)
    })
}

/// Checks that nothing arrived but the web's own packets and address resolution.
fn expect_only_web(watch: &Watch<'_>) -> Result<()> {
    let counts = watch.counts()?;
    for (class, count) in &counts {
        let expected = class == "web" || class == "resolution";
        assert!(expected || *count == 0, "{class} arrived at the server: {counts:?}");
    }
    assert!(counts["web"] > 0, "{counts:?}");
    Ok(())
}

#[test]
fn hping_floods_leave_the_server_alone() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Program("hping3"),
        Need::Program("nft"),
        Need::Program("curl")
    );
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    fetch(&lab)?;
    let watch = Watch::start(&lab, CLASSES)?;
    let target = address(Side::Server, 1, Family::V4);
    let served = served_during(&lab, || {
        for group in FLOODS.chunks(9) {
            let start = |flood: &&str| {
                let mut argv = vec!["hping3", "-q", "-n", "-c", "5000", "-i", "u400"];
                argv.extend(flood.split(' '));
                argv.push(target);
                lab.spawn(Side::Client, &argv)
            };
            let floods = group.iter().map(start).collect::<Result<Vec<_>>>()?;
            for flood in floods {
                // Its exit code says whether there were answers, and it stops at as many of them.
                let output = flood.finish(Duration::from_secs(30))?;
                let sent = output.stderr.lines().find(|line| line.contains(" packets transmitted"));
                let sent = sent.and_then(|line| line.split(' ').next()?.parse::<u32>().ok());
                if output.timed_out || sent.is_none_or(|sent| sent < 1000) {
                    return Err(Error::new(output.describe()));
                }
            }
        }
        Ok(())
    })?;
    assert!(served > 1, "the floods were over before an honest client was served");
    fetch(&lab)?;
    expect_only_web(&watch)?;
    for reason in [
        "policy_default",
        "land",
        "bogon_source",
        "source_not_in_zone",
        "ipv4_option",
        "tcp_flags",
        "tcp_checksum",
        "tcp_header",
        "tcp_not_open",
        "fragment_tiny",
    ] {
        assert!(gateway.dropped_for(reason)? > 0, "nothing was dropped for {reason}");
    }
    gateway.stop()
}

#[test]
fn thc_ipv6_floods_leave_the_server_alone() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Program("atk6-flood_router6"),
        Need::Program("nft"),
        Need::Program("curl")
    );
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    fetch(&lab)?;
    let watch = Watch::start(&lab, CLASSES)?;
    let served = served_during(&lab, || {
        for flood in FLOODS_V6 {
            let before = lab.link_stats(Side::Client, "eth0")?.tx_packets;
            let argv: Vec<_> = flood.split(' ').collect();
            let running = lab.spawn(Side::Client, &argv)?;
            std::thread::sleep(Duration::from_millis(400));
            let output = running.stop_and_read();
            let sent = lab.link_stats(Side::Client, "eth0")?.tx_packets - before;
            if sent < 20 {
                return Err(Error::new(format!("{sent} packets of {}", output.describe())));
            }
        }
        Ok(())
    })?;
    assert!(served > 1, "the floods were over before an honest client was served");
    fetch(&lab)?;
    expect_only_web(&watch)?;
    gateway.stop()
}
