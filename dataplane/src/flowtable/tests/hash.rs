//! SipHash against the standard library's, and what a sender can and cannot do with it.

use super::*;
use crate::flowtable::hash::siphash;
use crate::flowtable::work;
use proptest::prelude::*;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

/// As the paper splits a message: whole words, and the rest with the length on top.
fn words_of(bytes: &[u8]) -> (Vec<u64>, u64) {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut tail = [0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    tail[7] = bytes.len() as u8;
    (words.iter().map(|&word| u64::from_le_bytes(word)).collect(), u64::from_le_bytes(tail))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn siphash_1_3_is_that_of_the_standard_library(bytes: Vec<u8>) {
        let (words, tail) = words_of(&bytes);
        let mut oracle = DefaultHasher::new();
        oracle.write(&bytes);
        prop_assert_eq!(siphash::<1, 3>([0; 2], &words, tail), oracle.finish());
    }

    #[test]
    #[allow(deprecated)] // The one hasher of the standard library that takes a key.
    fn keys_go_in_as_in_siphash_2_4(bytes: Vec<u8>, key: [u64; 2]) {
        let (words, tail) = words_of(&bytes);
        let mut oracle = std::hash::SipHasher::new_with_keys(key[0], key[1]);
        oracle.write(&bytes);
        prop_assert_eq!(siphash::<2, 4>(key, &words, tail), oracle.finish());
    }
}

#[test]
fn keys_of_tables_differ() {
    let (key, _) = v4(1, 1);
    let [a, b] = [HashKey::random(), HashKey::random()];
    assert_ne!(key.hash(a), key.hash(b));
    assert_ne!(a.0[0], a.0[1]);
}

/// Keys that an attacker makes who believes to know the hash: all for the same two buckets.
fn colliding(table: &FlowTable, count: usize) -> Vec<(FlowKey, Direction)> {
    let of = |key: &FlowKey| table.index.buckets_of(table.hash(key));
    let target = of(&v4(0, 0).0);
    (0..u32::MAX).map(|n| v4(n, n)).filter(|(key, _)| of(key) == target).take(count).collect()
}

#[test]
fn chosen_collisions_of_a_known_hash_do_nothing_to_a_secret_one() {
    let mut known = FlowTable::new(config(512), HashKey([0; 2]));
    let flood = colliding(&known, 200);
    // With the key known the attack works: two buckets are full, and the rest is refused.
    let opened = flood.iter().filter(|f| known.open_as(**f, Class::HalfOpen, LONG).is_ok());
    assert_eq!(opened.count(), 20);
    known.check();

    let mut secret = table(config(512));
    for &flow in &flood {
        secret.open_as(flow, Class::HalfOpen, LONG).unwrap();
    }
    work::taken();
    for &flow in &flood {
        assert!(secret.lookup(flow).is_some());
    }
    let [buckets, records, _] = work::taken();
    // One bucket and one record each, but for a few that are away or share a tag.
    assert!(buckets <= 220 && records <= 220, "{buckets} buckets, {records} records");
}
