//! What a replay found, as JSON and for people.

use super::super::format::{bytes, count};
use super::super::table::Heading::{Left, Right};
use super::super::table::Table;
use dataplane::{DropReason, PassReason, ReplayReport, TableRule};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The JSON object of `bulkhead replay --json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Packets judged, all passes together; `forwarded` + `dropped`.
    packets: u64,
    /// Their bytes on the wire.
    bytes: u64,
    forwarded: u64,
    dropped: u64,
    /// Packets dropped, by reason; reasons that did not occur are absent.
    drops: BTreeMap<&'static str, u64>,
    /// Packets that lie about addresses where the policy only counts that, by reason.
    suspects: BTreeMap<&'static str, u64>,
    /// Packets forwarded, by reason; reasons that did not occur are absent.
    passes: BTreeMap<&'static str, u64>,
    rules: Vec<RuleHits>,
    /// Flows opened in one pass.
    flows: u64,
    generation: u64,
    /// Time in the packet path, all passes together.
    seconds: f64,
    /// Million packets per second in the packet path.
    mpps: f64,
    /// Packets of one pass that a snap length cut.
    cut: u64,
    /// Packets of one pass of which neither end's zone is known.
    unmapped: u64,
    /// Captures that end in the middle of a packet, which is left out.
    cut_short: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RuleHits {
    id: String,
    action: &'static str,
    hits: u64,
}

impl Summary {
    pub(super) fn new(report: &ReplayReport, rules: &[TableRule], cut_short: Vec<String>) -> Self {
        let seconds = report.elapsed.as_secs_f64();
        let occurred = |label: &'static str, n: u64| (n > 0).then_some((label, n));
        let drops = DropReason::ALL.iter().zip(report.drops);
        let suspects = DropReason::ALL.iter().zip(report.suspects);
        let passes = PassReason::ALL.iter().zip(report.passed);
        let rules = rules.iter().zip(&report.hits).map(|(rule, &hits)| RuleHits {
            id: rule.id.to_string(),
            action: rule.action.as_str(),
            hits,
        });
        Summary {
            packets: report.packets,
            bytes: report.bytes,
            forwarded: report.forwarded,
            dropped: report.drops.iter().sum(),
            drops: drops.filter_map(|(reason, n)| occurred(reason.as_str(), n)).collect(),
            suspects: suspects.filter_map(|(reason, n)| occurred(reason.as_str(), n)).collect(),
            passes: passes.filter_map(|(reason, n)| occurred(reason.as_str(), n)).collect(),
            rules: rules.collect(),
            flows: report.flows,
            // A replay judges by one table, the first.
            generation: 1,
            seconds,
            mpps: if seconds > 0.0 { report.packets as f64 / seconds / 1e6 } else { 0.0 },
            cut: report.cut,
            unmapped: report.unmapped,
            cut_short,
        }
    }

    pub(super) fn print(&self, out: &mut dyn Write, report: &ReplayReport) -> io::Result<()> {
        writeln!(
            out,
            "{} ({}): {} forwarded, {} dropped; {} opened; {:.3} s, {:.2} Mpps",
            count(self.packets as usize, "packet", "packets"),
            bytes(self.bytes),
            self.forwarded,
            self.dropped,
            count(self.flows as usize, "flow", "flows"),
            self.seconds,
            self.mpps
        )?;
        if self.cut > 0 {
            let cut = count(self.cut as usize, "packet was", "packets were");
            writeln!(out, "{cut} cut by a snap length and judged by their headers")?;
        }
        if self.unmapped > 0 {
            let unmapped = count(self.unmapped as usize, "packet has", "packets have");
            writeln!(
                out,
                "{unmapped} no known zone on either end and can match only rules that say `any`; \
                 tell the zones with --map"
            )?;
        }
        let mut table = Table::new([Left("REASON"), Right("PACKETS"), Left("MEANING")]);
        for (reason, n) in PassReason::ALL.iter().zip(report.passed).filter(|(_, n)| *n > 0) {
            table.row([
                format!("pass: {}", reason.as_str()),
                n.to_string(),
                reason.describe().into(),
            ]);
        }
        for (reason, n) in DropReason::ALL.iter().zip(report.drops).filter(|(_, n)| *n > 0) {
            table.row([
                format!("drop: {}", reason.as_str()),
                n.to_string(),
                reason.describe().into(),
            ]);
        }
        for (reason, n) in DropReason::ALL.iter().zip(report.suspects).filter(|(_, n)| *n > 0) {
            table.row([
                format!("counted: {}", reason.as_str()),
                n.to_string(),
                reason.describe().into(),
            ]);
        }
        writeln!(out)?;
        table.print(out)?;
        let mut table = Table::new([Left("RULE"), Left("ACTION"), Right("HITS")]);
        for rule in &self.rules {
            table.row([rule.id.clone(), rule.action.into(), rule.hits.to_string()]);
        }
        writeln!(out)?;
        table.print(out)
    }
}
