//! Random traffic, tables and clocks against a slow model: rules tried one by one, flows named by
//! the packet that opened them. It shares no key, no hash and no table with the worker.

use super::handover::Wire;
use super::*;
use crate::parse::TcpSegment;
use crate::state::datagram::{DatagramClass, DatagramState, Refresh};
use crate::state::tcp::{TcpClass, TcpConfig, TcpEvent, TcpState};
use classifier::{Family, Linear, Lookup};
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Tcp,
    Udp,
    Request,
    Reply,
    Gre,
}

/// A packet as the test sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Packet {
    port: usize,
    kind: Kind,
    /// Last octets of the addresses.
    src: u8,
    dst: u8,
    src_port: u16,
    dst_port: u16,
    flags: u8,
}

impl Packet {
    fn addresses(&self) -> [String; 2] {
        [self.src, self.dst].map(|host| format!("10.0.0.{host}"))
    }

    fn frame(&self) -> Vec<u8> {
        let [src, dst] = self.addresses();
        let (protocol, payload) = match self.kind {
            Kind::Tcp => (6, tcp(self.src_port, self.dst_port, self.flags)),
            Kind::Udp => (17, udp(self.src_port, self.dst_port, &[])),
            Kind::Request => (1, icmp(8, 0, self.src_port)),
            Kind::Reply => (1, icmp(0, 0, self.src_port)),
            Kind::Gre => (47, Vec::new()),
        };
        frame(&src, &dst, protocol, &payload)
    }

    /// What rules are asked.
    fn key(&self) -> PacketKey {
        let [src, dst] = self.addresses().map(|text| {
            u128::from(text.parse::<std::net::Ipv4Addr>().expect("an address").to_bits())
        });
        let (protocol, src_port, dst_port) = match self.kind {
            Kind::Tcp => (6, self.src_port, self.dst_port),
            Kind::Udp => (17, self.src_port, self.dst_port),
            Kind::Request => (1, 8, 0),
            Kind::Reply => (1, 0, 0),
            Kind::Gre => (47, 0, 0),
        };
        let (from_zone, to_zone) =
            if self.port == LEFT { (CLIENTS, SERVERS) } else { (SERVERS, CLIENTS) };
        PacketKey {
            src,
            dst,
            protocol,
            src_port,
            dst_port,
            from_zone,
            to_zone,
            tcp_flags: u16::from(if self.kind == Kind::Tcp { self.flags } else { 0 }),
            ..PacketKey::empty(Family::V4)
        }
    }

    /// Its segment, as [`tcp`] writes it.
    fn segment(&self) -> TcpSegment {
        TcpSegment {
            seq: if self.flags & SYN != 0 { 1 } else { 2 },
            ack: 2,
            flags: self.flags,
            window: 0xffff,
            payload: 0,
            window_scale: None,
        }
    }

    /// The flow that it begins.
    fn begin(&self) -> Result<Machine, DropReason> {
        match self.kind {
            Kind::Tcp => TcpState::open(&self.segment(), &TcpConfig::default())
                .map(|(state, _)| Machine::Tcp(state)),
            Kind::Reply => Err(D::IcmpUnasked),
            _ => Ok(Machine::Other(DatagramState::open().0)),
        }
    }

    /// Flags of the packet that opened its flow.
    fn opening_flags(&self) -> u8 {
        if self.kind == Kind::Tcp { SYN } else { 0 }
    }

    /// The packet without what differs within one direction of a flow.
    fn opener(&self) -> Packet {
        let (src_port, dst_port) = match self.kind {
            Kind::Gre => (0, 0),
            Kind::Request | Kind::Reply => (self.src_port, 0),
            _ => (self.src_port, self.dst_port),
        };
        Packet { flags: 0, src_port, dst_port, ..*self }
    }

    /// The opener of the flow that this packet would answer.
    fn answered(&self) -> Option<Packet> {
        let turned = Packet {
            port: 1 - self.port,
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..*self
        };
        match self.kind {
            Kind::Reply => {
                Some(Packet { kind: Kind::Request, src_port: self.src_port, ..turned }.opener())
            }
            Kind::Request => None,
            _ => Some(turned.opener()),
        }
    }
}

/// What the machines, which have tests of their own, make of a flow.
#[derive(Clone, Copy, Debug)]
enum Machine {
    Tcp(TcpState),
    Other(DatagramState),
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    last_seen: u64,
    machine: Machine,
    timeout: u64,
    generation: u64,
    rule: usize,
}

/// Seconds that the flow of a packet lives.
fn timeout(kind: Kind, machine: &Machine) -> u64 {
    match (kind, machine) {
        (_, Machine::Tcp(state)) => match state.class() {
            TcpClass::SynSent => 30,
            TcpClass::SynReceived => 60,
            TcpClass::Established | TcpClass::FinWait | TcpClass::HalfClosed => 7440,
            TcpClass::Closing | TcpClass::TimeWait | TcpClass::Closed => 240,
        },
        (Kind::Request | Kind::Reply, _) => 60,
        (kind, Machine::Other(state)) => {
            let mut asked = *state;
            let answered = asked.observe(true, Refresh::Opener).class == DatagramClass::TwoSided;
            match (kind == Kind::Udp, answered) {
                (true, false) => 120,
                (true, true) => 300,
                (false, false) => 60,
                (false, true) => 600,
            }
        }
    }
}

/// The slow model.
struct Model {
    rules: Vec<NamedRule>,
    generation: u64,
    hits: Vec<u64>,
    flows: HashMap<Packet, Flow>,
}

impl Model {
    fn new(rules: Vec<NamedRule>) -> Self {
        Model { hits: vec![0; rules.len()], rules, generation: 1, flows: HashMap::new() }
    }

    fn take(&mut self, generation: u64, rules: Vec<NamedRule>) {
        *self = Model {
            hits: vec![0; rules.len()],
            rules,
            generation,
            flows: std::mem::take(&mut self.flows),
        };
    }

    fn judge(&self, key: &PacketKey) -> Option<(usize, Action)> {
        let linear =
            Linear::new(self.rules.iter().map(|(_, rule, _)| rule.clone()).collect::<Vec<_>>());
        linear.lookup(key).map(|rule| (rule as usize, self.rules[rule as usize].2))
    }

    /// The verdict of a packet at `now`, seconds.
    fn verdict(&mut self, packet: &Packet, now: u64) -> Outcome {
        let opener = packet.opener();
        let is_reply = packet.kind == Kind::Reply;
        self.flows.retain(|_, flow| now - flow.last_seen <= flow.timeout);
        let own = (!is_reply && self.flows.contains_key(&opener)).then_some((opener, true));
        let known =
            own.or(packet.answered().filter(|a| self.flows.contains_key(a)).map(|a| (a, false)));
        let (mut revoked, mut denied) = (None, None);
        if let Some((opener, from_opener)) = known {
            match self.still_allowed(&opener) {
                Ok(rule) => match self.go_on(&opener, from_opener, packet, now) {
                    Some(Ok(())) => {
                        self.hits[rule] += 1;
                        return BY_FLOW;
                    }
                    Some(Err(reason)) => return Outcome::Drop(reason),
                    None => {}
                },
                Err(None) => revoked = Some(DEFAULT),
                Err(Some(rule)) => {
                    revoked = Some(Outcome::Drop(D::PolicyDeny));
                    denied = Some(rule);
                }
            }
        }
        let machine = match packet.begin() {
            Ok(machine) => machine,
            Err(reason) => {
                denied.into_iter().for_each(|rule| self.hits[rule] += 1);
                return revoked.unwrap_or(Outcome::Drop(reason));
            }
        };
        let Some((rule, action)) = self.judge(&packet.key()) else { return DEFAULT };
        self.hits[rule] += 1;
        if action == Action::Deny {
            return Outcome::Drop(D::PolicyDeny);
        }
        // Perhaps over the remains of a connection that the other side had opened.
        packet.answered().map(|answered| self.flows.remove(&answered));
        let timeout = timeout(packet.kind, &machine);
        let generation = self.generation;
        self.flows.insert(opener, Flow { last_seen: now, machine, timeout, generation, rule });
        BY_RULE
    }

    /// The rule that still lets a flow pass; a flow that no rule allows any more is forgotten.
    fn still_allowed(&mut self, opener: &Packet) -> Result<usize, Option<usize>> {
        let flow = self.flows[opener];
        if flow.generation == self.generation {
            return Ok(flow.rule);
        }
        // It was opened by a SYN.
        let asked = PacketKey { tcp_flags: u16::from(opener.opening_flags()), ..opener.key() };
        match self.judge(&asked) {
            Some((rule, Action::Allow)) => {
                let generation = self.generation;
                self.flows.insert(*opener, Flow { rule, generation, ..flow });
                Ok(rule)
            }
            denied => {
                self.flows.remove(opener);
                Err(denied.map(|(rule, _)| rule))
            }
        }
    }

    /// Takes a packet through its flow; `None` if it begins another.
    fn go_on(
        &mut self,
        opener: &Packet,
        from_opener: bool,
        packet: &Packet,
        now: u64,
    ) -> Option<Result<(), DropReason>> {
        let flow = self.flows.get_mut(opener).expect("looked up before");
        match &mut flow.machine {
            Machine::Tcp(state) => {
                let was_closed = state.class() == TcpClass::Closed;
                match state.observe(from_opener, &packet.segment(), &TcpConfig::default()) {
                    Ok(TcpEvent::Pass { .. }) => {}
                    Ok(TcpEvent::Challenge) => return Some(Ok(())),
                    Ok(TcpEvent::Reopen) => return None,
                    Err(reason) => {
                        if state.class() == TcpClass::Closed && !was_closed {
                            (flow.last_seen, flow.timeout) = (now, 240);
                        }
                        return Some(Err(reason));
                    }
                }
            }
            Machine::Other(state) => {
                let event = match packet.kind {
                    Kind::Request | Kind::Reply => {
                        state.observe_echo(from_opener, packet.kind == Kind::Request)
                    }
                    _ => Ok(state.observe(from_opener, Refresh::Opener)),
                };
                match event {
                    Ok(event) if !event.refresh => return Some(Ok(())),
                    Ok(_) => {}
                    Err(reason) => return Some(Err(reason)),
                }
            }
        }
        flow.last_seen = now;
        flow.timeout = timeout(packet.kind, &flow.machine);
        Some(Ok(()))
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let kind = prop_oneof![
        6 => Just(Kind::Tcp),
        4 => Just(Kind::Udp),
        2 => Just(Kind::Request),
        2 => Just(Kind::Reply),
        1 => Just(Kind::Gre),
    ];
    let flags = prop_oneof![
        4 => Just(SYN),
        3 => Just(SYN | ACK),
        5 => Just(ACK),
        2 => Just(FIN | ACK),
        1 => Just(RST | ACK),
    ];
    // Few values, so that packets meet. Equal ports are among them; equal addresses do not pass the
    // parser.
    (0usize..2, kind, 1u8..4, 1u8..3, 1u16..4, 1u16..4, flags).prop_map(
        |(port, kind, src, other, src_port, dst_port, flags)| {
            let dst = (src - 1 + other) % 3 + 1;
            let dst_port = if matches!(kind, Kind::Tcp | Kind::Udp) { dst_port } else { 0 };
            let src_port = if kind == Kind::Gre { 0 } else { src_port };
            Packet { port, kind, src, dst, src_port, dst_port, flags }
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<NamedRule>> {
    let zone = || prop_oneof![Just(None), Just(Some(CLIENTS)), Just(Some(SERVERS))];
    let protocol = prop_oneof![Just(None), Just(Some(6)), Just(Some(17)), Just(Some(1))];
    let host = || {
        prop_oneof![
            3 => Just(AddressMatch::Any),
            1 => (1u8..4).prop_map(|n| AddressMatch::host([10, 0, 0, n].into())),
        ]
    };
    let ports = || prop_oneof![2 => Just(PortRange::ANY), 1 => (0u16..4).prop_map(PortRange::one)];
    let action = prop_oneof![2 => Just(Action::Allow), 1 => Just(Action::Deny)];
    let rule = (zone(), zone(), protocol, host(), host(), ports(), action).prop_map(
        |(from_zone, to_zone, protocol, src, dst, dst_ports, action)| {
            let rule = Rule { from_zone, to_zone, protocol, src, dst, dst_ports, ..Rule::ANY };
            ("rule", rule, action)
        },
    );
    prop::collection::vec(rule, 0..5)
}

#[derive(Clone, Debug)]
enum Step {
    Packets(Vec<Packet>),
    Table(Vec<NamedRule>),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => prop::collection::vec(packet(), 1..8).prop_map(Step::Packets),
        1 => rules().prop_map(Step::Table),
        2 => prop_oneof![0u64..5, Just(30), Just(31), Just(60), Just(61),
            Just(120), Just(240), Just(241), Just(300), Just(301), Just(600), Just(7440)]
            .prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// How often each outcome was expected.
fn count(expected: &[Outcome]) -> (Vec<u64>, Vec<u64>) {
    let (mut passed, mut drops) = (vec![0; PassReason::COUNT], vec![0; DropReason::COUNT]);
    for outcome in expected {
        match outcome {
            Outcome::Forward(reason) => passed[*reason as usize] += 1,
            Outcome::Drop(reason) => drops[*reason as usize] += 1,
        }
    }
    (passed, drops)
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn verdicts_and_hits_are_those_of_the_slow_model_however_packets_fall_into_bursts(
        first in rules(),
        steps in steps(),
    ) {
        let mut lab = Lab::new(&first);
        let mut model = Model::new(first);
        let mut now = 0;
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Table(rules) => {
                    let generation = model.generation + 1;
                    lab.take(generation, &rules);
                    model.take(generation, rules);
                }
                Step::Packets(packets) => {
                    lab.worker.ports.set_clock(now * SECOND);
                    // A burst is of one port.
                    for burst in packets.chunk_by(|a, b| a.port == b.port) {
                        for packet in burst {
                            lab.worker.ports.deliver(packet.port, packet.frame());
                            expected.push(model.verdict(packet, now));
                        }
                        lab.judge(burst[0].port);
                        prop_assert_eq!(lab.outcomes(), count(&expected));
                    }
                    prop_assert_eq!(lab.table.hits(), model.hits.clone());
                }
            }
            lab.assert_conserved();
        }
    }

    #[test]
    fn three_workers_come_to_the_verdicts_of_one_whichever_queue_a_packet_takes(
        first in rules(),
        second in rules(),
        packets in prop::collection::vec((packet(), 0usize..3), 1..150),
        swap in 0usize..150,
    ) {
        let mut wire = Wire::new(3, &first, 64);
        let mut model = Model::new(first);
        for (nth, (packet, queue)) in packets.iter().enumerate() {
            if nth == swap {
                wire.take(2, &second);
                model.take(2, second.clone());
            }
            let outcome = wire.send(*queue, packet.port, packet.frame());
            prop_assert_eq!(outcome, model.verdict(packet, 0), "packet {}: {:?}", nth, packet);
        }
        prop_assert_eq!(wire.labs[0].table.hits(), model.hits);
        wire.assert_conserved();
    }

    #[test]
    fn every_frame_is_counted_once_whatever_it_is(
        frames in prop::collection::vec(
            (0usize..2, prop_oneof![
                packet().prop_map(|packet| packet.frame()),
                prop::collection::vec(any::<u8>(), 0..80),
                Just(ethernet(&[], 0x0806, &arp(1, [10, 0, 0, 1], [10, 0, 0, 2]))),
                Just(ethernet(&[1, 2, 3], 0x0800, &[0; 46])),
            ], any::<bool>()),
            0..300,
        ),
        rules in rules(),
        capacity in 0u32..6,
        rooms in prop::array::uniform2(0usize..100),
    ) {
        let flows = FlowConfig { capacity, ..FlowConfig::default() };
        let table = Arc::new(table(1, &rules, 1));
        let mut lab = Lab::with(0, table, flows, None);
        for (port, room) in rooms.into_iter().enumerate() {
            lab.worker.ports.limit_tx(port, room);
        }
        let (mut frames_in, mut bytes_in) = (0, 0);
        for (port, frame, collect) in frames {
            frames_in += 1;
            bytes_in += frame.len() as u64;
            lab.worker.ports.deliver(port, frame);
            if collect {
                for port in [LEFT, RIGHT] {
                    while lab.worker.receive(port) > 0 {
                        lab.worker.judge_burst(port);
                        lab.assert_conserved();
                    }
                }
                lab.worker.collect_completed();
                lab.assert_conserved();
            }
        }
        for port in [LEFT, RIGHT] {
            lab.judge(port);
        }
        lab.assert_conserved();
        let sum = |each: fn(&crate::tally::PortTally) -> u64| {
            lab.tally.ports.iter().map(|port| each(port)).sum::<u64>()
        };
        prop_assert_eq!(sum(|port| port.rx_packets.get()), frames_in);
        prop_assert_eq!(sum(|port| port.rx_bytes.get()), bytes_in);
        prop_assert_eq!(lab.tally.held(), 0);
        // A rule is hit by every packet that it allowed or denied, and by no other.
        let (passed, drops) = lab.outcomes();
        let unjudged: u64 = [PassReason::Arp, PassReason::NeighbourDiscovery, PassReason::EtherType]
            .iter()
            .map(|reason| passed[*reason as usize])
            .sum();
        let judged = passed.iter().sum::<u64>() - unjudged
            + drops[D::PolicyDeny as usize]
            + drops[D::FlowTableFull as usize];
        prop_assert_eq!(lab.table.hits().iter().sum::<u64>(), judged);
    }
}
