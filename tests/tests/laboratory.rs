//! The control experiment: the laboratory itself passes everything over a kernel bridge and
//! nothing without one, so what the other tests see is the gateway's doing.

use lab::clients::{Attempt, End, Program, expect_all};
use lab::need;
use lab::services::Service;
use lab::{Family, Lab, LabOptions, Result, Side};
use std::time::Duration;

const SERVICES: [Service; 5] =
    [Service::Web, Service::Postgresql, Service::Ssh, Service::Dns, Service::Iperf];

fn everything(expected: End) -> Vec<(Attempt, End)> {
    let mut table = Vec::new();
    for family in [Family::V4, Family::V6] {
        for program in [
            Program::Http,
            Program::Https,
            Program::Telnet,
            Program::Psql,
            Program::Ssh,
            Program::Dig,
            Program::DigTcp,
            Program::Ping,
        ] {
            table.push((Attempt::new(program, family), expected));
        }
        let second = Attempt::new(Program::Ping, family).from(Side::Client, 2);
        table.push((second.to(Side::Server, 2), expected));
        table.push((second.from(Side::Server, 1).to(Side::Client, 1), expected));
    }
    table.push((Attempt::new(Program::Iperf, Family::V4), expected));
    table
}

#[test]
fn everything_passes_over_a_kernel_bridge_and_nothing_without_one() -> Result<()> {
    need!(
        Need::Lab,
        Need::Service(Service::Web),
        Need::Service(Service::Postgresql),
        Need::Service(Service::Ssh),
        Need::Service(Service::Dns),
        Need::Service(Service::Iperf),
        Need::Program("curl"),
        Need::Program("psql"),
        Need::Program("ssh"),
        Need::Program("dig"),
        Need::Program("ping")
    );
    let lab = Lab::with(LabOptions { queues: 2, mtu: 1500 })?;
    for service in SERVICES {
        lab.start(service)?;
    }
    expect_all(&lab, &everything(End::Blocked))?;
    lab.bridge()?;
    lab.forget_neighbours()?;
    expect_all(&lab, &everything(End::Passed))
}

#[test]
fn a_service_that_is_not_there_is_neither_passed_nor_blocked() -> Result<()> {
    need!(Need::Lab, Need::Program("curl"), Need::Program("ping"));
    let lab = Lab::new()?;
    lab.bridge()?;
    let outcome = Attempt::new(Program::Http, Family::V4).run(&lab, Duration::from_secs(5))?;
    assert_eq!(outcome.end, End::Broken, "{}", outcome.detail);
    Ok(())
}

#[test]
fn a_dropped_laboratory_leaves_no_namespace_and_no_process() -> Result<()> {
    need!(Need::Lab, Need::Program("sleep"));
    let lab = Lab::new()?;
    let namespaces = [Side::Client, Side::Gateway, Side::Server].map(|side| lab.namespace(side));
    let sleeper = lab.spawn(Side::Server, &["sleep", "600"])?;
    let stray = format!("/proc/{}/ns/net", sleeper.pid());
    // Nobody stops this one: the laboratory has to.
    std::mem::forget(sleeper);
    let dir = lab.dir().to_owned();
    for name in &namespaces {
        assert!(std::path::Path::new("/run/netns").join(name).exists());
    }
    drop(lab);
    for name in &namespaces {
        assert!(!std::path::Path::new("/run/netns").join(name).exists());
    }
    assert!(!dir.exists());
    // The process is a zombie of this one now: ended, without a namespace.
    assert!(std::fs::read_link(stray).is_err());
    Ok(())
}
