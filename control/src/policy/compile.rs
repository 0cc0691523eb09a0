//! From a policy to a table of the data path, and from there to the next one.

use super::audit::{self, Audit};
use super::edits;
use super::lowering::{Lowered, MAX_ENTRIES};
use super::model::Policy;
use super::zones::ZoneMap;
use crate::diagnostic::{Diagnostics, Place, Report};
use classifier::{Applied, BuildError, Builder, Config, EditError, Updater};
use dataplane::Table;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a table was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// From scratch.
    Rebuilt,
    /// From the table before, by what differs.
    Patched,
}

impl Made {
    /// The word for it in JSON and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Made::Rebuilt => "rebuilt",
            Made::Patched => "patched",
        }
    }
}

/// Makes tables of policies, each from the one before where they differ in few places. For that it
/// keeps the lowered rules of the policy compiled last.
#[derive(Debug)]
pub struct Compiler {
    limits: Config,
    last: Option<Last>,
}

/// What was compiled last.
#[derive(Debug)]
struct Last {
    updater: Updater,
    /// For each rule of the updater, the index of the policy's rule it came from.
    entries: Vec<u32>,
}

impl Default for Compiler {
    fn default() -> Self {
        Compiler::new(limits())
    }
}

/// What a policy may become.
fn limits() -> Config {
    Config { max_rules: MAX_ENTRIES, ..Config::default() }
}

impl Compiler {
    /// Refuses policies whose tables would pass `limits`.
    pub fn new(limits: Config) -> Self {
        Compiler { limits, last: None }
    }

    /// The table of `policy`, ready to be published as `generation` to `workers` workers, and how
    /// it was made.
    ///
    /// # Errors
    /// When the policy lacks a zone of `zones`, or the table would pass a limit; what the next
    /// policy is compared with is then what it was.
    pub fn compile(
        &mut self,
        policy: &Policy,
        zones: &ZoneMap,
        generation: u64,
        workers: usize,
    ) -> Result<(Table, Made), Diagnostics> {
        let Lowered { rules, entries, table_rules, zones } = policy.lower(zones)?;
        let too_much = |error| past_limit(policy, &entries, &error);
        // Out of its place while it is worked on: after a panic the next policy is built anew.
        let before = self.last.take();
        let edits = before.as_ref().and_then(|last| edits::between(last.updater.rules(), &rules));
        let (updater, made) = match (before, edits) {
            (Some(mut last), Some(edits)) => match follow(&mut last.updater, &edits) {
                Ok(made) => (last.updater, made),
                Err(error) => {
                    self.last = Some(last);
                    return Err(too_much(error));
                }
            },
            (before, _) => match Updater::new(self.limits, rules) {
                Ok(updater) => (updater, Made::Rebuilt),
                Err(error) => {
                    self.last = before;
                    return Err(too_much(error));
                }
            },
        };
        let classifier = updater.classifier();
        self.last = Some(Last { updater, entries: entries.clone() });
        // Of the rules only the classifier's are patched: what zones and rules say besides is new.
        let table = Table::new(generation, classifier, entries, table_rules, workers);
        Ok((table.with_zones(&zones).with_tunnels(policy.inside), made))
    }

    /// Which rules of `policy`, the one compiled last, could be left out.
    ///
    /// Takes a while for a large policy: its table can be in force meanwhile.
    pub fn audit(&self, policy: &Policy) -> Audit {
        let Some(Last { updater, entries }) = &self.last else { return Audit::default() };
        let doing = |entry: u32| audit::doing(&policy.rules[entries[entry as usize] as usize]);
        let found = classifier::audit(&updater.classifier(), updater.rules(), doing);
        audit::of_policy(policy, entries, &found)
    }
}

/// Brings `updater` from the policy before to the next one.
fn follow(updater: &mut Updater, edits: &[classifier::Edit]) -> Result<Made, BuildError> {
    if edits.is_empty() {
        return Ok(Made::Patched);
    }
    match updater.apply(edits) {
        Ok(Applied::Patched) => Ok(Made::Patched),
        Ok(Applied::Rebuilt) => Ok(Made::Rebuilt),
        Err(EditError::Build(error)) => Err(error),
        Err(error @ (EditError::NoSuchRule { .. } | EditError::Twice { .. })) => {
            unreachable!("edits are between the rules before and those to be: {error}")
        }
    }
}

/// The table of `policy` alone, ready to be published as `generation` to `workers` workers.
///
/// # Errors
/// When the policy lacks a zone of `zones`, or the compiled table would be too large or too slow.
pub fn compile(
    policy: &Policy,
    zones: &ZoneMap,
    generation: u64,
    workers: usize,
) -> Result<Table, Diagnostics> {
    let Lowered { rules, entries, table_rules, zones } = policy.lower(zones)?;
    let mut builder = Builder::new(limits());
    for rule in rules {
        builder.push(rule);
    }
    let classifier = builder.build().map_err(|error| past_limit(policy, &entries, &error))?;
    let table = Table::new(generation, classifier, entries, table_rules, workers);
    Ok(table.with_zones(&zones).with_tunnels(policy.inside))
}

/// What the author of `policy` is told when its table would pass a limit. `entries` has the index of
/// the policy's rule for each rule that `error` may name.
fn past_limit(policy: &Policy, entries: &[u32], error: &BuildError) -> Diagnostics {
    let mut causes = Vec::new();
    let past = match error {
        BuildError::TooManyRules { limit, .. } => &entries[*limit..][..1],
        BuildError::TooMuchMemory { .. } | BuildError::TooSlow { .. } => &[][..],
    };
    let named = error.rules().iter().map(|entry| entries[*entry as usize]);
    for rule in named.chain(past.iter().copied()) {
        if !causes.contains(&rule) {
            causes.push(rule);
        }
    }
    let named = policy.named(&causes, |rule| format!("line {}", rule.line()));
    let message = match error {
        BuildError::TooManyRules { rules, limit } => format!(
            "the policy becomes {rules} combinations of addresses and services, over the limit of \
             {limit}, which {named} passes"
        ),
        BuildError::TooMuchMemory { bytes, limit, .. } => format!(
            "the compiled table takes {bytes} bytes or more, over the limit of {limit}; most of it \
             is for {named}: name fewer addresses and services there, or networks instead of hosts"
        ),
        BuildError::TooSlow { lines, limit, .. } => format!(
            "judging a packet takes up to {lines} cache lines, over the limit of {limit}; too many \
             rules overlap, among them {named}: make their ports or addresses overlap less"
        ),
    };
    let place = causes.first().map_or(Place::default(), |rule| policy.rules[*rule as usize].place);
    let mut report = Report::new(&policy.file, &policy.text);
    report.error(place, message);
    report.into_diagnostics()
}
