//! The engines that are measured: the compiled table, and what it is held against.

mod fields;
mod scan;
mod tuple_space;

pub use scan::Scan;
pub use tuple_space::{TupleSpace, Unsupported};

use clap::ValueEnum;
use classifier::{BuildError, Builder, Classifier, Config, Linear, Lookup, PacketKey, Rule, Simd};
use serde::Serialize;
use std::error::Error;

/// An engine, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The product's
    Compiled,
    /// Every rule in order
    Linear,
    /// Tuple space search
    Tuple,
}

impl Engine {
    /// The engine over `rules`. The compiled one looks up with `simd`; the others are portable.
    ///
    /// # Errors
    /// If the engine cannot be built for these rules.
    pub fn build(self, rules: Vec<Rule>, simd: Simd) -> Result<Box<dyn Cost>, Box<dyn Error>> {
        Ok(match self {
            Engine::Compiled => Box::new(compile(rules)?.with_simd(simd)),
            Engine::Linear => Box::new(Linear::new(rules)),
            Engine::Tuple => Box::new(TupleSpace::new(&rules)?),
        })
    }
}

/// Limits that no rule set reaches, unlike those that a gateway sets.
pub const UNLIMITED: Config =
    Config { max_rules: usize::MAX, max_memory: usize::MAX, max_worst_case: usize::MAX };

/// The compiled engine over `rules`, without limits.
///
/// # Errors
/// If the rules cannot be compiled at all.
pub fn compile(rules: Vec<Rule>) -> Result<Classifier, BuildError> {
    let mut builder = Builder::new(UNLIMITED);
    for rule in rules {
        builder.push(rule);
    }
    builder.build()
}

/// An engine that can tell what a lookup costs without timing it.
pub trait Cost: Lookup {
    /// Cache lines of the table that looking up `key` touches; at most
    /// [`worst_case`](Lookup::worst_case).
    fn cost(&self, key: &PacketKey) -> usize;
}

impl Cost for Classifier {
    fn cost(&self, key: &PacketKey) -> usize {
        self.cost(key)
    }
}

impl Cost for Linear {
    /// The rules tried, which is what its [`worst_case`](Lookup::worst_case) counts.
    fn cost(&self, key: &PacketKey) -> usize {
        self.lookup(key).map_or(self.worst_case(), |rule| rule as usize + 1)
    }
}

/// Most cache lines, of 64 bytes, that `count` neighbours of an array of `T` can lie in.
fn lines<T>(count: usize) -> usize {
    const LINE: usize = 64;
    let slack = LINE - align_of::<T>().min(LINE);
    if count == 0 { 0 } else { (count * size_of::<T>() + slack).div_ceil(LINE) }
}
