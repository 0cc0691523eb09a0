//! Starts that must fail: each says why, and leaves everything as it was.

use lab::clients::{Attempt, End, PASS_PATIENCE, Program};
use lab::gateway::{Gateway, GatewayOptions, binary, launch, write_config};
use lab::policies::{TWO_ZONES, unknown_service};
use lab::process::Output;
use lab::services::listens;
use lab::{Family, Lab, Result, Side, need, wait};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);

fn programs(lab: &Lab) -> Result<Vec<Option<u64>>> {
    ["bh0", "bh1"]
        .into_iter()
        .filter(|port| lab.link(Side::Gateway, port).is_ok())
        .map(|port| lab.xdp_program(Side::Gateway, port))
        .collect()
}

/// Runs the gateway, which is to end with `code` and say each of `words`, and to leave nothing.
fn assert_refused(
    lab: &Lab,
    (policy, options): (&str, &GatewayOptions),
    code: i32,
    words: &[&str],
) -> Result<()> {
    let output = launch(lab, policy, options)?.finish(START)?;
    assert_said(&output, code, words);
    assert!(programs(lab)?.iter().all(Option::is_none), "an XDP program was left behind");
    assert!(!lab.dir().join("control.sock").exists(), "the control socket was left behind");
    Ok(())
}

fn assert_said(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{}", output.describe());
    let said = output.stderr.to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "no {word:?} in {}", output.describe());
    }
    assert!(!said.contains("panicked"), "{}", output.describe());
}

#[test]
fn an_invalid_policy_ends_the_start_with_its_place() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let (policy, line) = unknown_service();
    let place = format!("policy.yaml:{line}:");
    assert_refused(&lab, (&policy, &GatewayOptions::default()), 3, &[&place, "gopher"])
}

#[test]
fn a_missing_policy_file_is_named() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let config = write_config(&lab, TWO_ZONES, &GatewayOptions::default())?;
    fs::remove_file(lab.dir().join("policy.yaml"))?;
    let program = binary().display().to_string();
    let argv = [program.as_str(), "run", "--config", &config];
    let output = lab.exec(Side::Gateway, &argv, START)?;
    assert_said(&output, 1, &["policy.yaml"]);
    assert_eq!(programs(&lab)?, [None, None]);
    Ok(())
}

#[test]
fn a_missing_interface_is_named_and_the_other_port_let_go() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    lab.ip(Side::Gateway, "link del bh1")?;
    assert_refused(&lab, (TWO_ZONES, &GatewayOptions::default()), 1, &["bh1"])
}

#[test]
fn more_queues_than_the_interface_has_are_refused() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let options = GatewayOptions { queues: Some(4), ..GatewayOptions::default() };
    assert_refused(&lab, (TWO_ZONES, &options), 1, &["4 queues", "uplink"])
}

#[test]
fn a_zone_that_the_policy_does_not_have_is_named() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let policy = "version: 1\nzones: { clients: {} }\nrules: []\n";
    assert_refused(&lab, (policy, &GatewayOptions::default()), 3, &["servers"])
}

#[test]
fn wrong_gateway_yaml_is_wrong_use_and_says_where() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let good = fs::read_to_string(write_config(&lab, TWO_ZONES, &GatewayOptions::default())?)?;
    let program = binary().display().to_string();
    // The wrong line, and a word that is to be in the answer.
    let wrong = [
        ("xdp_mod: auto", "xdp_mod"),
        ("on_exit: ajar", "ajar"),
        ("rings: { rx: 1000 }", "rx"),
        ("ports: {}", "ports"),
        ("control: [", "gateway.yaml"),
    ];
    let line = good.lines().count() + 1;
    for (text, word) in wrong {
        let config = lab.write("gateway.yaml", &format!("{good}{text}\n"))?;
        let argv = [program.as_str(), "run", "--config", &config];
        let output = lab.exec(Side::Gateway, &argv, START)?;
        assert_said(&output, 2, &[word, "gateway.yaml:"]);
        if text != "control: [" {
            assert_said(&output, 2, &[&format!("gateway.yaml:{line}:")]);
        }
        assert_eq!(programs(&lab)?, [None, None], "{text}");
    }
    Ok(())
}

#[test]
fn a_core_that_the_machine_does_not_have_is_named() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let good = fs::read_to_string(write_config(&lab, TWO_ZONES, &GatewayOptions::default())?)?;
    let text = good.replace("workers: { ", "workers: { cores: [0, 1023], ");
    assert_ne!(text, good);
    let config = lab.write("gateway.yaml", &text)?;
    let program = binary().display().to_string();
    let argv = [program.as_str(), "run", "--config", &config];
    let output = lab.exec(Side::Gateway, &argv, START)?;
    assert_said(&output, 2, &["gateway.yaml", "core 1023"]);
    assert_eq!(programs(&lab)?, [None, None]);
    Ok(())
}

#[test]
fn without_privileges_it_says_which_are_missing() -> Result<()> {
    need!(Need::Gateway, Need::Program("setpriv"));
    let lab = Lab::new()?;
    // Where the build is may be closed to others.
    let program = lab.dir().join("bulkhead");
    fs::copy(binary(), &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    // A place where anybody may make a socket: the socket is not what it lacks.
    let open = lab.dir().join("open");
    fs::create_dir(&open)?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777))?;
    let socket = Some(open.join("control.sock"));
    let options = GatewayOptions { socket, ..GatewayOptions::default() };
    let config = write_config(&lab, TWO_ZONES, &options)?;
    let program = program.display().to_string();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut argv = nobody.to_vec();
    argv.extend([program.as_str(), "run", "--config", &config]);
    let output = lab.exec(Side::Gateway, &argv, START)?;
    assert_said(&output, 1, &["CAP_NET_ADMIN"]);
    assert_eq!(programs(&lab)?, [None, None]);
    Ok(())
}

#[test]
fn a_control_socket_in_use_is_left_to_whoever_uses_it() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    let path = lab.dir().join("control.sock");
    let listener = UnixListener::bind(&path)?;
    let output = launch(&lab, TWO_ZONES, &GatewayOptions::default())?.finish(START)?;
    assert_said(&output, 1, &["control.sock", "in use"]);
    assert_eq!(programs(&lab)?, [None, None]);
    assert!(path.exists(), "the socket of another process was removed");
    drop(listener);
    // What a dead process left is nobody's.
    Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?.stop()
}

#[test]
fn a_second_gateway_is_refused_and_the_first_goes_on() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    let before = programs(&lab)?;
    // Over the same socket, then over another one but with the same ports.
    let elsewhere = Some(lab.dir().join("other.sock"));
    for (socket, word) in [(None, "control.sock"), (elsewhere, "bh0")] {
        let options = GatewayOptions { socket, ..GatewayOptions::default() };
        let output = launch(&lab, TWO_ZONES, &options)?.finish(START)?;
        assert_said(&output, 1, &[word, "another"]);
        assert_eq!(programs(&lab)?, before);
        let ping = Attempt::new(Program::Ping, Family::V4).run(&lab, PASS_PATIENCE)?;
        assert_eq!(ping.end, End::Passed, "{}", ping.detail);
    }
    gateway.stop()
}

#[test]
fn a_metrics_address_in_use_is_named() -> Result<()> {
    need!(Need::Gateway, Need::Program("iperf3"));
    let lab = Lab::new()?;
    let occupant = lab.spawn(Side::Gateway, &["iperf3", "-s", "-p", "9464"])?;
    wait::until("the occupant to listen", START, || listens(occupant.pid(), 9464).then_some(()))?;
    let options = GatewayOptions { metrics: Some("127.0.0.1:9464"), ..GatewayOptions::default() };
    assert_refused(&lab, (TWO_ZONES, &options), 1, &["9464", "in use"])
}

#[test]
fn commands_without_a_gateway_say_where_they_looked() -> Result<()> {
    need!(Need::Gateway);
    let lab = Lab::new()?;
    for command in ["status", "rules", "flows", "drops"] {
        let output =
            lab::gateway::bulkhead(lab.dir(), &[command, "--socket", "nowhere.sock"], START)?;
        assert_said(&output, 1, &["nowhere.sock"]);
    }
    Ok(())
}
