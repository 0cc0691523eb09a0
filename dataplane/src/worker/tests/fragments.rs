//! Fragments through a worker: what is judged is the datagram, and it leaves whole or not at all.

use super::*;
use crate::table::{FragmentMode, ZoneSettings};
use crate::testing::{sctp, sealed};

/// The IPv4 fragments of the packet in `frame`, cut at these offsets, which are multiples of 8.
pub(super) fn cut(frame: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (header, payload) = frame[14..].split_at(20);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([payload.len()]);
    let piece = |(start, end): (usize, usize)| {
        let mut packet = [header, &payload[start..end]].concat();
        packet[2..4].copy_from_slice(&(20 + (end - start) as u16).to_be_bytes());
        packet[5] = 7;
        let more = if end < payload.len() { 0x2000 } else { 0 };
        packet[6..8].copy_from_slice(&((start as u16 / 8) | more).to_be_bytes());
        sealed(ethernet(&[], 0x0800, &packet))
    };
    starts.zip(ends).map(piece).collect()
}

/// The fragments of a datagram with right checksums.
fn pieces(src: &str, dst: &str, protocol: u8, payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    cut(&frame(src, dst, protocol, payload), cuts)
}

fn dns() -> Vec<NamedRule> {
    vec![("dns", towards_servers(17, 53), Action::Allow)]
}

/// Delivers `frames` at `port` in one burst. What left by the other port.
fn burst(lab: &mut Lab, port: usize, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for frame in frames {
        lab.worker.ports.deliver(port, frame.clone());
    }
    lab.judge(port);
    lab.assert_conserved();
    lab.worker.ports.take_sent(1 - port)
}

fn drops(lab: &Lab, reason: D) -> u64 {
    lab.tally.ports.iter().map(|port| port.drops[reason as usize].get()).sum()
}

#[test]
fn fragments_wait_for_each_other_and_leave_in_order_by_offset() {
    let datagram = pieces(CLIENT, SERVER, 17, &udp(1000, 53, &[7; 92]), &[24, 64]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut lab = Lab::new(&dns());
        for (held, &nth) in order.iter().enumerate() {
            let sent = burst(&mut lab, LEFT, &[datagram[nth].clone()]);
            if held < 2 {
                assert!(sent.is_empty());
                assert_eq!(lab.tally.ports[LEFT].reassembling.get(), held as u64 + 1);
                assert_eq!(lab.tally.common.datagrams_incomplete.get(), 1);
            } else {
                assert_eq!(sent, datagram);
            }
        }
        assert_eq!(lab.tally.reassembling(), 0);
        assert_eq!(lab.tally.common.datagrams_incomplete.get(), 0);
        assert_eq!((lab.flows(), lab.table.hits()), (1, vec![3]));
        // Its answer belongs to the flow that it opened.
        assert_eq!(lab.send(RIGHT, frame(SERVER, CLIENT, 17, &udp(53, 1000, &[]))), BY_FLOW);
    }
}

#[test]
fn one_burst_has_datagrams_whole_and_in_parts_each_judged_by_its_own_headers() {
    let mut lab = Lab::new(&dns());
    let whole = |port| frame(CLIENT, SERVER, 17, &udp(port, 53, &[]));
    let allowed = pieces(CLIENT, SERVER, 17, &udp(1000, 53, &[7; 92]), &[48]);
    let denied = pieces("10.0.0.2", SERVER, 17, &udp(1000, 54, &[7; 92]), &[48]);
    let frames = [
        whole(1),
        allowed[1].clone(),
        denied[0].clone(),
        whole(2),
        denied[1].clone(),
        allowed[0].clone(),
        whole(3),
    ];
    let expected = [whole(1), whole(2), allowed[0].clone(), allowed[1].clone(), whole(3)];
    assert_eq!(burst(&mut lab, LEFT, &frames), expected);
    assert_eq!(drops(&lab, D::PolicyDefault), 2);
    let dropped: Vec<_> = lab.worker.recent.iter().map(|drop| drop.key).collect();
    assert!(dropped.iter().all(|key| key.is_some_and(|key| key.dst_port == 54)), "{dropped:?}");
}

#[test]
fn a_checksum_is_verified_over_the_whole() {
    let tag = |chunk: &[u8]| sctp(5, 6, 9, &[(0, chunk)]);
    for (protocol, payload, reason) in [
        (17, udp(1000, 53, &[7; 92]), D::UdpChecksum),
        (6, [tcp(1000, 53, SYN), vec![7; 92]].concat(), D::TcpChecksum),
        (1, [icmp(8, 0, 7), vec![7; 92]].concat(), D::IcmpChecksum),
        (132, tag(&[7; 92]), D::SctpChecksum),
    ] {
        let mut lab = Lab::new(&[("any", Rule::ANY, Action::Allow)]);
        let mut datagram = pieces(CLIENT, SERVER, protocol, &payload, &[40, 80]);
        let sent = burst(&mut lab, LEFT, &datagram);
        // SCTP data without an association is dropped for its state, once its checksum is right.
        assert_eq!(sent.len(), if protocol == 132 { 0 } else { 3 }, "protocol {protocol}");
        assert_eq!(drops(&lab, reason), 0);
        *datagram[2].last_mut().expect("it has data") ^= 1;
        assert!(burst(&mut lab, LEFT, &datagram).is_empty());
        assert_eq!(drops(&lab, reason), 3, "protocol {protocol}");
    }
}

#[test]
fn fragments_that_overlap_are_dropped_and_what_comes_of_their_datagram_later() {
    let mut lab = Lab::new(&dns());
    let payload = udp(1000, 53, &[7; 92]);
    let datagram = pieces(CLIENT, SERVER, 17, &payload, &[24, 64]);
    let other = pieces(CLIENT, SERVER, 17, &payload, &[24, 56]);
    assert!(burst(&mut lab, LEFT, &[datagram[0].clone(), other[2].clone()]).is_empty());
    assert!(burst(&mut lab, LEFT, &datagram[1..]).is_empty());
    assert_eq!(drops(&lab, D::FragmentOverlap), 4);
    assert_eq!(lab.flows(), 0);
}

#[test]
fn fragments_whose_datagram_does_not_get_whole_end_with_their_timeout() {
    let mut lab = Lab::new(&dns());
    let datagram = pieces(CLIENT, SERVER, 17, &udp(1000, 53, &[7; 92]), &[24]);
    assert!(burst(&mut lab, LEFT, &datagram[..1]).is_empty());
    lab.worker.ports.set_clock(5 * SECOND + 1);
    lab.worker.keep_house();
    assert_eq!(drops(&lab, D::FragmentTimeout), 1);
    lab.assert_conserved();
    assert_eq!(lab.tally.reassembling(), 0);
    assert_eq!(lab.tally.common.datagrams_incomplete.get(), 0);
}

#[test]
fn a_worker_that_stops_gives_up_what_it_holds() {
    let mut lab = Lab::new(&dns());
    let first = |src| pieces(src, SERVER, 17, &udp(1000, 53, &[7; 92]), &[24, 64]);
    let held = [first(CLIENT)[0].clone(), first(CLIENT)[1].clone(), first("10.0.0.2")[0].clone()];
    assert!(burst(&mut lab, LEFT, &held).is_empty());
    assert_eq!((lab.tally.reassembling(), lab.tally.common.datagrams_incomplete.get()), (3, 2));
    lab.worker.give_up_fragments();
    assert_eq!((lab.tally.reassembling(), lab.tally.common.datagrams_incomplete.get()), (0, 0));
    assert_eq!(drops(&lab, D::FragmentTimeout), 3);
    lab.assert_conserved();
}

#[test]
fn a_zone_can_have_its_fragments_dropped() {
    let mut lab = Lab::new(&dns());
    let zones = ZoneSettings {
        fragments: vec![FragmentMode::Drop, FragmentMode::Reassemble],
        ..ZoneSettings::default()
    };
    lab.worker.take_table(Arc::new(table(2, &dns(), 1).with_zones(&zones)));
    let datagram = pieces(CLIENT, SERVER, 17, &udp(1000, 53, &[7; 92]), &[24]);
    assert!(burst(&mut lab, LEFT, &datagram).is_empty());
    assert_eq!(drops(&lab, D::Fragment), 2);
    let back = pieces(SERVER, CLIENT, 17, &udp(53, 1000, &[7; 92]), &[24]);
    assert!(burst(&mut lab, RIGHT, &back).is_empty());
    assert_eq!(drops(&lab, D::PolicyDefault), 2);
}

#[test]
fn a_fragmented_answer_passes_by_the_flow_of_the_question() {
    let mut lab = Lab::new(&dns());
    assert_eq!(lab.send(LEFT, frame(CLIENT, SERVER, 17, &udp(1000, 53, &[]))), BY_RULE);
    let answer = pieces(SERVER, CLIENT, 17, &udp(53, 1000, &[7; 3000]), &[1480, 2960]);
    assert_eq!(burst(&mut lab, RIGHT, &answer), answer);
}
