//! What a comparison came to.

use super::explained::{self, Case, ROWS};
use super::packet::{End, hex};
use super::rounds::{Passed, Played};
use super::scripts::Class;
use super::worlds::World;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Unexplained differences of one kind that are told in full.
const TOLD: u64 = 2;

/// Packets by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent, through both.
    pub sent: u64,
    /// Let through by both.
    pub passed: u64,
    /// Dropped by both.
    pub dropped: u64,
    /// Dropped by Bulkhead, let through by nftables.
    pub by_bulkhead: u64,
    /// Dropped by nftables, let through by Bulkhead.
    pub by_nftables: u64,
}

impl Tally {
    /// Let through by one of the two.
    pub const fn differ(&self) -> u64 {
        self.by_bulkhead + self.by_nftables
    }

    const fn count(&mut self, passed: Passed) {
        self.sent += 1;
        match passed {
            [true, true] => self.passed += 1,
            [false, false] => self.dropped += 1,
            [false, true] => self.by_bulkhead += 1,
            [true, false] => self.by_nftables += 1,
        }
    }
}

/// A difference that no row explains.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What was sent.
    pub label: &'static str,
    /// The policy, the rule, every packet of the script in hexadecimal, and what each side did.
    pub text: String,
}

/// The sums.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the random numbers began.
    pub seed: u64,
    /// Policies that are done.
    pub policies: u64,
    /// Times that frames were lost and the policy was tried again.
    pub retried: u64,
    /// Time taken.
    pub seconds: f64,
    /// Packets by class.
    pub classes: BTreeMap<Class, Tally>,
    /// Packets by class and kind: of mutated ones, by what is changed.
    pub kinds: BTreeMap<(Class, &'static str), Tally>,
    /// Packets that only one let through, by the row that explains it.
    pub explained: Vec<(&'static str, u64)>,
    /// Packets that only one let through and no row explains: by class, kind, and the one that
    /// dropped them.
    pub unexplained: BTreeMap<(Class, &'static str, &'static str), u64>,
    /// The first ones of each kind.
    pub told: Vec<Difference>,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Report {
            seed,
            policies: 0,
            retried: 0,
            seconds: 0.0,
            classes: BTreeMap::new(),
            kinds: BTreeMap::new(),
            explained: ROWS.iter().map(|row| (row.id, 0)).collect(),
            unexplained: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Packets sent so far, through each of the two.
    pub fn packets(&self) -> u64 {
        self.classes.values().map(|tally| tally.sent).sum()
    }

    /// Packets that only one let through, explained or not.
    pub fn differences(&self) -> (u64, u64) {
        (self.explained.iter().map(|(_, n)| n).sum(), self.unexplained.values().sum())
    }

    /// Packets by kind, in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| class | packet | sent | passed | dropped | by Bulkhead alone | by nftables alone |\n\
             |---|---|--:|--:|--:|--:|--:|\n",
        );
        for ((class, label), tally) in &self.kinds {
            let Tally { sent, passed, dropped, by_bulkhead, by_nftables } = tally;
            let _ = writeln!(
                text,
                "| {} | {label} | {sent} | {passed} | {dropped} | {by_bulkhead} | {by_nftables} |",
                class.as_str()
            );
        }
        text
    }

    /// Counts what was played under `policy`.
    pub(super) fn add(&mut self, policy: &str, all: Vec<Played>) {
        for played in &all {
            for (nth, passed) in played.sent() {
                let (class, label) = (played.script.class, played.script.steps[nth].label);
                self.classes.entry(class).or_default().count(passed);
                self.kinds.entry((class, label)).or_default().count(passed);
                if passed[0] != passed[1] {
                    self.add_difference(policy, played, nth, passed);
                }
            }
        }
    }

    fn add_difference(&mut self, policy: &str, played: &Played, nth: usize, passed: Passed) {
        let step = &played.script.steps[nth];
        let (stricter, name) =
            if passed[0] { (World::Nftables, "nftables") } else { (World::Gateway, "Bulkhead") };
        let before = || played.sent().take_while(|(earlier, _)| *earlier < nth);
        let frame = |earlier: usize| {
            let step = &played.script.steps[earlier];
            (step.from, &*step.frame)
        };
        let earlier = before().map(|(earlier, _)| frame(earlier)).collect();
        let both = before().filter(|(_, passed)| *passed == [true, true]);
        let passed = both.map(|(earlier, _)| frame(earlier)).collect();
        let case = Case { from: step.from, frame: &step.frame, earlier, passed, stricter };
        if let Some(row) = explained::find(&case) {
            if let Some((_, count)) = self.explained.iter_mut().find(|(id, _)| *id == row.id) {
                *count += 1;
            }
            return;
        }
        let count = self.unexplained.entry((played.script.class, step.label, name)).or_default();
        *count += 1;
        if *count <= TOLD {
            let text = describe(policy, played, nth);
            self.told.push(Difference { label: step.label, text });
        }
    }
}

/// What led to the outcome of step `nth`, whole enough to be repeated by hand.
pub(super) fn describe(policy: &str, played: &Played, nth: usize) -> String {
    let mut text =
        format!("class {}, drawn from rule {}\n", played.script.class.as_str(), played.script.rule);
    for (at, passed) in played.sent().take_while(|(at, _)| *at <= nth) {
        let step = &played.script.steps[at];
        let word = |passed| if passed { "passes" } else { "drops" };
        let way = match step.from {
            End::Left => "clients -> servers",
            End::Right => "servers -> clients",
        };
        let _ = writeln!(
            text,
            "  {way}: {} (Bulkhead {}, nftables {})\n    {}",
            step.label,
            word(passed[0]),
            word(passed[1]),
            hex(&step.frame)
        );
    }
    for line in policy.lines() {
        let _ = writeln!(text, "  | {line}");
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Difference { label, text } in &self.told {
            writeln!(f, "unexplained: {label}\n{text}")?;
        }
        let packets = self.packets();
        writeln!(
            f,
            "{packets} packets under {} policies in {:.1} s, {:.0} a second; {} policies tried again \
             because frames were lost; SEED={}",
            self.policies,
            self.seconds,
            packets as f64 / self.seconds.max(0.001),
            self.retried,
            self.seed
        )?;
        for (class, tally) in &self.classes {
            let (class, differ) = (class.as_str(), tally.differ());
            let Tally { sent, passed, dropped, .. } = tally;
            writeln!(
                f,
                "  {class:14} {sent:9} sent, {passed:9} passed, {dropped:9} dropped, {differ:6} differ"
            )?;
        }
        let (explained, unexplained) = self.differences();
        writeln!(f, "{explained} differences explained")?;
        for ((id, count), row) in self.explained.iter().zip(ROWS).filter(|((_, n), _)| *n > 0) {
            writeln!(f, "  {count:6} {id}: {} is stricter", row.stricter())?;
        }
        writeln!(f, "{unexplained} differences unexplained")?;
        for ((class, label, stricter), count) in &self.unexplained {
            writeln!(f, "  {count:6} {}, {label}: {stricter} is stricter", class.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_counted_once() {
        let mut tally = Tally::default();
        for passed in [[true, true], [false, false], [false, true], [false, true], [true, false]] {
            tally.count(passed);
        }
        let expected = Tally { sent: 5, passed: 1, dropped: 1, by_bulkhead: 2, by_nftables: 1 };
        assert_eq!(tally, expected);
        assert_eq!(tally.passed + tally.dropped + tally.differ(), tally.sent);
    }

    #[test]
    fn the_table_has_a_line_for_each_kind() {
        let mut report = Report::new(1);
        let tally = report.kinds.entry((Class::Mutations, "IPv4 TTL")).or_default();
        tally.count([true, false]);
        let last = report.table().lines().last().map(str::to_owned);
        assert_eq!(last.as_deref(), Some("| mutations | IPv4 TTL | 1 | 0 | 0 | 0 | 1 |"));
    }
}
