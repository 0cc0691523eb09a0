//! Tables on their way to the workers, and back off them.
//!
//! A table is put into every worker's mailbox, and only then does the published generation rise. A
//! worker looks at that one number once a burst, after the burst was received. So when any worker
//! has let a packet through by the new table, every other worker takes the table before it judges
//! what that packet causes.

use crate::counters::RuleHits;
use crate::gateway::{PublishError, Published};
use crate::live::wake::Waker;
use crate::table::Table;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a worker may take. A burst takes microseconds; a worker that shares its core with
/// others waits for its turn.
const TAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Subscription {
    published: Arc<CachePadded<AtomicU64>>,
    mailbox: Arc<Mailbox>,
    /// Generation taken last.
    taken: u64,
}

#[derive(Debug)]
struct Mailbox {
    /// The newest table that the worker has not taken.
    table: ArrayQueue<Arc<Table>>,
    /// Generation that the worker judges by.
    acknowledged: CachePadded<AtomicU64>,
}

impl Subscription {
    /// The table to judge by from now on, if there is a newer one. One acquire load when there is
    /// none.
    #[inline]
    pub fn newer(&mut self) -> Option<Arc<Table>> {
        let published = self.published.load(Acquire);
        if published == self.taken {
            return None;
        }
        self.taken = published;
        self.mailbox.table.pop()
    }

    /// Says that the table is in force and the one before it forgotten. Call it after the worker's
    /// own reference to the old table is gone.
    pub fn acknowledge(&self, generation: u64) {
        self.mailbox.acknowledged.store(generation, Release);
    }
}

/// The publishing side.
#[derive(Debug)]
pub(crate) struct Publisher {
    published: Arc<CachePadded<AtomicU64>>,
    workers: Vec<(Arc<Mailbox>, Arc<Waker>)>,
    tables: Mutex<Tables>,
}

/// Tables that a worker may still count in, oldest first, the published one last; and the hits of
/// those that are gone.
#[derive(Debug)]
struct Tables {
    live: Vec<Arc<Table>>,
    past_hits: HashMap<Box<str>, u64>,
}

impl Publisher {
    /// Publishes to `wakers.len()` workers, who start with `first`.
    pub fn new(first: Arc<Table>, wakers: Vec<Arc<Waker>>) -> (Self, Vec<Subscription>) {
        let generation = first.generation();
        let published = Arc::new(CachePadded::new(AtomicU64::new(generation)));
        let mailbox = || {
            Arc::new(Mailbox {
                table: ArrayQueue::new(1),
                acknowledged: CachePadded::new(AtomicU64::new(generation)),
            })
        };
        let workers: Vec<_> = wakers.into_iter().map(|waker| (mailbox(), waker)).collect();
        let subscriptions = workers
            .iter()
            .map(|(mailbox, _)| Subscription {
                published: published.clone(),
                mailbox: mailbox.clone(),
                taken: generation,
            })
            .collect();
        let tables = Tables { live: vec![first], past_hits: HashMap::new() };
        (Publisher { published, workers, tables: Mutex::new(tables) }, subscriptions)
    }

    /// Generation published last.
    pub fn generation(&self) -> u64 {
        self.published.load(Acquire)
    }

    /// Generation that `worker` judges by.
    pub fn acknowledged(&self, worker: usize) -> u64 {
        self.workers[worker].0.acknowledged.load(Acquire)
    }

    /// The table published last.
    pub fn table(&self) -> Arc<Table> {
        let tables = self.lock();
        // `live` starts with one table and never loses its last.
        tables.live[tables.live.len() - 1].clone()
    }

    /// Hands `table` to every worker and waits until each has taken it.
    pub fn publish(&self, table: Table) -> Result<Published, PublishError> {
        let generation = table.generation();
        let table = Arc::new(table);
        let start = Instant::now();
        {
            let mut tables = self.lock();
            tables.live.push(table.clone());
            for (mailbox, _) in &self.workers {
                // A table that a slow worker never took is replaced, not queued behind.
                mailbox.table.force_push(table.clone());
            }
            self.published.store(generation, Release);
        }
        for (_, waker) in &self.workers {
            waker.wake();
        }
        let taken =
            |(mailbox, _): &(Arc<Mailbox>, _)| mailbox.acknowledged.load(Acquire) >= generation;
        while !self.workers.iter().all(taken) {
            if start.elapsed() > TAKE_TIMEOUT {
                let late = |(n, worker)| (!taken(worker)).then_some(n);
                let workers = self.workers.iter().enumerate().filter_map(late).collect();
                return Err(PublishError { generation, workers });
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        let swap = start.elapsed();
        self.lock().retire(generation);
        Ok(Published { generation, swap })
    }

    /// Hits of the published table's rules since the start.
    pub fn rule_hits(&self) -> Vec<RuleHits> {
        let tables = self.lock();
        let Some((newest, older)) = tables.live.split_last() else { return Vec::new() };
        let mut past = tables.past_hits.clone();
        for table in older {
            add_hits(&mut past, table);
        }
        newest
            .rules()
            .iter()
            .zip(newest.hits())
            .map(|(rule, hits)| RuleHits {
                id: rule.id.clone(),
                action: rule.action,
                hits: hits + past.get(&rule.id).copied().unwrap_or(0),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic while it was held left whole values behind: each update is one step.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Folds the hits of every table before `generation`, which all workers have left, and forgets
    /// hits of rules that are no more.
    fn retire(&mut self, generation: u64) {
        for table in self.live.extract_if(.., |table| table.generation() < generation) {
            add_hits(&mut self.past_hits, &table);
        }
        if let Some(newest) = self.live.last() {
            let ids: std::collections::HashSet<&str> =
                newest.rules().iter().map(|rule| &*rule.id).collect();
            self.past_hits.retain(|id, _| ids.contains(&**id));
        }
    }
}

fn add_hits(sums: &mut HashMap<Box<str>, u64>, table: &Table) {
    for (rule, hits) in table.rules().iter().zip(table.hits()) {
        *sums.entry(rule.id.clone()).or_default() += hits;
    }
}
