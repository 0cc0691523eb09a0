//! Several queues: one worker each, and flows whose directions arrive on different ones.

use lab::clients::{Attempt, End, Outcome, Program};
use lab::gateway::{Gateway, GatewayOptions, list, number};
use lab::policies::ALLOW_ALL;
use lab::services::Service;
use lab::{Error, Family, Lab, LabOptions, Result, Side, need};
use serde_json::Value;
use std::time::Duration;

/// Flows of each test: each falls on either of two queues, in each direction, by a hash. That
/// not one of 40 has both directions on queue 0 happens once in 100,000 runs.
const FLOWS: usize = 40;

/// Forty attempts over new flows, all at once.
fn many(lab: &Lab, program: Program, patience: Duration) -> Result<Vec<Outcome>> {
    let attempt = Attempt::new(program, Family::V4);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..FLOWS).map(|_| scope.spawn(|| attempt.run(lab, patience))).collect();
        threads
            .into_iter()
            .map(|t| t.join().map_err(|_| Error::new("an attempt panicked"))?)
            .collect()
    })
}

fn count(outcomes: &[Outcome], end: End) -> usize {
    outcomes.iter().filter(|outcome| outcome.end == end).count()
}

/// The queues of the port on `interface`.
fn queues<'a>(status: &'a Value, interface: &str) -> &'a [Value] {
    let port = list(&status["ports"]).iter().find(|port| port["interface"] == interface);
    port.map(|port| list(&port["queues"])).unwrap_or_default()
}

#[test]
fn two_workers_share_the_flows_whichever_queue_each_direction_takes() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("curl"));
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.set_neighbours()?;
    lab.start(Service::Web)?;
    // Answers are allowed by their flow alone.
    let policy = lab::policies::TWO_ZONES;
    let gateway = Gateway::start(&lab, policy, &GatewayOptions::default())?;
    let outcomes = many(&lab, Program::Http, Duration::from_secs(20))?;
    for outcome in &outcomes {
        assert_eq!(outcome.end, End::Passed, "{}", outcome.detail);
    }
    let status = gateway.status()?;
    for interface in ["bh0", "bh1"] {
        let queues = queues(&status, interface);
        assert_eq!(queues.len(), 2, "{status}");
        for queue in queues {
            assert_eq!(queue["served"], true, "{queue}");
            // 40 connections of at least five packets each way; a fair half is 100.
            let received = number(&queue["rx"], "packets")?;
            assert!(received >= 20, "{interface} received {received} on {queue}");
        }
    }
    let workers = list(&status["workers"]);
    assert_eq!(workers.len(), 2, "{status}");
    for worker in workers {
        assert_eq!(worker["alive"], true, "{worker}");
        assert!(number(worker, "bursts")? > 0, "{worker}");
    }
    assert_eq!(number(&status["flows"], "opened")?, FLOWS as u64, "each flow is counted once");
    gateway.stop()
}

#[test]
fn what_arrives_on_a_queue_without_a_worker_is_dropped_and_counted() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Dns), Need::Program("dig"));
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.set_neighbours()?;
    lab.start(Service::Dns)?;
    let options = GatewayOptions { queues: Some(1), ..GatewayOptions::default() };
    let gateway = Gateway::start(&lab, ALLOW_ALL, &options)?;
    let outcomes = many(&lab, Program::Dig, Duration::from_secs(2))?;
    let (passed, blocked) = (count(&outcomes, End::Passed), count(&outcomes, End::Blocked));
    assert_eq!(passed + blocked, FLOWS);
    assert!(passed > 0 && blocked > 0, "{passed} passed, {blocked} were blocked");
    gateway.assert_conservation()?;
    let status = gateway.status()?;
    let mut unserved = 0;
    for interface in ["bh0", "bh1"] {
        let queues = queues(&status, interface);
        assert_eq!(queues.len(), 2, "{status}");
        assert_eq!(queues[0]["served"], true, "{status}");
        assert_eq!(queues[1]["served"], false, "{status}");
        assert_eq!(number(&queues[0], "drops")?, 0, "{status}");
        let dropped = number(&queues[1], "drops")?;
        assert_eq!(number(&queues[1]["rx"], "packets")?, dropped, "{status}");
        unserved += dropped;
    }
    assert_eq!(gateway.dropped_for("no_worker")?, unserved);
    // Each blocked attempt lost its query or its answer.
    assert!(unserved >= blocked as u64, "{unserved} drops, {blocked} attempts blocked");
    // What arrived at the gateway on its only served queue left it.
    let served = number(&queues(&status, "bh0")[0]["rx"], "packets")?;
    assert!(served >= passed as u64);
    gateway.stop()
}

#[test]
fn one_queue_and_one_worker_are_the_default_where_there_is_one_queue() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, ALLOW_ALL, &GatewayOptions::default())?;
    let ping = Attempt::new(Program::Ping, Family::V6).from(Side::Server, 1).to(Side::Client, 1);
    let outcome = ping.run(&lab, Duration::from_secs(10))?;
    assert_eq!(outcome.end, End::Passed, "{}", outcome.detail);
    let status = gateway.status()?;
    assert_eq!(list(&status["workers"]).len(), 1, "{status}");
    gateway.stop()
}
