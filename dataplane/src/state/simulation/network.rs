//! Two ends, the state machine between them, and what networks do to segments on both sides of it.

use super::super::tcp::{TcpClass, TcpConfig, TcpEvent, TcpSegment, TcpState};
use super::Draw;
use super::endpoint::{Behaviour, Endpoint};
use std::collections::BTreeMap;

/// Ticks that a segment takes from an end to the machine or on, at least; it may take almost twice
/// that, but not so much more that a whole round trip overtakes it.
const DELAY: u64 = 10;
/// An end that has not finished by now never will.
const PATIENCE: u64 = 400_000;

/// What one connection is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    ends: [Behaviour; 2],
    /// Percent of segments lost, sent twice and delayed, on each leg.
    loss: u64,
    doubles: u64,
    jitter: u64,
}

impl Plan {
    pub fn draw(draw: &mut Draw, aborts: bool) -> Plan {
        let simultaneous = draw.chance(5);
        let mut end = |opens: bool| {
            let segment = 1 + draw.below(1460);
            let segments = if draw.chance(30) { 2 } else { 40 };
            let buffer = 1 + draw.below(segments * segment);
            // A buffer that is less than one unit of its scale would never have a window.
            let scales = u64::from(buffer.ilog2()).min(14) + 1;
            Behaviour {
                isn: if draw.chance(50) {
                    0u32.wrapping_sub(draw.below(20_000) as u32)
                } else {
                    draw.next() as u32
                },
                data: if draw.chance(20) { 0 } else { draw.below(40 * segment) },
                segment,
                buffer,
                scale: draw.chance(70).then(|| draw.below(scales) as u8),
                reads: if draw.chance(30) { 2 } else { 40 },
                opens: opens || simultaneous,
                closes_last: draw.chance(30) && opens,
                probes_with_data: draw.chance(50),
                aborts: (aborts && draw.chance(60)).then(|| draw.below(600)),
            }
        };
        let mut ends = [end(true), end(false)];
        for from in 0..2 {
            ends[from].data = ends[from].data.min(40 * ends[1 - from].buffer);
        }
        let lossy = draw.chance(70);
        let percent = |draw: &mut Draw, most| if lossy { draw.below(most) } else { 0 };
        Plan {
            ends,
            loss: percent(draw, 15),
            doubles: percent(draw, 10),
            jitter: percent(draw, 40),
        }
    }
}

/// What happened to one connection, or to many.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub finished: bool,
    pub delivered: bool,
    pub class: Option<TcpClass>,
    pub segments: u64,
    /// Dropped, and nothing lost by it.
    pub stale: u64,
    /// The first segment dropped that its receiver could still use.
    pub wronged: Option<String>,
    pub challenges: u64,
    pub resets: u64,
    pub retransmissions: u64,
    pub probes: u64,
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.segments += other.segments;
        self.stale += other.stale;
        self.challenges += other.challenges;
        self.resets += other.resets;
        self.retransmissions += other.retransmissions;
        self.probes += other.probes;
    }
}

/// Where a segment is going next.
#[derive(Clone, Copy)]
enum Stop {
    Machine,
    End,
}

/// A connection under way.
pub(super) struct Link {
    plan: Plan,
    draw: Draw,
    ends: [Endpoint; 2],
    /// By the tick of arrival, and in the order of sending.
    on_the_way: BTreeMap<(u64, u64), (Stop, usize, TcpSegment)>,
    sent: u64,
    state: Option<TcpState>,
    /// The end that opened the flow: with both at once, the one whose SYN came first.
    opener: usize,
    report: Report,
}

impl Link {
    pub fn new(plan: Plan, seed: u64) -> Link {
        Link {
            plan,
            draw: Draw(!seed),
            ends: plan.ends.map(Endpoint::new),
            on_the_way: BTreeMap::new(),
            sent: 0,
            state: None,
            opener: 0,
            report: Report::default(),
        }
    }

    pub fn run(mut self) -> Report {
        let mut out = Vec::new();
        for now in 0..PATIENCE {
            for from in 0..2 {
                self.ends[from].tick(now, &mut self.draw, &mut out);
                for segment in out.drain(..) {
                    self.put(Stop::Machine, from, segment, now);
                }
            }
            while self.on_the_way.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                if let Some((_, (stop, from, segment))) = self.on_the_way.pop_first() {
                    self.arrive(stop, from, segment, now);
                }
            }
            let dead = self.ends.iter().any(|end| end.dead);
            let done = |end: &Endpoint| {
                end.dead || (end.sent_all() && end.has_all()) || (dead && end.never_asked())
            };
            if self.on_the_way.is_empty() && self.ends.iter().all(done) {
                self.report.finished = true;
                break;
            }
        }
        let [a, b] = &self.ends;
        self.report.delivered =
            a.received == b.own.data + 2 && b.received == a.own.data + 2 || a.dead || b.dead;
        self.report.class = self.state.map(|state| state.class());
        self.report.retransmissions = a.retransmissions + b.retransmissions;
        self.report.probes = a.probes + b.probes;
        self.report
    }

    fn put(&mut self, stop: Stop, from: usize, segment: TcpSegment, now: u64) {
        let copies = 1 + u64::from(self.draw.chance(self.plan.doubles));
        for _ in 0..copies {
            if self.draw.chance(self.plan.loss) {
                continue;
            }
            let late = if self.draw.chance(self.plan.jitter) { self.draw.below(DELAY) } else { 0 };
            self.sent += 1;
            self.on_the_way.insert((now + DELAY + late, self.sent), (stop, from, segment));
        }
    }

    fn arrive(&mut self, stop: Stop, from: usize, segment: TcpSegment, now: u64) {
        match stop {
            Stop::Machine => {
                if self.judge(from, &segment) {
                    self.put(Stop::End, from, segment, now);
                }
            }
            Stop::End => {
                let answer = self.ends[1 - from].receive(&segment, now);
                if let Some(answer) = answer {
                    self.put(Stop::Machine, 1 - from, answer, now);
                }
            }
        }
    }

    /// Whether the machine lets it by.
    fn judge(&mut self, from: usize, segment: &TcpSegment) -> bool {
        let config = TcpConfig::default();
        self.report.segments += 1;
        self.report.resets += u64::from(segment.flags & 4 != 0);
        let judged = match &mut self.state {
            None => TcpState::open(segment, &config).map(|(state, event)| {
                self.state = Some(state);
                self.opener = from;
                event
            }),
            Some(state) => state.observe(from == self.opener, segment, &config),
        };
        match judged {
            Ok(TcpEvent::Pass { .. }) => true,
            Ok(TcpEvent::Challenge) => {
                self.report.challenges += 1;
                true
            }
            Ok(TcpEvent::Reopen) if self.ends.iter().any(|end| end.dead) => {
                // A copy of the SYN after the RST: the caller judges it as a new flow.
                self.state = None;
                self.judge(from, segment)
            }
            Ok(TcpEvent::Reopen) => {
                self.wrong(from, segment, "reopened");
                false
            }
            Err(_) if self.is_stale(from, segment) => {
                self.report.stale += 1;
                false
            }
            Err(reason) => {
                self.wrong(from, segment, reason.as_str());
                false
            }
        }
    }

    /// Whether its receiver has had all of it already, or would not listen.
    fn is_stale(&self, from: usize, segment: &TcpSegment) -> bool {
        let receiver = &self.ends[1 - from];
        let sender = &self.ends[from];
        let opened = self.state.is_some();
        let expected = sender.own.isn.wrapping_add(receiver.received as u32);
        let control = u32::from(segment.flags & 1) + u32::from(segment.flags & 2 != 0);
        let end = segment.seq.wrapping_add(u32::from(segment.payload)).wrapping_add(control);
        let had = (end.wrapping_sub(expected) as i32) <= 0;
        let reset = segment.flags & 4 != 0;
        let data = segment.seq != end;
        if !opened || receiver.dead {
            return true;
        }
        if reset {
            return segment.seq != expected;
        }
        // The other end of a connection that was reset, or reset itself, has nothing to say.
        (data && had) || sender.dead
    }

    fn wrong(&mut self, from: usize, segment: &TcpSegment, what: &str) {
        let state = self.state;
        self.report
            .wronged
            .get_or_insert_with(|| format!("{what}: from {from} {segment:?}\n{state:?}"));
    }
}
