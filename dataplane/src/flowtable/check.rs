//! What must hold of a table at any time.

use super::FlowTable;
use super::rings::{KIND, WHEEL};
use super::sources::Source;
use super::table::kind;
use super::wheel::Wheel;
use classifier::Family;
use std::collections::HashMap;

impl FlowTable {
    /// No slot, address or source leaks; every list and index says the same as the records.
    ///
    /// # Panics
    /// When one does, or says something else.
    pub fn check(&self) {
        let live: Vec<u32> =
            (0..self.arena.len() as u32).filter(|&slot| self.arena[slot as usize].live()).collect();
        assert_eq!(live.len(), self.flows() as usize);
        assert!(live.iter().all(|&slot| slot < self.used));
        let counts = self.counts();
        assert_eq!(counts.opened - counts.closed, live.len() as u64);
        self.check_kinds();
        self.check_wheel(&live);
        self.check_index(&live);
        self.check_addresses(&live);
        self.check_sources(&live);
    }

    fn check_kinds(&self) {
        let mut seen = vec![0; self.arena.len()];
        for (ring, &count) in self.kinds.iter().enumerate() {
            let slots = self.rings.nodes::<KIND>(self.anchor(ring));
            assert_eq!(slots.len(), count as usize, "kind {ring}");
            for slot in slots {
                seen[slot as usize] += 1;
                let record = &self.arena[slot as usize];
                let want = if record.live() { kind(record.class(), record.family()) } else { 0 };
                assert_eq!(ring, want, "slot {slot}");
            }
        }
        assert!(seen.iter().all(|&times| times == 1), "a slot in no ring, or in two");
    }

    fn check_wheel(&self, live: &[u32]) {
        let mut armed = Vec::new();
        let occupied = self.wheel.occupied();
        for ring in 0..Wheel::ANCHORS {
            let anchor = self.arena.len() as u32 + self.kinds.len() as u32 + ring;
            let slots = self.rings.nodes::<WHEEL>(anchor);
            let bit = occupied[ring as usize / 64] >> (ring % 64) & 1 != 0;
            assert_eq!(bit, !slots.is_empty(), "ring {ring}");
            armed.extend(slots);
        }
        armed.sort_unstable();
        assert_eq!(armed, live, "what is live is armed, once");
    }

    fn check_index(&self, live: &[u32]) {
        let entries = self.index.entries();
        let away = entries.iter().filter(|&&(_, away)| away).count();
        assert_eq!(away, self.index.strays());
        let mut slots: Vec<u32> = entries.into_iter().map(|(slot, _)| slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, live, "what is live is indexed, once");
        for &slot in live {
            let key = self.arena[slot as usize].key(&self.v6);
            let over = self.over(&self.arena[slot as usize]);
            assert_eq!(self.find(&key, self.hash(&key)), (!over).then_some(slot));
        }
    }

    fn check_addresses(&self, live: &[u32]) {
        let mut seen = vec![0; self.v6.len()];
        for record in live.iter().map(|&slot| &self.arena[slot as usize]) {
            if record.family() == Family::V6 {
                seen[record.addresses_v6() as usize] += 1;
            }
        }
        let mut vacant = self.v6_vacant as usize;
        while let Some(place) = self.v6.get(vacant) {
            seen[vacant] += 1;
            assert_eq!(seen[vacant], 1);
            vacant = place.first as usize;
        }
        assert!(seen.iter().all(|&times| times == 1), "addresses held by none, or twice");
    }

    fn check_sources(&self, live: &[u32]) {
        let mut want: HashMap<Source, u32> = HashMap::new();
        for &slot in live {
            let source = self.arena[slot as usize].key(&self.v6).source(self.opened(slot));
            *want.entry(source).or_default() += 1;
        }
        let mut counted = HashMap::new();
        let end = self.sources(0, u32::MAX, |source, flows| {
            assert_eq!(counted.insert(source, flows), None);
        });
        assert_eq!((counted, end), (want.clone(), None));
        assert_eq!(self.sources.index().entries().len(), want.len());
    }
}
