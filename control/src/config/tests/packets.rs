//! What `fragments:` and `packets:` mean.

use super::*;
use dataplane::{Checksums, Ipv4Options, Tunnels};

#[test]
fn everything_of_fragments_can_be_set() {
    let fragments = with(
        "fragments: { max_frames: 4096, max_bytes: 4294967296, max_datagrams: \
                          1048576, max_fragments: 8192, max_per_source: 65535, timeout: 120 }\n",
    )
    .gateway
    .fragments;
    let expected = FragmentConfig {
        max_frames: 4_096,
        max_bytes: 4 << 30,
        max_datagrams: 1_048_576,
        max_fragments: 8_192,
        max_datagrams_per_source: 65_535,
        timeout: Duration::from_secs(120),
    };
    assert_eq!(fragments, expected);
    let fragments = with("fragments: { timeout: 1 }\n").gateway.fragments;
    let second = Duration::from_secs(1);
    assert_eq!(fragments, FragmentConfig { timeout: second, ..FragmentConfig::default() });
}

#[test]
fn fragments_take_a_quarter_of_the_frames_and_half_at_most() {
    let of = |frames: u32, fragments: &str| {
        with(&format!("rings: {{ fill: 64, frames: {frames} }}\nfragments: {{ {fragments} }}\n"))
            .gateway
            .fragments
            .max_frames
    };
    assert_eq!(of(8_192, ""), FragmentConfig::default().max_frames);
    assert_eq!(of(1_000_000, ""), FragmentConfig::default().max_frames);
    assert_eq!(of(1_000, ""), 250);
    assert_eq!(of(1_000, "max_frames: 500"), 500);
    let text =
        format!("{BARE}rings: {{ fill: 64, frames: 1000 }}\nfragments: {{ max_frames: 501 }}\n");
    let message = "501 frames of fragments are more than half of the 1000 frames of a worker \
                   (`rings: frames:`), which the rings need: at most 500 can be held";
    assert_errors(&text, &[(9, 26, message)]);
}

#[test]
fn everything_of_packets_can_be_set() {
    let parse = with(
        "packets:
  max_frame: 1522
  checksums: accept_partial
  ipv4_options: [router_alert, timestamp]
  ipv6_hop_by_hop_options: true
  ipv6_source_routes: true
  ipv6_unknown_headers: true
",
    )
    .gateway
    .parse;
    let expected = ParseOptions {
        max_frame: 1_522,
        checksums: Checksums::AcceptPartial,
        ipv4_options: Ipv4Options::ROUTER_ALERT.with(Ipv4Options::TIMESTAMP),
        ipv6_hop_by_hop_options: true,
        ipv6_source_routes: true,
        ipv6_unknown_headers: true,
        inside: Tunnels::NONE,
    };
    assert_eq!(parse, expected);
    let off = with("packets: { checksums: off }\n").gateway.parse;
    assert_eq!(off, ParseOptions { checksums: Checksums::Off, ..ParseOptions::STRICT });
}

#[test]
fn the_words_of_the_defaults_are_the_defaults() {
    let words = "packets: { max_frame: 9216, checksums: verify, ipv4_options: [], \
                 ipv6_hop_by_hop_options: false, ipv6_source_routes: false, ipv6_unknown_headers: \
                 false }\n";
    assert_eq!(with(words).gateway.parse, ParseOptions::STRICT);
}

#[test]
fn each_switch_is_its_own() {
    let parse = |key: &str| with(&format!("packets: {{ {key}: true }}\n")).gateway.parse;
    let strict = ParseOptions::STRICT;
    let hop_by_hop = ParseOptions { ipv6_hop_by_hop_options: true, ..strict };
    assert_eq!(parse("ipv6_hop_by_hop_options"), hop_by_hop);
    assert_eq!(parse("ipv6_source_routes"), ParseOptions { ipv6_source_routes: true, ..strict });
    assert_eq!(
        parse("ipv6_unknown_headers"),
        ParseOptions { ipv6_unknown_headers: true, ..strict }
    );
}

#[test]
fn every_ipv4_option_has_a_name() {
    for (name, option) in [
        ("record_route", Ipv4Options::RECORD_ROUTE),
        ("loose_source_route", Ipv4Options::LOOSE_SOURCE_ROUTE),
        ("strict_source_route", Ipv4Options::STRICT_SOURCE_ROUTE),
        ("timestamp", Ipv4Options::TIMESTAMP),
        ("router_alert", Ipv4Options::ROUTER_ALERT),
    ] {
        let parse = with(&format!("packets: {{ ipv4_options: [{name}] }}\n")).gateway.parse;
        assert_eq!(parse.ipv4_options, option, "{name}");
    }
}

#[test]
fn wrong_fragments_and_packets_are_reported_where_they_are() {
    assert_refused(&[
        ("fragments: { max_frames: 0 }", 26, "from 1 to 1048576"),
        ("fragments: { max_frames: 4097 }", 26, "at most 4096 can be held"),
        ("fragments: { max_bytes: 65535 }", 25, "from 65536 to 4294967296"),
        ("fragments: { max_datagrams: 1048577 }", 29, "from 1 to 1048576"),
        ("fragments: { max_fragments: 1 }", 29, "from 2 to 8192"),
        ("fragments: { max_fragments: 8193 }", 29, "from 2 to 8192"),
        ("fragments: { max_per_source: 0 }", 30, "from 1 to 65535"),
        ("fragments: { max_per_source: 65536 }", 30, "from 1 to 65535"),
        ("fragments: { timeout: 0 }", 23, "from 1 to 120"),
        ("fragments: { timeout: 121 }", 23, "from 1 to 120"),
        ("fragments: { time_out: 1 }", 14, "unknown key `time_out`; did you mean `timeout`?"),
        ("packets: { max_frame: 1293 }", 23, "from 1294 to 65557"),
        ("packets: { max_frame: 65558 }", 23, "from 1294 to 65557"),
        (
            "packets: { checksums: partial }",
            23,
            "`partial` is none of `verify`, `accept_partial`, `off`",
        ),
        ("packets: { checksums: of }", 23, "did you mean `off`?"),
        ("packets: { ipv4_options: router_alert }", 26, "expected a list"),
        ("packets: { ipv4_options: [security] }", 27, "`security` is none of `record_route`, "),
        ("packets: { ipv4_options: [timestmp] }", 27, "did you mean `timestamp`?"),
        ("packets: { ipv4_options: [timestamp, timestamp] }", 38, "is in the list twice"),
        ("packets: { ipv6_source_routes: yes }", 32, "`yes` is none of `true`, `false`"),
        ("packets: { ipv6_hop_by_hop_options: 1 }", 37, "none of `true`, `false`"),
        ("packets: { ipv6_unknown_headers: True }", 34, "did you mean `true`?"),
        ("packets: { ipv6_unknown: true }", 12, "unknown key `ipv6_unknown`"),
        ("packet: {}", 1, "unknown key `packet`; did you mean `packets`?"),
    ]);
}
