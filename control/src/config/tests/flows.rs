//! What `flows:` means.

use super::*;
use dataplane::{ErrorRules, Rate, Refresh, RstPolicy, Timeouts};

#[test]
fn everything_of_flows_can_be_set() {
    let flows = with(
        "flows:
  capacity: 16777216
  capacity_v6: 4096
  quota: 100
  pick_up: 86400
  tcp_reset: strict
  refresh: both
  icmp_errors: { per_second: 10, burst: 20, min_mtu_v4: 68, min_mtu_v6: 1500 }
  challenges: { per_second: 30, burst: 40 }
",
    )
    .gateway
    .flows;
    let expected = FlowConfig {
        capacity: 16_777_216,
        capacity_v6: 4_096,
        quota: 100,
        timeouts: Timeouts::default(),
        pick_up: Duration::from_secs(86_400),
        rst: RstPolicy::Strict,
        refresh: Refresh::Both,
        errors: ErrorRules { min_mtu_v4: 68, min_mtu_v6: 1_500 },
        error_rate: Rate { per_second: 10, burst: 20 },
        challenge_rate: Rate { per_second: 30, burst: 40 },
    };
    assert_eq!(flows, expected);
    // What is left out of a part has its default.
    let flows = with("flows: { icmp_errors: { burst: 7 }, challenges: {} }\n").gateway.flows;
    let default = FlowConfig::default();
    assert_eq!(
        flows,
        FlowConfig { error_rate: Rate { burst: 7, ..default.error_rate }, ..default }
    );
}

#[test]
fn the_words_of_the_defaults_are_the_defaults() {
    let words = "flows: { quota: 0, pick_up: 0, tcp_reset: window, refresh: opener }\n";
    assert_eq!(with(words).gateway.flows, FlowConfig::default());
}

#[test]
fn half_of_the_flows_may_be_ipv6_ones_unless_it_is_said_how_many() {
    let of = |capacity: u32| {
        let flows = with(&format!("flows: {{ capacity: {capacity} }}\n")).gateway.flows;
        (flows.capacity, flows.capacity_v6)
    };
    assert_eq!(of(1), (1, 0));
    assert_eq!(of(1_000), (1_000, 500));
    let all = with("flows: { capacity: 10, capacity_v6: 10 }\n").gateway.flows;
    assert_eq!((all.capacity, all.capacity_v6), (10, 10));
    assert_eq!(with("flows: { capacity_v6: 0 }\n").gateway.flows.capacity_v6, 0);
}

#[test]
fn every_timeout_is_set_by_its_name_and_no_other() {
    let mut all = String::from("flows:\n  timeouts:\n");
    for (nth, (name, _)) in Timeouts::NAMES.iter().enumerate() {
        let mut expected = Timeouts::default();
        *expected.by_name(name).unwrap() = Duration::from_secs(9);
        let one = with(&format!("flows: {{ timeouts: {{ {name}: 9 }} }}\n"));
        assert_eq!(one.gateway.flows.timeouts, expected, "{name}");
        all += &format!("    {name}: {}\n", nth + 1);
    }
    let mut found = with(&all).gateway.flows.timeouts;
    for (nth, (name, _)) in Timeouts::NAMES.iter().enumerate() {
        assert_eq!(*found.by_name(name).unwrap(), Duration::from_secs(nth as u64 + 1), "{name}");
    }
}

#[test]
fn wrong_flows_are_reported_where_they_are() {
    assert_refused(&[
        ("flows: { capacity: 0 }", 20, "from 1 to 16777216"),
        ("flows: { capacity: 16777217 }", 20, "from 1 to 16777216"),
        ("flows: { capacity: 10, capacity_v6: 11 }", 37, "from 0 to 10"),
        ("flows: { capacity_v6: 262145 }", 23, "from 0 to 262144"),
        ("flows: { quota: -1 }", 17, "from 0 to 262144"),
        ("flows: { quota: 11, capacity: 10 }", 17, "from 0 to 10"),
        ("flows: { timeouts: { udp_two_sided: 0 } }", 37, "from 1 to 31536000"),
        ("flows: { timeouts: { tcp_closing: 31536001 } }", 35, "from 1 to 31536000"),
        ("flows: { timeouts: { tcp_closed: 2h } }", 34, "`2h` is not a whole number"),
        (
            "flows: { timeouts: { tcp_clsing: 2 } }",
            22,
            "unknown timeout `tcp_clsing`; did you mean",
        ),
        ("flows: { timeouts: { tcp: 2 } }", 22, "unknown timeout `tcp`; known here: tcp_syn_sent,"),
        ("flows: { timeouts: { icmp_echo: 2, icmp_echo: 3 } }", 36, "`icmp_echo` is given twice"),
        ("flows: { timeouts: 60 }", 20, "expected"),
        ("flows: { pick_up: 86401 }", 19, "from 0 to 86400"),
        ("flows: { pick_up: off }", 19, "`off` is not a whole number"),
        ("flows: { tcp_reset: strickt }", 21, "none of `window`, `strict`; did you mean `strict`?"),
        ("flows: { refresh: responder }", 19, "none of `opener`, `both`"),
        ("flows: { icmp_errors: { per_second: 0 } }", 37, "from 1 to 1000000"),
        ("flows: { icmp_errors: { burst: 1000001 } }", 32, "from 1 to 1000000"),
        ("flows: { icmp_errors: { min_mtu_v4: 67 } }", 37, "from 68 to 1500"),
        ("flows: { icmp_errors: { min_mtu_v6: 1279 } }", 37, "from 1280 to 1500"),
        ("flows: { icmp_errors: { min_mtu: 1280 } }", 25, "unknown key `min_mtu`"),
        ("flows: { challenges: { per_second: x } }", 36, "from 1 to 1000000"),
        ("flows: { challenges: { burst: 0 } }", 31, "from 1 to 1000000"),
        ("flows: { challenges: { min_mtu_v4: 68 } }", 24, "unknown key `min_mtu_v4`"),
        (
            "flows: { capacity_ipv6: 1 }",
            10,
            "unknown key `capacity_ipv6`; did you mean `capacity_v6`?",
        ),
    ]);
}
