//! `Config -> Builder -> Classifier`, with limits.

use crate::block::NONE;
use crate::classifier::AnyEntries;
use crate::entry::{Uses, entries_of};
use crate::{Audit, Classifier, Lookup, Rule, RuleIndex, audit};
use std::fmt;

/// Limits on what a build may produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most rules accepted.
    pub max_rules: usize,
    /// Most bytes the compiled table may hold.
    pub max_memory: usize,
    /// Most cache lines that a lookup may touch: see [`Lookup::worst_case`].
    pub max_worst_case: usize,
}

impl Default for Config {
    /// A million rules, one gibibyte, 4,096 cache lines.
    fn default() -> Self {
        Config { max_rules: 1_000_000, max_memory: 1 << 30, max_worst_case: 4096 }
    }
}

/// Collects rules in priority order and compiles them.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
    rules: Vec<Rule>,
}

impl Builder {
    /// An empty builder with these limits.
    pub fn new(config: Config) -> Self {
        Builder { config, rules: Vec::new() }
    }

    /// Adds a rule below all earlier ones; its index.
    pub fn push(&mut self, rule: Rule) -> RuleIndex {
        self.rules.push(rule);
        (self.rules.len() - 1) as RuleIndex
    }

    /// Compiles the rules.
    ///
    /// # Errors
    /// [`BuildError`] when a limit of the [`Config`] is passed.
    pub fn build(self) -> Result<Classifier, BuildError> {
        self.config.compile(&self.rules)
    }

    /// Compiles the rules, and finds those that could be left out. `outcome` tells what a rule
    /// does, as [`audit`] wants it.
    ///
    /// # Errors
    /// As [`build`](Builder::build).
    pub fn build_audited(
        self,
        outcome: impl Fn(RuleIndex) -> u32,
    ) -> Result<(Classifier, Audit), BuildError> {
        let classifier = self.config.compile(&self.rules)?;
        let audit = audit(&classifier, &self.rules, outcome);
        Ok((classifier, audit))
    }
}

/// Most rules that an error names.
const NAMED: usize = 8;

impl Config {
    fn compile(&self, rules: &[Rule]) -> Result<Classifier, BuildError> {
        self.compile_keeping_entries(rules).map(|(classifier, _)| classifier)
    }

    /// The table of `rules`, and the entries that it was built from.
    pub(crate) fn compile_keeping_entries(
        &self,
        rules: &[Rule],
    ) -> Result<(Classifier, AnyEntries), BuildError> {
        self.check_rules(rules.len())?;
        self.check_entries(rules)?;
        let uses = Uses::of(rules);
        let entries = AnyEntries::of(rules, uses);
        let classifier = self.check(Classifier::compile(&entries, uses))?;
        Ok((classifier, entries))
    }

    /// One index less than there are: the last stands for "no rule".
    fn check_rules(&self, rules: usize) -> Result<(), BuildError> {
        let limit = self.max_rules.min(NONE as usize);
        if rules > limit {
            return Err(BuildError::TooManyRules { rules, limit });
        }
        Ok(())
    }

    /// Before anything is built: whether the entries of the rules fit, each once. A set of addresses
    /// on both sides becomes an entry for each pair of prefixes.
    fn check_entries(&self, rules: &[Rule]) -> Result<(), BuildError> {
        let mut each: Vec<(usize, RuleIndex)> = rules.iter().map(entries_of).zip(0..).collect();
        let all = each.iter().fold(0usize, |sum, (entries, _)| sum.saturating_add(*entries));
        let bytes = all.saturating_mul(LEAST_ENTRY);
        if bytes <= self.max_memory {
            return Ok(());
        }
        each.sort_unstable_by(|a, b| b.cmp(a));
        let rules = each.iter().take(NAMED).map(|(_, rule)| *rule).collect();
        Err(BuildError::TooMuchMemory { bytes, limit: self.max_memory, rules })
    }

    /// Whether a table keeps the limits.
    pub(crate) fn check(&self, classifier: Classifier) -> Result<Classifier, BuildError> {
        let (bytes, limit) = (classifier.memory_usage(), self.max_memory);
        if bytes > limit {
            let rules = classifier.most_copied(NAMED);
            return Err(BuildError::TooMuchMemory { bytes, limit, rules });
        }
        let (lines, limit) = (classifier.worst_case(), self.max_worst_case);
        if lines > limit {
            let rules = classifier.dearest_rules(NAMED);
            return Err(BuildError::TooSlow { lines, limit, rules });
        }
        Ok(classifier)
    }
}

/// Bytes that an entry takes at least.
const LEAST_ENTRY: usize = 24;

/// Why a table could not be built. Those that are about a limit of the table name the rules that
/// bring it there, those that do most first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// More rules than [`Config::max_rules`].
    TooManyRules {
        /// Rules given.
        rules: usize,
        /// The limit.
        limit: usize,
    },
    /// The compiled table is larger than [`Config::max_memory`].
    TooMuchMemory {
        /// Bytes needed, at least.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// Rules that take most of them.
        rules: Vec<RuleIndex>,
    },
    /// A lookup could touch more cache lines than [`Config::max_worst_case`].
    TooSlow {
        /// Cache lines.
        lines: usize,
        /// The limit.
        limit: usize,
        /// Rules that overlap where it does.
        rules: Vec<RuleIndex>,
    },
}

impl BuildError {
    /// The rules that cause it, as far as they are known.
    pub fn rules(&self) -> &[RuleIndex] {
        match self {
            BuildError::TooManyRules { .. } => &[],
            BuildError::TooMuchMemory { rules, .. } | BuildError::TooSlow { rules, .. } => rules,
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |rules: &[RuleIndex]| {
            rules.iter().map(RuleIndex::to_string).collect::<Vec<_>>().join(", ")
        };
        match self {
            BuildError::TooManyRules { rules, limit } => {
                write!(f, "{rules} rules are more than the limit of {limit}")
            }
            BuildError::TooMuchMemory { bytes, limit, rules } => write!(
                f,
                "the compiled table takes {bytes} bytes, more than the limit of {limit}; most of \
                 it for the rules at {}",
                list(rules)
            ),
            BuildError::TooSlow { lines, limit, rules } => write!(
                f,
                "a lookup can touch {lines} cache lines, more than the limit of {limit}, because \
                 too many rules overlap, those at {} among them",
                list(rules)
            ),
        }
    }
}

impl std::error::Error for BuildError {}
