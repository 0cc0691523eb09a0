//! Rules that change a few at a time, and the table that follows them.

use crate::block::NONE;
use crate::classifier::{AnyEntries, Entries, Layout, Tables};
use crate::entry::Uses;
use crate::patch::{Kept, with_room};
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
    /// concerned too much of it; or patches had made it much larger or its worst case much dearer.
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
#[derive(Debug)]
pub struct Updater {
    config: Config,
    rules: Vec<Rule>,
    uses: Uses,
    /// `None` after edits that could be neither patched in nor built.
    kept: Option<AnyKept>,
    classifier: Arc<Classifier>,
    /// Bytes and worst case of the table when it was last built whole.
    built: (usize, usize),
}

/// More edits than this, and a build is the better way.
const MOST_EDITS: usize = 256;

/// What to keep of the entries of both families, for the words of a [`Layout`].
#[derive(Clone, Debug)]
enum AnyKept {
    Plain(Kept<1, 2>, Kept<4, 5>),
    Full(Kept<1, 4>, Kept<4, 7>),
    Link(Kept<1, 5>, Kept<4, 8>),
}

impl Clone for Updater {
    fn clone(&self) -> Self {
        Updater {
            config: self.config,
            rules: with_room(self.rules.iter().cloned()),
            uses: self.uses,
            kept: self.kept.clone(),
            classifier: Arc::clone(&self.classifier),
            built: self.built,
        }
    }
}

impl Updater {
    /// Builds the table of `rules`.
    ///
    /// # Errors
    /// When a limit of `config` is passed.
    pub fn new(config: Config, rules: Vec<Rule>) -> Result<Self, BuildError> {
        let (classifier, entries) = config.compile_keeping_entries(&rules)?;
        let uses = Uses::of(&rules);
        let kept = match (&classifier.tables, entries) {
            (Layout::Plain(tables), AnyEntries::Plain(entries)) => {
                AnyKept::Plain(tables.v4.keep(entries.v4), tables.v6.keep(entries.v6))
            }
            (Layout::Full(tables), AnyEntries::Full(entries)) => {
                AnyKept::Full(tables.v4.keep(entries.v4), tables.v6.keep(entries.v6))
            }
            (Layout::Link(tables), AnyEntries::Link(entries)) => {
                AnyKept::Link(tables.v4.keep(entries.v4), tables.v6.keep(entries.v6))
            }
            _ => unreachable!("a table has the words of its entries"),
        };
        let built = (classifier.memory_usage(), classifier.worst_case());
        Ok(Updater {
            config,
            rules,
            uses,
            kept: Some(kept),
            classifier: Arc::new(classifier),
            built,
        })
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
        if let Some(classifier) = self.patch(&plan) {
            plan.carry_out(&mut self.rules);
            self.classifier = Arc::new(classifier);
            return Ok(Applied::Patched);
        }
        let mut rules = with_room(self.rules.iter().cloned());
        plan.carry_out(&mut rules);
        *self = Updater::new(self.config, rules).map_err(EditError::Build)?;
        Ok(Applied::Rebuilt)
    }

    fn patch(&mut self, plan: &Plan<'_>) -> Option<Classifier> {
        if plan.fresh.len() + plan.gone > MOST_EDITS || plan.rules > self.config.max_rules {
            return None;
        }
        let fresh: Vec<Rule> = plan.fresh.iter().map(|(_, rule)| (*rule).clone()).collect();
        if !self.uses.has(Uses::of(&fresh)) {
            return None;
        }
        let mut kept = self.kept.take()?;
        let tables = match (&self.classifier.tables, &mut kept) {
            (Layout::Plain(tables), AnyKept::Plain(v4, v6)) => {
                Layout::Plain(patch_tables(tables, v4, v6, plan)?)
            }
            (Layout::Full(tables), AnyKept::Full(v4, v6)) => {
                Layout::Full(patch_tables(tables, v4, v6, plan)?)
            }
            (Layout::Link(tables), AnyKept::Link(v4, v6)) => {
                Layout::Link(patch_tables(tables, v4, v6, plan)?)
            }
            _ => return None,
        };
        let classifier = self.classifier.with_tables(tables);
        let (bytes, lines) = self.built;
        // What patches leave behind takes memory and no time, and a leaf may grow for a while.
        if classifier.memory_usage() > 2 * bytes + (1 << 20)
            || classifier.worst_case() > 2 * lines + 512
        {
            return None;
        }
        // A build divides the rules anew, and may stay within a limit that a patch passes.
        let checked = self.config.check(classifier).ok()?;
        self.kept = Some(kept);
        Some(checked)
    }
}

fn patch_tables<const F: usize, const S: usize>(
    tables: &Tables<F, S>,
    v4: &mut Kept<1, F>,
    v6: &mut Kept<4, S>,
    plan: &Plan<'_>,
) -> Option<Tables<F, S>> {
    let fresh: Entries<F, S> = Entries::of(plan.fresh.iter().copied());
    let v4 = tables.v4.changed(v4, fresh.v4, &plan.renumber)?;
    let v6 = tables.v6.changed(v6, fresh.v6, &plan.renumber)?;
    Some(Tables { v4, v6 })
}

/// Edits in order, and what they do to the positions.
struct Plan<'a> {
    /// For each rule before its index after, [`NONE`] when it is gone.
    renumber: Vec<RuleIndex>,
    /// Rules that are new, with their indices after.
    fresh: Vec<(RuleIndex, &'a Rule)>,
    /// How many rules go.
    gone: usize,
    /// How many rules there are after.
    rules: usize,
}

impl<'a> Plan<'a> {
    fn of(edits: &'a [Edit], rules: usize) -> Result<Self, EditError> {
        let mut edits: Vec<&Edit> = edits.iter().collect();
        // What is inserted at a position comes before what happens to the rule there.
        edits.sort_by_key(|edit| (edit.at(), !matches!(edit, Edit::Insert { .. })));
        let mut plan =
            Plan { renumber: Vec::with_capacity(rules), fresh: Vec::new(), gone: 0, rules: 0 };
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
                    plan.gone += 1;
                }
                Edit::Replace { rule, .. } => {
                    plan.renumber.push(NONE);
                    plan.gone += 1;
                    plan.fresh.push((next, rule));
                    next += 1;
                }
            }
        }
        keep_until(&mut plan, &mut next, rules as RuleIndex);
        plan.rules = next as usize;
        Ok(plan)
    }

    /// Makes the rules before those after, in place: a long list takes longer to allocate than to
    /// change.
    fn carry_out(&self, rules: &mut Vec<Rule>) {
        let moves =
            (0..self.renumber.len()).zip(&self.renumber).filter(|(_, after)| **after != NONE);
        let moves = moves.map(|(before, after)| (before, *after as usize));
        rules.resize(rules.len().max(self.rules), Rule::ANY);
        // First those that move down, from the first on, and then those that move up, from the last
        // on: so none is put where another has not left yet.
        for (before, after) in moves.clone().filter(|(before, after)| after < before) {
            rules.swap(before, after);
        }
        for (before, after) in moves.rev().filter(|(before, after)| before < after) {
            rules.swap(before, after);
        }
        rules.truncate(self.rules);
        for (index, rule) in &self.fresh {
            rules[*index as usize] = (*rule).clone();
        }
    }
}
