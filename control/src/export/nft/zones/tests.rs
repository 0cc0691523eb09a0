use super::*;
use crate::export::nft::ruleset;

/// What is written of zones that rules name, without indentation: the lines of the chain.
fn chain(policy: &str) -> Vec<String> {
    let policy = Policy::parse("p.yaml", policy).unwrap_or_else(|error| panic!("{error:#}"));
    let text = ruleset(&policy, &Interfaces::new(), false);
    let Some((_, chain)) = text.split_once("    chain zones {\n") else { return Vec::new() };
    let (chain, _) = chain.split_once("    }\n").unwrap();
    chain.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

/// The elements of a set.
fn set(policy: &str, name: &str) -> Vec<String> {
    let policy = Policy::parse("p.yaml", policy).unwrap();
    let text = ruleset(&policy, &Interfaces::new(), false);
    let (_, set) = text.split_once(&format!("    set {name} {{\n")).expect(&text);
    let (_, elements) = set.split_once("elements = { ").unwrap();
    let (elements, _) = elements.split_once(" }").unwrap();
    elements.split(',').map(|element| element.trim().to_owned()).collect()
}

const RULES: &str = "rules:
  - { id: a, from: a, to: b, service: any, action: allow }
  - { id: b, from: b, to: a, service: any, action: allow }
";

fn zones(zones: &str) -> String {
    format!("version: 1\nzones:\n{zones}{RULES}")
}

#[test]
fn nothing_is_written_of_zones_that_say_nothing() {
    assert_eq!(chain(&zones("  a: {}\n  b: { routers: allowed }\n")), Vec::<String>::new());
    assert_eq!(
        chain(&zones(
            "  a: { networks: [10.0.0.0/8], guard: { spoofed: off } }\n  b: { guard: { spoofed: off } }\n"
        )),
        Vec::<String>::new()
    );
}

#[test]
fn a_zone_with_networks_sends_from_them_and_another_not() {
    let policy = zones("  a: { networks: [10.0.0.0/8, \"fd00::/8\"] }\n  b: {}\n");
    let expected = [
        "ip saddr 0.0.0.0 accept",
        "ip6 saddr { ::, fe80::/10 } accept",
        r#"iifname $zone_a ip saddr != @sources_a_v4 counter drop comment "source not of zone a""#,
        r#"iifname $zone_a ip6 saddr != @sources_a_v6 counter drop comment "source not of zone a""#,
        r#"iifname $zone_b ip saddr @foreign_b_v4 counter drop comment "source not of zone b""#,
        r#"iifname $zone_b ip6 saddr @foreign_b_v6 counter drop comment "source not of zone b""#,
    ];
    assert_eq!(chain(&policy), expected);
    assert_eq!(set(&policy, "sources_a_v4"), ["10.0.0.0/8"]);
    assert_eq!(set(&policy, "foreign_b_v6"), ["fd00::/8"]);
}

#[test]
fn a_zone_without_addresses_of_a_family_sends_none() {
    let policy = zones("  a: { networks: [10.0.0.0/8] }\n  b: { sources: [\"fd00::/8\"] }\n");
    let expected = [
        r#"iifname $zone_a ip saddr != @sources_a_v4 counter drop comment "source not of zone a""#,
        r#"iifname $zone_a meta nfproto ipv6 counter drop comment "source not of zone a""#,
        r#"iifname $zone_b meta nfproto ipv4 counter drop comment "source not of zone b""#,
        r#"iifname $zone_b ip6 saddr != @sources_b_v6 counter drop comment "source not of zone b""#,
    ];
    assert_eq!(chain(&policy)[2..], expected);
}

#[test]
fn what_is_only_counted_is_not_dropped() {
    let policy = zones("  a: { networks: [10.0.0.0/8], guard: { spoofed: count } }\n  b: {}\n");
    let chain = chain(&policy);
    let of_a: Vec<_> = chain.iter().filter(|line| line.contains("$zone_a")).collect();
    assert!(of_a.iter().all(|line| line.contains(" counter comment ")), "{chain:#?}");
    assert_eq!(of_a.len(), 2);
}

#[test]
fn fragments_are_dropped_where_they_are_to_be() {
    let policy = zones("  a: { fragments: drop }\n  b: { fragments: reassemble }\n");
    let expected = [
        r#"iifname $zone_a ip frag-off & 0x3fff != 0 counter drop comment "fragment""#,
        r#"iifname $zone_a frag frag-off != 0 counter drop comment "fragment""#,
        r#"iifname $zone_a frag more-fragments 1 counter drop comment "fragment""#,
    ];
    assert_eq!(chain(&policy), expected);
}

#[test]
fn addresses_belong_to_the_zone_of_the_narrowest_network() {
    let policy = format!(
        "version: 1
zones:
  a: {{ networks: [10.0.0.0/8, 10.9.9.0/24] }}
  b: {{}}
  c: {{ networks: [10.1.0.0/16] }}
hosts:
  one: {{ zone: b, addresses: [10.1.2.3, 10.0.0.0] }}
  two: {{ zone: c, addresses: [10.1.2.3] }}
networks:
  all: {{ zone: c, networks: [\"::/0\", 192.0.0.0/2] }}
  last: {{ zone: a, networks: [\"ffff::/16\", 255.255.255.255/32] }}
{RULES}"
    );
    assert_eq!(
        set(&policy, "sources_a_v4"),
        ["10.0.0.1-10.0.255.255", "10.2.0.0-10.255.255.255", "255.255.255.255"]
    );
    assert_eq!(set(&policy, "sources_a_v6"), ["ffff::/16"]);
    // b may send from all that is nobody's, and from what is its own.
    assert_eq!(
        set(&policy, "foreign_b_v4"),
        ["10.0.0.1-10.1.2.2", "10.1.2.4-10.255.255.255", "192.0.0.0/2",]
    );
    assert_eq!(set(&policy, "foreign_b_v6"), ["::/0"]);
}

#[test]
fn zones_without_interfaces_that_no_rule_names_are_left_out() {
    let text = zones("  a: {}\n  b: {}\n  c: { networks: [10.3.0.0/16], fragments: drop }\n");
    assert!(chain(&text).iter().all(|line| !line.contains("zone_c")));
    assert_eq!(set(&text, "foreign_a_v4"), ["10.3.0.0/16"]);
    let policy = Policy::parse("p.yaml", &text).unwrap();
    let interfaces = Interfaces::from([("c".to_owned(), vec!["eth0".to_owned()])]);
    let written = ruleset(&policy, &interfaces, false);
    assert!(
        written.contains("iifname $zone_c ip saddr != @sources_c_v4 counter drop"),
        "{written}"
    );
}
