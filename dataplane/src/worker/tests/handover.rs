//! Workers that share a wire: whichever queue a packet arrives on, its flow's one owner judges it, in
//! order, and every frame is counted once.

use super::*;
use crate::handover::join_with_room;
use crate::parse::ParseOptions;
use proptest::prelude::*;
use std::collections::HashMap;

/// The workers of one wire, each on a queue of its own.
pub(super) struct Wire {
    pub labs: Vec<Lab>,
}

impl Wire {
    /// Workers with room for `room` frames on the way from one to another.
    pub fn new(workers: usize, rules: &[NamedRule], room: usize) -> Self {
        let table = Arc::new(table(1, rules, workers));
        let parts = join_with_room(workers, 2, 2048, room);
        let worker = |(number, part)| Lab::with(number, table.clone(), small(), Some(part));
        Wire { labs: parts.into_iter().enumerate().map(worker).collect() }
    }

    pub fn take(&mut self, generation: u64, rules: &[NamedRule]) {
        let table = Arc::new(table(generation, rules, self.labs.len()));
        for lab in &mut self.labs {
            lab.table = table.clone();
            lab.worker.take_table(table.clone());
        }
    }

    /// Lets every worker judge what it was handed, until nothing is left.
    fn settle(&mut self) {
        for lab in &mut self.labs {
            for port in [LEFT, RIGHT] {
                while lab.worker.take_in(port) > 0 {
                    lab.worker.judge_burst(port);
                }
            }
            lab.worker.collect_completed();
        }
    }

    /// Sends one frame in by `port`, on `queue`. Why it passed, or why it was dropped.
    pub fn send(&mut self, queue: usize, port: usize, frame: Vec<u8>) -> Outcome {
        let before: Vec<_> = self.labs.iter().map(Lab::outcomes).collect();
        self.labs[queue].worker.ports.deliver(port, frame.clone());
        self.labs[queue].judge(port);
        self.settle();
        let mut outcomes = Vec::new();
        let mut sent = Vec::new();
        for (lab, before) in self.labs.iter_mut().zip(&before) {
            sent.extend(lab.worker.ports.take_sent(1 - port));
            assert!(lab.worker.ports.take_sent(port).is_empty(), "nothing leaves where it came in");
            let after = lab.outcomes();
            let grown = |old: &[u64], new: &[u64]| -> Vec<usize> {
                (0..old.len()).filter(|&reason| new[reason] > old[reason]).collect()
            };
            let passed = grown(&before.0, &after.0).into_iter();
            outcomes.extend(passed.map(|reason| Outcome::Forward(PassReason::ALL[reason])));
            let drops = grown(&before.1, &after.1).into_iter();
            outcomes.extend(drops.map(|reason| Outcome::Drop(DropReason::ALL[reason])));
        }
        assert_eq!(outcomes.len(), 1, "one worker judges it: {outcomes:?}");
        let expected =
            if matches!(outcomes[0], Outcome::Forward(_)) { vec![frame] } else { vec![] };
        assert_eq!(sent, expected);
        outcomes[0]
    }

    /// Flows in each worker's table.
    fn flows(&self) -> Vec<u64> {
        self.labs.iter().map(|lab| lab.flows()).collect()
    }

    /// The worker that owns what is sent between these two.
    fn owner(&self, one: &str, other: &str) -> usize {
        let frame = frame(one, other, 17, &udp(1, 2, &[]));
        let view = FrameView { bytes: &frame, wire_len: frame.len() as u32 };
        let Ok(Parsed { content: Content::Ip(packet), .. }) = parse(view, &ParseOptions::STRICT)
        else {
            panic!("a test writes packets");
        };
        let owns = |lab: &Lab| {
            lab.worker.handover.as_ref().is_some_and(|part| part.owner(&packet, &frame).is_none())
        };
        let owners: Vec<_> = (0..self.labs.len()).filter(|&n| owns(&self.labs[n])).collect();
        assert_eq!(owners.len(), 1, "one owner, on whom all agree");
        owners[0]
    }

    /// A client whose packets to [`SERVER`] `worker` owns.
    fn client_of(&self, worker: usize) -> String {
        let clients = (1..=255).map(|n| format!("10.0.0.{n}"));
        clients
            .into_iter()
            .find(|client| self.owner(client, SERVER) == worker)
            .expect("there is one")
    }

    fn sum(&self, each: impl Fn(&Lab) -> u64) -> u64 {
        self.labs.iter().map(each).sum()
    }

    /// rx = tx + drops + held + on the way between workers, in frames, all queues of a port together.
    pub fn assert_conserved(&self) {
        for port in [LEFT, RIGHT] {
            let rx = self.sum(|lab| lab.tally.ports[port].rx_packets.get());
            let tx = self.sum(|lab| lab.tally.ports[1 - port].tx_packets.get());
            let drops = self.sum(|lab| lab.tally.ports[port].drops.iter().map(|d| d.get()).sum());
            let held = self.sum(|lab| {
                let here = &lab.tally.ports[port];
                here.held.get() + here.reassembling.get()
            });
            let waiting = self.sum(|lab| {
                let part = lab.worker.handover.as_ref().expect("a wire of several workers");
                part.ways_out(port).iter().map(|link| link.waiting()).sum()
            });
            assert_eq!(rx, tx + drops + held + waiting, "port {port}");
        }
    }

    fn drops(&self, worker: usize, reason: DropReason) -> u64 {
        let ports = &self.labs[worker].tally.ports;
        ports.iter().map(|port| port.drops[reason as usize].get()).sum()
    }
}

#[test]
fn a_flow_has_one_state_whichever_queue_each_packet_takes() {
    for asked in 0..3 {
        for answered in 0..3 {
            let mut wire = Wire::new(3, &web_only(), 16);
            for client in 1..=20u16 {
                let name = format!("10.0.0.{client}");
                let there = |flags| frame(&name, SERVER, 6, &tcp(1000, 80, flags));
                let back = |flags| frame(SERVER, &name, 6, &tcp(80, 1000, flags));
                assert_eq!(wire.send(asked, LEFT, there(SYN)), BY_RULE);
                assert_eq!(wire.send(answered, RIGHT, back(SYN | ACK)), BY_FLOW);
                for queue in [0, 1, 2, 0] {
                    assert_eq!(wire.send(queue, LEFT, there(ACK)), BY_FLOW);
                    assert_eq!(wire.send((queue + 1) % 3, RIGHT, back(ACK)), BY_FLOW);
                }
                // Reset on one queue, opened again on another.
                assert_eq!(wire.send(1, LEFT, there(RST | ACK)), BY_FLOW);
                assert_eq!(wire.send(0, LEFT, there(SYN)), BY_RULE);
                assert_eq!(wire.flows().iter().sum::<u64>(), u64::from(client), "one table each");
            }
            wire.assert_conserved();
            assert_eq!(wire.sum(|lab| lab.opened()), 40);
        }
    }
}

#[test]
fn a_reply_without_a_flow_is_dropped_on_every_queue() {
    let mut wire = Wire::new(3, &web_only(), 16);
    for queue in 0..3 {
        let refused = Outcome::Drop(D::TcpNotOpen);
        assert_eq!(wire.send(queue, RIGHT, tcp_to_client(SYN | ACK)), refused);
    }
}

#[test]
fn the_later_table_stops_a_flow_on_every_queue() {
    let mut wire = Wire::new(2, &web_only(), 16);
    assert_eq!(wire.send(0, LEFT, tcp_to_server(SYN)), BY_RULE);
    wire.take(2, &[]);
    assert_eq!(wire.send(1, RIGHT, tcp_to_client(SYN | ACK)), DEFAULT);
    assert_eq!(wire.send(0, LEFT, tcp_to_server(ACK)), Outcome::Drop(D::TcpNotOpen));
    assert_eq!(wire.flows(), [0, 0]);
}

#[test]
fn what_has_no_flow_is_judged_where_it_arrives() {
    let mut wire = Wire::new(3, &web_only(), 16);
    let mut short = tcp_to_server(SYN);
    short.truncate(20);
    for queue in 0..3 {
        let arp = ethernet(&[], 0x0806, &arp(1, [10, 0, 0, 1], [10, 0, 0, 2]));
        assert_eq!(wire.send(queue, LEFT, arp), Outcome::Forward(PassReason::Arp));
        let other = ethernet(&[], 0x9999, &[0; 46]);
        assert_eq!(wire.send(queue, LEFT, other), Outcome::Forward(PassReason::EtherType));
        assert_eq!(wire.send(queue, LEFT, short.clone()), Outcome::Drop(D::Ipv4Header));
        let left = &wire.labs[queue].tally.ports[LEFT];
        assert_eq!(left.passed[PassReason::Arp as usize].get(), 1);
        assert_eq!(left.passed[PassReason::EtherType as usize].get(), 1);
        assert_eq!(left.drops[D::Ipv4Header as usize].get(), 1);
    }
}

#[test]
fn received_is_counted_where_a_frame_arrives_and_the_rest_where_it_is_owned() {
    let mut wire = Wire::new(2, &web_only(), 16);
    let client = wire.client_of(1);
    let syn = |port| frame(&client, SERVER, 6, &tcp(1000, port, SYN));
    assert_eq!(wire.send(0, LEFT, syn(80)), BY_RULE);
    assert_eq!(wire.send(0, LEFT, syn(81)), DEFAULT);
    let [here, there] = [0, 1].map(|n| &wire.labs[n].tally.ports);
    assert_eq!((here[LEFT].rx_packets.get(), there[LEFT].rx_packets.get()), (2, 0));
    assert_eq!((here[RIGHT].tx_packets.get(), there[RIGHT].tx_packets.get()), (0, 1));
    assert_eq!((wire.drops(0, D::PolicyDefault), wire.drops(1, D::PolicyDefault)), (0, 1));
    let part = wire.labs[0].worker.handover.as_ref().expect("there are two workers");
    assert_eq!(part.ways_out(LEFT).iter().map(|link| link.handed_out()).sum::<u64>(), 2);
}

#[test]
fn what_stays_of_a_burst_is_judged_by_its_own_headers() {
    let mut wire = Wire::new(2, &web_only(), 16);
    let [mine, others] = [0, 1].map(|worker| wire.client_of(worker));
    let syn = |client: &str, src, dst| frame(client, SERVER, 6, &tcp(src, dst, SYN));
    for (nth, port) in [(1, 81), (2, 80), (3, 82), (4, 80)] {
        wire.labs[0].worker.ports.deliver(LEFT, syn(&others, 10 + nth, 80));
        wire.labs[0].worker.ports.deliver(LEFT, syn(&mine, nth, port));
    }
    wire.labs[0].judge(LEFT);
    let sent = wire.labs[0].worker.ports.take_sent(RIGHT);
    assert_eq!(sent, [syn(&mine, 2, 80), syn(&mine, 4, 80)]);
    let drops = wire.labs[0].worker.recent.iter();
    let ports: Vec<_> =
        drops.filter_map(|d| d.key.map(|key| (key.src_port, key.dst_port))).collect();
    assert_eq!(ports, [(3, 82), (1, 81)]);
    wire.settle();
    let sent = wire.labs[1].worker.ports.take_sent(RIGHT);
    assert_eq!(sent, [11, 12, 13, 14].map(|src| syn(&others, src, 80)));
    wire.assert_conserved();
}

#[test]
fn a_full_ring_drops_at_the_receiver_and_delays_nothing_of_its_own() {
    let mut wire = Wire::new(2, &web_only(), 4);
    let [mine, others] = [0, 1].map(|worker| wire.client_of(worker));
    for port in 1..=10 {
        let from = |client: &str| frame(client, SERVER, 6, &tcp(port, 80, SYN));
        wire.labs[0].worker.ports.deliver(LEFT, from(&others));
        wire.labs[0].worker.ports.deliver(LEFT, from(&mine));
    }
    wire.labs[0].judge(LEFT);
    wire.assert_conserved();
    assert_eq!((wire.drops(0, D::HandoverFull), wire.drops(1, D::HandoverFull)), (6, 0));
    assert_eq!(wire.labs[0].worker.ports.take_sent(RIGHT).len(), 10);
    let remembered: Vec<_> = wire.labs[0].worker.recent.iter().copied().collect();
    assert!(remembered.iter().all(|drop| drop.reason == D::HandoverFull && drop.port == LEFT));
    let ports: Vec<_> = remembered.iter().filter_map(|d| d.key.map(|key| key.src_port)).collect();
    assert_eq!(ports, [10, 9, 8, 7, 6, 5]);
    // The first four were kept, and there is room again once they are taken.
    wire.settle();
    assert_eq!(wire.labs[1].worker.ports.take_sent(RIGHT).len(), 4);
    let last = frame(&others, SERVER, 6, &tcp(11, 80, SYN));
    assert_eq!(wire.send(0, LEFT, last), BY_RULE);
    wire.assert_conserved();
}

#[test]
fn what_finds_no_free_frame_is_dropped_at_its_owner() {
    let mut wire = Wire::new(2, &web_only(), 16);
    let client = wire.client_of(1);
    wire.labs[1].worker.ports.limit_adopted(2);
    for port in 1..=5 {
        wire.labs[0].worker.ports.deliver(LEFT, frame(&client, SERVER, 6, &tcp(port, 80, SYN)));
    }
    wire.labs[0].judge(LEFT);
    wire.settle();
    assert_eq!((wire.drops(0, D::HandoverFull), wire.drops(1, D::HandoverFull)), (0, 3));
    let key = wire.labs[1].worker.recent.iter().next().and_then(|drop| drop.key);
    assert_eq!(key.map(|key| key.src_port), Some(5));
    assert_eq!(wire.labs[1].worker.ports.take_sent(RIGHT).len(), 2);
    wire.assert_conserved();
}

/// What a worker may do next, besides receiving frames.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Receive,
    TakeIn,
    Complete,
}

fn turns() -> impl Strategy<Value = Vec<(usize, usize, Turn)>> {
    let turn = prop_oneof![
        3 => Just(Turn::Receive),
        3 => Just(Turn::TakeIn),
        1 => Just(Turn::Complete),
    ];
    prop::collection::vec((0usize..3, 0usize..2, turn), 0..200)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    /// Workers take their turns in any order, rings and transmit rings are small and frames are
    /// scarce: what comes out of one stream of packets is some of them, in the order they arrived
    /// in, by one worker.
    #[test]
    fn order_and_every_frame_survive_any_interleaving(
        // Host, and how its packets arrive: port and queue.
        streams in prop::collection::vec((1u8..30, 0usize..2, 0usize..3), 1..12),
        packets in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..400),
        turns in turns(),
        room in 1usize..40,
        free in 0usize..400,
        tx_room in 0usize..400,
    ) {
        let any = [("any", Rule::ANY, Action::Allow)];
        let mut wire = Wire::new(3, &any, room);
        for lab in &mut wire.labs {
            lab.worker.ports.limit_adopted(free);
            lab.worker.ports.limit_tx(RIGHT, tx_room);
        }
        let mut turns = turns.into_iter();
        let mut received = 0;
        for (number, (index, pause)) in packets.iter().enumerate() {
            let stream = index.index(streams.len());
            let (host, port, queue) = streams[stream];
            // The payload says which stream and which of its packets this is.
            let payload = [stream as u16, number as u16].map(u16::to_be_bytes).concat();
            let packet = frame(&format!("10.0.0.{host}"), SERVER, 17, &udp(7, 7, &payload));
            wire.labs[queue].worker.ports.deliver(port, packet);
            received += 1;
            if *pause && let Some((worker, port, turn)) = turns.next() {
                let worker = &mut wire.labs[worker].worker;
                let burst = match turn {
                    Turn::Receive => worker.receive(port),
                    Turn::TakeIn => worker.take_in(port),
                    Turn::Complete => {
                        worker.collect_completed();
                        0
                    }
                };
                if burst > 0 {
                    worker.judge_burst(port);
                }
                wire.assert_conserved();
            }
        }
        for lab in &mut wire.labs {
            for port in [LEFT, RIGHT] {
                lab.judge(port);
            }
        }
        wire.assert_conserved();
        wire.settle();
        wire.assert_conserved();
        let mut last: HashMap<u16, (usize, u16)> = HashMap::new();
        let mut sent = 0;
        for (worker, lab) in wire.labs.iter_mut().enumerate() {
            for frame in [LEFT, RIGHT].into_iter().flat_map(|port| lab.worker.ports.take_sent(port)) {
                sent += 1;
                let tail = &frame[frame.len() - 4..];
                let stream = u16::from_be_bytes([tail[0], tail[1]]);
                let number = u16::from_be_bytes([tail[2], tail[3]]);
                if let Some((before, earlier)) = last.insert(stream, (worker, number)) {
                    prop_assert_eq!(before, worker, "stream {}", stream);
                    prop_assert!(earlier < number, "stream {}", stream);
                }
            }
        }
        let drops = (0..3).map(|n| wire.labs[n].outcomes().1.iter().sum::<u64>()).sum::<u64>();
        prop_assert_eq!(received, sent + drops);
        prop_assert_eq!(wire.sum(|lab| lab.tally.held()), 0);
    }
}
