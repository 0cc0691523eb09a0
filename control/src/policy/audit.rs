//! Rules of a policy that could be left out, as its author is told of them.
//!
//! The classifier finds them among its own rules, the entries. A rule of the policy could be left
//! out when all of its entries could.

use super::model::{Policy, Rule, established_word};
use crate::diagnostic::Diagnostic;
use classifier::FindingKind;
use dataplane::{Action, Established};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use utoipa::ToSchema;

/// Most warnings listed.
const MOST_WARNINGS: usize = 100;
/// Most hiding rules that a warning lists.
const MOST_HIDING: usize = 16;
/// Most rules that a message names.
const MOST_NAMED: usize = 4;

/// Which rules of a policy could be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// Those rules, in the order of the policy, up to 100.
    pub warnings: Vec<Warning>,
    /// How many there are.
    pub warnings_total: usize,
    /// Rules for which the search was given up: very many others overlap them.
    pub undecided: usize,
}

/// A rule that could be left out: no packet would be judged otherwise.
///
/// Displays as `policy.yaml:12:5: warning: message`; with `{:#}` the source line follows, as of a
/// [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// Why it could be left out.
    pub code: WarningCode,
    /// Its id.
    pub rule: String,
    /// The rules that decide in its place, in order, up to 16; none when it is empty.
    pub hidden_by: Vec<HidingRule>,
    /// How many there are.
    pub hidden_by_total: usize,
    /// The same in words, and where.
    #[serde(flatten)]
    pub diagnostic: Diagnostic,
}

/// Why a rule could be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WarningCode {
    /// Other rules decide about all that it matches, and not all of them as it does: probably a
    /// mistake.
    Shadowed,
    /// Other rules match all that it matches, and do the same, with established flows too.
    Redundant,
    /// It matches no packet.
    Empty,
}

/// A rule that decides in the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HidingRule {
    /// Its id.
    pub rule: String,
    /// Line on which it begins.
    pub line: u32,
    /// `allow` or `deny`.
    pub action: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.write(f, "warning: ")
    }
}

impl Audit {
    /// Gives the warnings the lines of `text`, the policy's, that they point at.
    pub(crate) fn show_sources(&mut self, text: &str) {
        let diagnostics = self.warnings.iter_mut().map(|warning| &mut warning.diagnostic);
        Diagnostic::show_sources(diagnostics, text);
    }
}

/// What was found in the entries of one rule of the policy.
#[derive(Clone, Default)]
struct Found {
    /// Entries of the rule.
    entries: usize,
    shadowed: usize,
    redundant: usize,
    empty: usize,
    undecided: usize,
    /// The rules of the policy that hide them.
    by: BTreeSet<u32>,
}

/// What `found` means for `policy`; `entries` has for each rule of the classifier the index of the
/// policy's rule it came from.
pub(super) fn of_policy(policy: &Policy, entries: &[u32], found: &classifier::Audit) -> Audit {
    let mut rules = vec![Found::default(); policy.rules.len()];
    for rule in entries {
        rules[*rule as usize].entries += 1;
    }
    for finding in &found.findings {
        let rule = entries[finding.rule as usize];
        let found = &mut rules[rule as usize];
        match finding.kind {
            FindingKind::Shadowed => found.shadowed += 1,
            FindingKind::Redundant => found.redundant += 1,
            FindingKind::Empty => found.empty += 1,
        }
        // Entries of one rule that hide each other are its own affair.
        let others = finding.by.iter().map(|by| entries[*by as usize]).filter(|by| *by != rule);
        found.by.extend(others);
    }
    for entry in &found.undecided {
        rules[entries[*entry as usize] as usize].undecided += 1;
    }
    let mut audit = Audit::default();
    for (rule, found) in policy.rules.iter().zip(&rules) {
        let useless = found.shadowed + found.redundant + found.empty;
        if useless < found.entries {
            // One entry that decides something is enough for the rule.
            audit.undecided += usize::from(useless + found.undecided == found.entries);
            continue;
        }
        audit.warnings_total += 1;
        if audit.warnings.len() < MOST_WARNINGS {
            audit.warnings.push(warning(policy, rule, found));
        }
    }
    audit.show_sources(&policy.text);
    audit
}

fn warning(policy: &Policy, rule: &Rule, found: &Found) -> Warning {
    let code = match found {
        Found { shadowed: 1.., .. } => WarningCode::Shadowed,
        Found { redundant: 1.., .. } => WarningCode::Redundant,
        _ => WarningCode::Empty,
    };
    let by: Vec<u32> = found.by.iter().copied().collect();
    let hiding = |by: &u32| {
        let by = &policy.rules[*by as usize];
        HidingRule { rule: by.id.clone(), line: by.line(), action: by.action.as_str().into() }
    };
    let message = message(policy, rule, code, &by);
    Warning {
        code,
        rule: rule.id.clone(),
        hidden_by: by.iter().take(MOST_HIDING).map(hiding).collect(),
        hidden_by_total: by.len(),
        diagnostic: Diagnostic::about(&*policy.file, message).at(rule.place),
    }
}

fn message(policy: &Policy, rule: &Rule, code: WarningCode, by: &[u32]) -> String {
    let id = &rule.id;
    let (does, done) = match rule.action {
        Action::Allow => ("allow", "allows"),
        Action::Deny => ("deny", "denies"),
    };
    match code {
        WarningCode::Shadowed => {
            let named = policy.named(by, |by| format!("line {}, {}", by.line(), in_words(by)));
            let others = by.iter().map(|by| &policy.rules[*by as usize]);
            let first = others.into_iter().find(|by| doing(by) != doing(rule));
            let above = first.map(|by| format!("move it above `{}` to let it decide, or ", by.id));
            let above = above.unwrap_or_default();
            format!(
                "rule `{id}` is shadowed: all that it would {does} is decided by {named}; \
                 {above}leave it out"
            )
        }
        WarningCode::Redundant => {
            let named = policy.named(by, |by| format!("line {}", by.line()));
            let do_so = if by.len() == 1 { done } else { does };
            format!("rule `{id}` is redundant: {named} {do_so} all that it {done}; leave it out")
        }
        WarningCode::Empty => format!("rule `{id}` is empty: it matches no packet; leave it out"),
    }
}

/// What `rule` does, as a number: another one for what does something else with any packet.
pub(super) fn doing(rule: &Rule) -> u32 {
    match (rule.action, rule.established) {
        (Action::Deny, _) => 0,
        (Action::Allow, Established::Recheck) => 1,
        (Action::Allow, Established::Keep) => 2,
    }
}

fn in_words(rule: &Rule) -> String {
    let action = rule.action.as_str();
    match (rule.action, rule.established) {
        (Action::Allow, kept @ Established::Keep) => {
            format!("{action}, established: {}", established_word(kept))
        }
        _ => action.to_owned(),
    }
}

impl Policy {
    /// The rules of these indices by name, each with what `about` says of it, as part of a sentence.
    pub(super) fn named(&self, rules: &[u32], about: impl Fn(&Rule) -> String) -> String {
        let name = |rule: &u32| {
            let rule = &self.rules[*rule as usize];
            format!("`{}` ({})", rule.id, about(rule))
        };
        let names: Vec<String> = rules.iter().take(MOST_NAMED).map(name).collect();
        match (&names[..], rules.len() - names.len()) {
            ([], _) => String::new(),
            ([one], 0) => one.clone(),
            ([others @ .., last], 0) => format!("{} and {last}", others.join(", ")),
            (_, more) => format!("{} and {more} more", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::Finding;

    /// Rules `one`, of a single entry, and `two`, of two.
    fn policy() -> Policy {
        let text = "version: 1\nhosts: { h: { addresses: [10.0.0.1, 10.0.0.2] } }\nrules:\n  - { id: \
                    one, from: any, to: any, service: any, action: allow }\n  - { id: two, from: h, \
                    to: any, service: any, action: allow }\n";
        Policy::parse("p.yaml", text).expect("it is valid")
    }

    fn audit(findings: &[(u32, FindingKind, &[u32])], undecided: &[u32]) -> Audit {
        let finding = |&(rule, kind, by): &(u32, FindingKind, &[u32])| Finding {
            rule,
            kind,
            by: by.to_vec(),
        };
        let findings = findings.iter().map(finding).collect();
        let found = classifier::Audit { findings, undecided: undecided.to_vec() };
        of_policy(&policy(), &[0, 1, 1], &found)
    }

    /// Lowering makes no entry that matches nothing; were it to, the rule is told of.
    #[test]
    fn a_rule_of_entries_that_match_nothing_is_empty() {
        let one_half = audit(&[(1, FindingKind::Empty, &[])], &[]);
        assert_eq!(one_half, Audit::default());
        let whole = audit(&[(1, FindingKind::Empty, &[]), (2, FindingKind::Empty, &[])], &[]);
        let [warning] = &whole.warnings[..] else { panic!("{whole:?}") };
        assert_eq!((warning.code, warning.hidden_by_total), (WarningCode::Empty, 0));
        let message =
            "p.yaml:5:5: warning: rule `two` is empty: it matches no packet; leave it out";
        assert_eq!(warning.to_string(), message);
        // What matches something says why the rest of it is useless.
        let mixed = audit(&[(1, FindingKind::Empty, &[]), (2, FindingKind::Redundant, &[0])], &[]);
        assert_eq!(mixed.warnings[0].code, WarningCode::Redundant);
    }

    #[test]
    fn a_rule_is_undecided_unless_an_entry_of_it_decides_something() {
        let redundant = (1, FindingKind::Redundant, &[0][..]);
        assert_eq!(audit(&[], &[0]).undecided, 1);
        assert_eq!(audit(&[redundant], &[2]).undecided, 1);
        assert_eq!(audit(&[], &[1, 2]).undecided, 1);
        assert_eq!(audit(&[], &[2]).undecided, 0);
        assert_eq!(audit(&[redundant], &[2]).warnings_total, 0);
    }
}
