//! Whether a compiled table answers as the linear scan does, on every path of the processor.

use crate::corners::{Draw, keys};
use classifier::{Builder, Classifier, Config, Linear, Lookup, PacketKey, Rule, RuleIndex, Simd};
use fastrand::Rng;

/// Batch lengths around those that an engine works in: none, less than a vector, a vector, around a
/// burst, several bursts.
const BATCHES: [usize; 8] = [0, 1, 7, 8, 63, 64, 65, 200];

/// The table of `rules`.
pub fn compile(rules: &[Rule]) -> Classifier {
    let mut builder = Builder::new(Config::default());
    for rule in rules {
        builder.push(rule.clone());
    }
    builder.build().unwrap()
}

/// Asserts that `compiled` answers `expected` to `keys`, one by one and in batches of every length,
/// with every instruction set that the processor has.
pub fn assert_answers(compiled: &Classifier, keys: &[PacketKey], expected: &[Option<RuleIndex>]) {
    for simd in Simd::supported() {
        let table = compiled.clone().with_simd(simd);
        for (key, expected) in keys.iter().zip(expected) {
            assert_eq!(table.lookup(key), *expected, "{simd:?}: {key:?}");
        }
        let mut at = 0;
        for len in BATCHES.into_iter().cycle() {
            let batch = &keys[at..keys.len().min(at + len)];
            // A stale answer in every place, and one past the batch that must stay.
            let mut out = [Some(RuleIndex::MAX); 201];
            table.lookup_batch(batch, &mut out);
            for ((key, found), expected) in batch.iter().zip(out).zip(&expected[at..]) {
                assert_eq!(found, *expected, "{simd:?}, one of a batch of {len}: {key:?}");
            }
            assert_eq!(out[batch.len()], Some(RuleIndex::MAX), "{simd:?}, after {}", batch.len());
            at += batch.len();
            // One turn past the end, so that a short list is tried in every length as well.
            if at == keys.len() && len == BATCHES[BATCHES.len() - 1] {
                break;
            }
        }
    }
}

/// Asserts that `compiled` answers as the linear scan of `rules` does; the answers.
pub fn assert_agrees(
    rules: &[Rule],
    compiled: &Classifier,
    keys: &[PacketKey],
) -> Vec<Option<RuleIndex>> {
    let linear = Linear::new(rules);
    let expected: Vec<_> = keys.iter().map(|key| linear.lookup(key)).collect();
    assert_answers(compiled, keys, &expected);
    expected
}

/// Compiles `rules` and compares it with the linear scan on keys from their corners. The keys must
/// have found at least `distinct` different rules, or agreeing says nothing.
pub fn assert_set_agrees(rules: &[Rule], distinct: usize) -> Classifier {
    let compiled = compile(rules);
    let draw = Draw { accepted: 5000, corners: 50, mixed: 16, near: 200 };
    let keys = keys(rules, draw, &mut Rng::with_seed(7));
    let answers = assert_agrees(rules, &compiled, &keys);
    let found = count_distinct(&answers);
    assert!(found >= distinct, "{} keys found {found} of {} rules", keys.len(), rules.len());
    compiled
}

/// How many different rules are among `answers`.
pub fn count_distinct(answers: &[Option<RuleIndex>]) -> usize {
    let mut found: Vec<_> = answers.iter().flatten().collect();
    found.sort_unstable();
    found.dedup();
    found.len()
}
