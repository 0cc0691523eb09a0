//! The compiled table and its peers: one key at a time, in bursts, their builds, updates of a few
//! rules, and a swap.

use benches::edits;
use benches::engines::{TupleSpace, UNLIMITED, compile};
use benches::rulesets::{self, SetConfig, Structure};
use benches::traces::{self, Pattern};
use classifier::{Classifier, Edit, Linear, Lookup, PacketKey, Rule, Updater};
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use fastrand::Rng;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// Of the linear scan, which is past comparing above that.
const LINEAR_SIZES: [usize; 2] = [10, 1_000];
const BUILD_SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Rules of the tables that are updated.
const UPDATE_SIZE: usize = 100_000;
/// Edits of one update.
const EDITS: [usize; 3] = [1, 16, 64];
const STRUCTURES: [Structure; 3] = [Structure::Acl1, Structure::Fw1, Structure::Ipc1];
/// Keys looked up in one iteration: the times reported are for all of them. As many as do not fit
/// in the first caches, so that tables are not looked up in the same few places.
const KEYS: usize = 16 * 1024;
/// Keys of a batch, as many as a worker's burst.
const BURST: usize = 64;

struct Workload {
    /// `structure/size`.
    name: String,
    rules: Vec<Rule>,
    keys: Vec<PacketKey>,
}

impl Workload {
    fn new(structure: Structure, size: usize) -> Self {
        let rules = rulesets::generate(SetConfig::new(structure, size, 1));
        let trace = traces::generate(&rules, Pattern::Uniform, KEYS, 2);
        let keys = trace.into_iter().map(|header| header.key).collect();
        let name = format!("{structure:?}/{size}").to_lowercase();
        Workload { name, rules, keys }
    }

    fn compiled(&self) -> Classifier {
        compile(self.rules.clone()).expect("generated rules can be compiled")
    }

    fn tuple_space(&self) -> TupleSpace {
        TupleSpace::new(&self.rules).expect("these structures name the five-tuple alone")
    }
}

fn workloads(sizes: &[usize]) -> impl Iterator<Item = Workload> {
    let of_structure = |structure| sizes.iter().map(move |size| Workload::new(structure, *size));
    STRUCTURES.into_iter().flat_map(of_structure)
}

fn lookup_each(table: &impl Lookup, keys: &[PacketKey]) {
    for key in keys {
        black_box(table.lookup(black_box(key)));
    }
}

fn lookup_batches(table: &impl Lookup, keys: &[PacketKey]) {
    let mut out = [None; BURST];
    for burst in keys.chunks(BURST) {
        table.lookup_batch(black_box(burst), &mut out);
        black_box(&out);
    }
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    group
}

fn lookups(criterion: &mut Criterion) {
    let mut lookup = group(criterion, "lookup");
    lookup.throughput(Throughput::Elements(KEYS as u64));
    for workload in workloads(&SIZES) {
        let (compiled, tuple) = (workload.compiled(), workload.tuple_space());
        lookup.bench_function(BenchmarkId::new("compiled", &workload.name), |bencher| {
            bencher.iter(|| lookup_each(&compiled, &workload.keys));
        });
        lookup.bench_function(BenchmarkId::new("tuple", &workload.name), |bencher| {
            bencher.iter(|| lookup_each(&tuple, &workload.keys));
        });
    }
    for workload in workloads(&LINEAR_SIZES) {
        let linear = Linear::new(&workload.rules[..]);
        lookup.bench_function(BenchmarkId::new("linear", &workload.name), |bencher| {
            bencher.iter(|| lookup_each(&linear, &workload.keys));
        });
    }
    lookup.finish();

    let mut batch = group(criterion, "batch");
    batch.throughput(Throughput::Elements(KEYS as u64));
    for workload in workloads(&SIZES) {
        let compiled = workload.compiled();
        batch.bench_function(BenchmarkId::new("compiled", &workload.name), |bencher| {
            bencher.iter(|| lookup_batches(&compiled, &workload.keys));
        });
    }
    batch.finish();
}

fn build(criterion: &mut Criterion) {
    let mut build = group(criterion, "build");
    for workload in workloads(&BUILD_SIZES) {
        build.throughput(Throughput::Elements(workload.rules.len() as u64));
        build.bench_function(BenchmarkId::new("compiled", &workload.name), |bencher| {
            let rules = || workload.rules.clone();
            bencher.iter_batched(rules, compile, BatchSize::LargeInput);
        });
        build.bench_function(BenchmarkId::new("tuple", &workload.name), |bencher| {
            bencher.iter(|| workload.tuple_space());
        });
    }
    build.finish();
}

fn update(criterion: &mut Criterion) {
    let mut update = group(criterion, "update");
    for structure in STRUCTURES {
        let Workload { name, rules, .. } = Workload::new(structure, UPDATE_SIZE);
        let updater = Updater::new(UNLIMITED, rules).expect("generated rules can be compiled");
        for count in EDITS {
            let mut rng = Rng::with_seed(1);
            // The table as it was, and edits that are different each time.
            let mut prepare = || (updater.clone(), edits::random(updater.rules(), count, &mut rng));
            update.bench_function(BenchmarkId::new(format!("{count} edits"), &name), |bencher| {
                bencher.iter_batched(&mut prepare, apply, BatchSize::PerIteration);
            });
        }
    }
    update.finish();
}

/// The table after, so that the time to free it is not measured.
fn apply((mut updater, edits): (Updater, Vec<Edit>)) -> Updater {
    updater.apply(&edits).expect("the edits are of these rules");
    updater
}

/// What a worker and its publisher share, as in the gateway: a mailbox, and one number that the
/// worker looks at once a burst.
struct Handover {
    mailbox: Mutex<Option<Arc<Classifier>>>,
    published: AtomicU64,
    taken: AtomicU64,
}

/// The generation that tells the worker to end.
const END: u64 = u64::MAX;

impl Handover {
    /// Judges bursts, over and over, by the newest table.
    fn work(&self, mut table: Arc<Classifier>, keys: &[PacketKey]) {
        let mut generation = 0;
        for burst in keys.chunks(BURST).cycle() {
            let published = self.published.load(Ordering::Acquire);
            if published == END {
                return;
            }
            if published != generation {
                let newer = self.mailbox.lock().expect("nobody panics with it").take();
                table = newer.expect("a table is in the mailbox before it is published");
                generation = published;
                self.taken.store(generation, Ordering::Release);
            }
            lookup_batches(&*table, burst);
        }
    }

    /// Hands a table to the worker, which needs a core of its own; the time until the worker judges
    /// by it and has let go of the one before.
    fn publish(&self, table: Arc<Classifier>, generation: u64) -> Duration {
        let start = Instant::now();
        *self.mailbox.lock().expect("nobody panics with it") = Some(table);
        self.published.store(generation, Ordering::Release);
        while self.taken.load(Ordering::Acquire) != generation {
            thread::yield_now();
        }
        start.elapsed()
    }
}

fn swap(criterion: &mut Criterion) {
    let mut swap = group(criterion, "swap");
    for size in SIZES {
        let workload = Workload::new(Structure::Acl1, size);
        let tables = [0, 1].map(|_| Arc::new(workload.compiled()));
        let handover = Handover {
            mailbox: Mutex::new(None),
            published: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        };
        thread::scope(|scope| {
            scope.spawn(|| handover.work(tables[0].clone(), &workload.keys));
            let mut generation = 0;
            swap.bench_function(BenchmarkId::new("compiled", &workload.name), |bencher| {
                bencher.iter_custom(|swaps| {
                    (0..swaps)
                        .map(|_| {
                            generation += 1;
                            let table = tables[generation as usize % 2].clone();
                            handover.publish(table, generation)
                        })
                        .sum()
                });
            });
            handover.published.store(END, Ordering::Release);
        });
    }
    swap.finish();
}

criterion_group!(benches, lookups, build, update, swap);
criterion_main!(benches);
