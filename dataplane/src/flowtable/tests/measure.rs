//! Figures: `cargo test --release ... flowtable::tests::measure -- --ignored --nocapture`.

use super::*;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::hint::black_box;

const LOOKUPS: usize = 1 << 20;

type Keys = Vec<FlowKey>;

fn keys(count: u32, make: impl Fn(u32) -> (FlowKey, Direction)) -> Keys {
    // As scattered as clients' addresses are.
    (0..count).map(|n| make(n.wrapping_mul(0x9e37_79b1)).0).collect()
}

/// The keys in random order, `LOOKUPS` of them.
fn shuffled(keys: &Keys) -> Keys {
    let mut at = 1u64;
    let mut next = || {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        keys[((at >> 33) as usize * keys.len()) >> 31]
    };
    (0..LOOKUPS).map(|_| next()).collect()
}

/// Nanoseconds that this thread has had a processor: the machine is shared.
fn on_cpu() -> u64 {
    // The kernel brings the number up to date when it schedules (proc(5), schedstat).
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// The least of some runs, in nanoseconds per item.
fn nanos(items: usize, mut run: impl FnMut()) -> f64 {
    let time = |run: &mut dyn FnMut()| {
        let start = on_cpu();
        run();
        (on_cpu() - start) as f64 / items as f64
    };
    (0..5).map(|_| time(&mut run)).fold(f64::MAX, f64::min)
}

struct Peer {
    index: HashTable<u32>,
    arena: Vec<(FlowKey, u64)>,
    hasher: RandomState,
}

impl Peer {
    fn new(keys: &Keys) -> Self {
        let hasher = RandomState::default();
        let mut index = HashTable::with_capacity(2 * keys.len());
        let arena: Vec<_> = keys.iter().map(|key| (*key, 0)).collect();
        for (slot, key) in (0u32..).zip(keys) {
            index.insert_unique(hasher.hash_one(key), slot, |_| 0);
        }
        Peer { index, arena, hasher }
    }

    fn find(&self, key: &FlowKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&slot| self.arena[slot as usize].0 == *key).copied()
    }
}

fn measure(name: &str, keys: Keys) {
    let mut table = table(config(keys.len() as u32));
    let start = on_cpu();
    for key in &keys {
        table.open_as((*key, Direction::Forward), Class::Established, LONG).unwrap();
    }
    let open = (on_cpu() - start) as f64 / keys.len() as f64;
    let order = shuffled(&keys);
    let hash = nanos(LOOKUPS, || {
        for key in &order {
            black_box(table.hash(key));
        }
    });
    let single = nanos(LOOKUPS, || {
        for key in &order {
            black_box(table.find(key, table.hash(key)));
        }
    });
    let touched = nanos(LOOKUPS, || {
        for key in &order {
            if let Some(slot) = table.find(key, table.hash(key)) {
                table.touch(slot, LONG);
            }
        }
    });
    let mut burst = Vec::with_capacity(64);
    let mut found = [None; 64];
    let together = nanos(LOOKUPS, || {
        for keys in order.chunks(64) {
            burst.clear();
            burst.extend(keys.iter().map(|key| (table.hash(key), *key)));
            table.find_burst(&burst, &mut found);
            assert!(found.iter().all(Option::is_some));
        }
    });
    let peer = Peer::new(&keys);
    let peer_single = nanos(LOOKUPS, || {
        for key in &order {
            black_box(peer.find(key));
        }
    });
    let start = on_cpu();
    for key in &keys {
        let slot = table.find(key, table.hash(key)).unwrap();
        table.remove(slot);
    }
    let remove = (on_cpu() - start) as f64 / keys.len() as f64;
    println!(
        "{name} {:>9} flows: hash {hash:4.1}, find {single:5.1}, find+touch {touched:5.1}, burst \
         {together:5.1}, hashbrown+foldhash find {peer_single:5.1}; first open {open:5.1}, remove \
         {remove:5.1} ns",
        keys.len()
    );
}

#[test]
#[ignore = "measures; wants a quiet machine and --release"]
fn nanoseconds_per_call() {
    for count in [1_000, 100_000, 1_000_000] {
        measure("v4", keys(count, |n| v4(n, n)));
        measure("v6", keys(count, |n| v6(n.into(), n)));
    }
    let bytes = table(config(1 << 20)).bytes_per_flow();
    println!("{bytes:?}: v4 {}, v6 {}", bytes.v4(), bytes.v6());
}
