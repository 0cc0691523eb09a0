//! What configurations mean, and what is said of wrong ones.

mod flows;
mod packets;

use super::*;
use dataplane::{FlowConfig, FragmentConfig, ParseOptions};

const BARE: &str = "version: 1
policy: policy.yaml
ports:
  left: { interface: bh0, zone: clients }
  right: { interface: bh1, zone: servers }
forward:
  - wire: { ports: [left, right] }
";

fn parse(text: &str) -> Result<Config, Diagnostics> {
    Config::parse(Path::new("/etc/bulkhead/gateway.yaml"), text)
}

/// The messages of [`assert_errors`] about `more`, which stands on line 8, below [`BARE`].
fn assert_refused(cases: &[(&str, u32, &str)]) {
    for (more, column, message) in cases {
        assert_errors(&format!("{BARE}{more}\n"), &[(8, *column, message)]);
    }
}

/// A configuration like [`BARE`] with `more` below it.
fn with(more: &str) -> Config {
    parse(&format!("{BARE}{more}")).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn a_bare_configuration_has_the_defaults() {
    let config = with("");
    assert_eq!(config.policy, Path::new("/etc/bulkhead/policy.yaml"));
    assert_eq!(config.control_socket, Path::new("/run/bulkhead/control.sock"));
    assert_eq!(config.metrics, None);
    assert_eq!(config.zones.names(), ["clients", "servers"]);
    let gateway = config.gateway;
    let ports: Vec<_> = gateway.ports.iter().map(|p| (&*p.name, &*p.interface, p.zone)).collect();
    assert_eq!(ports, [("left", "bh0", ZoneId(0)), ("right", "bh1", ZoneId(1))]);
    let [Forward::Wire { name, ports, queues }] = &gateway.forward[..] else { panic!("a wire") };
    assert_eq!((name.as_str(), *ports, *queues), ("left-right", [0, 1], None));
    assert_eq!(gateway.rings, Rings::default());
    assert_eq!(gateway.flows, FlowConfig::default());
    assert_eq!(gateway.fragments, FragmentConfig::default());
    assert_eq!(gateway.parse, ParseOptions::STRICT);
    assert_eq!((gateway.poll, gateway.busy_poll), (Poll::Adaptive, None));
    assert_eq!((gateway.xdp_mode, gateway.on_exit), (XdpMode::Auto, OnExit::Closed));
    assert!(gateway.cores.is_empty() && gateway.ethertypes.is_empty());
}

#[test]
fn everything_can_be_set() {
    let config = with(
        "xdp_mode: generic
on_exit: open
ethertypes: [0x88cc, 35045]
workers: { cores: [3, 0], poll: spin, busy_poll: { micros: 50 } }
rings: { rx: 512, tx: 1024, fill: 4096, completion: 64, frames: 8192, frame_size: 4096 }
control: { socket: control.sock }
metrics: { listen: \"[::1]:9464\" }
",
    );
    assert_eq!(config.control_socket, Path::new("/etc/bulkhead/control.sock"));
    assert_eq!(config.metrics, Some("[::1]:9464".parse().unwrap()));
    let gateway = config.gateway;
    assert_eq!((gateway.xdp_mode, gateway.on_exit), (XdpMode::Generic, OnExit::Open));
    assert_eq!(gateway.ethertypes, [0x88cc, 0x88e5]);
    assert_eq!((gateway.cores, gateway.poll), (vec![3, 0], Poll::Spin));
    assert_eq!(gateway.busy_poll, Some(BusyPoll { micros: 50, budget: 64 }));
    let rings =
        Rings { rx: 512, tx: 1024, fill: 4096, completion: 64, frames: 8192, frame_size: 4096 };
    assert_eq!(gateway.rings, rings);
}

#[test]
fn zones_are_numbered_in_the_order_of_the_ports_and_may_be_shared() {
    let config = parse(
        "version: 1
policy: /srv/policy.yaml
ports:
  a: { interface: eth0, zone: red }
  b: { interface: eth1, zone: green }
  c: { interface: eth2, zone: red }
  d: { interface: eth3, zone: blue }
forward:
  - wire: { ports: [d, a] }
  - wire: { name: second, ports: [b, c], queues: 64 }
",
    )
    .unwrap();
    assert_eq!(config.policy, Path::new("/srv/policy.yaml"));
    assert_eq!(config.zones.names(), ["red", "green", "blue"]);
    let zones: Vec<_> = config.gateway.ports.iter().map(|port| port.zone.0).collect();
    assert_eq!(zones, [0, 1, 0, 2]);
    let wires: Vec<_> = config
        .gateway
        .forward
        .iter()
        .map(|Forward::Wire { name, ports, queues }| (&**name, *ports, *queues))
        .collect();
    assert_eq!(wires, [("d-a", [3, 0], None), ("second", [1, 2], Some(64))]);
}

/// The places and messages of what is wrong with `text`.
fn errors(text: &str) -> Vec<(u32, u32, String)> {
    let Diagnostics(found) = parse(text).expect_err(text);
    let place = |d: &crate::diagnostic::Diagnostic| (d.line.unwrap_or(0), d.column.unwrap_or(0));
    found.iter().map(|d| (place(d).0, place(d).1, d.message.clone())).collect()
}

fn assert_errors(text: &str, expected: &[(u32, u32, &str)]) {
    let found = errors(text);
    let right = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            (found.0, found.1) == (expected.0, expected.1) && found.2.contains(expected.2)
        });
    assert!(right, "{text}\n{found:#?}");
}

#[test]
fn wrong_values_are_reported_where_they_are() {
    assert_refused(&[
        ("xdp_mode: nativ", 11, "`nativ` is none of `auto`, `native`, `generic`; did you mean"),
        ("on_exit: no", 10, "`no` is none of `closed`, `open`"),
        ("ethertypes: [0x0800]", 14, "is IP, which the policy judges"),
        ("ethertypes: [0x86DD]", 14, "is IP, which the policy judges"),
        ("ethertypes: [0x0806]", 14, "is ARP, which always passes"),
        ("ethertypes: [0x8100]", 14, "is a VLAN tag"),
        ("ethertypes: [0x05ff]", 14, "not an EtherType from 0x0600"),
        ("ethertypes: [0x10000]", 14, "not an EtherType"),
        ("ethertypes: [lldp]", 14, "not an EtherType"),
        ("ethertypes: [0x88cc, 35020]", 22, "is in the list twice"),
        ("workers: { cores: [-1] }", 20, "not a whole number from 0 to 1023"),
        ("workers: { cores: [1, 2, 1] }", 26, "core 1 is in the list twice"),
        ("workers: { cores: 1 }", 19, "expected a list"),
        ("workers: { poll: fast }", 18, "none of `adaptive`, `spin`"),
        ("workers: { busy_poll: { micros: 0 } }", 33, "from 1 to 1000000"),
        ("workers: { busy_poll: { budget: 65536 } }", 33, "from 1 to 65535"),
        ("rings: { rx: 1000 }", 14, "a power of two, such as 512 or 1024"),
        ("rings: { tx: 0 }", 14, "from 1 to 65536"),
        ("rings: { completion: 131072 }", 22, "from 1 to 65536"),
        ("rings: { fill: 4097, frames: 100000 }", 16, "such as 4096 or 8192"),
        (
            "rings: { frames: 4095 }",
            18,
            "4095 frames cannot fill the fill rings of two ports: at \
                                          least 4096 are needed",
        ),
        ("rings: { fill: 8192 }", 16, "at least 16384 are needed"),
        ("rings: { frame_size: 3000 }", 22, "2048 or 4096 bytes"),
        ("rings: { frame_size: 8192 }", 22, "2048 or 4096 bytes"),
        ("control: { socket: \"\" }", 20, "expected the path of a file"),
        ("metrics: { listen: localhost:9464 }", 20, "not an address and a port"),
        ("metrics: { listen: 9464 }", 20, "not an address and a port"),
        ("metrics: {}", 10, "`listen` is missing"),
        ("metric: {}", 1, "unknown key `metric`; did you mean `metrics`?"),
        ("policy: other.yaml", 1, "`policy` is given twice"),
    ]);
}

#[test]
fn a_socket_path_too_long_for_the_kernel_is_refused() {
    let path =
        |length: usize| format!("{BARE}control: {{ socket: /{} }}\n", "x".repeat(length - 1));
    assert!(parse(&path(107)).is_ok());
    assert_errors(&path(108), &[(8, 20, "the path has 108 bytes")]);
}

#[test]
fn ports_are_checked() {
    let text = "version: 1
policy: p
ports:
  a b: { interface: eth0, zone: red }
  b: { interface: an_interface_of_16, zone: \"\" }
  c: { interface: eth0, zone: red }
  d: { interface: a/b, zone: red }
forward:
  - wire: { ports: [a b, b] }
  - wire: { ports: [c, d] }
";
    assert_errors(
        text,
        &[
            (4, 3, "`a b` cannot be a name"),
            (5, 19, "`an_interface_of_16` cannot be an interface: 1 to 15 bytes"),
            (5, 45, "`` cannot be a name"),
            (6, 19, "port `a b` has `eth0` already, on line 4"),
            (7, 19, "`a/b` cannot be an interface"),
        ],
    );
}

#[test]
fn interfaces_of_15_bytes_are_accepted() {
    assert!(parse(&BARE.replace("bh0", "abcdefghijklmno")).is_ok());
    assert!(parse(&BARE.replace("bh0", "abcdefghijklmnop")).is_err());
}

#[test]
fn a_port_is_in_exactly_one_wire() {
    let forward =
        |entries: &str| format!("{}forward:{entries}", BARE.split("forward").next().unwrap());
    for (entries, expected) in [
        (" []\n", &[(6, 10, "no packet would be forwarded")][..]),
        ("\n  - wire: { ports: [left] }\n", &[(7, 20, "a wire joins two ports, not 1")]),
        (
            "\n  - wire: { ports: [left, left] }\n",
            &[(7, 27, "port `left` is in a wire already, on line 7")],
        ),
        (
            "\n  - wire: { ports: [left, rigth] }\n",
            &[(7, 27, "unknown port `rigth`; did you mean `right`?")],
        ),
        (
            "\n  - wire: { ports: [left, right] }\n  - wire: { ports: [right, left] }\n",
            &[
                (8, 21, "port `right` is in a wire already, on line 7"),
                (8, 28, "port `left` is in a wire already, on line 7"),
            ],
        ),
        ("\n  - wire: { ports: [left, right], queues: 0 }\n", &[(7, 43, "from 1 to 64")]),
        ("\n  - wire: { ports: [left, right], queues: 65 }\n", &[(7, 43, "from 1 to 64")]),
        (
            "\n  - bridge: { ports: [left, right] }\n",
            &[(7, 5, "unknown kind `bridge`; known here: `wire`")],
        ),
        ("\n  - wire: { ports: [left, right] }\n    name: x\n", &[(8, 5, "one key only")]),
        ("\n  - wire: { ports: [left, right], name: a b }\n", &[(7, 41, "`a b` cannot be a name")]),
    ] {
        assert_errors(&forward(entries), expected);
    }
    let unused = BARE.replace("forward:", "  spare: { interface: bh2, zone: clients }\nforward:");
    assert_errors(&unused, &[(6, 3, "no wire has port `spare`")]);
}

#[test]
fn wires_have_names_of_their_own() {
    let text = "version: 1
policy: p
ports:
  a: { interface: eth0, zone: x }
  b: { interface: eth1, zone: x }
  c: { interface: eth2, zone: x }
  d: { interface: eth3, zone: x }
forward:
  - wire: { ports: [a, b] }
  - wire: { name: a-b, ports: [c, d] }
";
    assert_errors(text, &[(10, 19, "there is a wire `a-b` already, on line 9")]);
}

#[test]
fn errors_of_all_sections_are_reported_together() {
    let text =
        format!("{}rings: {{ rx: 3 }}\nflows: {{ capacity: 0 }}\n", BARE.replace("bh1", "bh0"));
    assert_errors(
        &text,
        &[(5, 23, "has `bh0` already"), (8, 14, "a power of two"), (9, 20, "from 1 to")],
    );
}

#[test]
fn versions_but_1_are_refused() {
    assert_errors(
        &BARE.replace("version: 1", "version: 2"),
        &[(1, 10, "version `2` is not known")],
    );
    assert_errors(&BARE.replace("version: 1\n", ""), &[(0, 0, "`version` is missing")]);
}
