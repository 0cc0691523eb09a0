//! Several queues: one worker each, and flows whose packets arrive on different ones.

use lab::clients::{Attempt, End, Outcome, Program, expect_all, transfer};
use lab::gateway::{Gateway, GatewayOptions, list, number};
use lab::policies::ALLOW_ALL;
use lab::services::Service;
use lab::{Error, Family, Lab, LabOptions, Result, Side, need};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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

/// What each queue of the port on `interface` received and handed over, packets.
fn arrivals(status: &Value, interface: &str) -> Result<Vec<(u64, u64)>> {
    let queue = |q: &Value| Ok((number(&q["rx"], "packets")?, number(q, "handed_out")?));
    queues(status, interface).iter().map(queue).collect()
}

/// Has all processors of `side` send by transmit queue `queue` of two (XPS, the kernel's
/// Documentation/networking/scaling.rst). A veth delivers on the queue of the same number.
fn send_by_queue(lab: &Lab, side: Side, queue: u32) -> Result<()> {
    let place = "/sys/class/net/eth0/queues";
    let [chosen, other] = [queue, 1 - queue].map(|q| format!("{place}/tx-{q}/xps_cpus"));
    let script = format!("echo 0 >{other}; printf %x $(( (1 << $(nproc --all)) - 1 )) >{chosen}");
    lab.exec(side, &["sh", "-ec", &script], Duration::from_secs(5))?.expect_success().map(drop)
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
    // All flows are between two hosts: one worker owns them, and the other hands over what it
    // receives.
    let owners: Vec<u64> = workers.iter().map(|w| number(w, "flows")).collect::<Result<_>>()?;
    assert!(owners.contains(&0), "{owners:?} flows");
    let owner = usize::from(owners[1] > 0);
    for interface in ["bh0", "bh1"] {
        let (received, handed_out) = arrivals(&status, interface)?[1 - owner];
        assert!(handed_out >= 20 && handed_out <= received, "{status}");
    }
    assert_eq!(gateway.dropped_for("handover_full")?, 0);
    gateway.stop()
}

#[test]
fn flows_live_whichever_queue_each_direction_is_made_to_take() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Service(Service::Dns),
        Need::Program("curl"),
        Need::Program("dig"),
        Need::Program("ping")
    );
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.set_neighbours()?;
    lab.start(Service::Web)?;
    lab.start(Service::Dns)?;
    let gateway = Gateway::start(&lab, lab::policies::TWO_ZONES, &GatewayOptions::default())?;
    for (asking, answering) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        send_by_queue(&lab, Side::Client, asking)?;
        send_by_queue(&lab, Side::Server, answering)?;
        let before = gateway.status()?;
        let mut table = Vec::new();
        for family in [Family::V4, Family::V6] {
            for client in [1, 2] {
                for program in [Program::Http, Program::Dig, Program::Ping] {
                    let attempt = Attempt::new(program, family).from(Side::Client, client);
                    table.push((attempt, End::Passed));
                }
                let other = Attempt::new(Program::Ping, family).from(Side::Client, client);
                table.push((other.to(Side::Server, 2), End::Passed));
            }
        }
        expect_all(&lab, &table)?;
        gateway.assert_conservation()?;
        let after = gateway.status()?;
        for (interface, queue) in [("bh0", asking), ("bh1", answering)] {
            let (before, after) = (arrivals(&before, interface)?, arrivals(&after, interface)?);
            let grown = |q: u32| after[q as usize].0 - before[q as usize].0;
            assert!(grown(queue) >= 40, "{interface}: {before:?} {after:?}");
            // But for what the kernel says on its own.
            assert!(grown(1 - queue) < 10, "{interface}: {before:?} {after:?}");
        }
    }
    // Whoever owns what: two of the four ways led each pair of hosts past its owner.
    let status = gateway.status()?;
    let handed_out: u64 = arrivals(&status, "bh0")?.iter().map(|(_, handed_out)| handed_out).sum();
    assert!(handed_out >= 80, "{status}");
    assert_eq!(gateway.dropped_for("handover_full")?, 0);
    gateway.stop()
}

#[test]
fn a_connection_lives_while_its_packets_change_queues() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Iperf), Need::Program("iperf3"));
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.set_neighbours()?;
    lab.start(Service::Iperf)?;
    let gateway = Gateway::start(&lab, lab::policies::TWO_ZONES, &GatewayOptions::default())?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| -> Result<u32> {
            let mut changes = 0;
            while !done.load(Relaxed) {
                send_by_queue(&lab, Side::Client, changes % 2)?;
                send_by_queue(&lab, Side::Server, changes / 2 % 2)?;
                changes += 1;
            }
            Ok(changes)
        });
        let transfers = [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| [false, true].map(|reverse| transfer(&lab, family, 64, reverse)))
            .collect::<Result<Vec<_>>>();
        done.store(true, Relaxed);
        let changes = changing.join().map_err(|_| Error::new("changing queues panicked"))??;
        assert!(changes >= 8, "{changes} changes only");
        transfers
    })?;
    gateway.assert_conservation()?;
    let status = gateway.status()?;
    for interface in ["bh0", "bh1"] {
        for (received, _) in arrivals(&status, interface)? {
            assert!(received > 100, "{interface}: {status}");
        }
    }
    let handed_out: u64 = arrivals(&status, "bh0")?.iter().map(|(_, handed_out)| handed_out).sum();
    assert!(handed_out > 100, "{status}");
    // Four transfers over a control and a data connection each.
    assert_eq!(number(&status["flows"], "opened")?, 8, "{status}");
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
