//! The generic receive path: on demand, and where the driver cannot do better.

use lab::clients::{Attempt, End, Program, expect_all, transfer};
use lab::gateway::{Gateway, GatewayOptions, launch, list};
use lab::policies::TWO_ZONES;
use lab::services::Service;
use lab::{Error, Family, Lab, LabOptions, Result, Side, need};
use serde_json::Value;
use std::time::Duration;

/// Native XDP on veth wants packets that fit into one page.
const LARGE: LabOptions = LabOptions { queues: 1, mtu: 9000 };

fn modes(status: &Value) -> Vec<&str> {
    list(&status["ports"]).iter().filter_map(|port| port["mode"].as_str()).collect()
}

fn table() -> [(Attempt, End); 6] {
    let try_it = Attempt::new;
    [
        (try_it(Program::Http, Family::V4), End::Passed),
        (try_it(Program::Http, Family::V6), End::Passed),
        (try_it(Program::Telnet, Family::V4), End::Blocked),
        (try_it(Program::Telnet, Family::V6), End::Blocked),
        (try_it(Program::Ping, Family::V4), End::Passed),
        (try_it(Program::Ping, Family::V6), End::Passed),
    ]
}

#[test]
fn generic_mode_judges_as_native_mode_does() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Service(Service::Iperf),
        Need::Program("curl"),
        Need::Program("ping")
    );
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    lab.start(Service::Iperf)?;
    for (mode, name) in [("native", "native"), ("generic", "generic"), ("auto", "native")] {
        let (xdp_mode, on_exit) = (Some(mode), Some("open"));
        let options = GatewayOptions { xdp_mode, on_exit, ..GatewayOptions::default() };
        let gateway = Gateway::start(&lab, TWO_ZONES, &options)?;
        assert_eq!(modes(&gateway.status()?), [name, name], "{mode}");
        expect_all(&lab, &table())?;
        transfer(&lab, Family::V4, 16, false)?;
        gateway.stop()?;
    }
    Ok(())
}

#[test]
fn a_restart_takes_over_in_whatever_mode_the_ports_were_left() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    for mode in ["generic", "generic", "native", "generic", "auto"] {
        let options = GatewayOptions { xdp_mode: Some(mode), ..GatewayOptions::default() };
        let gateway = Gateway::start(&lab, TWO_ZONES, &options)
            .map_err(|error| Error::new(format!("{mode}: {error}")))?;
        let found = modes(&gateway.status()?).join(" ");
        // `auto` may keep what it finds.
        assert!(mode == "auto" || found == format!("{mode} {mode}"), "{mode}: {found}");
        expect_all(&lab, &[(Attempt::new(Program::Ping, Family::V4), End::Passed)])?;
        gateway.kill9()?;
    }
    Ok(())
}

#[test]
fn auto_falls_back_to_generic_and_status_warns() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("curl"), Need::Program("ping"));
    let lab = Lab::with(LARGE)?;
    // The endpoints speak as on an ordinary network; it is the interfaces that are too large.
    for side in [Side::Client, Side::Server] {
        let argv = ["ip", "route", "change", "10.77.1.0/24", "dev", "eth0", "mtu", "1500"];
        lab.exec(side, &argv, Duration::from_secs(5))?.expect_success()?;
        let argv = ["sh", "-c", "echo 1500 >/proc/sys/net/ipv6/conf/eth0/mtu"];
        lab.exec(side, &argv, Duration::from_secs(5))?.expect_success()?;
    }
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let status = gateway.status()?;
    assert_eq!(modes(&status), ["generic", "generic"], "{status}");
    for (name, interface) in [("left", "bh0"), ("right", "bh1")] {
        let warned = list(&status["warnings"]).iter().filter_map(Value::as_str).any(|warning| {
            warning.contains("generic") && (warning.contains(name) || warning.contains(interface))
        });
        assert!(warned, "no warning about {interface} in {status}");
    }
    expect_all(&lab, &table())?;
    gateway.stop()
}

#[test]
fn native_or_nothing_is_refused_where_the_driver_cannot() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::with(LARGE)?;
    let options = GatewayOptions { xdp_mode: Some("native"), ..GatewayOptions::default() };
    let output = launch(&lab, TWO_ZONES, &options)?.finish(Duration::from_secs(30))?;
    assert_eq!(output.code, Some(1), "{}", output.describe());
    assert!(output.stderr.contains("bh0"), "{}", output.describe());
    for port in ["bh0", "bh1"] {
        assert_eq!(lab.xdp_program(Side::Gateway, port)?, None);
    }
    Ok(())
}
