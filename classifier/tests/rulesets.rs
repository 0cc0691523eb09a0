//! The compiled table answers as the linear scan does on the rule sets of the field: ClassBench,
//! and the same sets widened to IPv6.

mod corners;

use classifier::{AddressMatch, Builder, Config, PortRange, Rule};
use corners::{assert_agree, keys};
use std::path::Path;

/// Reads ClassBench lines `@sip/len dip/len lo : hi lo : hi proto/mask flags/mask`; flags are not a
/// field of ours.
fn read(path: &Path) -> Vec<Rule> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn parse(line: &str) -> Option<Rule> {
    let mut fields = line.strip_prefix('@')?.split('\t');
    let mut prefix = || {
        let (addr, len) = fields.next()?.split_once('/')?;
        AddressMatch::prefix(addr.parse().ok()?, len.parse().ok()?).ok()
    };
    let (src, dst) = (prefix()?, prefix()?);
    let mut ports = || {
        let (low, high) = fields.next()?.split_once(" : ")?;
        Some(PortRange { low: low.parse().ok()?, high: high.parse().ok()? })
    };
    let (src_ports, dst_ports) = (ports()?, ports()?);
    let protocol = match fields.next()?.split_once('/')? {
        (_, "0x00") => None,
        (protocol, "0xFF") => Some(u8::from_str_radix(protocol.strip_prefix("0x")?, 16).ok()?),
        _ => return None,
    };
    Some(Rule { src, dst, src_ports, dst_ports, protocol, ..Rule::ANY })
}

fn check(set: &str) {
    let Some(dir) = lab::need::shared("rulesets") else { return };
    let rules = read(&dir.join(set));
    assert!(rules.len() > 700, "{set} has {} rules", rules.len());
    let mut builder = Builder::new(Config::default());
    for rule in &rules {
        builder.push(*rule);
    }
    let compiled = builder.build().unwrap();
    let keys = keys(&rules, 10, 8, &mut fastrand::Rng::with_seed(1));
    let answers = assert_agree(&rules, &compiled, &keys);
    // The keys must have reached the rules, or agreeing says nothing.
    let mut hit: Vec<_> = answers.into_iter().flatten().collect();
    hit.sort_unstable();
    hit.dedup();
    assert!(hit.len() * 10 > rules.len() * 8, "{set}: {} of {} rules", hit.len(), rules.len());
}

#[test]
fn acl1_1k_agrees_with_linear() {
    check("v4/acl1_1k");
}

#[test]
fn fw1_1k_agrees_with_linear() {
    check("v4/fw1_1k");
}

#[test]
fn ipc1_1k_agrees_with_linear() {
    check("v4/ipc1_1k");
}

#[test]
fn acl1_v4in6_1k_agrees_with_linear() {
    check("v6/acl1_v4in6_1k");
}

#[test]
fn fw1_v4in6_1k_agrees_with_linear() {
    check("v6/fw1_v4in6_1k");
}

#[test]
fn ipc1_v4in6_1k_agrees_with_linear() {
    check("v6/ipc1_v4in6_1k");
}
