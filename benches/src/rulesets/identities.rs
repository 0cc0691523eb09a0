//! Label sets as a segmentation policy selects them.

use classifier::IdentityRange;
use fastrand::Rng;

/// The label sets of workloads with three labels: environment, application, tier. Numbered in the
/// order of those, what a selector picks is one range.
pub(super) struct LabelSets {
    sets: u16,
    /// Label sets of one application in one environment.
    tiers: u16,
    /// Label sets of one environment.
    environment: u16,
}

impl LabelSets {
    /// `sets` label sets, at least one: of four environments, as far as they go round.
    pub fn new(sets: u16) -> Self {
        let tiers = sets.min(8);
        LabelSets { sets, tiers, environment: (sets / 4).next_multiple_of(tiers).max(tiers) }
    }

    /// What one selector picks: a label set, an application, an environment, or all.
    pub fn selected(&self, rng: &mut Rng) -> IdentityRange {
        let one = super::skewed(self.sets.into(), rng) as u16;
        let run = match rng.u8(..100) {
            0..60 => 1,
            60..88 => self.tiers,
            88..97 => self.environment,
            _ => return IdentityRange::ANY,
        };
        let low = one / run * run;
        IdentityRange { low, high: low.saturating_add(run - 1).min(self.sets - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_pick_sets_that_there_are_and_their_ranges_nest() {
        for sets in [1, 7, 100, 4096, u16::MAX] {
            let label_sets = LabelSets::new(sets);
            let mut rng = Rng::with_seed(1);
            let ranges: Vec<_> = (0..500).map(|_| label_sets.selected(&mut rng)).collect();
            for a in ranges.iter().filter(|range| **range != IdentityRange::ANY) {
                assert!(a.low <= a.high && a.high < sets, "{a:?} of {sets}");
                let nests = ranges.iter().all(|b| {
                    let apart = a.high < b.low || b.high < a.low;
                    let inside = a.low <= b.low && b.high <= a.high;
                    apart || inside || (b.low <= a.low && a.high <= b.high)
                });
                assert!(nests, "{a:?}");
            }
        }
    }
}
