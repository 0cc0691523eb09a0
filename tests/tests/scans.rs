//! What nmap sees through the gateway: the ports that the policy allows, and silence.

use lab::gateway::{Gateway, GatewayOptions};
use lab::nmap;
use lab::services::Service;
use lab::{Error, Family, Lab, Result, Side, address, need};

/// One port of each protocol of host 1 of the servers is allowed, and nothing else.
const POLICY: &str = r#"version: 1
zones:
  clients: { networks: [10.77.1.0/25, "fd77::1:0/112"] }
  servers: { networks: [10.77.1.128/25, "fd77::2:0/112"] }
hosts:
  server-1: { zone: servers, addresses: [10.77.1.130, "fd77::2:10"] }
services:
  http: { protocol: tcp, ports: [80] }
  dns: { protocol: udp, ports: [53] }
rules:
  - { id: web, from: clients, to: server-1, service: http, action: allow }
  - { id: dns, from: clients, to: server-1, service: dns, action: allow }
"#;

/// The allowed one, denied ones that somebody listens on, and denied ones that are closed.
const PORTS: [u16; 30] = [
    1, 7, 20, 21, 22, 23, 25, 53, 79, 80, 81, 88, 110, 111, 135, 139, 143, 179, 389, 443, 445, 993,
    1433, 1521, 3306, 3389, 5432, 5900, 6379, 8080,
];
/// What is listened on over TCP; over UDP it is 53.
const LISTENING_TCP: [u16; 5] = [22, 23, 53, 80, 443];

/// What a scan is to tell of the ports.
#[derive(Clone, Copy, Debug)]
enum Sees {
    /// TCP 80 is open, the rest filtered.
    Web,
    /// Every port is filtered, the allowed one included.
    Filtered,
    /// `open|filtered`, which is what nmap says of silence where an open port would be silent.
    Silence,
    /// UDP 53 is open, of the rest nothing is known.
    Dns,
    /// Without a gateway: what is listened on is open, the rest closed.
    Listening,
    /// Without a gateway: the same, where an open port is silent.
    NotClosed,
    /// Without a gateway: every port answers, and it cannot be told which are open.
    Unfiltered,
    /// Without a gateway: every port answers alike, and is taken for closed.
    Closed,
}

impl Sees {
    fn of(self, port: u16) -> &'static str {
        match self {
            Sees::Web if port == 80 => "open",
            Sees::Web | Sees::Filtered => "filtered",
            Sees::Dns if port == 53 => "open",
            Sees::Dns | Sees::Silence => "open|filtered",
            Sees::Listening if LISTENING_TCP.contains(&port) => "open",
            Sees::NotClosed if LISTENING_TCP.contains(&port) => "open|filtered",
            Sees::Listening | Sees::NotClosed | Sees::Closed => "closed",
            Sees::Unfiltered => "unfiltered",
        }
    }
}

/// Scans of IPv4 and what they see. None is told a source port that another has: to the gateway
/// they are connections of one client.
const SCANS: &[(&str, Sees)] = &[
    ("-sS -g 40001", Sees::Web),
    ("-sT", Sees::Web),
    ("-sA -g 40003", Sees::Filtered),
    ("-sW -g 40004", Sees::Filtered),
    ("-sF -g 40005", Sees::Silence),
    ("-sN -g 40006", Sees::Silence),
    ("-sX -g 40007", Sees::Silence),
    ("-sM -g 40008", Sees::Silence),
    ("-sU -g 40009", Sees::Dns),
    // SCTP: INIT, and COOKIE-ECHO, to which an open port does not answer.
    ("-sY -g 40010", Sees::Filtered),
    ("-sZ -g 40011", Sees::Silence),
    // Sets of flags that open no connection. nmap waits for the answers that a SYN gets.
    ("-sS --scanflags SYNFIN -g 40012", Sees::Filtered),
    ("-sS --scanflags SYNRST -g 40013", Sees::Filtered),
    ("-sS --scanflags SYNACK -g 40014", Sees::Filtered),
    ("-sS --scanflags RST -g 40015", Sees::Filtered),
    ("-sS --scanflags PSH -g 40016", Sees::Filtered),
    ("-sS --scanflags URGACKPSHRSTSYNFIN -g 40017", Sees::Filtered),
    // The SYN of a host that does ECN (RFC 3168, 6.1.1).
    ("-sS --scanflags ECECWRSYN -g 40018", Sees::Web),
    // Fragments of 8 and 16 bytes do not hold a TCP header (RFC 1858); one of 24 holds nmap's SYN,
    // so that it is not fragmented at all.
    ("-sS -f -g 40019", Sees::Filtered),
    ("-sS --mtu 8 -g 40020", Sees::Filtered),
    ("-sS --mtu 16 -g 40021", Sees::Filtered),
    ("-sS --mtu 24 -g 40022", Sees::Web),
    ("-sA -f -g 40023", Sees::Filtered),
    ("-sS --badsum -g 40024", Sees::Filtered),
    ("-sU --badsum -g 40025", Sees::Silence),
    // Source ports that filters without state let in.
    ("-sS -g 20", Sees::Web),
    ("-sS -g 53", Sees::Web),
    ("-sS -g 80", Sees::Web),
    ("-sA -g 443", Sees::Filtered),
    ("-sU -g 67", Sees::Dns),
    // Record route, timestamp, timestamp with addresses, loose and strict source routes.
    ("-sS --ip-options R -g 40026", Sees::Filtered),
    ("-sS --ip-options T -g 40027", Sees::Filtered),
    ("-sS --ip-options U -g 40028", Sees::Filtered),
    ("-sS --ip-options L_10.77.1.131 -g 40029", Sees::Filtered),
    ("-sS --ip-options S_10.77.1.131 -g 40030", Sees::Filtered),
    ("-sS --data-length 64 -g 40032", Sees::Web),
    ("-sS --ttl 1 -g 40033", Sees::Web),
];

/// Scans of IPv6; nmap neither fragments there nor sets options.
const SCANS_V6: &[(&str, Sees)] = &[
    ("-sS -g 40101", Sees::Web),
    ("-sT", Sees::Web),
    ("-sA -g 40103", Sees::Filtered),
    ("-sW -g 40104", Sees::Filtered),
    ("-sF -g 40105", Sees::Silence),
    ("-sN -g 40106", Sees::Silence),
    ("-sX -g 40107", Sees::Silence),
    ("-sM -g 40108", Sees::Silence),
    ("-sU -g 40109", Sees::Dns),
    ("-sS --badsum -g 40110", Sees::Filtered),
    ("-sS --scanflags SYNFIN -g 40111", Sees::Filtered),
    ("-sS --scanflags SYNACK -g 40112", Sees::Filtered),
    ("-sS -g 53", Sees::Web),
    ("-sA -g 80", Sees::Filtered),
];

/// Runs scans, sixteen at once (they mostly wait), and says which saw something else than expected.
fn expect_all(lab: &Lab, family: Family, scans: &[(&str, Sees)]) -> Result<()> {
    let target = address(Side::Server, 1, family);
    let difference = |(arguments, sees): &(&str, Sees)| {
        let owned: Vec<_> = arguments.split(' ').map(|word| word.replace('_', " ")).collect();
        let words: Vec<_> = owned.iter().map(String::as_str).collect();
        let states = match nmap::scan(lab, family, &words, target, &PORTS) {
            Ok(states) => states,
            Err(error) => return Some(format!("{family:?} {arguments}: {error}")),
        };
        let wrong: Vec<_> = states
            .iter()
            .filter(|(port, state)| *state != sees.of(**port))
            .map(|(port, state)| format!("{port} is {state}, not {}", sees.of(*port)))
            .collect();
        (!wrong.is_empty()).then(|| format!("{family:?} {arguments}: {}", wrong.join("; ")))
    };
    let mut differences = Vec::new();
    for group in scans.chunks(16) {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                group.iter().map(|scan| scope.spawn(|| difference(scan))).collect();
            for thread in threads {
                let panicked = || Some("a scan's thread panicked".to_owned());
                differences.extend(thread.join().unwrap_or_else(|_| panicked()));
            }
        });
    }
    if differences.is_empty() { Ok(()) } else { Err(Error::new(differences.join("\n"))) }
}

fn start_services(lab: &Lab) -> Result<()> {
    for service in [Service::Web, Service::Ssh, Service::Dns] {
        lab.start(service)?;
    }
    Ok(())
}

#[test]
fn every_scan_sees_the_allowed_ports_and_nothing_else() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Service(Service::Ssh),
        Need::Service(Service::Dns),
        Need::Program("nmap")
    );
    let lab = Lab::new()?;
    start_services(&lab)?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    for (family, scans) in [(Family::V4, SCANS), (Family::V6, SCANS_V6)] {
        expect_all(&lab, family, scans)?;
    }
    // Each technique met the check that is meant for it. What opens no connection is only asked
    // for that where a rule would allow it: on one port by each of ten scans.
    let ports = PORTS.len() as u64;
    for (reason, least) in [
        ("policy_default", ports),
        ("tcp_not_open", 10),
        ("tcp_flags", 6 * ports),
        ("tcp_checksum", 2 * ports),
        ("udp_checksum", ports),
        ("ipv4_option", 5 * ports),
        ("fragment_tiny", 4 * ports),
    ] {
        let dropped = gateway.dropped_for(reason)?;
        assert!(dropped >= least, "{reason}: {dropped} dropped, at least {least} were sent");
    }
    gateway.stop()
}

#[test]
fn decoys_that_are_not_of_the_zone_are_dropped() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("nmap"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    // The zone's other client, nobody's address, and one of the servers'.
    let decoys = ["-sS", "-D", "10.77.1.11,192.0.2.7,10.77.1.131,ME"];
    let target = address(Side::Server, 1, Family::V4);
    let states = nmap::scan(&lab, Family::V4, &decoys, target, &PORTS)?;
    assert!(states.iter().all(|(port, state)| *state == Sees::Web.of(*port)), "{states:?}");
    let ports = PORTS.len() as u64;
    assert!(gateway.dropped_for("source_not_in_zone")? >= ports);
    assert!(gateway.dropped_for("source_other_zone")? >= ports);
    gateway.stop()
}

#[test]
fn a_scan_of_protocols_sees_none() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("nmap"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    // ICMP, IGMP, IP in IP, TCP, EGP, UDP, IPv6 in IP, GRE, ESP, AH, OSPF, SCTP. Even of those that
    // the policy has rules for, the probes are nothing that a rule allows.
    let protocols = [1, 2, 4, 6, 8, 17, 41, 47, 50, 51, 89, 132];
    let target = address(Side::Server, 1, Family::V4);
    let states = nmap::scan(&lab, Family::V4, &["-sO"], target, &protocols)?;
    let answered: Vec<_> = states.iter().filter(|(_, state)| *state != "open|filtered").collect();
    assert!(answered.is_empty(), "{answered:?}");
    gateway.stop()
}

#[test]
fn a_server_is_no_zombie_for_idle_scans() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("nmap"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, POLICY, &GatewayOptions::default())?;
    // It would count the zombie's identifications by the RSTs to its SYN-ACKs, on the allowed port.
    let zombie = format!("{}:80", address(Side::Server, 1, Family::V4));
    let target = address(Side::Server, 2, Family::V4);
    let said = nmap::run(&lab, Family::V4, &["-sI", &zombie, "-p", "22"], target);
    let said = said.unwrap_or_else(|error| error.to_string());
    assert!(said.contains("has not returned any of our probes"), "{said}");
    gateway.stop()
}

/// The control experiment: where nobody judges, the same scans tell closed ports from open ones.
#[test]
fn without_a_gateway_the_scans_see_everything() -> Result<()> {
    need!(
        Need::Lab,
        Need::Service(Service::Web),
        Need::Service(Service::Ssh),
        Need::Service(Service::Dns),
        Need::Program("nmap")
    );
    let lab = Lab::new()?;
    start_services(&lab)?;
    lab.bridge()?;
    let both = [
        ("-sS -g 40001", Sees::Listening),
        ("-sT", Sees::Listening),
        ("-sA -g 40003", Sees::Unfiltered),
        ("-sW -g 40004", Sees::Closed),
        ("-sF -g 40005", Sees::NotClosed),
        ("-sN -g 40006", Sees::NotClosed),
        ("-sX -g 40007", Sees::NotClosed),
        ("-sS -g 53", Sees::Listening),
    ];
    let of_ipv4 = [
        ("-sS -f -g 40019", Sees::Listening),
        ("-sS --mtu 16 -g 40021", Sees::Listening),
        ("-sA -f -g 40023", Sees::Unfiltered),
        ("-sS --ip-options R -g 40026", Sees::Listening),
    ];
    expect_all(&lab, Family::V6, &both)?;
    expect_all(&lab, Family::V4, &both)?;
    expect_all(&lab, Family::V4, &of_ipv4)?;
    // Closed UDP ports answer no faster than Linux lets them, so that one is enough.
    for (port, state) in [(53, "open"), (7, "closed")] {
        let target = address(Side::Server, 1, Family::V4);
        let states = nmap::scan(&lab, Family::V4, &["-sU"], target, &[port])?;
        assert_eq!(states.get(&port).map(String::as_str), Some(state), "UDP {port}");
    }
    Ok(())
}
