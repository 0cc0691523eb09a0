//! Files read, written, and refused.

use super::*;
use classifier::{
    AddressMatch, Family, FlagsMatch, IdentityRange, MacMatch, PacketKey, PortRange, Range16, Rule,
    ZoneId,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn rules_of(text: &str, flags: Flags) -> Result<Vec<Rule>, Error> {
    let (_dir, path) = file(text);
    read_rules(&path, flags)
}

fn trace_of(text: &str, flags: Flags) -> Result<Vec<Header>, Error> {
    let (_dir, path) = file(text);
    read_trace(&path, flags)
}

/// What is said of the first line refused, without the path.
fn refusal<T: std::fmt::Debug>(read: Result<Vec<T>, Error>) -> String {
    let Err(error @ Error::Line { .. }) = read else { panic!("{read:?}") };
    let said = error.to_string();
    said.split_once("/file:").expect("the file is named").1.to_owned()
}

fn prefix(address: &str, len: u8) -> AddressMatch {
    AddressMatch::prefix(address.parse().unwrap(), len).unwrap()
}

#[test]
fn rules_are_read_with_tabs_or_blanks_and_with_or_without_flags() {
    let expected = Rule {
        src: prefix("10.1.2.0", 24),
        dst: prefix("0.0.0.0", 0),
        protocol: Some(6),
        dst_ports: PortRange { low: 80, high: 90 },
        ..Rule::ANY
    };
    for line in [
        "@10.1.2.0/24\t0.0.0.0/0\t0 : 65535\t80 : 90\t0x06/0xFF\t0x0000/0x0200\t",
        "@10.1.2.0/24\t0.0.0.0/0\t0 : 65535\t80 : 90\t0x06/0xFF\t0x0000/0x0200",
        "@10.1.2.0/24 0.0.0.0/0 0:65535 80 :90 0x06/0xFF",
        "  @10.1.2.7/24   0.0.0.0/0 0 : 65535 80 : 90 6/255 \r",
    ] {
        assert_eq!(
            rules_of(line, Flags::Ignored).unwrap(),
            std::slice::from_ref(&expected),
            "{line}"
        );
    }
    let v6 = "@2a00::/16\t::/0\t0 : 65535\t0 : 65535\t0x00/0x00\t";
    let expected = Rule { src: prefix("2a00::", 16), dst: prefix("::", 0), ..Rule::ANY };
    assert_eq!(rules_of(v6, Flags::Ignored).unwrap(), [expected]);
}

#[test]
fn flags_count_only_when_asked_for() {
    let line = "@1.2.3.4/32\t1.2.3.4/32\t0 : 65535\t0 : 65535\t0x06/0xFF\t0x0203/0x1200\t";
    let [read] = &rules_of(line, Flags::Read).unwrap()[..] else { panic!() };
    assert_eq!(read.tcp_flags, FlagsMatch { value: 0x0200, mask: 0x1200 });
    assert_eq!(rules_of(line, Flags::Ignored).unwrap()[0].tcp_flags, FlagsMatch::ANY);
}

#[test]
fn blank_lines_are_no_rules() {
    let line = "@1.2.3.4/32 1.2.3.4/32 0 : 65535 0 : 65535 0x06/0xFF\n";
    assert_eq!(rules_of(&format!("{line}\n \t\n{line}"), Flags::Read).unwrap().len(), 2);
}

#[test]
fn a_line_refused_is_named_with_what_was_expected() {
    let good = "@1.2.3.4/32 1.2.3.4/32 0 : 65535 0 : 65535 0x06/0xFF\n\n";
    for (line, said) in [
        ("1.2.3.4/32", "expected @ and a rule, found \"1.2.3.4/32\""),
        ("@1.2.3/32", "expected an address and its prefix length, found \"1.2.3\""),
        (
            "@1.2.3.4 ",
            "expected / and a prefix length after the address, found the end of the line",
        ),
        ("@1.2.3.4/33", "expected a prefix length from 0 to 32, found \"33\""),
        ("@::1/129", "expected a prefix length from 0 to 128, found \"129\""),
        ("@::1/1 1.2.3.4/1", "expected two addresses of one family, found one of each"),
        ("@::/1 ::/1 1 2", "expected : and the end of the range that begins with 1, found \"2\""),
        ("@::/1 ::/1 1 : 65536", "expected a port from 0 to 65535, found \"65536\""),
        ("@::/1 ::/1 -1 : 2", "expected a port from 0 to 65535, found \"-1\""),
        ("@::/1 ::/1 2 : 1", "expected a range from low to high, found 2 to 1"),
        (
            "@::/1 ::/1 1:2 3:4 0x06",
            "expected / and the protocol's mask, found the end of the line",
        ),
        ("@::/1 ::/1 1:2 3:4 6/0x0f", "expected the protocol mask 0x00 or 0xFF, found 0x0f"),
        (
            "@::/1 ::/1 1:2 3:4 6/255 1/2 3",
            "expected = and a value after \"3\", or the end of the line, found the end of the line",
        ),
        (
            "@::/1 ::/1 1:2 3:4 6/255 mtu=3",
            "expected from, to, vlan, src-id, dst-id, dscp, fragment, src-mac, dst-mac or length, found \"mtu\"",
        ),
        ("@::/1 ::/1 1:2 3:4 6/255 dscp=64", "expected a DSCP from 0 to 63, found \"64\""),
        (
            "@::/1 ::/1 1:2 3:4 6/255 src-mac=02:00:00:00:0:01",
            "expected six octets such as 02:00:00:00:00:01, found \"02:00:00:00:0:01\"",
        ),
        (
            "@::/1 ::/1 1:2 3:4 6/255 dst-mac=02:00:00:00:00:01/ff",
            "expected six octets such as 02:00:00:00:00:01, found \"ff\"",
        ),
    ] {
        let refused = refusal(rules_of(&format!("{good}{line}"), Flags::Ignored));
        assert_eq!(refused, format!("3: {said}"));
    }
}

#[test]
fn headers_are_read_as_numbers_dotted_or_in_ipv6() {
    let expected = PacketKey {
        src: 0x0a00_0001,
        dst: 0x0a00_0002,
        src_port: 1000,
        dst_port: 80,
        protocol: 6,
        ..PacketKey::empty(Family::V4)
    };
    for line in [
        "167772161\t167772162\t1000\t80\t6\t7",
        "10.0.0.1 10.0.0.2 1000 80 6 7 \t",
        "10.0.0.1 10.0.0.2 1000 80 6 4294967295 7",
    ] {
        let header = Header { key: expected, rule: Some(7) };
        assert_eq!(trace_of(line, Flags::Ignored).unwrap(), [header], "{line}");
    }
    let v6 = trace_of("2a00::1 2a00::2 0 65535 17 -1", Flags::Ignored).unwrap();
    assert_eq!((v6[0].key.family(), v6[0].key.dst_port, v6[0].rule), (Family::V6, u16::MAX, None));
}

#[test]
fn the_flags_of_a_header_are_the_high_half() {
    let line = "1 2 3 4 6 33559040 5";
    let read = |flags| trace_of(line, flags).unwrap()[0].key.tcp_flags;
    assert_eq!((read(Flags::Read), read(Flags::Ignored)), (0x0200, 0));
}

#[test]
fn a_header_refused_is_named_with_what_was_expected() {
    for (line, said) in [
        ("@1.2.3.4/32", "expected an address, found \"@1.2.3.4/32\""),
        ("4294967296 1", "expected an address of 32 bits, found \"4294967296\""),
        ("1 ::1 2 3 6 1", "expected two addresses of one family, found one of each"),
        ("1 2 3 70000 6 1", "expected a destination port from 0 to 65535, found \"70000\""),
        ("1 2 3 4 256 1", "expected a protocol from 0 to 255, found \"256\""),
        ("1 2 3 4 6", "expected flags and a rule, or a rule, found the end of the line"),
        ("1 2 3 4 6 0 -2", "expected a rule, or -1 for none; from 0 to 4294967295, found \"-2\""),
    ] {
        assert_eq!(refusal(trace_of(line, Flags::Ignored)), format!("1: {said}"));
    }
}

#[test]
fn files_without_a_line_or_not_there_are_refused_by_name() {
    assert!(matches!(rules_of("\n \n", Flags::Read), Err(Error::Empty(_))));
    let missing = read_rules(Path::new("no/such.xz"), Flags::Read).unwrap_err().to_string();
    assert!(missing.starts_with("no/such.xz: No such file"), "{missing}");
}

fn rich_rules() -> Vec<Rule> {
    let hosts = Rule { src: prefix("10.0.0.1", 32), dst: prefix("10.0.0.0", 8), ..Rule::ANY };
    vec![
        hosts.clone(),
        Rule { src: prefix("2a00::", 16), dst: prefix("::", 0), ..Rule::ANY },
        Rule::ANY,
        Rule {
            from_zone: Some(ZoneId(3)),
            to_zone: Some(ZoneId(0)),
            vlan: Some(0),
            src_identities: IdentityRange { low: 5, high: 9 },
            dst_identities: IdentityRange::one(7),
            protocol: Some(17),
            src_ports: Range16 { low: 1024, high: 65535 },
            dst_ports: Range16::one(53),
            tcp_flags: FlagsMatch { value: 2, mask: 0x12 },
            dscp: Some(46),
            fragment: Some(false),
            src_mac: MacMatch { value: [2, 0x11, 0, 0, 0, 0], mask: [255, 255, 0, 0, 0, 0] },
            dst_mac: MacMatch::one([2, 0, 0, 0, 0, 0xab]),
            lengths: Range16 { low: 40, high: 1500 },
            ..hosts
        },
    ]
}

#[test]
fn rules_written_are_read_back() {
    let mut text = Vec::new();
    write_rules(&mut text, &rich_rules()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(rules_of(&text, Flags::Read).unwrap(), rich_rules());
    let first = "@10.0.0.1/32\t10.0.0.0/8\t0 : 65535\t0 : 65535\t0x00/0x00\t0x0000/0x0000";
    assert_eq!(text.lines().next(), Some(first));
}

#[test]
fn any_beside_a_prefix_is_written_as_its_family() {
    let mut text = Vec::new();
    write_rules(&mut text, &[Rule { dst: prefix("2a00::", 16), ..Rule::ANY }]).unwrap();
    assert!(text.starts_with(b"@::/0\t2a00::/16\t"));
}

#[test]
fn rules_that_the_format_cannot_tell_are_refused_by_index() {
    let src = AddressMatch::Range { family: Family::V4, low: 1, high: 2 };
    let refused = write_rules(&mut Vec::new(), &[Rule::ANY, Rule { src, ..Rule::ANY }]);
    assert!(refused.unwrap_err().to_string().starts_with("rule 1 (counted from 0)"));
}

#[test]
fn traces_written_are_read_back() {
    let mut key = PacketKey::empty(Family::V4);
    (key.src, key.dst, key.src_port, key.dst_port) = (1, 0xffff_ffff, 2, 3);
    (key.protocol, key.tcp_flags) = (6, 0x12);
    let v6 = PacketKey { src: 0x2a00 << 112 | 9, dst: 1, ..PacketKey::empty(Family::V6) };
    let rich = PacketKey {
        from_zone: ZoneId(1),
        to_zone: ZoneId(2),
        vlan: 4094,
        src_identity: 3,
        dst_identity: u16::MAX,
        ip: v6.ip.with_dscp(63).with_fragment(true),
        length: 1500,
        src_mac: [2, 0, 0, 0, 0, 0xab],
        dst_mac: [0xff; 6],
        ..v6
    };
    let trace =
        [(key, Some(4)), (v6, None), (rich, Some(0))].map(|(key, rule)| Header { key, rule });
    let mut text = Vec::new();
    write_trace(&mut text, &trace).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(trace_of(&text, Flags::Read).unwrap(), trace);
    assert_eq!(text.lines().next(), Some("1\t4294967295\t2\t3\t6\t1179648\t4"));
}

#[test]
fn compressed_files_are_read_and_broken_ones_refused() {
    if let Some(why) = lab::need::missing(&[lab::need::Need::Program("xz")]) {
        lab::need::skip("compressed_files_are_read_and_broken_ones_refused", &why);
        return;
    }
    let (_dir, path) = file("1 2 3 4 6 5\n");
    let packed = path.with_extension("xz");
    assert!(std::process::Command::new("xz").arg("-k").arg(&path).status().unwrap().success());
    std::fs::rename(path.parent().unwrap().join("file.xz"), &packed).unwrap();
    assert_eq!(read_trace(&packed, Flags::Ignored).unwrap()[0].rule, Some(5));

    std::fs::write(&packed, "not packed").unwrap();
    let said = read_trace(&packed, Flags::Ignored).unwrap_err().to_string();
    assert!(said.contains("file.xz: xz: ") && said.contains("format not recognized"), "{said}");
}

#[test]
fn the_published_sets_are_read_whole() {
    let Some(dir) = lab::need::shared("rulesets") else { return };
    for (set, rules) in [("v4/acl1_1k", 942), ("v4/fw1_1k", 857), ("v6/ipc1_v4in6_1k", 974)] {
        assert_eq!(read_rules(&dir.join(set), Flags::Read).unwrap().len(), rules, "{set}");
    }
}
