//! Rules that change a few at a time, and the table that follows them.

use crate::block::NONE;
use crate::classifier::{AnyEntries, Entries, Layout, Tables};
use crate::entry::Uses;
use crate::patch::Change;
use crate::{BuildError, Classifier, Config, Lookup, Rule, RuleIndex};
use std::fmt;
use std::sync::Arc;

/// A change of one rule. All positions are those of the list before any edit that is applied
/// together with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Puts a rule before the one at `at`, or at the end. Several at one position stay in the order
    /// in which they are given.
    Insert {
        /// Position, 0 to the number of rules.
        at: RuleIndex,
        /// The new rule.
        rule: Rule,
    },
    /// Takes a rule out.
    Remove {
        /// Its position.
        at: RuleIndex,
    },
    /// Puts another rule in the place of one.
    Replace {
        /// Its position.
        at: RuleIndex,
        /// The new rule.
        rule: Rule,
    },
}

impl Edit {
    fn at(&self) -> RuleIndex {
        match self {
            Edit::Insert { at, .. } | Edit::Remove { at } | Edit::Replace { at, .. } => *at,
        }
    }
}

/// How an update was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Only the parts of the table that the edits concern were built.
    Patched,
    /// The whole table was built: the edits were many, looked at other fields than the table, or
    /// concerned too much of it; or patches had made it half as large again.
    Rebuilt,
}

/// Why edits could not be applied. Nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// There is no rule at this position.
    NoSuchRule {
        /// The position.
        at: RuleIndex,
        /// How many rules there are.
        rules: usize,
    },
    /// Two edits remove or replace the same rule.
    Twice {
        /// Its position.
        at: RuleIndex,
    },
    /// The table passes a limit.
    Build(BuildError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NoSuchRule { at, rules } => {
                write!(f, "there is no rule at position {at}; there are {rules} rules")
            }
            EditError::Twice { at } => {
                write!(f, "the rule at position {at} is removed or replaced twice")
            }
            EditError::Build(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EditError {}

/// A list of rules and its table.
#[derive(Clone, Debug)]
pub struct Updater {
    config: Config,
    rules: Vec<Rule>,
    uses: Uses,
    entries: AnyEntries,
    classifier: Arc<Classifier>,
    /// Bytes of the table when it was last built whole.
    built: usize,
}

/// More edits than this, and a build is the better way.
const MOST_EDITS: usize = 256;

impl Updater {
    /// Builds the table of `rules`.
    ///
    /// # Errors
    /// When a limit of `config` is passed.
    pub fn new(config: Config, rules: Vec<Rule>) -> Result<Self, BuildError> {
        let (classifier, entries) = config.compile_keeping_entries(&rules)?;
        let uses = Uses::of(&rules);
        let built = classifier.memory_usage();
        Ok(Updater { config, rules, uses, entries, classifier: Arc::new(classifier), built })
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Their table.
    pub fn classifier(&self) -> Arc<Classifier> {
        Arc::clone(&self.classifier)
    }

    /// Applies `edits`, all of them or, on an error, none. The table before stays as it is for
    /// those who have it.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn apply(&mut self, edits: &[Edit]) -> Result<Applied, EditError> {
        let plan = Plan::of(edits, self.rules.len())?;
        if let Some((classifier, entries)) = self.patch(&plan) {
            self.rules = plan.merge(std::mem::take(&mut self.rules).into_iter());
            self.entries = entries;
            self.classifier = Arc::new(classifier);
            return Ok(Applied::Patched);
        }
        let rules = plan.merge(self.rules.iter().cloned());
        *self = Updater::new(self.config, rules).map_err(EditError::Build)?;
        Ok(Applied::Rebuilt)
    }

    fn patch(&self, plan: &Plan<'_>) -> Option<(Classifier, AnyEntries)> {
        if plan.fresh.len() + plan.gone.len() > MOST_EDITS || plan.rules > self.config.max_rules {
            return None;
        }
        let fresh: Vec<Rule> = plan.fresh.iter().map(|(_, rule)| (*rule).clone()).collect();
        if !self.uses.has(Uses::of(&fresh)) {
            return None;
        }
        let (tables, entries) = match (&self.classifier.tables, &self.entries) {
            (Layout::Plain(tables), AnyEntries::Plain(entries)) => {
                let (tables, entries) = patch_tables(tables, entries, plan)?;
                (Layout::Plain(tables), AnyEntries::Plain(entries))
            }
            (Layout::Full(tables), AnyEntries::Full(entries)) => {
                let (tables, entries) = patch_tables(tables, entries, plan)?;
                (Layout::Full(tables), AnyEntries::Full(entries))
            }
            _ => return None,
        };
        let classifier = self.classifier.with_tables(tables);
        if classifier.memory_usage() > self.built + self.built / 2 + 65536 {
            return None;
        }
        // A build divides the rules anew, and may stay within a limit that a patch passes.
        let checked = self.config.check(classifier).ok()?;
        Some((checked, entries))
    }
}

fn patch_tables<const F: usize, const S: usize>(
    tables: &Tables<F, S>,
    entries: &Entries<F, S>,
    plan: &Plan<'_>,
) -> Option<(Tables<F, S>, Entries<F, S>)> {
    let fresh: Entries<F, S> = Entries::of(plan.fresh.iter().copied());
    let after = Entries {
        v4: merge_entries(&entries.v4, &fresh.v4, &plan.renumber, |entry| &mut entry.rule),
        v6: merge_entries(&entries.v6, &fresh.v6, &plan.renumber, |entry| &mut entry.rule),
    };
    let gone = |rule: RuleIndex| plan.renumber[rule as usize] == NONE;
    let removed = Entries {
        v4: entries.v4.iter().filter(|entry| gone(entry.rule)).copied().collect(),
        v6: entries.v6.iter().filter(|entry| gone(entry.rule)).copied().collect(),
    };
    let v4 = tables.v4.patched(&Change {
        entries: &after.v4,
        removed: &removed.v4,
        fresh: &fresh.v4,
        renumber: &plan.renumber,
    })?;
    let v6 = tables.v6.patched(&Change {
        entries: &after.v6,
        removed: &removed.v6,
        fresh: &fresh.v6,
        renumber: &plan.renumber,
    })?;
    Some((Tables { v4, v6 }, after))
}

/// The entries after an edit, in the order of their rules.
fn merge_entries<E: Copy>(
    before: &[E],
    fresh: &[E],
    renumber: &[RuleIndex],
    rule: impl Fn(&mut E) -> &mut RuleIndex,
) -> Vec<E> {
    let mut after = Vec::with_capacity(before.len() + fresh.len());
    let mut fresh = fresh.iter().copied().peekable();
    for mut entry in before.iter().copied() {
        let place = rule(&mut entry);
        *place = renumber[*place as usize];
        let index = *place;
        if index != NONE {
            while let Some(earlier) = fresh.next_if(|entry| *rule(&mut entry.clone()) < index) {
                after.push(earlier);
            }
            after.push(entry);
        }
    }
    after.extend(fresh);
    after
}

/// Edits in order, and what they do to the positions.
struct Plan<'a> {
    /// For each rule before its index after, [`NONE`] when it is gone.
    renumber: Vec<RuleIndex>,
    /// Rules that are new, with their indices after.
    fresh: Vec<(RuleIndex, &'a Rule)>,
    /// Positions before of those that go.
    gone: Vec<RuleIndex>,
    /// How many rules there are after.
    rules: usize,
}

impl<'a> Plan<'a> {
    fn of(edits: &'a [Edit], rules: usize) -> Result<Self, EditError> {
        let mut edits: Vec<&Edit> = edits.iter().collect();
        // What is inserted at a position comes before what happens to the rule there.
        edits.sort_by_key(|edit| (edit.at(), !matches!(edit, Edit::Insert { .. })));
        let mut plan = Plan {
            renumber: Vec::with_capacity(rules),
            fresh: Vec::new(),
            gone: Vec::new(),
            rules: 0,
        };
        let mut next = 0;
        let keep_until = |plan: &mut Plan<'_>, next: &mut RuleIndex, at: RuleIndex| {
            while (plan.renumber.len() as RuleIndex) < at {
                plan.renumber.push(*next);
                *next += 1;
            }
        };
        for edit in edits {
            let at = edit.at();
            let last = rules - usize::from(!matches!(edit, Edit::Insert { .. }) && rules > 0);
            let inside = at as usize <= last && (rules > 0 || matches!(edit, Edit::Insert { .. }));
            if !inside {
                return Err(EditError::NoSuchRule { at, rules });
            }
            if plan.renumber.len() as RuleIndex > at {
                return Err(EditError::Twice { at });
            }
            keep_until(&mut plan, &mut next, at);
            match edit {
                Edit::Insert { rule, .. } => {
                    plan.fresh.push((next, rule));
                    next += 1;
                }
                Edit::Remove { .. } => {
                    plan.renumber.push(NONE);
                    plan.gone.push(at);
                }
                Edit::Replace { rule, .. } => {
                    plan.renumber.push(NONE);
                    plan.gone.push(at);
                    plan.fresh.push((next, rule));
                    next += 1;
                }
            }
        }
        keep_until(&mut plan, &mut next, rules as RuleIndex);
        plan.rules = next as usize;
        Ok(plan)
    }

    /// The rules after.
    fn merge(&self, before: impl Iterator<Item = Rule>) -> Vec<Rule> {
        let mut after = Vec::with_capacity(self.rules);
        let mut fresh = self.fresh.iter().peekable();
        for (rule, index) in before.zip(&self.renumber) {
            if *index != NONE {
                while let Some((_, earlier)) = fresh.next_if(|(at, _)| at < index) {
                    after.push((*earlier).clone());
                }
                after.push(rule);
            }
        }
        after.extend(fresh.map(|(_, rule)| (*rule).clone()));
        after
    }
}
