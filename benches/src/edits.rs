//! Edits of a rule set, and what an incremental update costs.

use crate::draw::family_of;
use crate::engines::UNLIMITED;
use crate::measure::{self, Check};
use crate::stats::Spread;
use crate::traces::{self, Pattern};
use classifier::{Applied, Edit, EditError, PacketKey, Rule, RuleIndex, Updater};
use fastrand::Rng;
use serde::Serialize;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Random edits that can be applied together: as many removals, replacements and insertions, at
/// random positions. What is new in the list has the source of one of its rules, the destination
/// of another and the rest of a third, so that it looks at the same fields.
///
/// # Panics
/// If there are no rules.
pub fn random(rules: &[Rule], count: usize, rng: &mut Rng) -> Vec<Edit> {
    let mut taken = HashSet::new();
    let mut edits = Vec::with_capacity(count);
    while edits.len() < count {
        let at = rng.usize(..rules.len()) as RuleIndex;
        // No rule can be edited twice; once all are, what is left is to insert.
        let free = taken.len() < rules.len();
        edits.push(match rng.u8(..3) {
            0 if taken.insert(at) => Edit::Remove { at },
            1 if taken.insert(at) => Edit::Replace { at, rule: blend(rules, rng) },
            0 | 1 if free => continue,
            _ => {
                let at = rng.usize(..=rules.len()) as RuleIndex;
                Edit::Insert { at, rule: blend(rules, rng) }
            }
        });
    }
    edits
}

/// A rule of parts of three.
fn blend(rules: &[Rule], rng: &mut Rng) -> Rule {
    let rest = &rules[rng.usize(..rules.len())];
    // Of one family, or of one rule where no pair is found soon.
    let pair = (0..100).find_map(|_| {
        let [src, dst] = [(); 2].map(|()| &rules[rng.usize(..rules.len())]);
        let families = family_of(&src.src).zip(family_of(&dst.dst));
        families.is_none_or(|(src, dst)| src == dst).then_some((src, dst))
    });
    let (src, dst) = pair.unwrap_or((rest, rest));
    Rule {
        src: src.src.clone(),
        src_identities: src.src_identities,
        from_zone: src.from_zone,
        dst: dst.dst.clone(),
        dst_identities: dst.dst_identities,
        to_zone: dst.to_zone,
        ..rest.clone()
    }
}

/// What updates came to, each of the original table by edits of its own.
#[derive(Clone, Debug, Serialize)]
pub struct Updates {
    /// Edits of one update.
    #[serde(rename = "update_edits")]
    pub edits: usize,
    /// Milliseconds of one update.
    #[serde(rename = "update_ms")]
    pub ms: Spread,
    /// Updates that built only what the edits concern.
    #[serde(rename = "update_patched")]
    pub patched: usize,
    /// Updates that built the whole table.
    #[serde(rename = "update_rebuilt")]
    pub rebuilt: usize,
    /// Of a sample of headers, looked up after each update.
    #[serde(rename = "update_check")]
    pub check: Check,
}

/// The least number of updates that [`updates`] makes by itself.
const LEAST: usize = 5;
/// The greatest.
const MOST: usize = 50;
/// How long [`updates`] goes on updating by itself.
const ENOUGH: Duration = Duration::from_secs(1);
/// Headers looked up after an update, and in a linear scan of the rules that are then.
const SAMPLE: usize = 300;

/// Applies `count` random edits to the table of `rules`, `repeat` times or as often as fits in a
/// second, and compares what is then found with a linear scan.
///
/// # Errors
/// If the rules cannot be compiled.
///
/// # Panics
/// If there are no rules, or `repeat` is 0.
pub fn updates(
    rules: Vec<Rule>,
    count: usize,
    repeat: Option<usize>,
) -> Result<Updates, EditError> {
    let original = Updater::new(UNLIMITED, rules).map_err(EditError::Build)?;
    let mut rng = Rng::with_seed(1);
    let mut figures = Vec::new();
    let (mut patched, mut rebuilt) = (0, 0);
    let mut check = Check { checked: 0, mismatches: 0, first_mismatch: None };
    let mut spent = Duration::ZERO;
    let more = |made: usize, spent: Duration| match repeat {
        Some(repeat) => made < repeat,
        None => made < LEAST || (made < MOST && spent < ENOUGH),
    };
    while more(figures.len(), spent) {
        let edits = random(original.rules(), count, &mut rng);
        let mut updater = original.clone();
        let start = Instant::now();
        let applied = updater.apply(&edits)?;
        let elapsed = start.elapsed();
        spent += elapsed;
        figures.push(elapsed.as_secs_f64() * 1e3);
        match applied {
            Applied::Patched => patched += 1,
            Applied::Rebuilt => rebuilt += 1,
        }
        check = check.and(sample(&updater, &edits, rng.u64(..)));
    }
    let ms = Spread::of(figures).expect("there is at least one update");
    Ok(Updates { edits: count, ms, patched, rebuilt, check })
}

/// Looks up points of all rules, and as many of those that are new.
fn sample(updater: &Updater, edits: &[Edit], seed: u64) -> Check {
    let new: Vec<Rule> = edits
        .iter()
        .filter_map(|edit| match edit {
            Edit::Insert { rule, .. } | Edit::Replace { rule, .. } => Some(rule.clone()),
            Edit::Remove { .. } => None,
        })
        .collect();
    let rules = updater.rules();
    let of = [rules, &new].into_iter().filter(|rules| !rules.is_empty());
    let headers = of.flat_map(|of| traces::generate(of, Pattern::Uniform, SAMPLE / 2, seed));
    let keys: Vec<PacketKey> = headers.map(|header| header.key).collect();
    let answers = measure::answers(&*updater.classifier(), &keys, keys.len().max(1));
    measure::check(rules, &keys, &answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulesets::{self, SetConfig, Structure};

    fn rules(count: usize) -> Vec<Rule> {
        let config = SetConfig::new(Structure::Acl1, count, 3);
        rulesets::generate(SetConfig { v6_percent: 30, ..config })
    }

    #[test]
    fn random_edits_can_be_applied_together_and_are_of_every_kind() {
        let rules = rules(500);
        let mut updater = Updater::new(UNLIMITED, rules.clone()).unwrap();
        let edits = random(&rules, 90, &mut Rng::with_seed(1));
        let kinds = [
            edits.iter().filter(|edit| matches!(edit, Edit::Remove { .. })).count(),
            edits.iter().filter(|edit| matches!(edit, Edit::Insert { .. })).count(),
            edits.iter().filter(|edit| matches!(edit, Edit::Replace { .. })).count(),
        ];
        assert!(kinds.iter().all(|count| *count > 15), "{kinds:?}");
        updater.apply(&edits).unwrap();
        assert_eq!(updater.rules().len(), 500 - kinds[0] + kinds[1]);
    }

    #[test]
    fn more_edits_than_rules_are_insertions_and_new_rules_are_of_one_family() {
        let rules = rules(10);
        let edits = random(&rules, 60, &mut Rng::with_seed(1));
        Updater::new(UNLIMITED, rules).unwrap().apply(&edits).unwrap();
        for edit in &edits {
            if let Edit::Insert { rule, .. } | Edit::Replace { rule, .. } = edit {
                assert_eq!(family_of(&rule.src), family_of(&rule.dst));
            }
        }
    }

    #[test]
    fn updates_are_counted_and_checked() {
        let updates = updates(rules(1000), 4, Some(3)).unwrap();
        assert_eq!((updates.edits, updates.patched + updates.rebuilt), (4, 3));
        assert!(updates.check.checked >= 3 * SAMPLE / 2);
        assert_eq!(updates.check.mismatches, 0, "{:?}", updates.check);
        assert!(updates.ms.min > 0.0);
    }
}
