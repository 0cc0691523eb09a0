//! Workers over ports in memory: what passes, what is dropped and why, and that every frame is
//! counted once.

mod errors;
mod established;
mod fragments;
mod guard;
mod handover;
mod model;

use super::*;
use crate::flows::FlowConfig;
use crate::flowtable::Class;
use crate::ports::memory::MemoryPorts;
use crate::testing::{arp, ethernet, frame, icmp, table, tcp, tcp_at, udp};
use crate::verdict::{Action, DropReason as D, PassReason};
use classifier::{AddressMatch, PortRange, Rule};

const CLIENTS: ZoneId = ZoneId(0);
const SERVERS: ZoneId = ZoneId(1);
/// The port of each zone.
const LEFT: usize = 0;
const RIGHT: usize = 1;

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.1.1";

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const SECOND: u64 = 1_000_000_000;

type NamedRule = (&'static str, Rule, Action);

/// From clients to servers: this protocol and destination port (or ICMP code).
fn towards_servers(protocol: u8, dst_port: u16) -> Rule {
    Rule {
        from_zone: Some(CLIENTS),
        to_zone: Some(SERVERS),
        protocol: Some(protocol),
        dst_ports: PortRange::one(dst_port),
        ..Rule::ANY
    }
}

fn web_only() -> Vec<NamedRule> {
    vec![("web", towards_servers(6, 80), Action::Allow)]
}

/// Room for few flows, so that tables are quickly made.
fn small() -> FlowConfig {
    FlowConfig { capacity: 1024, capacity_v6: 512, ..FlowConfig::default() }
}

/// A worker of a wire between two zones.
struct Lab {
    worker: Worker<MemoryPorts>,
    tally: Arc<WorkerTally>,
    table: Arc<Table>,
}

impl Lab {
    fn new(rules: &[NamedRule]) -> Self {
        Lab::with(0, Arc::new(table(1, rules, 1)), small(), None)
    }

    fn with(
        number: usize,
        table: Arc<Table>,
        flows: FlowConfig,
        handover: Option<Handover>,
    ) -> Self {
        let tally = Arc::new(WorkerTally::new(2));
        let parts = WorkerParts {
            number,
            plan: vec![
                PortPlan { egress: RIGHT, zone: CLIENTS },
                PortPlan { egress: LEFT, zone: SERVERS },
            ],
            table: table.clone(),
            flows: Flows::new(flows),
            fragments: FragmentConfig { max_frames: 64, max_datagrams: 32, ..Default::default() },
            handover,
            ethertypes: vec![0x9999, 0x88cc],
            parse: ParseOptions::STRICT,
            tally: tally.clone(),
        };
        Lab { worker: Worker::new(MemoryPorts::new(2), parts), tally, table }
    }

    fn take(&mut self, generation: u64, rules: &[NamedRule]) {
        self.table = Arc::new(table(generation, rules, 2));
        self.worker.take_table(self.table.clone());
    }

    /// Lets the worker receive and judge what waits at `port`.
    fn judge(&mut self, port: usize) {
        while self.worker.receive(port) > 0 {
            self.worker.judge_burst(port);
        }
        self.worker.collect_completed();
    }

    /// Sends one frame in by `port`. Why it passed, or why it was dropped.
    fn send(&mut self, port: usize, frame: Vec<u8>) -> Outcome {
        let before = self.outcomes();
        self.worker.ports.deliver(port, frame.clone());
        self.judge(port);
        let sent = self.worker.ports.take_sent(1 - port);
        assert!(self.worker.ports.take_sent(port).is_empty(), "nothing leaves where it came in");
        let after = self.outcomes();
        let grown = |old: &[u64], new: &[u64]| old.iter().zip(new).position(|(old, new)| new > old);
        match (grown(&before.0, &after.0), grown(&before.1, &after.1)) {
            (_, Some(reason)) => {
                assert!(sent.is_empty());
                Outcome::Drop(DropReason::ALL[reason])
            }
            (Some(reason), None) => {
                assert_eq!(sent, [frame], "it leaves unchanged");
                Outcome::Forward(PassReason::ALL[reason])
            }
            (None, None) => panic!("a frame was not counted"),
        }
    }

    /// Passes and drops of both ports, by reason.
    fn outcomes(&self) -> (Vec<u64>, Vec<u64>) {
        let sum = |each: &dyn Fn(&crate::tally::PortTally) -> u64| {
            self.tally.ports.iter().map(|port| each(port)).sum()
        };
        let passed = (0..PassReason::COUNT).map(|r| sum(&|port| port.passed[r].get())).collect();
        let drops = (0..DropReason::COUNT).map(|r| sum(&|port| port.drops[r].get())).collect();
        (passed, drops)
    }

    /// Flows at hand.
    fn flows(&self) -> u64 {
        u64::from(self.worker.flows.table.flows())
    }

    /// Flows as they are counted: half-open, one-sided, established, closing.
    fn classes(&self) -> [u64; Class::COUNT] {
        std::array::from_fn(|class| self.tally.common.flows[class].get())
    }

    /// Flows opened so far.
    fn opened(&self) -> u64 {
        self.worker.flows.table.counts().opened
    }

    /// rx = tx + drops + held, in frames.
    fn assert_conserved(&self) {
        for port in [LEFT, RIGHT] {
            let (here, there) = (&self.tally.ports[port], &self.tally.ports[1 - port]);
            let drops: u64 = here.drops.iter().map(|drop| drop.get()).sum();
            let accounted =
                there.tx_packets.get() + drops + here.held.get() + here.reassembling.get();
            assert_eq!(here.rx_packets.get(), accounted, "port {port}");
        }
    }
}

fn tcp_to_server(flags: u8) -> Vec<u8> {
    frame(CLIENT, SERVER, 6, &tcp(1000, 80, flags))
}

fn tcp_to_client(flags: u8) -> Vec<u8> {
    frame(SERVER, CLIENT, 6, &tcp(80, 1000, flags))
}

const BY_RULE: Outcome = Outcome::Forward(PassReason::Rule);
const BY_FLOW: Outcome = Outcome::Forward(PassReason::Flow);
const DEFAULT: Outcome = Outcome::Drop(D::PolicyDefault);

#[test]
fn an_allowed_packet_opens_a_flow_and_its_reply_passes() {
    let mut lab = Lab::new(&web_only());
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
    assert_eq!(lab.table.hits(), [3]);
    assert_eq!(lab.flows(), 1);
    assert_eq!(lab.classes(), [0, 0, 1, 0]);
    lab.assert_conserved();
}

#[test]
fn a_reply_without_a_flow_is_dropped_and_so_is_one_from_the_wrong_side() {
    let mut lab = Lab::new(&web_only());
    const NOT_OPEN: Outcome = Outcome::Drop(D::TcpNotOpen);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), NOT_OPEN);
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(LEFT, tcp_to_client(SYN | ACK)), NOT_OPEN, "from the client's side");
    assert_eq!(lab.send(RIGHT, tcp_to_server(ACK)), NOT_OPEN, "from the server's side");
    assert_eq!(lab.table.hits(), [1]);
}

#[test]
fn a_rule_that_denies_and_no_rule_at_all_are_different_reasons() {
    let deny = Rule {
        dst: AddressMatch::host("10.0.1.2".parse().expect("an address")),
        ..towards_servers(6, 80)
    };
    let mut lab = Lab::new(&[("not-that", deny, Action::Deny), web_only()[0].clone()]);
    let to = |dst: &str, port| frame(CLIENT, dst, 6, &tcp(1000, port, SYN));
    assert_eq!(lab.send(LEFT, to("10.0.1.2", 80)), Outcome::Drop(D::PolicyDeny));
    assert_eq!(lab.send(LEFT, to("10.0.1.2", 81)), DEFAULT);
    assert_eq!(lab.send(LEFT, to("10.0.1.1", 80)), BY_RULE);
    assert_eq!(lab.table.hits(), [1, 1]);
    let drops: Vec<_> = lab.worker.recent.iter().map(|d| (d.reason, d.rule, d.port)).collect();
    assert_eq!(drops, [(D::PolicyDefault, None, LEFT), (D::PolicyDeny, Some(0), LEFT)]);
}

#[test]
fn an_echo_reply_that_nobody_asked_for_is_dropped_whatever_the_rules_say() {
    let any = Rule { from_zone: Some(CLIENTS), ..Rule::ANY };
    let mut lab = Lab::new(&[("out", any, Action::Allow)]);
    let echo = |src, dst, kind| frame(src, dst, 1, &icmp(kind, 0, 7));
    assert_eq!(lab.send(LEFT, echo(CLIENT, SERVER, 0)), Outcome::Drop(D::IcmpUnasked));
    assert_eq!(lab.flows(), 0);
    assert_eq!(lab.send(RIGHT, echo(SERVER, CLIENT, 8)), DEFAULT, "nobody allows servers to ask");
    assert_eq!(lab.send(LEFT, echo(CLIENT, SERVER, 8)), BY_RULE);
    assert_eq!(lab.send(RIGHT, echo(SERVER, CLIENT, 0)), BY_FLOW);
    assert_eq!(lab.send(RIGHT, echo(SERVER, CLIENT, 8)), DEFAULT);
}

#[test]
fn messages_without_flows_are_judged_one_by_one() {
    let mut lab = Lab::new(&[("icmp", Rule { protocol: Some(1), ..Rule::ANY }, Action::Allow)]);
    for _ in 0..2 {
        // Router advertisement and solicitation (RFC 1256).
        assert_eq!(lab.send(LEFT, frame(CLIENT, SERVER, 1, &icmp(9, 0, 0))), BY_RULE);
        assert_eq!(lab.send(RIGHT, frame(SERVER, CLIENT, 1, &icmp(10, 0, 0))), BY_RULE);
    }
    assert_eq!(lab.flows(), 0);
}

#[test]
fn every_icmp_reply_needs_its_own_request() {
    let icmp_any = |protocol| Rule { protocol: Some(protocol), ..Rule::ANY };
    let rules = [("v4", icmp_any(1), Action::Allow), ("v6", icmp_any(58), Action::Allow)];
    let mut lab = Lab::new(&rules);
    let unasked = Outcome::Drop(D::IcmpUnasked);
    let kinds = [(1, 8, 0), (1, 13, 14), (1, 15, 16), (1, 17, 18), (58, 128, 129), (58, 139, 140)];
    for (protocol, asks, answers) in kinds {
        let ends = if protocol == 1 { (CLIENT, SERVER) } else { ("fd00:1::1", "fd00:2::1") };
        let ask = |code| frame(ends.0, ends.1, protocol, &icmp(asks, code, 7));
        let answer = |code| frame(ends.1, ends.0, protocol, &icmp(answers, code, 7));
        assert_eq!(lab.send(RIGHT, answer(0)), unasked, "{answers}");
        assert_eq!(lab.send(LEFT, ask(0)), BY_RULE);
        assert_eq!(lab.send(RIGHT, answer(1)), unasked, "{answers} with another code");
        assert_eq!(lab.send(RIGHT, answer(0)), BY_FLOW);
    }
    // Judged anew as what it was asked.
    lab.take(2, &rules);
    assert_eq!(lab.send(RIGHT, frame(SERVER, CLIENT, 1, &icmp(14, 0, 7))), BY_FLOW);
    let only_echo = Rule { src_ports: PortRange::one(8), ..icmp_any(1) };
    lab.take(3, &[("echo", only_echo, Action::Allow)]);
    assert_eq!(lab.send(RIGHT, frame(SERVER, CLIENT, 1, &icmp(0, 0, 7))), BY_FLOW);
    assert_eq!(lab.send(RIGHT, frame(SERVER, CLIENT, 1, &icmp(14, 0, 7))), DEFAULT);
}

#[test]
fn a_segment_that_belongs_to_no_connection_is_dropped_whatever_the_rules_say() {
    let mut lab = Lab::new(&[("any", Rule::ANY, Action::Allow)]);
    for flags in [ACK, FIN | ACK, RST, RST | ACK, SYN | ACK] {
        assert_eq!(lab.send(LEFT, tcp_to_server(flags)), Outcome::Drop(D::TcpNotOpen));
    }
    assert_eq!((lab.flows(), lab.table.hits()), (0, vec![0]));
}

#[test]
fn a_new_table_stops_both_directions_of_a_flow_it_denies() {
    for first in [LEFT, RIGHT] {
        let mut lab = Lab::new(&web_only());
        assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
        lab.take(2, &[("web", towards_servers(6, 80), Action::Deny)]);
        let packet = |side| if side == LEFT { tcp_to_server(ACK) } else { tcp_to_client(ACK) };
        assert_eq!(lab.send(first, packet(first)), Outcome::Drop(D::PolicyDeny));
        let drop = lab.worker.recent.iter().next().expect("it was remembered");
        assert_eq!(drop.rule, Some(0), "the rule that ended the flow");
        assert_eq!(lab.send(1 - first, packet(1 - first)), Outcome::Drop(D::TcpNotOpen));
        assert_eq!((lab.flows(), lab.worker.flows.table.counts().closed), (0, 1));
        assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), Outcome::Drop(D::PolicyDeny));
    }
}

#[test]
fn a_flow_that_a_new_table_allows_moves_to_its_rule() {
    let mut lab = Lab::new(&web_only());
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    let old = lab.table.clone();
    let other = ("other", towards_servers(17, 53), Action::Allow);
    lab.take(2, &[other.clone(), other, web_only()[0].clone()]);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
    assert_eq!((old.hits(), lab.table.hits()), (vec![1], vec![0, 0, 2]));
    // Back to fewer rules: the index does not outlive its table.
    lab.take(3, &web_only());
    assert_eq!(lab.send(RIGHT, tcp_to_client(ACK)), BY_FLOW);
    assert_eq!(lab.table.hits(), [1]);
}

#[test]
fn a_syn_over_a_closed_connection_is_judged_anew() {
    let mut lab = Lab::new(&web_only());
    let to_server = |flags, seq, ack| frame(CLIENT, SERVER, 6, &tcp_at(1000, 80, flags, seq, ack));
    let to_client = |flags, seq, ack| frame(SERVER, CLIENT, 6, &tcp_at(80, 1000, flags, seq, ack));
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_FLOW, "a retransmission");
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
    assert_eq!(lab.send(RIGHT, to_client(FIN | ACK, 2, 2)), BY_FLOW);
    assert_eq!(lab.send(LEFT, to_server(FIN | ACK, 2, 3)), BY_FLOW);
    assert_eq!(lab.send(RIGHT, to_client(ACK, 3, 3)), BY_FLOW, "the last acknowledgement");
    assert_eq!(lab.send(LEFT, to_server(SYN, 10, 0)), BY_RULE);
    assert_eq!((lab.opened(), lab.flows()), (2, 1));
}

#[test]
fn an_idle_flow_is_forgotten_after_its_timeout() {
    let mut lab = Lab::new(&[("dns", towards_servers(17, 53), Action::Allow)]);
    assert_eq!(lab.send(LEFT, frame(CLIENT, SERVER, 17, &udp(1000, 53, &[]))), BY_RULE);
    let answer = || frame(SERVER, CLIENT, 17, &udp(53, 1000, &[]));
    lab.worker.ports.set_clock(120 * SECOND);
    assert_eq!(lab.send(RIGHT, answer()), BY_FLOW);
    // The first answer makes it two-sided, with a longer timeout; later ones refresh nothing.
    lab.worker.ports.set_clock(420 * SECOND);
    assert_eq!(lab.send(RIGHT, answer()), BY_FLOW);
    lab.worker.ports.set_clock(420 * SECOND + SECOND / 16);
    assert_eq!(lab.send(RIGHT, answer()), DEFAULT);
}

#[test]
fn arp_passes_between_the_zones() {
    let mut lab = Lab::new(&[]);
    for port in [LEFT, RIGHT] {
        let request = ethernet(&[], 0x0806, &arp(1, [10, 0, 0, 1], [10, 0, 0, 2]));
        assert_eq!(lab.send(port, request), Outcome::Forward(PassReason::Arp));
    }
    assert_eq!(lab.flows(), 0);
}

#[test]
fn neighbour_discovery_passes_with_hop_limit_255_only() {
    let mut lab = Lab::new(&[]);
    let mut message = icmp(135, 0, 0);
    // The target, fe80::2.
    message.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let mut solicitation = frame("fe80::1", "ff02::1:ff00:2", 58, &message);
    solicitation[14 + 7] = 255;
    let passes = Outcome::Forward(PassReason::NeighbourDiscovery);
    assert_eq!(lab.send(LEFT, solicitation.clone()), passes);
    assert_eq!(lab.send(RIGHT, solicitation.clone()), passes);
    solicitation[14 + 7] = 64;
    assert_eq!(lab.send(LEFT, solicitation), Outcome::Drop(D::NeighbourInvalid));
}

#[test]
fn an_ethertype_passes_when_it_is_configured() {
    let mut lab = Lab::new(&[("any", Rule::ANY, Action::Allow)]);
    let send = |lab: &mut Lab, ethertype| lab.send(LEFT, ethernet(&[], ethertype, &[0; 46]));
    for configured in [0x88cc, 0x9999] {
        assert_eq!(send(&mut lab, configured), Outcome::Forward(PassReason::EtherType));
    }
    for other in [0x88cd, 0x0027, 0x8847] {
        assert_eq!(send(&mut lab, other), Outcome::Drop(D::EtherType));
    }
    assert_eq!(lab.table.hits(), [0]);
}

#[test]
fn a_malformed_packet_is_dropped_for_its_own_reason_before_any_rule() {
    let mut lab = Lab::new(&[("any", Rule::ANY, Action::Allow)]);
    let mut short = tcp_to_server(SYN);
    short.truncate(20);
    assert_eq!(lab.send(LEFT, short), Outcome::Drop(D::Ipv4Header));
    let drop = lab.worker.recent.iter().next().expect("it was remembered");
    assert_eq!((drop.reason, drop.key, drop.length), (D::Ipv4Header, None, 20));
    assert_eq!(lab.table.hits(), [0]);
}

#[test]
fn what_the_transmit_ring_has_no_room_for_is_dropped_counted_and_remembered() {
    let mut lab = Lab::new(&web_only());
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    lab.worker.ports.limit_tx(RIGHT, 3);
    for port in 1..=10 {
        let packet = if port == 5 { 81 } else { 80 };
        lab.worker.ports.deliver(LEFT, frame(CLIENT, SERVER, 6, &tcp(port, packet, SYN)));
    }
    lab.judge(LEFT);
    assert_eq!(lab.worker.ports.take_sent(RIGHT).len(), 3);
    let left = &lab.tally.ports[LEFT];
    assert_eq!(left.drops[D::TxRingFull as usize].get(), 6);
    assert_eq!(left.drops[D::PolicyDefault as usize].get(), 1);
    assert_eq!(left.passed[PassReason::Rule as usize].get(), 10);
    lab.assert_conserved();
    let remembered = lab.worker.recent.iter().filter(|drop| drop.reason == D::TxRingFull);
    let ports: Vec<_> = remembered.map(|d| (d.key.map(|key| key.src_port), d.rule)).collect();
    assert_eq!(ports, [10, 9, 8, 7, 6, 4].map(|port| (Some(port), Some(0))));
}

#[test]
fn a_full_flow_table_keeps_what_is_established() {
    let config = FlowConfig { capacity: 2, ..FlowConfig::default() };
    let mut lab = Lab::with(0, Arc::new(table(1, &web_only(), 1)), config, None);
    let there = |port, flags| frame(CLIENT, SERVER, 6, &tcp(port, 80, flags));
    let back = |port, flags| frame(SERVER, CLIENT, 6, &tcp(80, port, flags));
    assert_eq!(lab.send(LEFT, there(1, SYN)), BY_RULE);
    assert_eq!(lab.send(LEFT, there(2, SYN)), BY_RULE);
    assert_eq!(lab.send(LEFT, there(3, SYN)), BY_RULE, "the oldest half-open one gives way");
    assert_eq!(lab.tally.common.flows_evicted.get(), 1);
    assert_eq!(lab.send(RIGHT, back(1, SYN | ACK)), Outcome::Drop(D::TcpNotOpen));
    for port in [2, 3] {
        assert_eq!(lab.send(RIGHT, back(port, SYN | ACK)), BY_FLOW);
        assert_eq!(lab.send(LEFT, there(port, ACK)), BY_FLOW);
    }
    assert_eq!(lab.send(LEFT, there(4, SYN)), Outcome::Drop(D::FlowTableFull));
    assert_eq!(lab.send(LEFT, there(2, ACK)), BY_FLOW);
    assert_eq!(lab.table.hits(), [9]);
    lab.assert_conserved();
}

#[test]
fn flows_are_counted_by_how_far_they_are() {
    let rules = [web_only(), vec![("dns", towards_servers(17, 53), Action::Allow)]].concat();
    let mut lab = Lab::new(&rules);
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.classes(), [1, 0, 0, 0]);
    let question = frame(CLIENT, SERVER, 17, &udp(1000, 53, &[]));
    assert_eq!(lab.send(LEFT, question), BY_RULE);
    assert_eq!(lab.classes(), [1, 1, 0, 0]);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
    assert_eq!(lab.classes(), [0, 1, 1, 0]);
    assert_eq!(lab.send(LEFT, tcp_to_server(RST)), BY_FLOW);
    assert_eq!(lab.classes(), [0, 1, 0, 1]);
    // And without a burst, when they expire: UDP without an answer sooner than a closed connection.
    lab.worker.ports.set_clock(121 * SECOND);
    lab.worker.keep_house();
    assert_eq!(lab.classes(), [0, 0, 0, 1]);
    assert_eq!(lab.tally.common.flows_closed.get(), 1);
    assert_eq!(lab.tally.common.flows_evicted.get(), 0);
}

#[test]
fn a_source_opens_no_more_flows_than_its_quota() {
    let config = FlowConfig { quota: 2, ..small() };
    let mut lab = Lab::with(0, Arc::new(table(1, &web_only(), 1)), config, None);
    let syn = |client, port| frame(client, SERVER, 6, &tcp(port, 80, SYN));
    assert_eq!(lab.send(LEFT, syn(CLIENT, 1)), BY_RULE);
    assert_eq!(lab.send(LEFT, syn(CLIENT, 2)), BY_RULE);
    assert_eq!(lab.send(LEFT, syn(CLIENT, 3)), Outcome::Drop(D::FlowQuota));
    assert_eq!(lab.send(LEFT, syn("10.0.0.9", 3)), BY_RULE);
}

#[test]
fn one_burst_opens_a_flow_once() {
    let mut lab = Lab::new(&web_only());
    for _ in 0..BURST {
        lab.worker.ports.deliver(LEFT, tcp_to_server(SYN));
    }
    lab.judge(LEFT);
    let passed = |reason: PassReason| lab.tally.ports[LEFT].passed[reason as usize].get();
    assert_eq!((passed(PassReason::Rule), passed(PassReason::Flow)), (1, BURST as u64 - 1));
    assert_eq!((lab.opened(), lab.table.hits()), (1, vec![BURST as u64]));
    assert_eq!(lab.tally.common.bursts.get(), 1);
}

#[test]
fn frames_are_held_from_handing_over_to_completion() {
    let mut lab = Lab::new(&web_only());
    lab.worker.ports.deliver(LEFT, tcp_to_server(SYN));
    assert_eq!(lab.worker.receive(LEFT), 1);
    lab.worker.judge_burst(LEFT);
    assert_eq!(lab.tally.ports[LEFT].held.get(), 1);
    assert_eq!(lab.tally.ports[RIGHT].tx_packets.get(), 0);
    lab.assert_conserved();
    lab.worker.collect_completed();
    assert_eq!(lab.tally.ports[LEFT].held.get(), 0);
    assert_eq!(lab.tally.ports[RIGHT].tx_packets.get(), 1);
    assert_eq!(lab.tally.ports[RIGHT].tx_bytes.get(), lab.tally.ports[LEFT].rx_bytes.get());
    lab.assert_conserved();
}
