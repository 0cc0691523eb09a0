//! Workers that share a wire: a flow opened on one queue is known on the others.

use super::*;

/// Workers of one wire, each with an inbox of `room` updates.
pub(super) fn family(count: usize, rules: &[NamedRule], room: usize) -> Vec<Lab> {
    let table = Arc::new(table(1, rules, count));
    let inboxes: Vec<Arc<FlowInbox>> = (0..count).map(|_| Arc::new(FlowInbox::new(room))).collect();
    let member = |number: usize| {
        let others = (0..count).filter(|&other| other != number);
        let siblings = Siblings {
            inbox: Some(inboxes[number].clone()),
            others: others.map(|other| inboxes[other].clone()).collect(),
        };
        Lab::with(number, table.clone(), FlowConfig::default(), siblings)
    };
    (0..count).map(member).collect()
}

fn syn(port: u16) -> Vec<u8> {
    frame(CLIENT, SERVER, 6, &tcp(port, 80, SYN))
}

fn syn_ack(port: u16) -> Vec<u8> {
    frame(SERVER, CLIENT, 6, &tcp(80, port, SYN | ACK))
}

#[test]
fn a_reply_on_another_queue_passes() {
    let mut labs = family(3, &web_only(), 16);
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    for lab in &mut labs {
        assert_eq!(lab.send(RIGHT, syn_ack(1)), BY_FLOW);
    }
    assert_eq!(labs[0].table.hits(), [4], "all count in one table");
    let home: Vec<u64> = labs.iter().map(|lab| lab.tally.common.flows.get()).collect();
    assert_eq!(home, [1, 0, 0]);
}

#[test]
fn a_full_inbox_drops_what_would_open_a_flow_and_leaves_no_half_of_it() {
    let mut labs = family(3, &web_only(), 2);
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    assert_eq!(labs[0].send(LEFT, syn(2)), BY_RULE);
    // The second worker hears; the third's inbox is full.
    assert_eq!(labs[1].send(RIGHT, syn_ack(1)), BY_FLOW);
    assert_eq!(labs[0].send(LEFT, syn(3)), Outcome::Drop(D::FlowInboxFull));
    assert_eq!(labs[0].send(RIGHT, syn_ack(3)), DEFAULT);
    assert_eq!(labs[1].send(RIGHT, syn_ack(3)), DEFAULT);
    // What needs no news is not affected.
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_FLOW);
    assert_eq!(labs[2].send(RIGHT, syn_ack(2)), BY_FLOW);
    assert_eq!(labs[0].send(LEFT, syn(3)), BY_RULE);
    assert_eq!(labs[0].worker.flows.home_flows(), 3);
    for lab in &labs {
        lab.assert_conserved();
    }
}

#[test]
fn a_sibling_with_a_full_inbox_does_not_keep_a_refresh_from_the_others() {
    let mut labs = family(3, &web_only(), 2);
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    assert_eq!(labs[0].send(LEFT, syn(2)), BY_RULE);
    let reset = frame(CLIENT, SERVER, 6, &tcp(1, 80, RST));
    // The third hears, the second does not.
    assert_eq!(labs[2].send(RIGHT, syn_ack(1)), BY_FLOW);
    assert_eq!(labs[0].send(LEFT, reset), BY_FLOW);
    labs[1].worker.hear_siblings();
    assert_eq!(labs[2].send(LEFT, syn(1)), BY_RULE, "over a connection that was reset");
}

#[test]
fn a_refresh_keeps_a_flow_alive_where_no_packet_of_it_arrives() {
    let dns = ("dns", towards_servers(17, 53), Action::Allow);
    let mut labs = family(2, &[dns], 16);
    let ask = || frame(CLIENT, SERVER, 17, &udp(1000, 53, &[]));
    assert_eq!(labs[0].send(LEFT, ask()), BY_RULE);
    for minute in 1..10 {
        labs[0].worker.ports.set_clock(minute * 60 * SECOND);
        assert_eq!(labs[0].send(LEFT, ask()), BY_FLOW);
    }
    labs[1].worker.ports.set_clock(9 * 60 * SECOND);
    assert_eq!(labs[1].send(RIGHT, frame(SERVER, CLIENT, 17, &udp(53, 1000, &[]))), BY_FLOW);
}

#[test]
fn a_flow_judged_by_a_newer_table_passes_here_by_the_older_one_and_is_not_forgotten() {
    let filler = ("filler", towards_servers(17, 1), Action::Allow);
    let mut labs = family(2, &[], 16);
    // The first worker has taken the newer table, in which the rule stands second.
    labs[0].take(2, &[filler.clone(), web_only()[0].clone()]);
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    assert_eq!(labs[1].send(LEFT, syn(1)), DEFAULT, "the older table allows nothing");
    labs[1].take(2, &[filler, web_only()[0].clone()]);
    assert_eq!(labs[1].send(RIGHT, syn_ack(1)), BY_FLOW);
    assert_eq!(labs[1].table.hits(), [0, 1]);
}

#[test]
fn the_later_table_stops_a_flow_on_every_queue() {
    let mut labs = family(2, &web_only(), 16);
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    assert_eq!(labs[1].send(RIGHT, syn_ack(1)), BY_FLOW);
    for lab in &mut labs {
        lab.take(2, &[]);
    }
    assert_eq!(labs[1].send(RIGHT, syn_ack(1)), DEFAULT);
    assert_eq!(labs[0].send(LEFT, syn(1)), DEFAULT);
}

#[test]
fn a_worker_hears_at_once_all_that_its_inbox_holds() {
    let mut labs = family(2, &web_only(), 4);
    for port in 0..4 {
        assert_eq!(labs[0].send(LEFT, syn(port)), BY_RULE);
    }
    labs[1].worker.hear_siblings();
    for port in 0..4 {
        assert_eq!(labs[1].send(RIGHT, syn_ack(port)), BY_FLOW);
    }
    assert_eq!(labs[1].tally.common.flows_unheard.get(), 0);
}

#[test]
fn a_full_flow_table_counts_the_updates_it_could_not_take() {
    let mut labs = family(2, &web_only(), 16);
    labs[1].worker.flows = FlowTable::new(FlowConfig { capacity: 1, ..FlowConfig::default() });
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    assert_eq!(labs[0].send(LEFT, syn(2)), BY_RULE);
    assert_eq!(labs[1].send(RIGHT, syn_ack(2)), DEFAULT);
    assert_eq!(labs[1].send(RIGHT, syn_ack(1)), BY_FLOW);
    assert_eq!(labs[1].tally.common.flows_unheard.get(), 1);
}

#[test]
fn a_reset_in_the_burst_that_opens_the_connection_is_told() {
    let mut labs = family(2, &web_only(), 16);
    labs[0].worker.ports.deliver(LEFT, syn(1));
    labs[0].worker.ports.deliver(LEFT, frame(CLIENT, SERVER, 6, &tcp(1, 80, RST)));
    labs[0].judge(LEFT);
    assert_eq!(labs[1].send(LEFT, syn(1)), BY_RULE, "over a connection that was reset");
}

#[test]
fn a_denied_syn_over_a_closed_connection_leaves_every_queue_as_it_was() {
    let mut labs = family(2, &web_only(), 16);
    assert_eq!(labs[0].send(LEFT, syn(1)), BY_RULE);
    assert_eq!(labs[0].send(LEFT, frame(CLIENT, SERVER, 6, &tcp(1, 80, RST))), BY_FLOW);
    // The server may not open connections.
    assert_eq!(labs[0].send(RIGHT, frame(SERVER, CLIENT, 6, &tcp(80, 1, SYN))), DEFAULT);
    for lab in &mut labs {
        assert_eq!(lab.send(RIGHT, frame(SERVER, CLIENT, 6, &tcp(80, 1, ACK))), BY_FLOW);
    }
}
