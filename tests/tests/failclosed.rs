//! What stays when the gateway is gone. A kernel bridge joins the two ports behind it, so that
//! every packet the XDP programs let through would reach the other side.

use lab::clients::{Attempt, End, PASS_PATIENCE, Program, expect_all};
use lab::gateway::{Gateway, GatewayOptions, launch};
use lab::policies::{ALLOW_ALL, TWO_ZONES};
use lab::{Error, Family, Lab, LinkStats, Result, Side, address, frames, need, process, wait};
use std::time::{Duration, Instant};

const PORTS: [&str; 2] = ["bh0", "bh1"];
const TEN_SECONDS: Duration = Duration::from_secs(10);

fn pings(expected: End) -> Vec<(Attempt, End)> {
    let ways = [(Side::Client, Side::Server), (Side::Server, Side::Client)];
    let families = [Family::V4, Family::V6];
    let ping = |family, (from, to)| Attempt::new(Program::Ping, family).from(from, 1).to(to, 1);
    families.iter().flat_map(|&f| ways.map(|way| (ping(f, way), expected))).collect()
}

/// What arrived at both ends.
fn arrived(lab: &Lab) -> Result<[u64; 2]> {
    let received = |stats: LinkStats| stats.rx_packets;
    Ok([
        received(lab.link_stats(Side::Client, "eth0")?),
        received(lab.link_stats(Side::Server, "eth0")?),
    ])
}

/// Sends all kinds of packets from both sides: not one may arrive.
fn assert_nothing_passes(lab: &Lab) -> Result<()> {
    let before = arrived(lab)?;
    let broadcast = [0xff; 6];
    for side in [Side::Client, Side::Server] {
        let kinds = [0x0806, 0x0800, 0x86dd, 0x88cc];
        let some: Vec<_> = kinds.iter().map(|&kind| frames::frame(broadcast, kind)).collect();
        frames::send(lab, side, "eth0", &some)?;
    }
    expect_all(lab, &pings(End::Blocked))?;
    let after = arrived(lab)?;
    if before == after {
        return Ok(());
    }
    Err(Error::new(format!("packets came through: {before:?} before, {after:?} after")))
}

fn programs(lab: &Lab) -> Result<[Option<u64>; 2]> {
    Ok([lab.xdp_program(Side::Gateway, PORTS[0])?, lab.xdp_program(Side::Gateway, PORTS[1])?])
}

#[test]
fn after_kill_nine_under_traffic_not_one_packet_passes_and_a_restart_takes_over() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    lab.bridge()?;
    let options = GatewayOptions::default();
    let gateway = Gateway::start(&lab, ALLOW_ALL, &options)?;
    expect_all(&lab, &pings(End::Passed))?;
    let target = address(Side::Server, 1, Family::V4);
    let series = lab.spawn(Side::Client, &["ping", "-n", "-i", "0.002", target])?;
    let before = arrived(&lab)?;
    wait::until("traffic", TEN_SECONDS, || {
        (arrived(&lab).ok()?[1] > before[1] + 100).then_some(())
    })?;
    gateway.kill9()?;
    assert_nothing_passes(&lab)?;
    assert!(programs(&lab)?.iter().all(Option::is_some), "a program is gone");
    let gateway = Gateway::start(&lab, ALLOW_ALL, &options)?;
    lab.forget_neighbours()?;
    expect_all(&lab, &pings(End::Passed))?;
    drop(series);
    gateway.stop()
}

#[test]
fn a_clean_stop_leaves_the_ports_closed_and_a_restart_takes_over() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    lab.bridge()?;
    let options = GatewayOptions::default();
    Gateway::start(&lab, ALLOW_ALL, &options)?.stop()?;
    assert_nothing_passes(&lab)?;
    assert!(programs(&lab)?.iter().all(Option::is_some), "a program is gone");
    let gateway = Gateway::start(&lab, ALLOW_ALL, &options)?;
    lab.forget_neighbours()?;
    expect_all(&lab, &pings(End::Passed))?;
    gateway.stop()
}

#[test]
fn every_signal_that_ends_a_process_stops_it_cleanly() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let open = GatewayOptions { on_exit: Some("open"), ..GatewayOptions::default() };
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let gateway = Gateway::start(&lab, ALLOW_ALL, &open)?;
        let socket = gateway.socket().to_owned();
        gateway.stop_by(signal)?;
        assert!(programs(&lab)?.iter().all(Option::is_none), "signal {signal}: on_exit is kept");
        assert!(!socket.exists(), "signal {signal}: the control socket is removed");
    }
    Ok(())
}

#[test]
fn on_exit_open_removes_the_programs_and_the_kernel_gets_the_packets() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    lab.bridge()?;
    let open = GatewayOptions { on_exit: Some("open"), ..GatewayOptions::default() };
    // Nothing passes while the gateway runs, so it is the stop that opens.
    let gateway = Gateway::start(&lab, lab::policies::DENY_ALL, &open)?;
    expect_all(&lab, &pings(End::Blocked))?;
    gateway.stop()?;
    assert_eq!(programs(&lab)?, [None, None]);
    lab.forget_neighbours()?;
    expect_all(&lab, &pings(End::Passed))
}

#[test]
fn on_exit_open_takes_back_what_an_earlier_process_left() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    Gateway::start(&lab, ALLOW_ALL, &GatewayOptions::default())?.kill9()?;
    assert!(programs(&lab)?.iter().all(Option::is_some));
    let open = GatewayOptions { on_exit: Some("open"), ..GatewayOptions::default() };
    Gateway::start(&lab, ALLOW_ALL, &open)?.stop()?;
    assert_eq!(programs(&lab)?, [None, None]);
    Ok(())
}

/// A program that passes everything, not the gateway's.
const SOMEBODY_ELSES: &str = r#"
__attribute__((section("xdp"), used)) int pass(void *context) { return 2; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"#;

#[test]
fn a_port_with_somebody_elses_program_is_refused_and_left_as_it_was() -> Result<()> {
    need!(Need::Gateway, Need::Program("clang"));
    let lab = Lab::new()?;
    let source = lab.write("pass.c", SOMEBODY_ELSES)?;
    let object = lab.dir().join("pass.o").display().to_string();
    let argv = ["clang", "-O2", "-target", "bpf", "-c", &source, "-o", &object];
    process::run(lab.dir(), &argv, TEN_SECONDS)?.expect_success()?;
    // On the second port: the first must be let go again.
    for (port, mode) in [("bh0", "xdp"), ("bh1", "xdp"), ("bh1", "xdpgeneric")] {
        let attach = ["ip", "link", "set", "dev", port, mode, "obj", &object, "sec", "xdp"];
        lab.exec(Side::Gateway, &attach, TEN_SECONDS)?.expect_success()?;
        let before = programs(&lab)?;
        let output =
            launch(&lab, TWO_ZONES, &GatewayOptions::default())?.finish(Duration::from_secs(30))?;
        assert_eq!(output.code, Some(1), "{port} {mode}: {}", output.describe());
        assert!(output.stderr.contains(port), "{}", output.describe());
        assert!(output.stderr.contains("XDP"), "{}", output.describe());
        assert_eq!(programs(&lab)?, before, "{port} {mode}");
        assert!(before.iter().filter(|program| program.is_some()).count() == 1);
        let detach = ["ip", "link", "set", "dev", port, mode, "off"];
        lab.exec(Side::Gateway, &detach, TEN_SECONDS)?.expect_success()?;
    }
    Ok(())
}

#[test]
fn a_lost_interface_is_reported_and_the_process_lives() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, ALLOW_ALL, &GatewayOptions::default())?;
    let ping = Attempt::new(Program::Ping, Family::V4);
    assert_eq!(ping.run(&lab, PASS_PATIENCE)?.end, End::Passed);
    lab.ip(Side::Gateway, "link del bh1")?;
    let deadline = Instant::now() + TEN_SECONDS;
    loop {
        let status = gateway.status()?;
        let links = lab::gateway::list(&status["ports"]);
        if links.iter().any(|port| port["interface"] == "bh1" && port["link"] == "gone") {
            let warnings = lab::gateway::list(&status["warnings"]);
            assert!(warnings.iter().any(|w| w.to_string().contains("bh1")), "{status}");
            return Ok(());
        }
        assert!(Instant::now() < deadline, "bh1 is gone, and status says {status}");
    }
}
