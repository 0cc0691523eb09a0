//! What a run came to.

use super::cases::Case;
use super::class::Class;
use super::datagram::{Fragment, LABEL};
use super::expected::Delivery;
use super::rounds::Outcome;
use crate::oracle::packet::hex;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Failures of one class that are told in full.
const TOLD: usize = 3;
/// Bytes of a datagram that are told.
const TOLD_BYTES: usize = 48;

/// Cases of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Datagrams cut up for them.
    pub datagrams: u64,
    /// Fragments sent.
    pub fragments: u64,
    /// Datagrams that the receiver was to get.
    pub expected: u64,
    /// Those that it got, byte for byte.
    pub received: u64,
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Where the random numbers began.
    pub seed: u64,
    /// Times that frames were lost and the round was sent again.
    pub retried: u64,
    /// Time taken.
    pub seconds: f64,
    /// Cases by class.
    pub classes: BTreeMap<Class, Tally>,
    /// Datagrams that were expected and did not come, by class.
    pub missing: BTreeMap<Class, u64>,
    /// Datagrams that came and were not expected.
    pub strange: u64,
    /// What the receiver's kernel complained of.
    pub complaints: u64,
    /// Frames that the gateway dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// The first failures, whole enough to be repeated by hand.
    pub told: Vec<String>,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Report { seed, ..Report::default() }
    }

    /// Datagrams cut up so far.
    pub fn datagrams(&self) -> u64 {
        self.classes.values().map(|tally| tally.datagrams).sum()
    }

    /// Whether the receiver got what it was to get, and nothing else.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.strange == 0 && self.complaints == 0
    }

    /// Counts what became of the `cases` of `round`.
    pub(super) fn add(&mut self, round: u64, cases: &[Case], outcome: Outcome) {
        for (case, received) in cases.iter().zip(&outcome.received) {
            let tally = self.classes.entry(case.class).or_default();
            tally.cases += 1;
            tally.datagrams += case.datagrams;
            tally.fragments += case.fragments.len() as u64;
            tally.expected += case.expected.len() as u64;
            tally.received += received;
        }
        for delivery in &outcome.strange {
            self.strange += 1;
            let by_number = |case: &&Case| case.ends.src == delivery.src;
            let of: Vec<&Case> = cases.iter().filter(by_number).collect();
            self.tell(round, "received and not expected", delivery, &of);
        }
        // Where frames were lost, no more can be said.
        if outcome.lost > 0 {
            return;
        }
        for (nth, delivery) in &outcome.missing {
            let case = &cases[*nth];
            let count = self.missing.entry(case.class).or_default();
            *count += 1;
            if *count <= TOLD as u64 {
                self.tell(round, "expected and not received", delivery, &[case]);
            }
        }
        if let Some(complaint) = outcome.complaint {
            self.complaints += 1;
            self.told.push(format!("round {round}: the receiver's kernel: {complaint}\n"));
        }
    }

    fn tell(&mut self, round: u64, what: &str, delivery: &Delivery, cases: &[&Case]) {
        if self.told.len() > TOLD * Class::ALL.len() {
            return;
        }
        let Delivery { src, service, bytes } = delivery;
        let mut text = format!(
            "round {round}: {what}: protocol {} port {} from {src}, {} bytes: {}\n",
            service.protocol,
            service.port,
            bytes.len(),
            hex(&bytes[..bytes.len().min(TOLD_BYTES)])
        );
        for case in cases {
            let _ = writeln!(text, "  {}, {} expected", case.class.as_str(), case.expected.len());
            for fragment in &case.fragments {
                let _ = writeln!(text, "    {}", describe(fragment));
            }
        }
        self.told.push(text);
    }
}

fn describe(fragment: &Fragment) -> String {
    let more = if fragment.more { "more" } else { "last" };
    let hop_by_hop = if fragment.hop_by_hop { " hop-by-hop" } else { "" };
    format!(
        "id {} next {} bytes {}..{} {more} ecn {}{hop_by_hop} {}",
        fragment.id,
        fragment.next,
        fragment.start,
        fragment.end(),
        fragment.ecn,
        hex(&fragment.data[..fragment.data.len().min(8 + LABEL)])
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for text in &self.told {
            writeln!(f, "{text}")?;
        }
        let datagrams = self.datagrams();
        writeln!(
            f,
            "{datagrams} datagrams in {:.1} s, {:.0} a second; {} rounds sent again because frames \
             were lost; SEED={}",
            self.seconds,
            datagrams as f64 / self.seconds.max(0.001),
            self.retried,
            self.seed
        )?;
        let mut sum = Tally::default();
        for (class, tally) in &self.classes {
            row(f, class.as_str(), tally)?;
            sum.cases += tally.cases;
            sum.datagrams += tally.datagrams;
            sum.fragments += tally.fragments;
            sum.expected += tally.expected;
            sum.received += tally.received;
        }
        row(f, "all", &sum)?;
        writeln!(f, "frames that the gateway dropped, by reason")?;
        for (reason, count) in &self.drops {
            writeln!(f, "  {reason:26} {count:9}")?;
        }
        let missing: u64 = self.missing.values().sum();
        writeln!(
            f,
            "{missing} expected and not received, {} received and not expected, {} complaints of the \
             receiver's kernel",
            self.strange, self.complaints
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, tally: &Tally) -> fmt::Result {
    let Tally { cases, datagrams, fragments, expected, received } = tally;
    writeln!(
        f,
        "  {name:26} {cases:8} cases, {datagrams:8} datagrams, {fragments:9} fragments, {expected:8} \
         expected, {received:8} received"
    )
}
