//! Timed passes over a trace, and the check that they find the right rules.

use crate::engines::Scan;
use classifier::{Lookup, PacketKey, Rule, RuleIndex};
use serde::Serialize;
use std::fmt;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// The least number of passes that [`passes`] makes by itself.
const LEAST_PASSES: usize = 5;
/// How long [`passes`] goes on by itself.
const ENOUGH: Duration = Duration::from_millis(500);

/// Looks up every key once, in batches of `batch`; nanoseconds per lookup. One thread, and the
/// answers go to memory that is written over again, as a worker's do.
///
/// # Panics
/// If `batch` is 0.
pub fn pass(table: &dyn Lookup, keys: &[PacketKey], batch: usize) -> f64 {
    let mut out = vec![None; batch];
    let start = Instant::now();
    for keys in keys.chunks(batch) {
        table.lookup_batch(black_box(keys), &mut out);
        black_box(&out);
    }
    start.elapsed().as_nanos() as f64 / keys.len().max(1) as f64
}

/// The figures of `repeat` passes, or of as many as fill half a second and at least five; in the
/// order they were made. One more goes before them, to warm the caches.
///
/// # Panics
/// If `batch` is 0.
pub fn passes(
    table: &dyn Lookup,
    keys: &[PacketKey],
    batch: usize,
    repeat: Option<usize>,
) -> Vec<f64> {
    let start = Instant::now();
    pass(table, keys, batch);
    let fitting = ENOUGH.as_nanos() / start.elapsed().as_nanos().max(1);
    let repeat = repeat.unwrap_or((fitting as usize).max(LEAST_PASSES));
    (0..repeat).map(|_| pass(table, keys, batch)).collect()
}

/// What the table finds for every key, looked up in batches of `batch`.
///
/// # Panics
/// If `batch` is 0.
pub fn answers(table: &dyn Lookup, keys: &[PacketKey], batch: usize) -> Vec<Option<RuleIndex>> {
    let mut out = vec![None; keys.len()];
    for (keys, out) in keys.chunks(batch).zip(out.chunks_mut(batch)) {
        table.lookup_batch(keys, out);
    }
    out
}

/// What a comparison with the linear scan comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Headers compared.
    pub checked: usize,
    /// Of those, answered otherwise than the scan answers.
    pub mismatches: usize,
    /// The first of those.
    pub first_mismatch: Option<Mismatch>,
}

/// A header for which the table does not find the first rule that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Where the header stands in the trace, from 0.
    pub header: usize,
    /// The first rule that matches, from 0.
    pub expected: Option<RuleIndex>,
    /// What the table found.
    pub found: Option<RuleIndex>,
}

impl Check {
    /// This comparison and another one, as one.
    pub fn and(self, other: Check) -> Check {
        Check {
            checked: self.checked + other.checked,
            mismatches: self.mismatches + other.mismatches,
            first_mismatch: self.first_mismatch.or(other.first_mismatch),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |rule: Option<RuleIndex>| rule.map_or("none".to_owned(), |n| n.to_string());
        let (expected, found) = (text(self.expected), text(self.found));
        write!(
            f,
            "header {}: the first rule that matches is {expected}, found {found}",
            self.header
        )
    }
}

/// Compares `answers`, one for each of `keys`, with those of a linear scan of `rules`; on all the
/// cores there are.
///
/// # Panics
/// If there are not as many keys as answers.
pub fn check(rules: &[Rule], keys: &[PacketKey], answers: &[Option<RuleIndex>]) -> Check {
    assert_eq!(keys.len(), answers.len());
    let scan = &Scan::new(rules);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = keys.len().div_ceil(threads).max(1);
    let mismatches: Vec<Mismatch> = thread::scope(|scope| {
        let shares = keys.chunks(share).zip(answers.chunks(share)).enumerate();
        let workers: Vec<_> = shares
            .map(|(n, (keys, answers))| {
                scope.spawn(move || mismatches(scan, keys, answers, n * share))
            })
            .collect();
        let joined =
            workers.into_iter().map(|worker| worker.join().expect("a scan does not panic"));
        joined.flatten().collect()
    });
    Check {
        checked: keys.len(),
        mismatches: mismatches.len(),
        first_mismatch: mismatches.into_iter().next(),
    }
}

fn mismatches(
    scan: &Scan,
    keys: &[PacketKey],
    answers: &[Option<RuleIndex>],
    first: usize,
) -> Vec<Mismatch> {
    let answered = (first..).zip(keys).zip(answers);
    answered
        .filter_map(|((header, key), &found)| {
            let expected = scan.lookup(key);
            (found != expected).then_some(Mismatch { header, expected, found })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulesets::{self, SetConfig, Structure};
    use crate::traces::{self, Pattern};
    use classifier::Linear;

    fn workload() -> (Vec<Rule>, Vec<PacketKey>) {
        let rules = rulesets::generate(SetConfig::new(Structure::Ipc1, 100, 1));
        let trace = traces::generate(&rules, Pattern::Uniform, 1000, 1);
        (rules, trace.into_iter().map(|header| header.key).collect())
    }

    #[test]
    fn the_check_finds_every_wrong_answer_and_names_the_first() {
        let (rules, keys) = workload();
        let mut answers = answers(&Linear::new(&rules[..]), &keys, 64);
        let right = check(&rules, &keys, &answers);
        assert_eq!(right, Check { checked: 1000, mismatches: 0, first_mismatch: None });

        let expected = answers[17];
        (answers[17], answers[18], answers[999]) = (None, Some(1_000_000), Some(1_000_000));
        let wrong = check(&rules, &keys, &answers);
        assert_eq!(wrong.mismatches, 3);
        assert_eq!(wrong.first_mismatch, Some(Mismatch { header: 17, expected, found: None }));
        let said = wrong.first_mismatch.unwrap().to_string();
        assert!(said.starts_with("header 17: ") && said.ends_with("found none"), "{said}");
        assert_eq!(check(&rules, &[], &[]).checked, 0);
    }

    #[test]
    fn answers_do_not_depend_on_the_batch() {
        let (rules, keys) = workload();
        let table = Linear::new(rules);
        assert_eq!(answers(&table, &keys, 1), answers(&table, &keys, 333));
        assert_eq!(answers(&table, &keys, 7), answers(&table, &keys, 5000));
    }

    #[test]
    fn as_many_passes_as_asked_for_or_at_least_five() {
        let (rules, keys) = workload();
        let table = Linear::new(rules);
        assert_eq!(passes(&table, &keys, 64, Some(3)).len(), 3);
        let own = passes(&table, &keys, 64, None);
        assert!(own.len() >= 5 && own.iter().all(|ns| *ns > 0.0));
    }
}
