//! The thread of one worker: its loop, its sleep, and what it answers to control.

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
        start: usize,
        records: Vec<FlowRecord>,
        /// Gets the records and the slot to go on from.
        answer: Sender<(Vec<FlowRecord>, Option<usize>)>,
    },
    /// List the drops seen last.
    Drops { records: Vec<DropRecord>, answer: Sender<Vec<DropRecord>> },
}

/// Requests on their way to a worker.
pub(crate) type Requests = ArrayQueue<Request>;

/// Slots of the flow table looked at for one request: some microseconds of the worker's time.
const SLOTS_PER_REQUEST: usize = 4096;
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
            self.keep_house();
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

    /// What bursts do on their way, done when there are none: flows expire.
    fn keep_house(&mut self) {
        let now = self.worker.ports.now();
        self.worker.flows.sweep(now);
        self.tally.commit_flows(&self.worker.flows);
    }

    fn answer_request(&self) {
        match self.requests.pop() {
            Some(Request::Flows { start, records, answer }) => {
                self.list_flows(start, records, answer);
            }
            Some(Request::Drops { records, answer }) => self.list_drops(records, answer),
            None => {}
        }
    }

    fn list_flows(
        &self,
        start: usize,
        mut records: Vec<FlowRecord>,
        answer: Sender<(Vec<FlowRecord>, Option<usize>)>,
    ) {
        let now = self.worker.ports.now();
        let room = records.capacity() - records.len();
        let plan = self.worker.plan();
        let next = self.worker.flows.list(start, SLOTS_PER_REQUEST, room, now, |flow, timeout| {
            let ingress = plan[usize::from(flow.key.ingress(flow.opened))];
            let idle = now.saturating_sub(flow.last_seen);
            records.push(FlowRecord {
                wire: self.wire,
                key: flow.key.opening(flow.opened, ingress.zone, plan[ingress.egress].zone),
                rule: flow.rule,
                generation: flow.generation,
                idle: Duration::from_nanos(idle),
                expires_in: Duration::from_nanos(timeout.saturating_sub(idle)),
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
