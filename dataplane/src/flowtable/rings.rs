//! Lists through the slots: each slot stands in up to two rings, the timer wheel's and that of its
//! kind.
//!
//! A ring is closed through an anchor, a node beyond those of the slots, so that putting in and
//! taking out never ask whether they are at an end. Nodes lie apart from the records, four to a
//! cache line: to relink a neighbour does not pull its record into the cache.

use super::work;

/// The timer wheel's rings.
pub(super) const WHEEL: usize = 0;
/// Rings of flows of one kind, and of free slots.
pub(super) const KIND: usize = 1;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Link {
    prev: u32,
    next: u32,
}

/// The nodes of `slots` slots and of the anchors after them.
#[derive(Debug)]
pub(super) struct Rings {
    nodes: Box<[[Link; 2]]>,
}

impl Rings {
    pub fn new(slots: u32, anchors: u32) -> Self {
        let alone = |n| [Link { prev: n, next: n }; 2];
        Rings { nodes: (0..slots + anchors).map(alone).collect() }
    }

    /// Every ring becomes empty.
    pub fn clear(&mut self) {
        for (n, node) in (0..).zip(&mut self.nodes) {
            *node = [Link { prev: n, next: n }; 2];
        }
    }

    /// Puts `node` last into the ring of `anchor`. It must not be in a ring.
    #[inline]
    pub fn push_back<const RING: usize>(&mut self, anchor: u32, node: u32) {
        let last = self.nodes[anchor as usize][RING].prev;
        self.join::<RING>(last, node, anchor);
    }

    /// Puts `node` first into the ring of `anchor`. It must not be in a ring.
    #[inline]
    pub fn push_front<const RING: usize>(&mut self, anchor: u32, node: u32) {
        let first = self.nodes[anchor as usize][RING].next;
        self.join::<RING>(anchor, node, first);
    }

    #[inline]
    fn join<const RING: usize>(&mut self, prev: u32, node: u32, next: u32) {
        work::relink();
        self.nodes[node as usize][RING] = Link { prev, next };
        self.nodes[prev as usize][RING].next = node;
        self.nodes[next as usize][RING].prev = node;
    }

    /// Takes `node` out of its ring. The anchor, if nothing else was in the ring.
    #[inline]
    pub fn take<const RING: usize>(&mut self, node: u32) -> Option<u32> {
        work::relink();
        let Link { prev, next } = self.nodes[node as usize][RING];
        self.nodes[prev as usize][RING].next = next;
        self.nodes[next as usize][RING].prev = prev;
        // What is left is the anchor alone, its own neighbour. A node that is in no ring has itself
        // as neighbours.
        (prev == next).then_some(prev)
    }

    /// The first node of the ring of `anchor`.
    #[inline]
    pub fn first<const RING: usize>(&self, anchor: u32) -> Option<u32> {
        let first = self.nodes[anchor as usize][RING].next;
        (first != anchor).then_some(first)
    }

    pub fn memory_usage(&self) -> usize {
        size_of_val(&*self.nodes)
    }

    /// The nodes of the ring of `anchor`, in order; the links back are checked on the way.
    #[cfg(any(test, fuzzing))]
    pub fn nodes<const RING: usize>(&self, anchor: u32) -> Vec<u32> {
        let mut nodes = Vec::new();
        let mut at = anchor;
        loop {
            let next = self.nodes[at as usize][RING].next;
            assert_eq!(self.nodes[next as usize][RING].prev, at, "a link goes one way only");
            if next == anchor {
                return nodes;
            }
            assert!(nodes.len() < self.nodes.len(), "a ring that does not come back");
            nodes.push(next);
            at = next;
        }
    }
}
