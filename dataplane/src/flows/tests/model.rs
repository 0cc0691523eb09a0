//! The flow table against a plain map, under random operations and a clock of the test's own.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const CAPACITY: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    /// A packet of flow `number`: opens it if it is not there.
    Packet {
        number: u16,
        tcp: bool,
        reverse: bool,
        flags: u8,
    },
    Remove {
        number: u16,
        tcp: bool,
    },
    Sweep,
    Clear,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flags = prop_oneof![Just(ACK), Just(SYN), Just(FIN | ACK), Just(RST)];
    let step = prop_oneof![
        10 => (0u16..10, any::<bool>(), any::<bool>(), flags)
            .prop_map(|(number, tcp, reverse, flags)| Step::Packet { number, tcp, reverse, flags }),
        2 => (0u16..10, any::<bool>()).prop_map(|(number, tcp)| Step::Remove { number, tcp }),
        2 => Just(Step::Sweep),
        1 => Just(Step::Clear),
        4 => prop_oneof![Just(1), 1u64..20, Just(120), Just(121), Just(240), Just(7440)]
            .prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the model knows of a flow.
#[derive(Clone, Debug, Default)]
struct Known {
    last_seen: u64,
    fin_there: bool,
    fin_back: bool,
    reset: bool,
}

impl Known {
    fn closed(&self) -> bool {
        self.reset || (self.fin_there && self.fin_back)
    }

    fn alive(&self, tcp: bool, now: u64) -> bool {
        let seconds = match (tcp, self.closed()) {
            (true, true) => 240,
            (true, false) => 7440,
            (false, _) => 120,
        };
        now <= self.last_seen + seconds * SECOND
    }
}

fn flow(number: u16, tcp: bool) -> (FlowKey, Direction) {
    if tcp { tcp_key(number) } else { udp_key(number) }
}

/// Direction of the packets that answer.
fn reverse_of(direction: Direction) -> Direction {
    match direction {
        Direction::Forward => Direction::Reverse,
        Direction::Reverse => Direction::Forward,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_table_knows_the_flows_that_a_plain_map_knows(steps in steps()) {
        let mut table = FlowTable::new(config(CAPACITY as u32));
        let mut model: HashMap<(u16, bool), Known> = HashMap::new();
        let mut now = SECOND;
        let mut opened = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds * SECOND,
                Step::Sweep => table.sweep(now),
                Step::Clear => {
                    table.clear();
                    model.clear();
                }
                Step::Remove { number, tcp } => {
                    let found = table.find(&flow(number, tcp).0, now);
                    if let Some(slot) = found {
                        table.remove(slot);
                    }
                    let known = model.remove(&(number, tcp));
                    prop_assert_eq!(found.is_some(), known.is_some_and(|k| k.alive(tcp, now)));
                }
                Step::Packet { number, tcp, reverse, flags } => {
                    let (key, direction) = flow(number, tcp);
                    let flags = if tcp { flags } else { 0 };
                    let way = if reverse { reverse_of(direction) } else { direction };
                    let mut found = table.find(&key, now);
                    let known = model.get(&(number, tcp)).filter(|k| k.alive(tcp, now)).cloned();
                    prop_assert_eq!(found.is_some(), known.is_some());
                    if let (Some(slot), Some(known)) = (found, &known) {
                        let reopens = tcp && flags == SYN && known.closed();
                        prop_assert_eq!(table.reopens(slot, flags), reopens);
                        if reopens {
                            table.remove(slot);
                            model.remove(&(number, tcp));
                            found = None;
                        }
                    }
                    let slot = match found {
                        Some(slot) => slot,
                        None => match table.open(key, direction, 1, 1, now) {
                            Ok(slot) => {
                                opened += 1;
                                model.insert((number, tcp), Known::default());
                                slot
                            }
                            Err(TableFull) => {
                                let alive = model.iter().filter(|((_, t), k)| k.alive(*t, now));
                                prop_assert_eq!(alive.count(), CAPACITY);
                                continue;
                            }
                        },
                    };
                    table.touch(slot, way, flags, now);
                    let known = model.get_mut(&(number, tcp)).expect("found or opened above");
                    known.last_seen = now;
                    known.reset |= flags & RST != 0;
                    known.fin_there |= flags & FIN != 0 && !reverse;
                    known.fin_back |= flags & FIN != 0 && reverse;
                }
            }
            let alive = model.iter().filter(|((_, t), k)| k.alive(*t, now)).count();
            prop_assert!(alive <= CAPACITY);
            // Expired flows hold their slots, and count, until they are swept.
            prop_assert!(table.open_flows() >= alive as u64);
            prop_assert_eq!(table.opened(), opened);
            prop_assert_eq!(table.opened(), table.closed() + table.open_flows());
            let mut listed = 0;
            table.list(0, usize::MAX, usize::MAX, now, |_, _| listed += 1);
            prop_assert_eq!(listed, alive);
        }
        for number in 0..10 {
            for tcp in [false, true] {
                let known = model.get(&(number, tcp)).is_some_and(|k| k.alive(tcp, now));
                prop_assert_eq!(table.find(&flow(number, tcp).0, now).is_some(), known);
            }
        }
    }
}
