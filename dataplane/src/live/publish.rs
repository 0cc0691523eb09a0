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
use std::collections::{HashMap, HashSet};
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
    /// A table found in the mailbox before it was published.
    early: Option<Arc<Table>>,
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
        if published == self.taken { None } else { self.take(published) }
    }

    #[cold]
    fn take(&mut self, published: u64) -> Option<Arc<Table>> {
        let table = self.mailbox.table.pop().or_else(|| self.early.take())?;
        if table.generation() > published {
            // The next publication, on its way: not every mailbox may have it yet.
            self.early = Some(table);
            return None;
        }
        self.early = None;
        self.taken = table.generation();
        Some(table)
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
                early: None,
                taken: generation,
            })
            .collect();
        let tables = Tables { live: vec![first], past_hits: HashMap::new() };
        (Publisher { published, workers, tables: Mutex::new(tables) }, subscriptions)
    }

    /// Generation that `worker` judges by.
    pub fn acknowledged(&self, worker: usize) -> u64 {
        self.workers[worker].0.acknowledged.load(Acquire)
    }

    /// Hands `table` to every worker and waits until each has taken it. Generations rise from one
    /// publication to the next.
    ///
    /// # Errors
    /// [`PublishError`] when a worker does not take it in time.
    pub fn publish(&self, table: Table) -> Result<Published, PublishError> {
        self.publish_within(TAKE_TIMEOUT, table)
    }

    fn publish_within(&self, timeout: Duration, table: Table) -> Result<Published, PublishError> {
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
        while !self.workers.iter().all(taken) && start.elapsed() <= timeout {
            std::thread::sleep(Duration::from_micros(50));
        }
        let swap = start.elapsed();
        self.lock().retire();
        let late = |(n, worker)| (!taken(worker)).then_some(n);
        let workers: Vec<usize> = self.workers.iter().enumerate().filter_map(late).collect();
        if workers.is_empty() {
            Ok(Published { generation, swap })
        } else {
            Err(PublishError { generation, workers })
        }
    }

    /// The table published last, and the hits of its rules since the start.
    pub fn published(&self) -> (Arc<Table>, Vec<RuleHits>) {
        let tables = self.lock();
        let (newest, older) = tables.newest_and_older();
        // Mostly empty: workers leave a table within microseconds.
        let mut leaving = HashMap::new();
        for table in older {
            add_hits(&mut leaving, table);
        }
        let of = |sums: &HashMap<Box<str>, u64>, id| sums.get(id).copied().unwrap_or(0);
        let hits = newest
            .rules()
            .iter()
            .zip(newest.hits())
            .map(|(rule, hits)| RuleHits {
                id: rule.id.clone(),
                action: rule.action,
                hits: hits + of(&leaving, &rule.id) + of(&tables.past_hits, &rule.id),
            })
            .collect();
        (newest.clone(), hits)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic while it was held left whole values behind: each update is one step.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn newest_and_older(&self) -> (&Arc<Table>, &[Arc<Table>]) {
        self.live.split_last().expect("there is a table from the start, and the newest stays")
    }

    /// Folds the hits of the older tables that nobody else holds any more, and forgets the hits of
    /// rules that are in no table.
    fn retire(&mut self) {
        let older = self.live.len() - 1;
        // Who can get at a table holds it, so one that is only here is never counted in again.
        let unused = |table: &mut Arc<Table>| Arc::get_mut(table).is_some();
        for table in self.live.extract_if(..older, unused) {
            add_hits(&mut self.past_hits, &table);
        }
        let ids: HashSet<&str> =
            self.live.iter().flat_map(|table| table.rules()).map(|rule| &*rule.id).collect();
        self.past_hits.retain(|id, _| ids.contains(&**id));
    }
}

fn add_hits(sums: &mut HashMap<Box<str>, u64>, table: &Table) {
    for (rule, hits) in table.rules().iter().zip(table.hits()) {
        *sums.entry(rule.id.clone()).or_default() += hits;
    }
}

#[cfg(test)]
mod tests;
