//! What to change in one list of rules to get another.

use classifier::{Edit, Rule, RuleIndex};

/// Most rules inserted and removed: with more, the classifier builds the whole table anyway.
const MOST_CHANGES: usize = 256;

/// The fewest edits that make `new` of `old`; `None` when they are more than [`MOST_CHANGES`].
///
/// What both lists begin and end with is left out; between is Myers' greedy search ("An O(ND)
/// difference algorithm and its variations", 1986). It makes about as many comparisons as the lists
/// are long, and some more for each two changes.
pub(super) fn between(old: &[Rule], new: &[Rule]) -> Option<Vec<Edit>> {
    let begin = equal(old.iter(), new.iter());
    let (old, new) = (&old[begin..], &new[begin..]);
    let end = equal(old.iter().rev(), new.iter().rev());
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut edits = Search { old, new, farthest: Vec::new() }.edits()?;
    for edit in &mut edits {
        let (Edit::Insert { at, .. } | Edit::Remove { at } | Edit::Replace { at, .. }) = edit;
        *at += begin as RuleIndex;
    }
    Some(edits)
}

/// How many rules two lists have in common before they differ.
fn equal<'a>(a: impl Iterator<Item = &'a Rule>, b: impl Iterator<Item = &'a Rule>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

/// A search for the shortest way from the beginning of two lists to their ends. A place on it is how
/// much of each list lies behind; on diagonal `k`, that is `k` more of the old list than of the new.
struct Search<'a> {
    old: &'a [Rule],
    new: &'a [Rule],
    /// For each number of changes, how much of the old list lies behind on diagonals `-changes` to
    /// `changes`, where that many changes lead farthest.
    farthest: Vec<Vec<Option<usize>>>,
}

/// The last change before a place, and how much of the old list lies behind after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    behind: usize,
    inserts: bool,
}

impl Search<'_> {
    fn edits(mut self) -> Option<Vec<Edit>> {
        let goal = self.old.len() as isize - self.new.len() as isize;
        if goal.unsigned_abs() > MOST_CHANGES {
            return None;
        }
        for changes in 0..=MOST_CHANGES as isize {
            let mut farthest = Vec::with_capacity(2 * changes as usize + 1);
            for k in -changes..=changes {
                // Each change leads to a neighbouring diagonal.
                let step = if (k + changes) % 2 == 0 { self.step(changes, k) } else { None };
                farthest.push(step.map(|step| self.follow(step.behind, k)));
            }
            self.farthest.push(farthest);
            if self.behind(changes, goal) == Some(self.old.len()) {
                return Some(self.way_back(changes, goal));
            }
        }
        None
    }

    /// Where on diagonal `k` one comes with so many changes, before what is equal there.
    fn step(&self, changes: isize, k: isize) -> Option<Step> {
        if changes == 0 {
            return Some(Step { behind: 0, inserts: false });
        }
        let (old, new) = (self.old.len(), self.new.len() as isize);
        let inserted = self.behind(changes - 1, k + 1).filter(|x| *x as isize - k <= new);
        let removed = self.behind(changes - 1, k - 1).filter(|x| *x < old);
        let inserted = inserted.map(|behind| Step { behind, inserts: true });
        inserted.max(removed.map(|x| Step { behind: x + 1, inserts: false }))
    }

    fn behind(&self, changes: isize, k: isize) -> Option<usize> {
        let farthest = self.farthest.get(usize::try_from(changes).ok()?)?;
        *farthest.get(usize::try_from(k + changes).ok()?)?
    }

    /// Past what is equal on diagonal `k`.
    fn follow(&self, behind: usize, k: isize) -> usize {
        let (old, new) = (&self.old[behind..], &self.new[(behind as isize - k) as usize..]);
        behind + equal(old.iter(), new.iter())
    }

    /// The changes that lead to diagonal `k`.
    fn way_back(&self, changes: isize, mut k: isize) -> Vec<Edit> {
        let mut edits = Vec::with_capacity(changes as usize);
        for changes in (1..=changes).rev() {
            let Some(Step { behind, inserts }) = self.step(changes, k) else { break };
            if inserts {
                let rule = self.new[(behind as isize - k) as usize - 1].clone();
                edits.push(Edit::Insert { at: behind as RuleIndex, rule });
                k += 1;
            } else {
                edits.push(Edit::Remove { at: behind as RuleIndex - 1 });
                k -= 1;
            }
        }
        edits.reverse();
        edits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::PortRange;
    use proptest::prelude::*;

    fn rules(ports: &[u16]) -> Vec<Rule> {
        let rule = |port: &u16| Rule { dst_ports: PortRange::one(*port), ..Rule::ANY };
        ports.iter().map(rule).collect()
    }

    /// `old` after `edits`, as [`Edit`] says what they mean.
    fn edited(old: &[Rule], edits: &[Edit]) -> Vec<Rule> {
        let mut after = Vec::new();
        for place in 0..=old.len() {
            let here = |at: RuleIndex| at as usize == place;
            after.extend(edits.iter().filter_map(|edit| match edit {
                Edit::Insert { at, rule } if here(*at) => Some(rule.clone()),
                _ => None,
            }));
            let gone = edits.iter().any(|edit| matches!(edit, Edit::Remove { at } if here(*at)));
            after.extend(old.get(place).filter(|_| !gone).cloned());
        }
        after
    }

    /// Insertions and removals needed, by the table of longest common subsequences.
    fn needed(old: &[u16], new: &[u16]) -> usize {
        let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
        for (i, a) in old.iter().enumerate() {
            for (j, b) in new.iter().enumerate() {
                let longer = common[i][j + 1].max(common[i + 1][j]);
                common[i + 1][j + 1] = if a == b { common[i][j] + 1 } else { longer };
            }
        }
        old.len() + new.len() - 2 * common[old.len()][new.len()]
    }

    proptest! {
        #[test]
        fn edits_make_the_new_list_and_are_the_fewest(
            old in prop::collection::vec(0..6u16, 0..40),
            new in prop::collection::vec(0..6u16, 0..40),
        ) {
            let edits = between(&rules(&old), &rules(&new)).unwrap();
            prop_assert_eq!(edited(&rules(&old), &edits), rules(&new));
            prop_assert_eq!(edits.len(), needed(&old, &new));
        }
    }

    #[test]
    fn changes_far_apart_in_long_lists_are_found() {
        let old: Vec<u16> = (0..60_000).collect();
        let mut new = old.clone();
        new.remove(59_990);
        new.insert(30_000, 65_535);
        new.swap(10, 12);
        let edits = between(&rules(&old), &rules(&new)).unwrap();
        assert_eq!(edits.len(), 6);
        assert_eq!(edited(&rules(&old), &edits), rules(&new));
    }

    #[test]
    fn as_many_changes_as_the_limit_are_found_and_more_are_not() {
        let old: Vec<u16> = (0..1_000).collect();
        let without = |count: usize| {
            // Every other one, so that neither beginning nor end takes them away.
            let new: Vec<u16> =
                old.iter().copied().filter(|n| n % 2 == 0 || usize::from(*n) > 2 * count).collect();
            between(&rules(&old), &rules(&new)).map(|edits| edits.len())
        };
        assert_eq!(without(MOST_CHANGES), Some(MOST_CHANGES));
        assert_eq!(without(MOST_CHANGES + 1), None);
        let other: Vec<u16> = (1_000..1_200).collect();
        assert_eq!(between(&rules(&old[..200]), &rules(&other)), None);
    }

    #[test]
    fn changes_in_lists_that_are_equal_wherever_one_looks_are_found() {
        // One rule over and over, but for another one here and there.
        let list = |other: u16| {
            (0..60_000)
                .map(|i| if i % 600 == 9 { other + i / 600 } else { 0 })
                .collect::<Vec<u16>>()
        };
        let (old, new) = (rules(&list(1_000)), rules(&list(2_000)));
        let edits = between(&old, &new).unwrap();
        assert_eq!(edits.len(), 200);
        assert_eq!(edited(&old, &edits), new);
    }
}
