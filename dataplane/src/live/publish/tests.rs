//! Publications to threads that do what workers do: look, judge, count, acknowledge.

use super::*;
use crate::testing::table;
use crate::verdict::Action;
use classifier::Rule;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const SOON: Duration = Duration::from_millis(50);

fn wakers(count: usize) -> Vec<Arc<Waker>> {
    (0..count).map(|_| Arc::new(Waker::new().expect("an eventfd"))).collect()
}

/// A table of rules of these names.
fn named(generation: u64, ids: &[&'static str], workers: usize) -> Table {
    let rules: Vec<_> = ids.iter().map(|id| (*id, Rule::ANY, Action::Allow)).collect();
    table(generation, &rules, workers)
}

fn hits_of(publisher: &Publisher, id: &str) -> Option<u64> {
    publisher.published().1.iter().find(|hits| &*hits.id == id).map(|hits| hits.hits)
}

/// A worker without packets.
struct Counting {
    subscription: Subscription,
    number: usize,
    table: Arc<Table>,
}

impl Counting {
    /// Takes what is published. The generation in force.
    fn look(&mut self) -> u64 {
        if let Some(table) = self.subscription.newer() {
            let generation = table.generation();
            self.table = table;
            self.subscription.acknowledge(generation);
        }
        self.table.generation()
    }

    /// Counts a packet for the rule `id`, wherever it stands in the table in force.
    fn count(&mut self, id: &str) {
        let rule = self.table.rules().iter().position(|rule| &*rule.id == id);
        self.table.hit(self.number, rule.expect("every table has it") as u32);
    }
}

fn start(first: Table, workers: usize) -> (Publisher, Vec<Counting>) {
    let first = Arc::new(first);
    let (publisher, subscriptions) = Publisher::new(first.clone(), wakers(workers));
    let worker = |(number, subscription)| Counting { subscription, number, table: first.clone() };
    (publisher, subscriptions.into_iter().enumerate().map(worker).collect())
}

#[test]
fn a_thousand_publications_under_load_lose_no_hit_and_never_go_back() {
    const WORKERS: usize = 3;
    const LAST: u64 = 1001;
    let (publisher, workers) = start(named(1, &["kept"], WORKERS), WORKERS);
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = workers
        .into_iter()
        .map(|mut worker| {
            let stop = stop.clone();
            thread::spawn(move || {
                let (mut generation, mut counted) = (1, 0);
                while !stop.load(Relaxed) {
                    let now = worker.look();
                    assert!(now >= generation, "from generation {generation} to {now}");
                    generation = now;
                    for _ in 0..10 {
                        worker.count("kept");
                        counted += 1;
                    }
                    // There are more threads than cores.
                    thread::yield_now();
                }
                (worker.look(), counted)
            })
        })
        .collect();
    let mut before = 0;
    for generation in 2..=LAST {
        // The rule moves about in the table.
        let ids: &[&str] =
            if generation % 2 == 0 { &["other", "kept"] } else { &["kept", "passing", "third"] };
        let published = publisher.publish(named(generation, ids, WORKERS));
        assert_eq!(published.map(|p| p.generation), Ok(generation));
        let hits = hits_of(&publisher, "kept").expect("it is in every table");
        assert!(hits >= before, "{before} hits became {hits}");
        before = hits;
    }
    stop.store(true, Relaxed);
    let mut counted = 0;
    for thread in threads {
        let (generation, hits) = thread.join().expect("no worker panicked");
        assert_eq!(generation, LAST);
        counted += hits;
    }
    assert!(counted > 0);
    assert_eq!(hits_of(&publisher, "kept"), Some(counted));
    assert_eq!(publisher.lock().live.len(), 1, "old tables are gone");
}

#[test]
fn a_worker_that_never_takes_the_table_is_named() {
    let (publisher, mut workers) = start(named(1, &[], 3), 3);
    let stop = AtomicBool::new(false);
    let (alive, rest) = workers.split_at_mut(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                alive[0].look();
                thread::yield_now();
            }
        });
        let error = publisher.publish_within(SOON, named(2, &[], 3));
        assert_eq!(error, Err(PublishError { generation: 2, workers: vec![1, 2] }));
        assert_eq!([0, 1, 2].map(|worker| publisher.acknowledged(worker)), [2, 1, 1]);
        // One of them comes back.
        assert_eq!(rest[0].look(), 2);
        let error = publisher.publish_within(SOON, named(3, &[], 3));
        assert_eq!(error.map_err(|e| e.workers), Err(vec![1, 2]));
        assert_eq!((rest[0].look(), rest[1].look()), (3, 3));
        stop.store(true, Relaxed);
    });
}

#[test]
fn a_worker_that_missed_tables_takes_the_newest_only() {
    let (publisher, mut workers) = start(named(1, &["kept"], 1), 1);
    workers[0].count("kept");
    for generation in 2..5 {
        let _late = publisher.publish_within(Duration::ZERO, named(generation, &["kept"], 1));
    }
    workers[0].count("kept");
    assert_eq!(workers[0].look(), 4);
    workers[0].count("kept");
    assert_eq!(hits_of(&publisher, "kept"), Some(3));
    assert!(workers[0].subscription.newer().is_none());
}

#[test]
fn tables_pile_up_behind_a_dead_worker_no_further_than_it_holds_them() {
    let (publisher, workers) = start(named(1, &["kept"], 1), 1);
    for generation in 2..20 {
        let _late = publisher.publish_within(Duration::ZERO, named(generation, &["kept"], 1));
    }
    // The one it judged by, and the newest.
    assert_eq!(publisher.lock().live.len(), 2);
    drop(workers);
    let _late = publisher.publish_within(Duration::ZERO, named(20, &["kept"], 1));
    assert_eq!(publisher.lock().live.len(), 1);
}

#[test]
fn a_table_is_not_taken_before_it_is_published_to_all() {
    let (publisher, mut workers) = start(named(1, &[], 2), 2);
    let _late = publisher.publish_within(Duration::ZERO, named(2, &[], 2));
    // The next publication has reached one mailbox, and goes on later.
    let third = Arc::new(named(3, &[], 2));
    publisher.workers[0].0.table.force_push(third.clone());
    assert_eq!(workers[0].look(), 1, "the second generation is gone, the third not published");
    assert_eq!(workers[0].look(), 1);
    assert_eq!(workers[1].look(), 2);
    publisher.workers[1].0.table.force_push(third);
    assert_eq!(workers[1].look(), 2);
    publisher.published.store(3, Release);
    assert_eq!((workers[0].look(), workers[1].look()), (3, 3));
    assert!(workers.iter_mut().all(|worker| worker.subscription.newer().is_none()));
}

#[test]
fn hits_of_a_rule_that_went_away_are_forgotten_and_others_stay() {
    let (publisher, mut workers) = start(named(1, &["kept", "gone"], 1), 1);
    let mut publish = |generation, ids: &[&'static str]| {
        thread::scope(|scope| {
            let publisher = &publisher;
            let publication = scope.spawn(move || publisher.publish(named(generation, ids, 1)));
            while !publication.is_finished() {
                workers[0].look();
                thread::yield_now();
            }
        });
        workers[0].count("kept");
    };
    publish(2, &["kept", "gone"]);
    publish(3, &["new", "kept"]);
    assert_eq!((hits_of(&publisher, "kept"), hits_of(&publisher, "gone")), (Some(2), None));
    publish(4, &["gone", "kept"]);
    assert_eq!((hits_of(&publisher, "kept"), hits_of(&publisher, "gone")), (Some(3), Some(0)));
    assert_eq!(publisher.published().0.generation(), 4);
}
