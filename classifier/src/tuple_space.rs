//! Tuple space search.
use crate::{Lookup, PacketKey, RuleIndex};

/// Compiled table.
#[derive(Clone, Debug)]
pub struct Classifier {}

impl Lookup for Classifier {
    fn lookup(&self, _key: &PacketKey) -> Option<RuleIndex> { todo!() }
    fn memory_usage(&self) -> usize { todo!() }
    fn worst_case(&self) -> usize { todo!() }
}
