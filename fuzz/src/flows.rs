//! The flow table and the state machines of its flows, under packets of few ends, a clock that
//! steps both ways, and tables of rules that are swapped.
//!
//! What a worker does with them is done here with table, machines and a plain map side by side. In
//! half of the inputs the table collects at once what is over, and must then do in everything what
//! the map does; in the others it has a budget that never suffices, and may only be short of room.

mod machine;
mod model;

use arbitrary::{Result, Unstructured};
use classifier::Family;
use dataplane::fuzzing::flowtable::{
    Class, End, FlowKey, FlowTable, FlowTableConfig, HashKey, NewFlow, Refused, TIMEOUTS,
    TimeoutNumber,
};
use machine::{Choices, Event, Machine, Packet, Protocol, any_state};
use model::{Answer, Known, Model};

/// Most steps of an input.
const STEPS: usize = 300;
/// Ticks: within, at and outside of the spans of the timer wheel's levels.
const TIMES: [u32; 8] = [10, 0, 1, 63, 64, 65, 4_096, 300_000];

/// Runs the steps that `data` makes.
///
/// # Panics
/// When the table does what the map does not, or a machine what it must not.
pub fn run(data: &[u8]) -> bool {
    let mut bytes = Unstructured::new(data);
    let Ok(mut lab) = Lab::read(&mut bytes) else { return false };
    for _ in 0..STEPS {
        if bytes.is_empty() || lab.step(&mut bytes).is_err() {
            break;
        }
        lab.check();
    }
    lab.finish();
    true
}

/// What packets of a flow have in common: the model's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    protocol: Protocol,
    family: Family,
    /// The lower end first, or of an echo the one that asks.
    first: (u128, u16, u16),
    second: (u128, u16, u16),
    vlan: u32,
}

/// A packet's place: its flow, and whether it comes from the first end.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: Id,
    from_first: bool,
    /// The same for the table.
    key: FlowKey,
}

impl Place {
    fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let [hosts, ports] = bytes.arbitrary::<[u8; 2]>()?;
        let family = if hosts & 1 == 0 { Family::V4 } else { Family::V6 };
        let address = |n: u8| match family {
            Family::V4 => 0x0a00_0000 + u128::from(n),
            // Two to a /64.
            Family::V6 => (0x2001_0db8 << 96) | u128::from(n >> 1) << 64 | u128::from(n),
        };
        let client = (address(hosts >> 1 & 3), 1000 + u16::from(ports & 3), 0);
        let server = (address(8 + (hosts >> 3 & 1)), 80 + u16::from(ports >> 2 & 1), 1);
        let protocol = Protocol::ALL[usize::from(hosts >> 4 & 3)];
        let (from, to) = if hosts & 0x40 == 0 { (client, server) } else { (server, client) };
        let vlan = u32::from(ports >> 6 & 1) << 16;
        let end = |(address, port, side)| End { address, port, side };
        if protocol == Protocol::Echo {
            // Either end may ask; its identifier stands for both ports.
            let by_server = ports & 8 != 0;
            let (asks, answers) = if by_server { (server, client) } else { (client, server) };
            let id = Id {
                protocol,
                family,
                first: (asks.0, client.1, asks.2),
                second: (answers.0, client.1, answers.2),
                vlan,
            };
            let key = FlowKey::ordered(end(id.first), end(id.second), 1, vlan, family);
            return Ok(Place { id, from_first: (from == server) == by_server, key });
        }
        let (first, second) = (from.min(to), from.max(to));
        let id = Id { protocol, family, first, second, vlan };
        let (key, _) = FlowKey::between(end(from), end(to), protocol.number(), vlan, family);
        Ok(Place { id, from_first: from == first, key })
    }

    fn source(&self, by_first: bool) -> (bool, u128) {
        let (address, ..) = if by_first { self.id.first } else { self.id.second };
        match self.id.family {
            Family::V4 => (false, address),
            Family::V6 => (true, address >> 64),
        }
    }
}

struct Lab {
    table: FlowTable,
    model: Model,
    choices: Choices,
    /// Whether what is over is collected at once.
    at_once: bool,
    generation: u32,
    /// By protocol, what the rules allow now.
    allowed: u8,
    memory: usize,
}

impl Lab {
    fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let capacity = bytes.int_in_range(1..=8u32)?;
        let capacity_v6 = bytes.int_in_range(0..=8u32)?;
        let quota = bytes.int_in_range(0..=4u32)?;
        let mut timeouts = [TIMES[0]; TIMEOUTS];
        for timeout in &mut timeouts[..16] {
            *timeout = *bytes.choose(&TIMES)?;
        }
        let config = FlowTableConfig { capacity, capacity_v6, quota, timeouts };
        let table = FlowTable::new(config, HashKey::known(bytes.arbitrary()?));
        Ok(Lab {
            memory: table.memory_usage(),
            table,
            model: Model::new(capacity as usize, capacity_v6 as usize, quota as usize, timeouts),
            choices: Choices::read(bytes)?,
            at_once: bytes.arbitrary()?,
            generation: 1,
            allowed: 0xff,
        })
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match bytes.int_in_range(0..=15u8)? {
            0 => {
                let near = i64::from(*bytes.choose(&TIMES)?) + i64::from(bytes.arbitrary::<i8>()?);
                self.advance(near, bytes)?;
            }
            1 => self.advance(bytes.int_in_range(0..=3)?, bytes)?,
            2 => {
                let far = *bytes.choose(&[-1, -100_000, 1 << 31, 1 << 40])?;
                self.advance(far, bytes)?;
            }
            3 => {
                self.generation += 1;
                self.allowed = bytes.arbitrary()?;
            }
            4 => {
                let place = Place::read(bytes)?;
                self.remove(&place);
            }
            5 => {
                let protocol = *bytes.choose(&Protocol::ALL)?;
                any_state(protocol, bytes)?;
            }
            6 if bytes.ratio(1u8, 8u8)? => {
                self.table.clear();
                self.model.clear();
            }
            _ => {
                let place = Place::read(bytes)?;
                self.packet(&place, bytes)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, ticks: i64, bytes: &mut Unstructured<'_>) -> Result<()> {
        if self.at_once {
            let now = self.model.after(ticks);
            self.model.advance(now);
            self.model.collect();
            self.table.advance(now, usize::MAX);
        } else {
            // A clock too far ahead of the wheel would wait for it.
            let now = self.model.after(ticks.min(1 << 20));
            self.model.advance(now);
            let budget = bytes.int_in_range(0..=3)?;
            assert!(self.table.advance(now, budget) <= budget);
        }
        Ok(())
    }

    fn find(&self, place: &Place) -> Option<u32> {
        let hash = self.table.hash(&place.key);
        let slot = self.table.find(&place.key, hash);
        let mut found = [None];
        self.table.find_burst(&[(hash, place.key)], &mut found);
        assert_eq!(found, [slot], "in a burst it is found otherwise");
        slot
    }

    fn remove(&mut self, place: &Place) {
        if let Some(slot) = self.find(place) {
            self.table.remove(slot);
            self.model.remove(&place.id);
        }
    }

    /// What a worker does with a packet.
    fn packet(&mut self, place: &Place, bytes: &mut Unstructured<'_>) -> Result<()> {
        let allows = self.allowed >> place.id.protocol as u8 & 1 == 1;
        let slot = self.find(place);
        assert_eq!(slot.is_some(), self.model.alive(&place.id), "{place:?}");
        let Some(slot) = slot else {
            let packet = Packet::read(place.id.protocol, place.from_first, &[0; 32], bytes)?;
            if allows {
                self.open(place, &packet);
            }
            return Ok(());
        };
        let known = *self.model.flows.get_mut(&place.id).expect("it is alive");
        let state = *self.table.state(slot);
        assert_eq!(state, known.machine.to_bytes(), "the table keeps another state");
        assert_eq!(self.table.class(slot), known.class);
        assert_eq!(
            self.table.judgement(slot),
            (u32::from(place.id.protocol.number()), known.generation)
        );
        if known.generation != self.generation {
            if !allows {
                self.table.remove(slot);
                self.model.remove(&place.id);
                return Ok(());
            }
            self.table.rejudged(slot, place.id.protocol.number().into(), self.generation);
        }
        let mut machine = Machine::from_bytes(place.id.protocol, &state);
        assert_eq!(machine, known.machine);
        let packet = Packet::read(place.id.protocol, place.from_first, &state, bytes)?;
        let event = machine.observe(place.from_first == known.by_first, &packet, &self.choices);
        *self.table.state_mut(slot) = machine.to_bytes();
        let (entered, clock, generation) = (self.model.enter(), self.model.clock, self.generation);
        let known = self.model.flows.get_mut(&place.id).expect("it is alive");
        (known.machine, known.generation) = (machine, generation);
        match event {
            Err(_) | Ok(Event::Challenge) => {}
            Ok(Event::Reopen) => self.open(place, &packet),
            Ok(Event::Pass { class, timeout, refresh }) => {
                if refresh {
                    self.table.touch(slot, TimeoutNumber::new(timeout));
                    (known.timeout, known.last_seen) = (timeout, clock);
                }
                self.table.set_class(slot, class);
                if known.class != class {
                    (known.class, known.entered) = (class, entered);
                }
            }
        }
        Ok(())
    }

    /// Opens a flow, in place of one that may be there, and compares with what the map allows.
    fn open(&mut self, place: &Place, packet: &Packet) {
        let Ok((machine, Event::Pass { class, timeout, .. })) =
            Machine::open(packet, &self.choices)
        else {
            return;
        };
        let by_first = place.from_first;
        let source = place.source(by_first);
        let expected = self.model.answer(&place.id, source);
        // Whatever the ends, the lower one comes first.
        let [low, high] = [0, 1].map(|address| End { address, port: 0, side: 0 });
        let (from, to) = if by_first { (low, high) } else { (high, low) };
        let (_, opened) = FlowKey::between(from, to, 0, 0, Family::V4);
        let new = NewFlow {
            opened,
            rule: place.id.protocol.number().into(),
            generation: self.generation,
            class,
            timeout: TimeoutNumber::new(timeout),
        };
        let hash = self.table.hash(&place.key);
        let before = self.table.counts();
        let answer = self.table.open(&place.key, hash, new);
        let slot = match answer {
            Ok(slot) => slot,
            Err(refused) => {
                self.refused(place, refused, &expected);
                return;
            }
        };
        assert!(!self.at_once || matches!(expected, Answer::Room | Answer::Evicts(_)));
        assert_eq!(self.table.find(&place.key, hash), Some(slot));
        assert_eq!((self.table.state(slot), self.table.class(slot)), (&[0; 32], class));
        *self.table.state_mut(slot) = machine.to_bytes();
        self.model.remove(&place.id);
        self.evicted(place, before.evicted, &expected);
        let known = Known {
            class,
            entered: self.model.enter(),
            last_seen: self.model.clock,
            timeout,
            by_first,
            source,
            generation: self.generation,
            machine,
        };
        self.model.flows.insert(place.id, known);
        self.model.counts.opened += 1;
    }

    fn refused(&mut self, place: &Place, refused: Refused, expected: &Answer) {
        match refused {
            Refused::Full => self.model.counts.refused_full += 1,
            Refused::Quota => self.model.counts.refused_quota += 1,
        }
        if self.at_once {
            let same = matches!(
                (refused, expected),
                (Refused::Full, Answer::Full) | (Refused::Quota, Answer::Quota)
            );
            assert!(same, "{refused:?}, and not {expected:?}");
        } else {
            assert!(refused == Refused::Full || self.model.quota > 0);
        }
        assert_eq!(self.find(place).is_some(), self.model.alive(&place.id), "it is gone");
    }

    /// Takes what gave way to a newcomer out of the model.
    fn evicted(&mut self, place: &Place, before: u64, expected: &Answer) {
        let evicted = self.table.counts().evicted - before;
        self.model.counts.evicted += evicted;
        let gone: Vec<Id> = self
            .model
            .flows
            .keys()
            .copied()
            .filter(|id| self.model.alive(id) && self.slot_of(id).is_none())
            .collect();
        assert!(gone.len() as u64 <= evicted, "{gone:?} for {place:?}");
        match expected {
            Answer::Evicts(victims) if self.at_once => {
                assert!(gone.len() == 1 && victims.contains(&gone[0]), "{gone:?} of {victims:?}");
            }
            _ => assert!(!self.at_once || evicted == 0, "{gone:?} for {expected:?}"),
        }
        for id in gone {
            assert_ne!(self.model.flows[&id].class, Class::Established, "an established flow left");
            self.model.remove(&id);
        }
    }

    fn slot_of(&self, id: &Id) -> Option<u32> {
        let end = |(address, port, side)| End { address, port, side };
        let [first, second] = [end(id.first), end(id.second)];
        let key = FlowKey::ordered(first, second, id.protocol.number(), id.vlan, id.family);
        self.table.find(&key, self.table.hash(&key))
    }

    /// What holds between steps.
    fn check(&self) {
        self.table.check();
        let (table, model) = (&self.table, &self.model);
        assert_eq!(table.memory_usage(), self.memory, "it allocated");
        assert!(table.flows() as usize <= model.capacity);
        let mut by_source = std::collections::HashMap::new();
        for (id, known) in &model.flows {
            let slot = self.slot_of(id);
            assert_eq!(slot.is_some(), !model.over(known), "{id:?}");
            if let Some(slot) = slot {
                assert_eq!(table.class(slot), known.class);
                assert_eq!(*table.state(slot), known.machine.to_bytes());
                *by_source.entry(known.source).or_insert(0) += 1;
            }
        }
        assert!(model.quota == 0 || by_source.values().all(|&flows| flows <= model.quota));
        let alive = model.flows.iter().filter(|(id, _)| model.alive(id));
        let v6 = alive.filter(|(id, _)| id.family == Family::V6).count();
        assert!(v6 <= model.capacity_v6);
        let mut listed = 0;
        table.list(0, u32::MAX, usize::MAX, |_| listed += 1);
        assert_eq!(listed, model.flows.keys().filter(|id| model.alive(id)).count());
        if self.at_once {
            assert_eq!(table.counts(), model.counts);
            assert_eq!(table.flows() as usize, model.flows.len());
            for class in Class::ALL {
                let of_class = model.flows.values().filter(|known| known.class == class).count();
                assert_eq!(table.flows_of(class) as usize, of_class, "{class:?}");
            }
        }
    }

    /// Past every timeout nothing is left.
    fn finish(mut self) {
        let end = self.model.after(1 << 19);
        self.table.advance(end, usize::MAX);
        assert_eq!(self.table.flows(), 0);
        self.table.check();
    }
}
