//! The table against a plain list of flows, under random operations.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CAPACITY: usize = 8;
const CAPACITY_V6: usize = 4;
/// One inside, at and outside of the spans of the wheel's levels.
const TIMES: [u32; 9] = [0, 1, 10, 63, 64, 65, 4_096, 70_000, 300_000];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A packet of a flow: opens it if it is not there.
    Packet {
        flow: usize,
        class: Class,
        timeout: u8,
    },
    /// Opened, whether it is there or not, from one end or the other.
    Open {
        flow: usize,
        class: Class,
        timeout: u8,
        opened: Direction,
    },
    Remove {
        flow: usize,
    },
    /// The clock moves and what is over is collected, with a budget.
    Advance {
        ticks: i64,
        budget: usize,
    },
    Clear,
}

/// The flows that steps are about: of five sources, two of them IPv6 networks.
fn flows() -> Vec<(FlowKey, Direction)> {
    let of_v4 = (0..12).map(|n| v4(n % 3, n));
    of_v4.chain((0..10).map(|n| v6(u64::from(n % 2), n))).collect()
}

fn steps(budget: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let flow = 0..flows().len();
    let class = prop::sample::select(&Class::ALL[..]);
    let timeout = 0..TIMES.len() as u8;
    let opened = prop_oneof![Just(Direction::Forward), Just(Direction::Reverse)];
    let near = (prop::sample::select(&TIMES[..]), -1i64..=2).prop_map(|(t, d)| i64::from(t) + d);
    let ticks = prop_oneof![
        6 => 0i64..4,
        4 => near,
        1 => Just(-1),
        1 => Just(-100_000),
        1 => Just(1 << 31),
        1 => Just(1 << 40),
    ];
    let step = prop_oneof![
        12 => (flow.clone(), class.clone(), timeout.clone())
            .prop_map(|(flow, class, timeout)| Step::Packet { flow, class, timeout }),
        4 => (flow.clone(), class, timeout, opened).prop_map(|(flow, class, timeout, opened)| {
            Step::Open { flow, class, timeout, opened }
        }),
        3 => flow.prop_map(|flow| Step::Remove { flow }),
        6 => (ticks, budget).prop_map(|(ticks, budget)| Step::Advance { ticks, budget }),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..150)
}

#[derive(Clone, Debug)]
struct Known {
    class: Class,
    /// Grows with every flow that enters a class.
    entered: u64,
    last_seen: u64,
    timeout: u8,
    source: Source,
}

/// Every flow there is, by its number.
#[derive(Default)]
struct Model {
    flows: BTreeMap<usize, Known>,
    told: u64,
    clock: u64,
    entries: u64,
    quota: usize,
}

impl Model {
    fn over(&self, known: &Known) -> bool {
        self.clock - known.last_seen > u64::from(TIMES[usize::from(known.timeout)])
    }

    fn alive(&self, flow: usize) -> bool {
        self.flows.get(&flow).is_some_and(|known| !self.over(known))
    }

    fn enter(&mut self) -> u64 {
        self.entries += 1;
        self.entries
    }

    fn touch(&mut self, flow: usize, class: Class, timeout: u8) {
        let entered = self.enter();
        let clock = self.clock;
        if let Some(known) = self.flows.get_mut(&flow) {
            known.timeout = timeout;
            known.last_seen = clock;
            if known.class != class {
                known.class = class;
                known.entered = entered;
            }
        }
    }

    fn advance(&mut self, now: u64) {
        self.clock += now.saturating_sub(self.told);
        self.told = now;
    }

    fn collect(&mut self) {
        let over: Vec<_> =
            self.flows.iter().filter(|(_, known)| self.over(known)).map(|(&n, _)| n).collect();
        for flow in over {
            self.flows.remove(&flow);
        }
    }

    /// Flows that may give way to one of `family`: the oldest of each of the most numerous kinds.
    /// `None` if there is room.
    fn victims(&self, all: &[(FlowKey, Direction)], family: Family) -> Option<Vec<usize>> {
        let family_of = |n: usize| all[n].0.family();
        let v6 = self.flows.keys().filter(|&&n| family_of(n) == Family::V6).count();
        let lacks_v6 = family == Family::V6 && v6 == CAPACITY_V6;
        if self.flows.len() < CAPACITY && !lacks_v6 {
            return None;
        }
        let mut kinds: BTreeMap<_, Vec<(u64, usize)>> = BTreeMap::new();
        for (&n, known) in &self.flows {
            if known.class != Class::Established && (!lacks_v6 || family_of(n) == Family::V6) {
                let kind = (known.class, family_of(n) == Family::V6);
                kinds.entry(kind).or_default().push((known.entered, n));
            }
        }
        let most = kinds.values().map(Vec::len).max().unwrap_or(0);
        let fullest = kinds.values().filter(|kind| kind.len() == most);
        Some(fullest.filter_map(|kind| kind.iter().min().map(|&(_, n)| n)).collect())
    }

    fn refused_by_quota(&self, flow: usize, source: Source) -> bool {
        let others = self.flows.iter().filter(|&(&n, known)| n != flow && known.source == source);
        self.quota != 0 && others.count() >= self.quota
    }
}

/// Where the wheel starts: short of where a digit, the low half, or all of it goes round.
fn start() -> impl Strategy<Value = u64> {
    (prop::sample::select(&[0u32, 6, 12, 18, 30, 32, 36, 40][..]), 0u64..70)
        .prop_map(|(bits, before)| (1u64 << bits).saturating_sub(before))
}

fn fresh(quota: usize, start: u64) -> FlowTable {
    let mut timeouts = [0; TIMEOUTS];
    timeouts[..TIMES.len()].copy_from_slice(&TIMES);
    let mut table = table(FlowTableConfig {
        capacity: CAPACITY as u32,
        capacity_v6: CAPACITY_V6 as u32,
        quota: quota as u32,
        timeouts,
    });
    table.wheel.start_at(start);
    table
}

/// Opens a flow in both; what the table answers must be what the model allows.
fn open_in_both(
    table: &mut FlowTable,
    model: &mut Model,
    (flow, opened): (usize, Direction),
    (class, timeout): (Class, u8),
) -> Result<(), TestCaseError> {
    let all = flows();
    let key = all[flow].0;
    let source = key.source(opened);
    let answer = table.open_as((key, opened), class, TimeoutNumber::new(timeout));
    if model.refused_by_quota(flow, source) {
        prop_assert_eq!(answer, Err(Refused::Quota));
        return Ok(());
    }
    let known = Known { class, entered: model.enter(), last_seen: model.clock, timeout, source };
    model.flows.remove(&flow);
    if let Some(victims) = model.victims(&all, key.family()) {
        if victims.is_empty() {
            prop_assert_eq!(answer, Err(Refused::Full));
            return Ok(());
        }
        let gone: Vec<usize> =
            model.flows.keys().copied().filter(|&n| table.lookup(all[n]).is_none()).collect();
        prop_assert_eq!(gone.len(), 1);
        prop_assert!(victims.contains(&gone[0]), "{gone:?} of {victims:?}");
        model.flows.remove(&gone[0]);
    }
    model.flows.insert(flow, known);
    prop_assert!(answer.is_ok());
    prop_assert_eq!(table.opened(answer.unwrap_or(0)), opened);
    Ok(())
}

/// Collected at once: table and model agree in everything.
fn agree(quota: usize, start: u64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let all = flows();
    let mut table = fresh(quota, start);
    let mut model = Model { quota, ..Model::default() };
    for step in steps {
        match step {
            Step::Packet { flow, class, timeout } => match table.lookup(all[flow]) {
                Some(slot) => {
                    table.touch(slot, TimeoutNumber::new(timeout));
                    table.set_class(slot, class);
                    model.touch(flow, class, timeout);
                }
                None => {
                    open_in_both(&mut table, &mut model, (flow, all[flow].1), (class, timeout))?;
                }
            },
            Step::Open { flow, class, timeout, opened } => {
                open_in_both(&mut table, &mut model, (flow, opened), (class, timeout))?;
            }
            Step::Remove { flow } => {
                if let Some(slot) = table.lookup(all[flow]) {
                    table.remove(slot);
                }
                model.flows.remove(&flow);
            }
            Step::Advance { ticks, .. } => {
                let now = model.told.saturating_add_signed(ticks);
                model.advance(now);
                model.collect();
                table.advance(now, ALL);
            }
            Step::Clear => {
                table.clear();
                model.flows.clear();
            }
        }
        table.check();
        for (n, flow) in all.iter().enumerate() {
            prop_assert_eq!(table.lookup(*flow).is_some(), model.alive(n), "flow {}", n);
        }
        prop_assert_eq!(table.flows() as usize, model.flows.len());
    }
    Ok(())
}

/// Collected late: flows that are over still take room, and nothing else changes.
fn agree_late(start: u64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let all = flows();
    let mut table = fresh(0, start);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Packet { flow, class, timeout } | Step::Open { flow, class, timeout, .. } => {
                let number = TimeoutNumber::new(timeout);
                if let Some(slot) = table.lookup(all[flow]) {
                    table.touch(slot, number);
                    table.set_class(slot, class);
                    model.touch(flow, class, timeout);
                } else if table.open_as(all[flow], class, number).is_ok() {
                    let source = all[flow].0.source(all[flow].1);
                    let known =
                        Known { class, entered: 0, last_seen: model.clock, timeout, source };
                    model.flows.insert(flow, known);
                }
            }
            Step::Remove { flow } => {
                if let Some(slot) = table.lookup(all[flow]) {
                    table.remove(slot);
                    model.flows.remove(&flow);
                }
            }
            Step::Advance { ticks, budget } => {
                // A clock too far ahead of the wheel would wait for it.
                let now = model.told.saturating_add_signed(ticks.min(1 << 20));
                model.advance(now);
                prop_assert!(table.advance(now, budget) <= budget);
            }
            Step::Clear => {
                table.clear();
                model.flows.clear();
            }
        }
        table.check();
        for (n, flow) in all.iter().enumerate() {
            match (table.lookup(*flow), model.alive(n)) {
                (Some(_), false) => prop_assert!(false, "flow {} is over, and found", n),
                (None, true) => {
                    prop_assert!(model.flows[&n].class != Class::Established, "flow {} lost", n);
                    model.flows.remove(&n);
                }
                _ => {}
            }
        }
    }
    table.advance(model.told, ALL);
    model.collect();
    prop_assert_eq!(table.flows() as usize, model.flows.len());
    table.check();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_table_does_what_a_plain_list_does(
        steps in steps(Just(0)),
        quota in 0usize..4,
        start in start(),
    ) {
        agree(quota, start, steps)?;
    }

    #[test]
    fn a_small_budget_changes_nothing_but_the_room(steps in steps(0usize..4), start in start()) {
        agree_late(start, steps)?;
    }
}
