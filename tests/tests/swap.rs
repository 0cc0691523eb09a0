//! Policies replaced while traffic runs.

use lab::clients::{Attempt, End, Program, expect_all};
use lab::gateway::{Gateway, GatewayOptions, number};
use lab::policies::{TWO_ZONES, denying, unknown_service};
use lab::process::Running;
use lab::services::Service;
use lab::{Family, Lab, Result, Side, address, need, wait};
use std::time::{Duration, Instant};

/// A series of echo requests from the clients' host 1, `interval` seconds apart.
fn ping_series(lab: &Lab, interval: &str, count: u32) -> Result<Running> {
    let target = address(Side::Server, 1, Family::V4);
    lab.spawn(Side::Client, &["ping", "-n", "-i", interval, "-c", &count.to_string(), target])
}

/// Answers that a series has printed.
fn answers(series: &Running) -> usize {
    series.stdout().matches(" bytes from ").count()
}

/// How long nothing may come before a series or a flow is said to have stopped.
const SILENCE: Duration = Duration::from_secs(1);

/// Waits until `count` has not grown for [`SILENCE`].
fn wait_until_it_stops(what: &str, mut count: impl FnMut() -> Result<u64>) -> Result<()> {
    let mut last = (count()?, Instant::now());
    wait::until(what, Duration::from_secs(10), || {
        let now = count().ok()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() >= SILENCE).then_some(())
    })
}

#[test]
fn an_allowed_flow_loses_nothing_across_twenty_swaps() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let first = number(&gateway.status()?, "generation")?;
    let count = 4000;
    let mut series = ping_series(&lab, "0.002", count)?;
    wait::until("the first answers", Duration::from_secs(10), || {
        (answers(&series) > 10).then_some(())
    })?;
    let other = denying(TWO_ZONES, "web");
    let mut hits = gateway.hits("ping")?;
    for swap in 1..=20 {
        let applied = gateway.apply(if swap % 2 == 0 { TWO_ZONES } else { &other })?;
        assert_eq!(number(&applied, "generation")?, first + swap, "{applied}");
        let now = gateway.hits("ping")?;
        assert!(now > hits, "hits of a rule that keeps its id went from {hits} to {now}");
        hits = now;
    }
    assert!(series.ended().is_none(), "the series ended before the swaps: {}", series.stdout());
    let output = series.finish(Duration::from_secs(60))?;
    let whole = format!("{count} packets transmitted, {count} received, 0% packet loss");
    let summary = output.stdout.lines().find(|line| line.contains("transmitted"));
    assert!(output.stdout.contains(&whole), "{summary:?}");
    assert_eq!(number(&gateway.status()?, "generation")?, first + 20);
    assert_eq!(gateway.hits("ping")?, u64::from(count) * 2, "requests and answers");
    gateway.stop()
}

#[test]
fn a_newly_denied_flow_stops_and_comes_back_when_allowed_again() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let series = ping_series(&lab, "0.02", 100_000)?;
    let grows = |what: &str| {
        let before = answers(&series);
        let more = || (answers(&series) > before + 20).then_some(());
        wait::until(what, Duration::from_secs(10), more)
    };
    grows("answers before the swap")?;
    gateway.apply(&denying(TWO_ZONES, "ping"))?;
    wait_until_it_stops("the denied series to stop", || Ok(answers(&series) as u64))?;
    assert!(gateway.dropped_for("policy_deny")? > 0);
    gateway.apply(TWO_ZONES)?;
    grows("answers after it is allowed again")?;
    drop(series);
    gateway.stop()
}

#[test]
fn a_running_tcp_transfer_stops_when_its_rule_denies() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Iperf));
    let lab = Lab::new()?;
    lab.start(Service::Iperf)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let target = address(Side::Server, 1, Family::V4);
    // Slow enough to leave the machine to the gateway: 20 Mbit/s.
    let argv = ["iperf3", "-c", target, "-t", "120", "-b", "20M"];
    let transfer = lab.spawn(Side::Client, &argv)?;
    let carried = || -> Result<u64> { gateway.hits("iperf") };
    let arrived = || -> Result<u64> { Ok(lab.link_stats(Side::Server, "eth0")?.rx_bytes) };
    let before = arrived()?;
    wait::until("a megabyte", Duration::from_secs(20), || {
        (arrived().ok()? > before + 1_000_000).then_some(())
    })?;
    assert!(carried()? > 500);
    gateway.apply(&denying(TWO_ZONES, "iperf"))?;
    wait_until_it_stops("the denied transfer to stop", arrived)?;
    assert!(gateway.dropped_for("policy_deny")? > 0);
    drop(transfer);
    gateway.stop()
}

#[test]
fn a_new_denial_leaves_other_flows_alone() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("curl"), Need::Program("ping"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let http = Attempt::new(Program::Http, Family::V4);
    let ping = Attempt::new(Program::Ping, Family::V4);
    expect_all(&lab, &[(http, End::Passed), (ping, End::Passed)])?;
    gateway.apply(&denying(TWO_ZONES, "web"))?;
    expect_all(&lab, &[(http, End::Blocked), (ping, End::Passed)])?;
    gateway.apply(TWO_ZONES)?;
    expect_all(&lab, &[(http, End::Passed), (ping, End::Passed)])?;
    gateway.stop()
}

#[test]
fn an_invalid_policy_is_refused_with_its_place_and_changes_nothing() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let mut series = ping_series(&lab, "0.01", 200)?;
    wait::until("the first answers", Duration::from_secs(10), || {
        (answers(&series) > 5).then_some(())
    })?;
    let generation = number(&gateway.status()?, "generation")?;
    let (invalid, line) = unknown_service();
    for text in [invalid.as_str(), "rules: [", "", "version: 1\nzones: {}\nrulez: []\n"] {
        let output = gateway.try_apply(text, &[])?;
        assert_eq!(output.code, Some(3), "{text:?}: {}", output.describe());
        assert!(output.stderr.contains("applied.yaml"), "{}", output.describe());
        if text == invalid {
            let place = format!("applied.yaml:{line}:");
            assert!(output.stderr.contains(&place), "no {place} in {}", output.describe());
            assert!(output.stderr.contains("gopher"), "{}", output.describe());
        }
    }
    assert!(series.ended().is_none(), "the series ended before the attempts");
    let output = series.finish(Duration::from_secs(30))?;
    assert!(output.stdout.contains("200 packets transmitted, 200 received"), "{}", output.stdout);
    assert_eq!(number(&gateway.status()?, "generation")?, generation);
    assert_eq!(gateway.hits("ping")?, 400, "the rules are still there");
    gateway.stop()
}

#[test]
fn if_generation_refuses_whoever_comes_second() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let start = number(&gateway.status()?, "generation")?;
    let (first, second) = (denying(TWO_ZONES, "web"), denying(TWO_ZONES, "ssh"));
    let guard = start.to_string();
    let output = gateway.try_apply(&first, &["--if-generation", &guard])?;
    assert_eq!(output.code, Some(0), "{}", output.describe());
    let output = gateway.try_apply(&second, &["--if-generation", &guard])?;
    assert_eq!(output.code, Some(4), "{}", output.describe());
    assert!(output.stderr.contains("generation"), "{}", output.describe());
    assert_eq!(number(&gateway.status()?, "generation")?, start + 1);
    // What is in force is the first one's: web denies, ssh allows.
    let rules = gateway.rules()?;
    let action = |id: &str| {
        let rule = lab::gateway::list(&rules["rules"]).iter().find(|rule| rule["id"] == id);
        rule.map(|rule| rule["action"].clone()).unwrap_or_default()
    };
    assert_eq!((action("web"), action("ssh")), ("deny".into(), "allow".into()), "{rules}");
    let output = gateway.try_apply(&second, &["--if-generation", &(start + 1).to_string()])?;
    assert_eq!(output.code, Some(0), "{}", output.describe());
    gateway.stop()
}

#[test]
fn of_many_who_apply_at_once_to_one_generation_exactly_one_succeeds() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let start = number(&gateway.status()?, "generation")?;
    lab.write("race.yaml", TWO_ZONES)?;
    let file = lab.dir().join("race.yaml").display().to_string();
    let guard = start.to_string();
    let codes = std::thread::scope(|scope| {
        let apply = || gateway.command(&["apply", &file, "--if-generation", &guard]);
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(apply)).collect();
        threads.into_iter().filter_map(|t| t.join().ok()?.ok()?.code).collect::<Vec<_>>()
    });
    assert_eq!(codes.len(), 6);
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|&&code| code == 4).count(), 5, "{codes:?}");
    assert_eq!(number(&gateway.status()?, "generation")?, start + 1);
    gateway.stop()
}
