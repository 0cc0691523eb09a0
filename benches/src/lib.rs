//! Rule-set and traffic generators, and the benches that use them.
//!
//! Everything is made from a seed: the same seed gives the same rules, keys, frames and files.

pub mod classbench;
pub mod contest;
pub mod draw;
pub mod edits;
pub mod engines;
pub mod interrupt;
pub mod machine;
pub mod markdown;
pub mod measure;
pub mod probe;
pub mod rulegen;
pub mod rulesets;
pub mod search;
pub mod sides;
pub mod stats;
pub mod traces;
pub mod trafficgen;
#[cfg(feature = "wire")]
pub mod wire;
pub mod workload;
