//! ICMP errors through a worker: they pass when they answer a packet of a flow, and change nothing.

use super::*;
use crate::flows::Rate;

const ROUTER: &str = "10.0.1.254";
const CLIENT6: &str = "fd00:1::1";
const SERVER6: &str = "fd00:2::1";
const ROUTER6: &str = "fd00:2::fe";

const BY_QUOTED_FLOW: Outcome = Outcome::Forward(PassReason::Flow);

/// The IP packet of a frame.
fn packet_in(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// An error of this type and code from `router`, with `rest` in bytes 4 to 8, about `packet`.
fn error(router: &str, to: &str, [kind, code]: [u8; 2], rest: u32, packet: &[u8]) -> Vec<u8> {
    let protocol = if to.contains(':') { 58 } else { 1 };
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(packet);
    frame(router, to, protocol, &message)
}

fn unreachable(about: &[u8]) -> Vec<u8> {
    error(ROUTER, CLIENT, [3, 1], 0, packet_in(about))
}

/// A connection whose handshake is done, and the rules that allow it.
fn established() -> Lab {
    let mut lab = Lab::new(&web_only());
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
    lab
}

fn data_to_server(seq: u32) -> Vec<u8> {
    let segment = [tcp_at(1000, 80, ACK, seq, 2), vec![7; 100]].concat();
    frame(CLIENT, SERVER, 6, &segment)
}

#[test]
fn an_error_about_a_segment_in_flight_passes_by_the_rule_of_its_flow() {
    let mut lab = established();
    assert_eq!(lab.send(LEFT, data_to_server(2)), BY_FLOW);
    let hits = lab.table.hits()[0];
    assert_eq!(lab.send(RIGHT, unreachable(&data_to_server(2))), BY_QUOTED_FLOW);
    assert_eq!((lab.table.hits()[0], lab.flows()), (hits + 1, 1));
    // Only what a router must quote: the header and eight bytes (RFC 792).
    assert_eq!(lab.send(RIGHT, unreachable(&data_to_server(2)[..14 + 28])), BY_QUOTED_FLOW);
}

#[test]
fn an_error_about_what_was_not_sent_or_is_acknowledged_is_dropped() {
    let mut lab = established();
    assert_eq!(lab.send(LEFT, data_to_server(2)), BY_FLOW);
    let out_of_flight = Outcome::Drop(D::IcmpErrorSequence);
    assert_eq!(lab.send(RIGHT, unreachable(&data_to_server(103))), out_of_flight);
    let acknowledgement = frame(SERVER, CLIENT, 6, &tcp_at(80, 1000, ACK, 2, 102));
    assert_eq!(lab.send(RIGHT, acknowledgement), BY_FLOW);
    assert_eq!(lab.send(RIGHT, unreachable(&data_to_server(2))), out_of_flight);
}

#[test]
fn an_error_that_belongs_to_no_flow_is_dropped_whatever_the_rules_say() {
    let any = [("any", Rule::ANY, Action::Allow)];
    let mut lab = Lab::new(&any);
    let no_flow = Outcome::Drop(D::IcmpErrorFlow);
    assert_eq!(lab.send(RIGHT, unreachable(&tcp_to_server(SYN))), no_flow);
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(RIGHT, unreachable(&tcp_to_server(SYN))), BY_QUOTED_FLOW);
    // To somebody else than the sender of what it quotes, and from the side of that sender.
    let about = tcp_to_server(SYN);
    let elsewhere = error(ROUTER, "10.0.0.2", [3, 1], 0, packet_in(&about));
    assert_eq!(lab.send(RIGHT, elsewhere), no_flow);
    assert_eq!(lab.send(LEFT, unreachable(&about)), no_flow);
    // About another port.
    let other = frame(CLIENT, SERVER, 6, &tcp(1001, 80, SYN));
    assert_eq!(lab.send(RIGHT, unreachable(&other)), no_flow);
}

#[test]
fn errors_about_datagrams_and_echoes_go_to_who_sent_them() {
    let any = [("any", Rule { from_zone: Some(CLIENTS), ..Rule::ANY }, Action::Allow)];
    let mut lab = Lab::new(&any);
    let no_flow = Outcome::Drop(D::IcmpErrorFlow);
    for (asks, answers) in [
        (
            frame(CLIENT, SERVER, 17, &udp(1000, 53, &[])),
            frame(SERVER, CLIENT, 17, &udp(53, 1000, &[])),
        ),
        (frame(CLIENT, SERVER, 1, &icmp(8, 0, 7)), frame(SERVER, CLIENT, 1, &icmp(0, 0, 7))),
    ] {
        assert_eq!(lab.send(LEFT, asks.clone()), BY_RULE);
        let to_server = error("10.0.0.254", SERVER, [11, 0], 0, packet_in(&answers));
        assert_eq!(lab.send(LEFT, to_server.clone()), no_flow, "it sent nothing yet");
        assert_eq!(lab.send(RIGHT, unreachable(&asks)), BY_QUOTED_FLOW);
        assert_eq!(lab.send(RIGHT, answers), BY_FLOW);
        assert_eq!(lab.send(LEFT, to_server), BY_QUOTED_FLOW);
    }
}

#[test]
fn path_mtu_discovery_works_and_absurd_mtus_do_not() {
    let mut lab = established();
    let segment = [tcp_at(1000, 80, ACK, 2, 2), vec![7; 1400]].concat();
    let full = frame(CLIENT, SERVER, 6, &segment);
    assert_eq!(lab.send(LEFT, full.clone()), BY_FLOW);
    let too_big = |mtu| error(ROUTER, CLIENT, [3, 4], mtu, &packet_in(&full)[..28]);
    assert_eq!(lab.send(RIGHT, too_big(1400)), BY_QUOTED_FLOW);
    for absurd in [0, 67, 551, 1440, 9000] {
        assert_eq!(lab.send(RIGHT, too_big(absurd)), Outcome::Drop(D::IcmpErrorMtu), "{absurd}");
    }
    let mut lab = Lab::new(&[("dns", towards_servers(17, 53), Action::Allow)]);
    let full = frame(CLIENT6, SERVER6, 17, &udp(1000, 53, &[7; 1400]));
    assert_eq!(lab.send(LEFT, full.clone()), BY_RULE);
    let too_big = |mtu| error(ROUTER6, CLIENT6, [2, 0], mtu, &packet_in(&full)[..1000]);
    assert_eq!(lab.send(RIGHT, too_big(1300)), BY_QUOTED_FLOW);
    for absurd in [0, 1279, 1448, 9000] {
        assert_eq!(lab.send(RIGHT, too_big(absurd)), Outcome::Drop(D::IcmpErrorMtu), "{absurd}");
    }
}

#[test]
fn errors_are_limited_in_number() {
    let config = FlowConfig { error_rate: Rate { per_second: 1, burst: 2 }, ..small() };
    let mut lab = Lab::with(0, Arc::new(table(1, &web_only(), 1)), config, None);
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    let about = tcp_to_server(SYN);
    for _ in 0..2 {
        assert_eq!(lab.send(RIGHT, unreachable(&about)), BY_QUOTED_FLOW);
    }
    assert_eq!(lab.send(RIGHT, unreachable(&about)), Outcome::Drop(D::IcmpErrorRate));
    lab.worker.ports.set_clock(SECOND);
    assert_eq!(lab.send(RIGHT, unreachable(&about)), BY_QUOTED_FLOW);
}

#[test]
fn an_error_about_a_flow_that_a_new_table_denies_is_dropped_and_ends_it() {
    let mut lab = established();
    lab.take(2, &[]);
    assert_eq!(lab.send(RIGHT, unreachable(&tcp_to_server(ACK))), DEFAULT);
    assert_eq!(lab.flows(), 0);
}

#[test]
fn an_error_in_fragments_is_judged_as_a_whole() {
    let mut lab = established();
    let segment = [tcp_at(1000, 80, ACK, 2, 2), vec![7; 1000]].concat();
    let about = frame(CLIENT, SERVER, 6, &segment);
    assert_eq!(lab.send(LEFT, about.clone()), BY_FLOW);
    let pieces = super::fragments::cut(&unreachable(&about), &[64, 512]);
    for (nth, piece) in pieces.iter().enumerate() {
        lab.worker.ports.deliver(RIGHT, piece.clone());
        lab.judge(RIGHT);
        let sent = lab.worker.ports.take_sent(LEFT);
        assert_eq!(sent.len(), if nth == 2 { 3 } else { 0 });
    }
    lab.assert_conserved();
}
