//! The policy loader over any text: a policy that compiles, or diagnostics that can be shown.

use control::diagnostic::Diagnostics;
use control::policy::{Compiler, MAX_ENTRIES, Policy, ZoneMap};

/// What diagnostics call the file.
const FILE: &str = "policy.yaml";
/// Most bytes of a policy in JSON that is written otherwise.
const AS_JSON: usize = 8192;

/// Loads, compiles and audits the policy in `data`; one in JSON, written otherwise, too.
///
/// # Panics
/// When it is neither a policy nor refused for something at a place, or JSON makes a difference.
pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let policy = match Policy::parse(FILE, text) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            assert_shown(&diagnostics, text);
            return true;
        }
    };
    assert_eq!(policy.file(), FILE);
    let lines = breaks(text) + 1;
    for rule in policy.rules() {
        assert!((1..=lines).contains(&(rule.line() as usize)), "rule on line {}", rule.line());
    }
    compile(&policy, text);
    if text.len() <= AS_JSON {
        assert_same_as_json(&policy, text);
    }
    true
}

fn compile(policy: &Policy, text: &str) {
    let zones = ZoneMap::of(policy);
    let lowered = match policy.lower(&zones) {
        Ok(lowered) => lowered,
        Err(diagnostics) => return assert_shown(&diagnostics, text),
    };
    assert!(lowered.rules.len() <= MAX_ENTRIES);
    assert_eq!(lowered.rules.len(), lowered.entries.len());
    assert_eq!(lowered.table_rules.len(), policy.rules().len());
    let mut compiler = Compiler::default();
    match compiler.compile(policy, &zones, 1, 1) {
        Ok((table, _)) => {
            assert_eq!(table.entries(), lowered.rules.len());
            let ids = table.rules().iter().map(|rule| &*rule.id);
            assert!(ids.eq(policy.rules().iter().map(|rule| rule.id())));
            let _ = format!("{:?}", compiler.audit(policy));
        }
        Err(diagnostics) => assert_shown(&diagnostics, text),
    }
}

/// Every diagnostic says something, in one line, and where, within the text.
fn assert_shown(diagnostics: &Diagnostics, text: &str) {
    assert!(!diagnostics.0.is_empty(), "refused without a word");
    let lines = breaks(text) as u32 + 1;
    for diagnostic in &diagnostics.0 {
        assert_eq!(diagnostic.file, FILE);
        assert!(!diagnostic.message.is_empty());
        assert!(!diagnostic.message.contains(char::is_control), "{diagnostic:?}");
        assert_eq!(diagnostic.line.is_some(), diagnostic.column.is_some());
        let line = diagnostic.line.unwrap_or(1);
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
        assert!(diagnostic.column != Some(0));
        assert!(!format!("{diagnostic}").contains('\n'));
        assert!(format!("{diagnostic:#}").lines().count() <= 3);
    }
    let _ = format!("{diagnostics}{diagnostics:#}");
}

/// Ends of lines in YAML (1.2, 5.4).
fn breaks(text: &str) -> usize {
    text.replace("\r\n", "\n").matches(['\n', '\r']).count()
}

/// JSON is YAML too: a policy in JSON stays the same when others write the same JSON.
fn assert_same_as_json(policy: &Policy, text: &str) {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else { return };
    if has_fraction(&document) {
        // `1.50` may name a rule, and is another name than `1.5`.
        return;
    }
    let json = serde_json::to_string_pretty(&document).expect("what was read can be written");
    let again = match Policy::parse(FILE, &json) {
        Ok(again) => again,
        Err(diagnostics) => panic!("{diagnostics:#}\n{json}"),
    };
    let lower = |policy: &Policy| {
        let zones = ZoneMap::of(policy);
        policy.lower(&zones).ok().map(|all| (all.rules, all.entries, all.table_rules))
    };
    assert_eq!(lower(policy), lower(&again));
    assert_eq!(policy.zones(), again.zones());
    assert!(policy.located().eq(again.located()));
}

fn has_fraction(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(values) => values.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}
