//! `Config -> Builder -> Classifier`, with limits.

use crate::tuple_space::Classifier;
use crate::{Lookup, Rule, RuleIndex};
use std::fmt;

/// Limits on what a build may produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most rules accepted.
    pub max_rules: usize,
    /// Most bytes the compiled table may hold.
    pub max_memory: usize,
}

impl Default for Config {
    /// A million rules, one gibibyte.
    fn default() -> Self {
        Config { max_rules: 1_000_000, max_memory: 1 << 30 }
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
        // One index less than there are: the engine keeps the last for "no rule".
        let max_rules = self.config.max_rules.min(RuleIndex::MAX as usize);
        if self.rules.len() > max_rules {
            return Err(BuildError::TooManyRules { rules: self.rules.len(), limit: max_rules });
        }
        let classifier = Classifier::compile(&self.rules);
        let bytes = classifier.memory_usage();
        if bytes > self.config.max_memory {
            return Err(BuildError::TooMuchMemory { bytes, limit: self.config.max_memory });
        }
        Ok(classifier)
    }
}

/// Why a table could not be built.
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
        /// Bytes needed.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::TooManyRules { rules, limit } => {
                write!(f, "{rules} rules are more than the limit of {limit}")
            }
            BuildError::TooMuchMemory { bytes, limit } => {
                write!(f, "the compiled table takes {bytes} bytes, more than the limit of {limit}")
            }
        }
    }
}

impl std::error::Error for BuildError {}
