//! The compiled table beside the linear scan: one key at a time, in bursts, and its build.

use benches::rulegen::{self, RuleConfig};
use benches::trafficgen::{self, TrafficConfig, compile};
use classifier::{Linear, Lookup, PacketKey, Rule};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// Keys looked up in one iteration: the times reported are for all of them.
const KEYS: usize = 1024;
/// Keys of a batch, as many as a worker's burst.
const BURST: usize = 64;

fn workload(size: usize) -> (Vec<Rule>, Vec<PacketKey>) {
    let rules = rulegen::rules(RuleConfig { rules: size, seed: 1, source_ports: true });
    let traffic = TrafficConfig { packets: KEYS, seed: 2, unmatched_percent: 10 };
    let keys = trafficgen::keys(&rules, traffic);
    (rules, keys)
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
    let workloads = SIZES.map(|size| (size, workload(size)));
    let mut lookup = group(criterion, "lookup");
    lookup.throughput(Throughput::Elements(KEYS as u64));
    for (size, (rules, keys)) in &workloads {
        let (compiled, linear) = (compile(rules), Linear::new(&rules[..]));
        lookup.bench_function(BenchmarkId::new("compiled", size), |bencher| {
            bencher.iter(|| lookup_each(&compiled, keys));
        });
        lookup.bench_function(BenchmarkId::new("linear", size), |bencher| {
            bencher.iter(|| lookup_each(&linear, keys));
        });
    }
    lookup.finish();

    let mut batch = group(criterion, "batch");
    batch.throughput(Throughput::Elements(KEYS as u64));
    for (size, (rules, keys)) in &workloads {
        let (compiled, linear) = (compile(rules), Linear::new(&rules[..]));
        batch.bench_function(BenchmarkId::new("compiled", size), |bencher| {
            bencher.iter(|| lookup_batches(&compiled, keys));
        });
        batch.bench_function(BenchmarkId::new("linear", size), |bencher| {
            bencher.iter(|| lookup_batches(&linear, keys));
        });
    }
    batch.finish();
}

fn build(criterion: &mut Criterion) {
    let mut build = group(criterion, "build");
    for size in SIZES {
        let (rules, _) = workload(size);
        build.throughput(Throughput::Elements(size as u64));
        build.bench_function(BenchmarkId::new("compiled", size), |bencher| {
            bencher.iter(|| compile(black_box(&rules)));
        });
    }
    build.finish();
}

criterion_group!(benches, lookups, build);
criterion_main!(benches);
