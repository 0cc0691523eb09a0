//! Rule sets made from bytes, compiled, and compared with the linear scan.
//!
//! The values of the fields are few, so that rules overlap, nest and touch; runs of rules that
//! differ in one field make large sets of few bytes.

use crate::check;
use crate::corners::{Draw, keys};
use arbitrary::{Result, Unstructured};
use classifier::{
    AddressMatch, BuildError, Builder, Config, Family, FlagsMatch, MacMatch, Range16, Rule, ZoneId,
    prefix_mask,
};

/// Judges the keys around the rules that `data` makes. False if it makes none.
///
/// # Panics
/// When a compiled set answers otherwise than the scan.
pub fn run(data: &[u8]) -> bool {
    let mut bytes = Unstructured::new(data);
    let Ok(seed) = bytes.arbitrary() else { return false };
    let rules = rules(&mut bytes);
    let mut builder = Builder::new(Config { max_memory: 1 << 26, ..Config::default() });
    for rule in &rules {
        builder.push(rule.clone());
    }
    let compiled = match builder.build() {
        Ok(compiled) => compiled,
        // Refused, which is no wrong answer.
        Err(BuildError::TooManyRules { .. }) => unreachable!("{} rules", rules.len()),
        Err(_) => return true,
    };
    let draw = Draw { accepted: 40, corners: 4, mixed: 40, near: 16 };
    let keys = keys(&rules, draw, &mut fastrand::Rng::with_seed(seed));
    check::assert_agrees(&rules, &compiled, &keys);
    true
}

/// Rules until the bytes or the patience end.
fn rules(bytes: &mut Unstructured<'_>) -> Vec<Rule> {
    const MOST: usize = 600;
    let mut rules = Vec::new();
    while rules.len() < MOST && !bytes.is_empty() {
        if rule_and_like(bytes, &mut rules).is_err() {
            break;
        }
    }
    rules.truncate(MOST);
    rules
}

/// A rule, and some after it that differ in one field.
fn rule_and_like(bytes: &mut Unstructured<'_>, rules: &mut Vec<Rule>) -> Result<()> {
    let first = rule(bytes)?;
    let (more, field, step) =
        (bytes.int_in_range(0..=7u8)?, bytes.arbitrary::<u8>()?, bytes.arbitrary()?);
    // One, or up to 64.
    let count = if more < 6 { 1 } else { bytes.int_in_range(1..=64)? };
    rules.extend((0..count).map(|n| varied(&first, field, n, step)));
    Ok(())
}

fn varied(rule: &Rule, field: u8, n: u16, step: u8) -> Rule {
    let mut rule = rule.clone();
    let by = n.wrapping_mul(step.into());
    let moved = |range: Range16| Range16 {
        low: range.low.wrapping_add(by),
        high: range.high.wrapping_add(by),
    };
    // Nested ones, each within the one before.
    let shrunk = |range: Range16| Range16 {
        low: range.low.saturating_add(by),
        high: range.high.saturating_sub(by),
    };
    match field % 17 {
        0 => rule.from_zone = Some(ZoneId(by)),
        1 => rule.vlan = Some(by),
        2 => rule.src = next(&rule.src, by),
        3 => rule.dst = next(&rule.dst, by),
        4 => rule.src = shorter(&rule.src, n),
        5 => rule.dst = shorter(&rule.dst, n),
        6 => rule.src_ports = moved(rule.src_ports),
        7 => rule.dst_ports = moved(rule.dst_ports),
        8 => rule.src_ports = shrunk(rule.src_ports),
        9 => rule.dst_ports = shrunk(rule.dst_ports),
        10 => rule.src_identities = moved(rule.src_identities),
        11 => rule.protocol = Some(by as u8),
        12 => rule.tcp_flags.value = by & rule.tcp_flags.mask,
        13 => rule.lengths = shrunk(rule.lengths),
        14 => rule.src_mac = MacMatch::one(mac(by)),
        15 => rule.dst_mac.value[5] = by as u8 & rule.dst_mac.mask[5],
        // The same rule again.
        _ => {}
    }
    rule
}

/// The prefix or range `by` places further.
fn next(addresses: &AddressMatch, by: u16) -> AddressMatch {
    match addresses.clone() {
        AddressMatch::Prefix { family, value, len } if len > 0 => {
            let step = u128::from(by) << (family.bits() - len);
            let value = value.wrapping_add(step) & prefix_mask(family, len);
            AddressMatch::Prefix { family, value, len }
        }
        AddressMatch::Range { family, low, high } => AddressMatch::Range {
            family,
            low: low.wrapping_add(by.into()),
            high: high.saturating_add(by.into()),
        },
        other => other,
    }
}

/// The prefix, `by` bits shorter.
fn shorter(addresses: &AddressMatch, by: u16) -> AddressMatch {
    match *addresses {
        AddressMatch::Prefix { family, value, len } => {
            let len = len.saturating_sub(by as u8);
            AddressMatch::Prefix { family, value: value & prefix_mask(family, len), len }
        }
        _ => addresses.clone(),
    }
}

/// A rule that asks for something in those fields that a bit says.
fn rule(bytes: &mut Unstructured<'_>) -> Result<Rule> {
    let fields: u32 = bytes.int_in_range(0..=(1 << 17) - 1)?;
    let asks = |field: u32| fields >> field & 1 == 1;
    let mut rule = Rule::ANY;
    if asks(0) {
        rule.from_zone = Some(ZoneId(bytes.int_in_range(0..=3)?));
    }
    if asks(1) {
        rule.to_zone = Some(ZoneId(bytes.int_in_range(0..=3)?));
    }
    if asks(2) {
        rule.vlan = Some(*bytes.choose(&[0, 1, 2, 4094, 4096, 65535])?);
    }
    if asks(3) {
        rule.src = addresses(bytes)?;
    }
    if asks(4) {
        rule.dst = addresses(bytes)?;
    }
    if asks(5) {
        rule.src_identities = range(bytes)?;
    }
    if asks(6) {
        rule.dst_identities = range(bytes)?;
    }
    if asks(7) {
        rule.protocol = Some(*bytes.choose(&[0, 1, 6, 17, 58, 255])?);
    }
    if asks(8) {
        rule.src_ports = range(bytes)?;
    }
    if asks(9) {
        rule.dst_ports = range(bytes)?;
    }
    if asks(10) {
        let [value, mask] = bytes.arbitrary::<[u8; 2]>()?.map(u16::from);
        // Sometimes a flag is wanted that the mask leaves out.
        let value = if asks(13) { value } else { value & mask };
        rule.tcp_flags = FlagsMatch { value, mask };
    }
    if asks(11) {
        rule.dscp = Some(*bytes.choose(&[0, 1, 46, 63])?);
    }
    if asks(12) {
        rule.fragment = Some(bytes.arbitrary()?);
    }
    if asks(14) {
        rule.src_mac = mac_match(bytes, asks(13))?;
    }
    if asks(15) {
        rule.dst_mac = mac_match(bytes, asks(13))?;
    }
    if asks(16) {
        rule.lengths = range(bytes)?;
    }
    Ok(rule)
}

/// An address, all of it, its first or last octets, or some of the bits at its ends; sometimes with
/// bits wanted that the mask leaves out.
fn mac_match(bytes: &mut Unstructured<'_>, junk: bool) -> Result<MacMatch> {
    const MASKS: [[u8; 6]; 4] =
        [[255; 6], [255, 255, 255, 0, 0, 0], [0, 0, 0, 255, 255, 255], [0x81, 0, 0, 0x10, 0, 1]];
    let (value, mask) = (mac(bytes.int_in_range(0..=15)?), *bytes.choose(&MASKS)?);
    let value = if junk { value } else { std::array::from_fn(|i| value[i] & mask[i]) };
    Ok(MacMatch { value, mask })
}

/// One of many addresses: the low bits of `n` at both ends.
fn mac(n: u16) -> [u8; 6] {
    let [high, low] = n.to_be_bytes();
    [low << 7 | 2, 0, high, (low & 2) << 3, low, low & 0xf]
}

fn addresses(bytes: &mut Unstructured<'_>) -> Result<AddressMatch> {
    match bytes.int_in_range(0..=9u8)? {
        0..=5 => prefix(bytes),
        6..=7 => range_of_addresses(bytes),
        _ => {
            let count = bytes.int_in_range(0..=6)?;
            let members: Result<Vec<_>> = (0..count)
                .map(|_| if bytes.arbitrary()? { prefix(bytes) } else { range_of_addresses(bytes) })
                .collect();
            Ok(AddressMatch::set(members?))
        }
    }
}

fn prefix(bytes: &mut Unstructured<'_>) -> Result<AddressMatch> {
    let family = family(bytes)?;
    let len = bytes.int_in_range(0..=family.bits())?;
    let value = address(bytes, family)? & prefix_mask(family, len);
    Ok(AddressMatch::Prefix { family, value, len })
}

/// Short, so that it is a handful of prefixes; a rule with long ones on both sides is thousands.
fn range_of_addresses(bytes: &mut Unstructured<'_>) -> Result<AddressMatch> {
    let family = family(bytes)?;
    let low = address(bytes, family)?;
    let high = low.saturating_add(bytes.arbitrary::<u8>()?.into());
    Ok(AddressMatch::Range { family, low, high })
}

fn family(bytes: &mut Unstructured<'_>) -> Result<Family> {
    Ok(if bytes.arbitrary()? { Family::V4 } else { Family::V6 })
}

/// An address with some of eight bits set: the first, the last and some at the ends of bytes and words.
fn address(bytes: &mut Unstructured<'_>, family: Family) -> Result<u128> {
    let places: [u8; 8] = match family {
        Family::V4 => [0, 1, 7, 8, 15, 16, 30, 31],
        Family::V6 => [0, 1, 31, 32, 63, 64, 126, 127],
    };
    let set: u8 = bytes.arbitrary()?;
    let bit = |(i, place): (usize, &u8)| u128::from(set >> i & 1) << (family.bits() - 1 - place);
    Ok(places.iter().enumerate().map(bit).sum())
}

fn range(bytes: &mut Unstructured<'_>) -> Result<Range16> {
    const ENDS: [u16; 16] =
        [0, 1, 2, 3, 7, 8, 79, 80, 255, 256, 1023, 1024, 32767, 32768, 65534, 65535];
    // In either order: one in two ranges with different ends matches nothing without this.
    let (a, b) = (*bytes.choose(&ENDS)?, *bytes.choose(&ENDS)?);
    let swapped = bytes.ratio(1u8, 16u8)?;
    let (low, high) = (a.min(b), a.max(b));
    Ok(if swapped { Range16 { low: high, high: low } } else { Range16 { low, high } })
}
