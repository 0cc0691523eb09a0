use super::*;

const POLICY: &str = r#"
version: 1
zones: { clients: &rules_only { guard: { spoofed: off } }, servers: *rules_only, office: *rules_only }
hosts:
  web: { zone: servers, addresses: [10.0.0.1, "fd00::1", 10.0.0.2, 10.0.0.3] }
  unused: { addresses: [10.9.9.9] }
networks:
  9to5: { networks: [10.1.0.0/16, 10.1.2.0/24, "fd01::/64"] }
services:
  http: [{ protocol: tcp, ports: [8080-8090, 80, 8085-9000] }, { protocol: udp, ports: [443] }]
  ping: [{ protocol: icmp, type: 8 }, { protocol: icmpv6, type: 128, code: 0 }]
  tunnels: [{ protocol: gre }, { protocol: icmp }, { protocol: icmpv6 }]
rules:
  - { id: a, from: clients, to: web, service: http, action: allow }
  - { id: b, from: [9to5, clients], to: any, service: ping, action: deny, description: "one\ntwo" }
  - { id: c, from: any, to: any, service: tunnels, action: allow }
  - { id: d, from: any, to: any, service: any, action: deny }
"#;

fn written(interfaces: &[(&str, &[&str])], hardened: bool) -> String {
    let policy = Policy::parse("p.yaml", POLICY).unwrap();
    let interfaces = interfaces
        .iter()
        .map(|(zone, names)| ((*zone).to_owned(), names.iter().map(|n| (*n).to_owned()).collect()))
        .collect();
    ruleset(&policy, &interfaces, hardened)
}

/// Lines of `text` that have a verdict, without indentation.
fn verdicts(text: &str) -> Vec<&str> {
    let decides = |line: &&str| line.contains("counter accept") || line.contains("counter drop");
    text.lines().map(str::trim).filter(decides).collect()
}

#[test]
fn a_rule_becomes_one_line_for_each_combination_of_one_family_in_order() {
    let text = written(&[], false);
    let expected = [
        "ct state established,related counter accept",
        r#"iifname $zone_clients oifname $zone_servers ip daddr @addr_web_v4 tcp dport @ports_http_tcp counter accept comment "a""#,
        r#"iifname $zone_clients oifname $zone_servers ip daddr @addr_web_v4 udp dport @ports_http_udp counter accept comment "a""#,
        r#"iifname $zone_clients oifname $zone_servers ip6 daddr @addr_web_v6 tcp dport @ports_http_tcp counter accept comment "a""#,
        r#"iifname $zone_clients oifname $zone_servers ip6 daddr @addr_web_v6 udp dport @ports_http_udp counter accept comment "a""#,
        r#"ip saddr @addr_9to5_v4 icmp type 8 counter drop comment "b""#,
        r#"ip6 saddr @addr_9to5_v6 icmpv6 type 128 icmpv6 code 0 counter drop comment "b""#,
        r#"iifname $zone_clients icmp type 8 counter drop comment "b""#,
        r#"iifname $zone_clients icmpv6 type 128 icmpv6 code 0 counter drop comment "b""#,
        r#"meta l4proto 47 counter accept comment "c""#,
        r#"meta nfproto ipv4 meta l4proto 1 counter accept comment "c""#,
        r#"meta nfproto ipv6 meta l4proto 58 counter accept comment "c""#,
        r#"counter drop comment "d""#,
    ];
    assert_eq!(verdicts(&text), expected);
    assert!(text.contains("\n        # one\n        # two\n"), "{text}");
}

#[test]
fn sets_are_of_what_rules_name_and_their_intervals_do_not_touch() {
    let text = written(&[], false);
    let sets: Vec<_> = text.lines().filter(|line| line.starts_with("    set ")).collect();
    let expected = ["addr_web_v4", "addr_web_v6", "addr_9to5_v4", "addr_9to5_v6"];
    let expected = expected.iter().chain(&["ports_http_tcp", "ports_http_udp"]);
    assert_eq!(sets, expected.map(|name| format!("    set {name} {{")).collect::<Vec<_>>());
    let gap = ",\n                     ";
    for elements in ["10.0.0.1-10.0.0.3 }", &format!("80{gap}8080-9000 }}")] {
        assert!(text.contains(&format!("elements = {{ {elements}")), "{elements} in {text}");
    }
    assert!(text.contains("elements = { 10.1.0.0/16 }"), "{text}");
}

#[test]
fn intervals_are_prefixes_where_they_can_be() {
    let v4 = |low, high| interval(Family::V4, low, high);
    assert_eq!(v4(0, u128::from(u32::MAX)), "0.0.0.0/0");
    assert_eq!(v4(0x0a00_0000, 0x0a00_00ff), "10.0.0.0/24");
    assert_eq!(v4(0x0a00_0001, 0x0a00_00ff), "10.0.0.1-10.0.0.255");
    assert_eq!(v4(0x0a00_0080, 0x0a00_017f), "10.0.0.128-10.0.1.127");
    assert_eq!(v4(0x0a00_0000, 0x0a00_0000), "10.0.0.0");
    assert_eq!(interval(Family::V6, 0, u128::MAX), "::/0");
    assert_eq!(interval(Family::V6, 1, u128::MAX), "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

#[test]
fn zones_are_defined_where_their_interfaces_are_known_and_asked_for_where_not() {
    let text = written(&[("servers", &["eth1", "eth2"])], false);
    assert!(text.contains("\ndefine zone_servers = { \"eth1\", \"eth2\" }\n"), "{text}");
    assert!(text.contains("\n#   nft --define 'zone_clients={ \"eth0\" }' -f FILE\n"), "{text}");
    assert!(!text.contains("zone_office"), "no rule names it: {text}");
    let text = written(&[("servers", &["eth1"]), ("clients", &["eth0"])], false);
    assert!(!text.contains("--define"), "{text}");
}

#[test]
fn hardening_comes_before_the_rules_and_only_when_asked_for() {
    let (plain, hardened) = (written(&[], false), written(&[], true));
    let (plain, hardened) = (verdicts(&plain), verdicts(&hardened));
    let added = hardened.len() - plain.len();
    assert_eq!(added, MALFORMED.len() + 2);
    assert!(hardened[MALFORMED.len()].starts_with("ct state invalid counter drop"));
    assert_eq!(hardened[MALFORMED.len() + 1], plain[0]);
    assert!(hardened[MALFORMED.len() + 2].starts_with("ct state new tcp flags"));
    assert_eq!(hardened[added + 1..], plain[1..]);
}

#[test]
fn what_else_rules_ask_for_is_said_in_the_words_of_nftables() {
    let text = r#"
version: 1
hosts: { v6: { addresses: ["fd00::1"] } }
services:
  mixed: [{ protocol: tcp, ports: [80] }, { protocol: tcp }, { protocol: udp, ports: [53] }, { protocol: icmp }]
rules:
  - { id: mac, from: any, to: any, service: any, action: allow, src_mac: "02:00:5E:00:00:01",
      dst_mac: ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:5e:00:00:00/ff:ff:ff:00:00:00"] }
  - { id: length, from: any, to: any, service: any, action: deny, length: [1500, 20-40, 41-60, 50] }
  - { id: one, from: any, to: any, service: any, action: deny, length: 65535 }
  - { id: dscp, from: any, to: any, service: any, action: allow, dscp: [ef, 0] }
  - { id: dscp6, from: v6, to: any, service: any, action: allow, dscp: cs1 }
  - { id: flags, from: any, to: any, service: any, action: allow,
      tcp_flags: [{ set: syn, clear: [ack, fin, rst] }, { set: [fin, ack] }, { clear: [urg, ece] }] }
  - { id: tcp, from: any, to: any, service: mixed, action: allow, tcp_flags: { set: syn } }
  - { id: fragment, from: any, to: any, service: any, action: deny, fragment: true }
  - { id: whole, from: v6, to: any, service: any, action: allow, fragment: false }
"#;
    let policy = Policy::parse("p.yaml", text).unwrap();
    let text = ruleset(&policy, &Interfaces::new(), false);
    let expected = [
        "ct state established,related counter accept",
        r#"ether saddr 02:00:5e:00:00:01 ether daddr { 02:00:00:00:00:01, 02:00:00:00:00:02 } counter accept comment "mac""#,
        r#"ether saddr 02:00:5e:00:00:01 ether daddr & ff:ff:ff:00:00:00 == 02:00:5e:00:00:00 counter accept comment "mac""#,
        r#"meta length { 20-60, 1500 } counter drop comment "length""#,
        r#"meta length 65535 counter drop comment "one""#,
        r#"ip dscp { 46, 0 } counter accept comment "dscp""#,
        r#"ip6 dscp { 46, 0 } counter accept comment "dscp""#,
        r#"ip6 saddr @addr_v6_v6 ip6 dscp 8 counter accept comment "dscp6""#,
        r#"tcp flags & (fin|syn|rst|ack) == (syn) counter accept comment "flags""#,
        r#"tcp flags & (fin|ack) == (fin|ack) counter accept comment "flags""#,
        r#"tcp flags & (urg|ecn) == 0 counter accept comment "flags""#,
        r#"tcp dport @ports_mixed_tcp tcp flags & (syn) == (syn) counter accept comment "tcp""#,
        r#"meta l4proto 6 tcp flags & (syn) == (syn) counter accept comment "tcp""#,
        r#"ip frag-off & 0x3fff != 0 counter drop comment "fragment""#,
        r#"meta nfproto ipv6 frag frag-off != 0 counter drop comment "fragment""#,
        r#"meta nfproto ipv6 frag frag-off 0 frag more-fragments 1 counter drop comment "fragment""#,
        r#"ip6 saddr @addr_v6_v6 meta nfproto ipv6 exthdr frag missing counter accept comment "whole""#,
        r#"ip6 saddr @addr_v6_v6 meta nfproto ipv6 frag frag-off 0 frag more-fragments 0 counter accept comment "whole""#,
    ];
    assert_eq!(verdicts(&text), expected);
    assert!(text.contains("`ether daddr` is the address of its own"), "{text}");
}
