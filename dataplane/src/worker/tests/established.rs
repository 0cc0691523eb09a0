//! What becomes of flows when a later table is published: `established: recheck` and `keep`.

use super::*;
use crate::table::{Established, Table, TableRule};
use classifier::{Builder, Config};

/// A table of one rule.
fn one_rule(generation: u64, rule: Rule, action: Action, established: Established) -> Arc<Table> {
    let mut builder = Builder::new(Config::default());
    builder.push(rule);
    let classifier = builder.build().expect("it is one rule");
    let named = TableRule { id: "rule".into(), action, established };
    Arc::new(Table::new(generation, classifier, vec![0], vec![named], 1))
}

fn lab_with(table: Arc<Table>) -> Lab {
    Lab::with(0, table, small(), None)
}

fn take(lab: &mut Lab, table: Arc<Table>) {
    lab.table = table.clone();
    lab.worker.take_table(table);
}

#[test]
fn a_flow_that_was_allowed_to_be_kept_finishes_and_no_new_one_begins() {
    let web = towards_servers(6, 80);
    let mut lab = lab_with(one_rule(1, web.clone(), Action::Allow, Established::Keep));
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    for generation in 2..4 {
        take(&mut lab, one_rule(generation, web.clone(), Action::Deny, Established::Recheck));
        assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
        assert_eq!(lab.send(RIGHT, tcp_to_client(ACK)), BY_FLOW);
        let other = frame(CLIENT, SERVER, 6, &tcp(1001, 80, SYN));
        assert_eq!(lab.send(LEFT, other), Outcome::Drop(D::PolicyDeny));
        assert_eq!(lab.table.hits(), [1], "the rule that denies has no part in the flow kept");
    }
    take(&mut lab, Arc::new(table(4, &[], 1)));
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW, "its rule is gone altogether");
    lab.assert_conserved();
}

#[test]
fn the_newest_rule_that_allows_a_flow_says_whether_it_is_kept_from_then_on() {
    let web = towards_servers(6, 80);
    let mut lab = lab_with(one_rule(1, web.clone(), Action::Allow, Established::Keep));
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    take(&mut lab, one_rule(2, web.clone(), Action::Allow, Established::Recheck));
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    assert_eq!(lab.table.hits(), [1]);
    take(&mut lab, one_rule(3, web, Action::Deny, Established::Recheck));
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), Outcome::Drop(D::PolicyDeny));
}

#[test]
fn a_flow_is_judged_anew_by_all_that_its_first_packet_said() {
    // Of the packets of the flow, only the first has these flags and this code point.
    let asks = Rule {
        tcp_flags: classifier::FlagsMatch { value: u16::from(SYN), mask: u16::from(SYN | ACK) },
        ..towards_servers(6, 80)
    };
    let mut lab = lab_with(one_rule(1, asks.clone(), Action::Allow, Established::Recheck));
    assert_eq!(lab.send(LEFT, tcp_to_server(SYN)), BY_RULE);
    assert_eq!(lab.send(RIGHT, tcp_to_client(SYN | ACK)), BY_FLOW);
    take(&mut lab, one_rule(2, asks, Action::Allow, Established::Recheck));
    assert_eq!(lab.send(LEFT, tcp_to_server(ACK)), BY_FLOW);
    assert_eq!(lab.send(RIGHT, tcp_to_client(ACK)), BY_FLOW);
}
