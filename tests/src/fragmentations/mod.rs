//! The receiver as oracle: what a Linux host behind the gateway puts together from fragments is what
//! the gateway judged.
//!
//! ```text
//! case (random) -> fragments -> gateway -> Linux receiver -> datagrams received
//!              `-> by the RFCs -----------------------------> datagrams expected
//! ```
//!
//! A datagram is to be received, whole and byte for byte, if its fragments as they were sent tile it
//! without contradiction, its checksum is right and its port is allowed; and nothing else ever.
//! Frames that were lost on the way are found by counters, and the whole round is sent again as other
//! datagrams: no datagram is taken for dropped because it did not arrive.

mod cases;
mod class;
mod datagram;
mod expected;
mod receiver;
mod report;
mod rounds;
mod wire;

pub use class::Class;
pub use report::{Report, Tally};

use crate::{Error, Lab, LabOptions, Result};
use cases::Case;
use fastrand::Rng;
use rounds::play;
use std::ops::ControlFlow;
use std::time::Instant;
use wire::Wire;

/// Cases between two looks at the counters.
const ROUND: u64 = 1_000;
/// How often one round is tried again before losses are a failure.
const TRIES: u32 = 5;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Datagrams to cut up; the last case may cut a few more.
    pub datagrams: u64,
    /// Queues of every interface, each with a worker.
    pub queues: u32,
    /// Where the random numbers begin.
    pub seed: u64,
}

/// Sends until `options` are fulfilled or `progress`, which is asked after every round, ends it.
///
/// # Errors
/// If the laboratory cannot be made, frames are lost again and again, or the gateway's sums do not
/// agree at the end. What was received wrongly or not at all is in the report.
pub fn run(
    options: &Options,
    mut progress: impl FnMut(&Report) -> ControlFlow<()>,
) -> Result<Report> {
    let started = Instant::now();
    let queues = options.queues;
    let lab = Lab::with(LabOptions { queues, ..LabOptions::default() })?;
    let mut wire = Wire::new(&lab, queues)?;
    let mut report = Report::new(options.seed);
    // No two cases have a number, also of a round that is tried again.
    let mut next = 0;
    for round in 0u64.. {
        let mut tries = 0;
        let (cases, outcome) = loop {
            // The same cases, whatever was drawn for other rounds.
            let mut rng =
                Rng::with_seed(options.seed ^ (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let cases = draw(queues, next, options.datagrams - report.datagrams(), &mut rng);
            next += cases.len() as u64;
            let outcome = play(&mut wire, &cases, &mut rng)?;
            if outcome.lost == 0 || outcome.is_wrong() {
                break (cases, outcome);
            }
            report.retried += 1;
            tries += 1;
            if tries > TRIES {
                return Err(Error::new(format!(
                    "round {round}: {} frames lost, again and again",
                    outcome.lost
                )));
            }
        };
        report.add(round, &cases, outcome);
        report.seconds = started.elapsed().as_secs_f64();
        if report.datagrams() >= options.datagrams || progress(&report).is_break() {
            break;
        }
    }
    report.drops = wire.drops()?;
    wire.stop()?;
    Ok(report)
}

/// The cases of a round that is to cut up `datagrams` at most; the first is case `next` of the run.
fn draw(queues: u32, next: u64, datagrams: u64, rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut cut = 0;
    while (cases.len() as u64) < ROUND && cut < datagrams {
        let case = Case::draw(next + cases.len() as u64, rng);
        if queues == 1 || case.suits_queues() {
            cut += case.datagrams;
            cases.push(case);
        }
    }
    cases
}
