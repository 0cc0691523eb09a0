//! What a rule asks of a packet besides its ends and its service: hardware addresses, length, TCP
//! flags, code point, fragments.
//!
//! Each is a list of alternatives; an empty one asks for nothing. A rule of the policy becomes a
//! classifier rule for each combination of them.

use super::values;
use crate::diagnostic::{Place, Report, shown};
use crate::protocol::TCP;
use crate::yaml::{Maps, Names, Text, Values};
use classifier::{FlagsMatch, LengthRange, MacMatch};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::HashSet;
use std::hash::Hash;

/// As they are written in a rule.
#[derive(Debug)]
pub(super) struct ConditionsFile {
    pub(super) src_mac: Option<Values>,
    pub(super) dst_mac: Option<Values>,
    pub(super) length: Option<Values>,
    pub(super) tcp_flags: Option<Spanned<Maps<FlagsFile>>>,
    pub(super) dscp: Option<Values>,
    pub(super) fragment: Option<Text>,
}

/// `{ set: [syn], clear: [ack, rst] }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlagsFile {
    set: Option<Names>,
    clear: Option<Names>,
}

/// What a rule asks for; of every list one, unless it is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) src_macs: Vec<MacMatch>,
    pub(crate) dst_macs: Vec<MacMatch>,
    pub(crate) lengths: Vec<LengthRange>,
    /// Of TCP segments only.
    pub(crate) tcp_flags: Vec<FlagsMatch>,
    pub(crate) dscps: Vec<u8>,
    pub(crate) fragment: Option<bool>,
}

impl Conditions {
    /// What `file` means; what it gets wrong goes to `report`.
    pub(super) fn of(file: &ConditionsFile, report: &mut Report<'_>) -> Self {
        Conditions {
            src_macs: list(file.src_mac.as_ref(), values::mac, report),
            dst_macs: list(file.dst_mac.as_ref(), values::mac, report),
            lengths: list(file.length.as_ref(), values::length, report),
            tcp_flags: file.tcp_flags.as_ref().map_or_else(Vec::new, |f| flags(f, report)),
            dscps: list(file.dscp.as_ref(), values::dscp, report),
            fragment: file.fragment.as_ref().and_then(|text| truth(text, report)),
        }
    }

    /// The one protocol that these conditions leave, if they do.
    pub(crate) fn protocol(&self) -> Option<u8> {
        (!self.tcp_flags.is_empty()).then_some(TCP)
    }

    /// How many classifier rules they become for each combination of the rest.
    pub(super) fn alternatives(&self) -> u128 {
        let lists = [
            self.src_macs.len(),
            self.dst_macs.len(),
            self.lengths.len(),
            self.tcp_flags.len(),
            self.dscps.len(),
        ];
        lists.iter().map(|len| (*len).max(1) as u128).product()
    }

    /// `rules` with these conditions, each alternative in turn.
    pub(super) fn apply(&self, rules: Vec<classifier::Rule>) -> Vec<classifier::Rule> {
        use classifier::Rule;
        let rules = each(rules, &self.src_macs, |rule, src_mac| Rule { src_mac, ..rule });
        let rules = each(rules, &self.dst_macs, |rule, dst_mac| Rule { dst_mac, ..rule });
        let rules = each(rules, &self.lengths, |rule, lengths| Rule { lengths, ..rule });
        let rules = each(rules, &self.tcp_flags, |rule, tcp_flags| Rule { tcp_flags, ..rule });
        let mut rules = each(rules, &self.dscps, |rule, dscp| Rule { dscp: Some(dscp), ..rule });
        if self.fragment.is_some() {
            rules.iter_mut().for_each(|rule| rule.fragment = self.fragment);
        }
        rules
    }
}

fn each<T: Copy>(
    rules: Vec<classifier::Rule>,
    alternatives: &[T],
    with: fn(classifier::Rule, T) -> classifier::Rule,
) -> Vec<classifier::Rule> {
    if alternatives.is_empty() {
        return rules;
    }
    let one = |rule: classifier::Rule| alternatives.iter().map(move |of| with(rule.clone(), *of));
    rules.into_iter().flat_map(one).collect()
}

/// What each scalar means; empty where nothing is written.
pub(super) fn list<T: Eq + Hash + Copy>(
    listed: Option<&Values>,
    understand: fn(&str) -> Result<T, String>,
    report: &mut Report<'_>,
) -> Vec<T> {
    let Some(listed) = listed else { return Vec::new() };
    let Some(texts) = &listed.values else {
        report.error(listed.place, "expected a value or a list of values");
        return Vec::new();
    };
    if texts.is_empty() {
        report.error(listed.place, "the list is empty: to ask for nothing, leave the key out");
    }
    let mut seen = HashSet::new();
    let mut meanings = Vec::with_capacity(texts.len());
    for text in texts {
        match understand(&text.value) {
            Ok(meaning) if seen.insert(meaning) => meanings.push(meaning),
            Ok(_) => {
                report.error(text, format!("`{}` is in this list twice", shown(&text.value)));
            }
            Err(message) => report.error(text, message),
        }
    }
    meanings
}

fn truth(text: &Text, report: &mut Report<'_>) -> Option<bool> {
    match text.value.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            let message = format!("`{}` is neither `true` nor `false`", shown(other));
            report.error(text, message);
            None
        }
    }
}

fn flags(listed: &Spanned<Maps<FlagsFile>>, report: &mut Report<'_>) -> Vec<FlagsMatch> {
    if listed.value.0.is_empty() {
        report.error(listed, "the list is empty: to ask for nothing, leave the key out");
    }
    let mut all: Vec<FlagsMatch> = Vec::new();
    for file in &listed.value.0 {
        let (value, clear) = (bits(file.set.as_ref(), report), bits(file.clear.as_ref(), report));
        let (Some(value), Some(clear)) = (value, clear) else { continue };
        let names = file.clear.as_ref().or(file.set.as_ref());
        let place = names.map_or_else(|| Place::from(listed), |names| names.place);
        let wanted = FlagsMatch { value, mask: value | clear };
        if wanted.mask == 0 {
            report.error(place, "neither `set` nor `clear` names a flag: any segment would match");
        } else if value & clear != 0 {
            report.error(place, "a flag cannot be both set and clear");
        } else if all.contains(&wanted) {
            report.error(place, "these flags are in this list twice");
        } else {
            all.push(wanted);
        }
    }
    all
}

/// The flags of a list; none where nothing is written, `None` where something is wrong.
fn bits(names: Option<&Names>, report: &mut Report<'_>) -> Option<u16> {
    let Some(names) = names else { return Some(0) };
    let Some(listed) = &names.names else {
        report.error(names.place, "expected a flag or a list of flags");
        return None;
    };
    let mut bits = Some(0u16);
    for name in listed {
        match values::tcp_flag(&name.value) {
            Ok(bit) => bits = bits.map(|bits| bits | bit),
            Err(message) => {
                report.error(name, message);
                bits = None;
            }
        }
    }
    bits
}
