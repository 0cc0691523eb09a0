//! Sends cases and compares what is received with what is expected.
//!
//! Cases go in bursts, none of them in two, and each burst ends with a sentinel, an ordinary datagram
//! that is allowed. One queue keeps the order, so when the sentinel has arrived, so has what was sent
//! before it. Several queues keep the order of two hosts; sentinels of several hosts then tell that
//! probably all has arrived, and what has not is waited for at the end of the round.

use super::cases::{Case, MOST_FRAMES};
use super::datagram::{Checksum, Datagram, Ends, Fragment, LABEL, SOURCES};
use super::expected::{ALLOWED, Delivery};
use super::receiver::SENTINEL;
use super::wire::Wire;
use crate::{Error, Result};
use fastrand::Rng;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Frames on their way at once: few enough, with a sentinel, for the smallest queue on it, the 256 of
/// a veth with an XDP program.
const BURST: usize = MOST_FRAMES;
/// How long a sentinel may take before another is sent.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many sentinels may be lost in a row.
const SENTINEL_TRIES: usize = 20;
/// Hosts that send sentinels where there is more than one queue.
const SENTINEL_SOURCES: u32 = 8;
/// How long what is missing at the end of a round may still take.
const GRACE: Duration = Duration::from_secs(1);

/// What became of a round.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Frames that were lost, or dropped without a judgement.
    pub lost: u64,
    /// By case, the datagrams of it that were received as expected.
    pub received: Vec<u64>,
    /// What was expected and not received, and of which case.
    pub missing: Vec<(usize, Delivery)>,
    /// What was received and not expected.
    pub strange: Vec<Delivery>,
    /// What the receiver's kernel complains of.
    pub complaint: Option<String>,
}

impl Outcome {
    /// Whether something is wrong that no loss explains. One that goes before the gateway may be the
    /// very fragment that contradicts the others; but nothing ever makes a denied service an allowed
    /// one.
    pub(super) fn is_wrong(&self) -> bool {
        self.strange.iter().any(|delivery| !ALLOWED.contains(&delivery.service))
    }
}

/// Sends `cases`, which together are a round. `rng` says how their frames lie between each other's.
///
/// # Errors
/// When sentinels do not come through, or the kernel refuses.
pub(super) fn play(wire: &mut Wire<'_>, cases: &[Case], rng: &mut Rng) -> Result<Outcome> {
    let mut due = Due::new(cases);
    let mut sent = 0;
    let mut rest = cases;
    while !rest.is_empty() {
        let mut room = BURST;
        let fits = |case: &&Case| {
            let enough = case.fragments.len() <= room;
            room = room.saturating_sub(case.fragments.len());
            enough
        };
        let (burst, after) = rest.split_at(rest.iter().take_while(fits).count());
        sent += send(wire, &mut due, &frames(burst, wire, rng))?;
        rest = after;
    }
    let deadline = Instant::now() + GRACE;
    while due.left() > 0 && Instant::now() < deadline {
        wire.receiver.receive(GRACE / 10, |delivery| due.hear(delivery))?;
    }
    let check = wire.check(sent)?;
    let mut outcome = due.outcome(cases);
    (outcome.lost, outcome.complaint) = (check.lost, check.complaint);
    Ok(outcome)
}

/// The frames of `cases`, each case's in their order: one case after another, or all at once.
fn frames(cases: &[Case], wire: &Wire<'_>, rng: &mut Rng) -> Vec<Vec<u8>> {
    let frame = |case: &Case, f: &Fragment| f.frame(&case.ends, wire.macs);
    let mut turns: Vec<usize> = cases
        .iter()
        .enumerate()
        .flat_map(|(nth, case)| case.fragments.iter().map(move |_| nth))
        .collect();
    if rng.bool() {
        rng.shuffle(&mut turns);
    }
    let mut fragments: Vec<_> = cases.iter().map(|case| case.fragments.iter()).collect();
    let next = |nth: usize| fragments[nth].next().map(|f| frame(&cases[nth], f));
    turns.into_iter().filter_map(next).collect()
}

/// Sends a burst and sentinels until they have arrived; how many frames that took.
fn send(wire: &mut Wire<'_>, due: &mut Due, frames: &[Vec<u8>]) -> Result<u64> {
    let mut sent = 0;
    let sources = if wire.queues > 1 { SENTINEL_SOURCES } else { 1 };
    for attempt in 0..SENTINEL_TRIES {
        wire.sentinels += 1;
        due.sentinels = (wire.sentinels, sources);
        let sentinels: Vec<_> = (0..sources).map(|nth| sentinel(nth, wire)).collect();
        let frames = if attempt == 0 { frames } else { &[] };
        let out: Vec<&[u8]> = frames.iter().chain(&sentinels).map(Vec::as_slice).collect();
        wire.sender.send(&out)?;
        sent += out.len() as u64;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            wire.receiver.receive(PATIENCE, |delivery| due.hear(delivery))?;
            if due.sentinels.1 == 0 {
                return Ok(sent);
            }
        }
    }
    Err(Error::new("no sentinel came through"))
}

/// The frame of a sentinel, from a source of its own, the `nth` of them.
fn sentinel(nth: u32, wire: &Wire<'_>) -> Vec<u8> {
    let datagram = Datagram {
        ends: Ends::new(false, SOURCES + nth),
        service: SENTINEL,
        src_port: SENTINEL.port,
        number: wire.sentinels,
        payload: LABEL,
        options: false,
        checksum: Checksum::Right,
    };
    let fragment = Fragment {
        id: 0,
        next: SENTINEL.protocol,
        start: 0,
        more: false,
        data: datagram.bytes(),
        ecn: 0,
        dont_fragment: true,
        hop_by_hop: false,
        padded: false,
    };
    fragment.frame(&datagram.ends, wire.macs)
}

/// What is still to come of a round.
struct Due {
    /// The case it is of, how often it is expected and how often it came.
    deliveries: HashMap<Delivery, (usize, u64, u64)>,
    left: u64,
    strange: Vec<Delivery>,
    /// Number of the last sentinels, and how many of them are still to come.
    sentinels: (u64, u32),
}

impl Due {
    fn new(cases: &[Case]) -> Due {
        let mut deliveries = HashMap::new();
        let mut left = 0;
        for (nth, case) in cases.iter().enumerate() {
            for delivery in &case.expected {
                deliveries.entry(delivery.clone()).or_insert((nth, 0, 0)).1 += 1;
                left += 1;
            }
        }
        Due { deliveries, left, strange: Vec::new(), sentinels: (0, 0) }
    }

    /// Datagrams that are still to come.
    fn left(&self) -> u64 {
        self.left
    }

    fn hear(&mut self, delivery: Delivery) {
        if delivery.service == SENTINEL
            && let Some(number) = delivery.bytes.first_chunk()
        {
            let (last, missing) = &mut self.sentinels;
            *missing -= u32::from(u64::from_be_bytes(*number) == *last);
            return;
        }
        match self.deliveries.get_mut(&delivery) {
            Some((_, expected, came)) if *came < *expected => {
                *came += 1;
                self.left -= 1;
            }
            _ => self.strange.push(delivery),
        }
    }

    fn outcome(self, cases: &[Case]) -> Outcome {
        let mut outcome = Outcome { received: vec![0; cases.len()], ..Outcome::default() };
        for (delivery, (case, expected, came)) in self.deliveries {
            outcome.received[case] += came;
            if came < expected {
                outcome.missing.push((case, delivery));
            }
        }
        outcome.strange = self.strange;
        outcome
    }
}
