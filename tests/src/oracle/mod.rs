//! The kernel as oracle: the same packets through Bulkhead and through hardened nftables, compared
//! one by one.
//!
//! ```text
//! policy (random) -> bulkhead apply                       -> a wire with Bulkhead
//!                 -> bulkhead export nft --hardened, nft -> a router with nftables
//! scripts, drawn from the policy's rules and mutated -> both -> which packets came out
//! ```
//!
//! A difference is explained by a row of [`explained::ROWS`] or it is a failure. Frames that were
//! lost on the way are found by counters, and the whole policy is tried again with other addresses:
//! no packet is taken for dropped because it did not arrive.

pub mod explained;
mod mutations;
pub(crate) mod packet;
mod policy;
mod report;
mod rounds;
mod scripts;
pub(crate) mod socket;
mod strays;
mod worlds;

pub use report::{Difference, Report, Tally};
pub use scripts::Class;

use crate::{Error, Lab, Result};
use fastrand::Rng;
use policy::{BLOCKS, Policy};
use rounds::{Played, Stage};
use scripts::Writer;
use std::ops::ControlFlow;
use std::time::Instant;
use worlds::Worlds;

/// Most packets for one policy: identifiers have 16 bits.
const MOST_PACKETS: u64 = 50_000;
/// How often one policy is tried again before losses are a failure.
const TRIES: u32 = 5;
/// Packets that are to come through where everything is allowed.
const CALIBRATION: u64 = 2_000;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Packets to send, through each of the two; the last script may send a few more.
    pub packets: u64,
    /// Policies to divide them among.
    pub policies: u64,
    /// Kinds of packets, in equal parts.
    pub classes: Vec<Class>,
    /// Where the random numbers begin.
    pub seed: u64,
}

/// Compares until `options` are fulfilled or `progress`, which is asked after every policy, ends it.
///
/// # Errors
/// If the laboratories cannot be made, packets are lost again and again, or a frame comes out that
/// did not go in.
pub fn run(
    options: &Options,
    mut progress: impl FnMut(&Report) -> ControlFlow<()>,
) -> Result<Report> {
    let per_policy = options.packets.div_ceil(options.policies.max(1));
    if per_policy > MOST_PACKETS || options.classes.is_empty() {
        return Err(Error::new(format!(
            "{per_policy} packets for each policy: at most {MOST_PACKETS}, of at least one class"
        )));
    }
    let started = Instant::now();
    let (wire, router) = (Lab::new()?, Lab::new()?);
    let mut worlds = Worlds::new(&wire, &router, &Policy::allow_all(0).text())?;
    calibrate(&mut worlds, options.seed)?;
    let mut report = Report::new(options.seed);
    let mut block = 0;
    for nth in 0..options.policies {
        let mut tries = 0;
        loop {
            block = (block + 1) % BLOCKS;
            // What flows of an earlier policy in the same block allow would be a difference.
            if block == 0 || worlds.is_crowded() {
                worlds = worlds.forget_flows(&Policy::allow_all(block).text())?;
            }
            // The same policy and packets whatever was drawn for others.
            let mut rng =
                Rng::with_seed(options.seed ^ (nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let policy = Policy::random(block, &mut rng);
            let text = policy.text();
            worlds.install(&text)?;
            let writer = Writer::new(&policy, &mut rng);
            let outcome = play_all(&mut worlds, writer, &options.classes, per_policy);
            match worlds.check_losses() {
                Ok(()) => {
                    report.add(&text, outcome?);
                    break;
                }
                Err(error) if tries == TRIES => return Err(error),
                // What came out wrong stays wrong without losses.
                Err(_) => tries += 1,
            }
            report.retried += 1;
            worlds.begin_counting()?;
        }
        report.policies += 1;
        report.seconds = started.elapsed().as_secs_f64();
        if progress(&report).is_break() {
            break;
        }
    }
    worlds.stop()?;
    Ok(report)
}

/// Plays scripts of `classes`, in equal parts, until `packets` were sent.
fn play_all(
    worlds: &mut Worlds<'_>,
    mut writer: Writer<'_>,
    classes: &[Class],
    packets: u64,
) -> Result<Vec<Played>> {
    let share = packets.div_ceil(classes.len() as u64);
    let mut all = Vec::new();
    // Of each class, the packets in the scripts so far, and those of them that were sent: not those
    // that would answer one that was dropped.
    let mut counts = vec![(0, 0); classes.len()];
    let mut stage = Stage::default();
    while counts.iter().any(|(_, sent)| *sent < share) {
        let mut scripts = Vec::new();
        for (class, (written, sent)) in classes.iter().zip(&mut counts) {
            let missing = share.saturating_sub(*sent);
            // As many more as it takes if they fare as those before.
            let enough = *written + (missing * (*written).max(1)).div_ceil((*sent).max(1));
            while *written < enough {
                let script = writer.script(*class);
                *written += script.steps.len() as u64;
                scripts.push(script);
            }
        }
        for played in stage.play(worlds, scripts)? {
            if let Some(class) = classes.iter().position(|class| *class == played.script.class) {
                counts[class].1 += played.sent().count() as u64;
            }
            all.push(played);
        }
    }
    Ok(all)
}

/// Shows that where everything is allowed everything comes through, so that what does not was
/// dropped by a rule.
fn calibrate(worlds: &mut Worlds<'_>, seed: u64) -> Result<()> {
    let policy = Policy::allow_all(0);
    let classes = [Class::Udp, Class::Icmp, Class::TcpHandshake];
    worlds.install(&policy.text())?;
    let mut rng = Rng::with_seed(seed);
    let played = play_all(worlds, Writer::new(&policy, &mut rng), &classes, CALIBRATION)?;
    worlds.check_losses()?;
    let through = |played: &Played| played.sent().all(|(_, passed)| passed == [true, true]);
    match played.iter().find(|played| !through(played)) {
        None => Ok(()),
        Some(played) => {
            let difference = report::describe(&policy.text(), played, played.outcomes.len() - 1);
            Err(Error::new(format!("not all passed where everything is allowed:\n{difference}")))
        }
    }
}
