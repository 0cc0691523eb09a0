//! The thread of one worker: its loop, its sleep, and what it answers to control.

use crate::flows::{opening_key, rule_of};
use crate::flowtable::{Direction, RuleCounts, Source, time};
use crate::gateway::{DropRecord, FlowRecord, Poll};
use crate::handover::Handover;
use crate::live::publish::Subscription;
use crate::live::wake::Waker;
use crate::ports::Ports;
use crate::ports::af_xdp::XdpPorts;
use crate::tally::WorkerTally;
use crate::worker::Worker;
use crossbeam::channel::Sender;
use crossbeam::queue::ArrayQueue;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::time::Duration;

/// What control may ask of a worker. It answers between two bursts, a little at a time, into room
/// that control brought along.
pub(crate) enum Request {
    /// List flows from a slot on.
    Flows {
        start: u32,
        records: Vec<FlowRecord>,
        /// Gets the records and the slot to go on from.
        answer: Sender<(Vec<FlowRecord>, Option<u32>)>,
    },
    /// List who opened flows, from an entry on.
    Sources {
        start: u32,
        sources: Vec<SourceCount>,
        answer: Sender<(Vec<SourceCount>, Option<u32>)>,
    },
    /// Count flows by rule, from a slot on.
    Rules { start: u32, counts: RuleCounts, answer: Sender<(RuleCounts, Option<u32>)> },
    /// List the drops seen last.
    Drops { records: Vec<DropRecord>, answer: Sender<Vec<DropRecord>> },
}

/// Who opened flows, and how many.
pub(crate) type SourceCount = (Source, u32);

/// Requests on their way to a worker.
pub(crate) type Requests = ArrayQueue<Request>;

/// Slots of the flow table looked at for one request: some microseconds of the worker's time.
const SLOTS_PER_REQUEST: u32 = 4096;
/// Rounds without a frame before a worker keeps house and, if it is adaptive, sleeps.
const IDLE_ROUNDS: u32 = 256;
/// Longest sleep: flows expire and the stop flag is seen at least this often.
const SLEEP: Duration = Duration::from_millis(100);
/// Longest sleep while the kernel still holds frames.
const SLEEP_HOLDING: Duration = Duration::from_millis(1);
/// How long a stopping worker waits for the kernel to finish transmitting.
const DRAIN: Duration = Duration::from_millis(200);

/// A worker with everything that its thread needs.
pub(crate) struct Runner {
    pub worker: Worker<XdpPorts>,
    /// Wire it serves, an index in configuration order.
    pub wire: usize,
    /// Queue it serves.
    pub queue: u32,
    /// Number of each of the worker's ports in the gateway's configuration.
    pub gateway_ports: Vec<usize>,
    pub subscription: Subscription,
    pub requests: Arc<Requests>,
    pub waker: Arc<Waker>,
    /// Those of its siblings, to be woken when they are handed frames.
    pub sibling_wakers: Vec<Arc<Waker>>,
    pub tally: Arc<WorkerTally>,
    pub poll: Poll,
    pub stop: Arc<AtomicBool>,
}

impl Runner {
    /// Works until told to stop. The sockets are still open when it returns.
    pub fn run(mut self) -> Self {
        let mut idle = 0;
        while !self.stop.load(Acquire) {
            let received = self.round();
            // Under load too: control is not to wait for a quiet moment.
            if !self.requests.is_empty() {
                self.answer_request();
            }
            if received > 0 {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle < IDLE_ROUNDS {
                std::hint::spin_loop();
                continue;
            }
            idle = 0;
            self.worker.keep_house();
            if self.poll == Poll::Adaptive {
                self.sleep();
            }
        }
        self.drain();
        self
    }

    /// One burst from each port, and one of what siblings received by it. Frames judged or handed
    /// over.
    fn round(&mut self) -> usize {
        let mut received = 0;
        for port in 0..self.gateway_ports.len() {
            let burst = self.worker.receive(port);
            self.take_newer_table();
            if burst > 0 {
                self.worker.judge_burst(port);
                self.wake_burdened_siblings();
            }
            received += burst + self.take_in(port);
        }
        self.worker.collect_completed();
        received
    }

    /// One burst of what siblings received by `port` and handed over.
    fn take_in(&mut self, port: usize) -> usize {
        let burst = self.worker.take_in(port);
        if burst > 0 {
            // After it came, as for what this worker receives itself.
            self.take_newer_table();
            self.worker.judge_burst(port);
        }
        burst
    }

    fn take_newer_table(&mut self) {
        if let Some(table) = self.subscription.newer() {
            let generation = table.generation();
            self.worker.take_table(table);
            self.subscription.acknowledge(generation);
        }
    }

    /// A sleeping sibling finds what it was handed only when it wakes.
    fn wake_burdened_siblings(&mut self) {
        let Some(handover) = &mut self.worker.handover else { return };
        let mut burdened = handover.take_burdened();
        while burdened != 0 {
            self.sibling_wakers[burdened.trailing_zeros() as usize].wake();
            burdened &= burdened - 1;
        }
    }

    fn answer_request(&self) {
        match self.requests.pop() {
            Some(Request::Flows { start, records, answer }) => {
                self.list_flows(start, records, answer);
            }
            Some(Request::Sources { start, mut sources, answer }) => {
                let table = &self.worker.flows.table;
                let limit = SLOTS_PER_REQUEST.min((sources.capacity() - sources.len()) as u32);
                let next =
                    table.sources(start, limit, |source, flows| sources.push((source, flows)));
                // Whoever asked may have given up, here and below.
                let _ = answer.send((sources, next));
            }
            Some(Request::Rules { start, mut counts, answer }) => {
                let table = &self.worker.flows.table;
                let next = table.count_by_rule(start, SLOTS_PER_REQUEST, &mut counts);
                let _ = answer.send((counts, next));
            }
            Some(Request::Drops { records, answer }) => self.list_drops(records, answer),
            None => {}
        }
    }

    fn list_flows(
        &self,
        start: u32,
        mut records: Vec<FlowRecord>,
        answer: Sender<(Vec<FlowRecord>, Option<u32>)>,
    ) {
        let room = records.capacity() - records.len();
        let (plan, table) = (self.worker.plan(), &self.worker.flows.table);
        let generation = self.worker.generation();
        let next = table.list(start, SLOTS_PER_REQUEST, room, |flow| {
            let first = plan[usize::from(flow.key.side())];
            let zones = [first.zone, plan[first.egress].zone];
            let [from, to] = match flow.opened {
                Direction::Forward => zones,
                Direction::Reverse => [zones[1], zones[0]],
            };
            records.push(FlowRecord {
                wire: self.wire,
                key: opening_key(&flow.key, flow.opened, &flow.opening, from, to),
                rule: rule_of(flow.rule),
                generation: whole_generation(flow.generation, generation),
                class: flow.class,
                idle: time(flow.idle),
                expires_in: time(flow.timeout.saturating_sub(flow.idle)),
            });
        });
        // Whoever asked may have given up.
        let _ = answer.send((records, next));
    }

    fn list_drops(&self, mut records: Vec<DropRecord>, answer: Sender<Vec<DropRecord>>) {
        let now = self.worker.ports.now();
        let room = records.capacity() - records.len();
        records.extend(self.worker.recent.iter().take(room).map(|drop| DropRecord {
            age: Duration::from_nanos(now.saturating_sub(drop.at)),
            port: self.gateway_ports[drop.port],
            queue: self.queue,
            reason: drop.reason,
            key: drop.key,
            rule: drop.rule,
            generation: drop.generation,
            length: drop.length,
        }));
        // Whoever asked may have given up.
        let _ = answer.send(records);
    }

    /// Sleeps until a socket has frames, somebody wakes the worker, or a timeout.
    fn sleep(&mut self) {
        self.waker.about_to_sleep();
        // Whatever came since the last look is seen now, or wakes us.
        self.take_newer_table();
        let handed_frames = self.worker.handover.as_ref().is_some_and(Handover::is_waiting);
        if self.requests.is_empty() && !handed_frames && !self.stop.load(Acquire) {
            self.tally.common.sleeps.add(1);
            let timeout = if self.tally.held() > 0 { SLEEP_HOLDING } else { SLEEP };
            self.poll_fds(timeout);
        }
        self.waker.woke_up();
    }

    fn poll_fds(&self, timeout: Duration) {
        const NOTHING: libc::pollfd = libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 };
        let mut fds = [NOTHING; 3];
        let sockets = self.worker.ports.fds().chain(std::iter::once(self.waker.fd()));
        for (slot, fd) in fds.iter_mut().zip(sockets) {
            slot.fd = fd.as_raw_fd();
        }
        // SAFETY: `fds` is an array of that many pollfd; negative descriptors are ignored.
        let ready = unsafe {
            libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout.as_millis() as i32)
        };
        let lost = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        if ready > 0 && fds.iter().any(|fd| fd.revents & lost != 0) {
            // A socket whose interface went away or is down reports an error at once, each time.
            std::thread::sleep(timeout);
        }
    }

    /// Takes in what siblings handed over, and gives the kernel a moment to transmit what it holds.
    fn drain(&mut self) {
        self.worker.give_up_fragments();
        let deadline = std::time::Instant::now() + DRAIN;
        loop {
            let taken: usize = (0..self.gateway_ports.len()).map(|port| self.take_in(port)).sum();
            self.worker.collect_completed();
            let done = taken == 0 && self.tally.held() == 0;
            if done || std::time::Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The generation with these low bits, none of which is newer than the table in force.
fn whole_generation(low: u32, in_force: u64) -> u64 {
    in_force - u64::from((in_force as u32).wrapping_sub(low))
}

/// Says that the thread runs for as long as it lives, also when it ends by a panic.
pub(crate) struct Alive(Arc<WorkerTally>);

impl Alive {
    pub fn new(tally: Arc<WorkerTally>) -> Self {
        tally.common.alive.store(true, Release);
        Alive(tally)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.common.alive.store(false, Release);
    }
}
