//! How many prefixes of a set hold each other.

use classifier::{Family, prefix_mask};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::BuildHasher;

/// The prefixes of one side of a rule set, none in more than a given number of others. Real sets
/// nest little: ClassBench calls the bound the nesting threshold.
pub(super) struct Nesting {
    family: Family,
    /// Most prefixes on the way from the root to an address.
    limit: u8,
    /// Every length that a prefix can have, in order.
    lens: Vec<u8>,
    /// Every prefix and all that hold it, of those lengths; by hash, because there are many.
    nodes: HashMap<u64, Node, FixedState>,
}

#[derive(Clone, Copy, Default)]
struct Node {
    is_prefix: bool,
    /// Most prefixes on a way from here down, this one included.
    chain: u8,
}

impl Nesting {
    pub fn new(family: Family, limit: u8, lens: Vec<u8>) -> Self {
        Nesting { family, limit, lens, nodes: HashMap::default() }
    }

    /// Whether the prefix is one of the set.
    pub fn holds(&self, value: u128, len: u8) -> bool {
        self.node(value, len).is_prefix
    }

    /// Whether the set would keep to its limit with the prefix.
    pub fn has_room(&self, value: u128, len: u8) -> bool {
        let above = self.lens.iter().filter(|l| **l < len && self.holds(value, **l)).count();
        above + 1 + usize::from(self.node(value, len).chain) <= usize::from(self.limit)
    }

    /// Adds the prefix, whether there is room or not.
    pub fn insert(&mut self, value: u128, len: u8) {
        if self.holds(value, len) {
            return;
        }
        let mut chain = 0;
        for &at in self.lens.iter().rev().filter(|l| **l <= len) {
            let key = self.key(value, at);
            let node = self.nodes.entry(key).or_default();
            node.is_prefix |= at == len;
            // What is below a new prefix is below it, too.
            let below = if at == len { node.chain } else { chain };
            node.chain = node.chain.max(below.saturating_add(node.is_prefix.into()));
            chain = node.chain;
        }
    }

    fn node(&self, value: u128, len: u8) -> Node {
        self.nodes.get(&self.key(value, len)).copied().unwrap_or_default()
    }

    fn key(&self, value: u128, len: u8) -> u64 {
        self.nodes.hasher().hash_one((value & prefix_mask(self.family, len), len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(limit: u8) -> Nesting {
        Nesting::new(Family::V4, limit, (4..=32).collect())
    }

    #[test]
    fn a_chain_is_as_long_as_the_limit_whatever_the_order() {
        let chain = [(0x0a00_0000, 8), (0x0a01_0000, 16), (0x0a01_0200, 24)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
            let mut nesting = set(2);
            let [first, second, third] = order.map(|at: usize| chain[at]);
            for (value, len) in [first, second] {
                assert!(nesting.has_room(value, len), "{order:?}");
                nesting.insert(value, len);
            }
            assert!(!nesting.has_room(third.0, third.1), "{order:?}");
            assert!(nesting.has_room(0x0b00_0000, 8));
        }
    }

    #[test]
    fn prefixes_side_by_side_do_not_count() {
        let mut nesting = set(1);
        for host in 0x0a00_0000..0x0a00_0100 {
            assert!(nesting.has_room(host, 32));
            nesting.insert(host, 32);
        }
        assert!(!nesting.has_room(0x0a00_0000, 24));
        assert!(nesting.holds(0x0a00_0007, 32) && !nesting.holds(0x0a00_0000, 24));
    }
}
