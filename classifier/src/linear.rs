//! The reference engine: try every rule in order.

use crate::{Lookup, PacketKey, Rule, RuleIndex};

/// Linear scan. Slow and obviously right: the oracle of every other engine.
#[derive(Clone, Debug, Default)]
pub struct Linear {
    rules: Box<[Rule]>,
}

impl Linear {
    /// The rules in priority order, first wins.
    pub fn new(rules: impl Into<Box<[Rule]>>) -> Self {
        Linear { rules: rules.into() }
    }
}

impl Lookup for Linear {
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex> {
        self.rules.iter().position(|rule| rule.matches(key)).map(|i| i as RuleIndex)
    }

    fn memory_usage(&self) -> usize {
        size_of_val(&*self.rules)
    }

    fn worst_case(&self) -> usize {
        size_of_val(&*self.rules).div_ceil(64)
    }
}
