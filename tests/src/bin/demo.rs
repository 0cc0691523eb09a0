//! Bulkhead at work, in two minutes: two zones with real services, the gateway between them, and
//! what passes. Ends with exit code 1 when anything is not as expected.

use lab::clients::{Attempt, End, Program, run_all};
use lab::gateway::{Gateway, GatewayOptions, bulkhead, list, number, workspace};
use lab::need::{Need, missing};
use lab::policies::denying_in_blocks;
use lab::services::Service;
use lab::{Error, Family, Lab, Result, Side, wait};
use serde_json::Value;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const POLICY: &str = "control/examples/policy-two-zones.yaml";
const CAPTURE: &str = "pcaps/mixed.pcap";

fn main() -> ExitCode {
    catch_interrupts();
    let mut demo = Demo::default();
    let outcome = demo.run();
    println!();
    match outcome {
        Err(error) => {
            println!("The demo could not go on: {error}");
            ExitCode::FAILURE
        }
        Ok(()) if demo.differences > 0 => {
            println!("{} of {} checks were not as expected.", demo.differences, demo.checks);
            ExitCode::FAILURE
        }
        Ok(()) => {
            println!("All {} checks were as expected.", demo.checks);
            ExitCode::SUCCESS
        }
    }
}

/// Set by SIGINT and SIGTERM: the demo then stops at its next step and cleans up.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

fn catch_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = interrupt as extern "C" fn(libc::c_int);
        // SAFETY: the handler stores into an atomic and does nothing else, which a signal handler
        // may do.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Counts what was checked.
#[derive(Default)]
struct Demo {
    step: u32,
    checks: u32,
    differences: u32,
}

impl Demo {
    fn run(&mut self) -> Result<()> {
        println!("Bulkhead: two zones, real services, one wire between them\n");
        match missing(&needs()) {
            None => self.live()?,
            Some(why) => println!("Without the live part, because {why}."),
        }
        self.replay()
    }

    fn step(&mut self, title: &str) -> Result<()> {
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Err(Error::new("interrupted"));
        }
        self.step += 1;
        println!("\n{}. {title}\n", self.step);
        Ok(())
    }

    /// Prints one line, and `ok` where what is there is what was expected.
    fn check(&mut self, text: &str, as_expected: bool) {
        self.checks += 1;
        self.differences += u32::from(!as_expected);
        println!("   {text}  {}", if as_expected { "ok" } else { "NOT AS EXPECTED" });
    }

    fn attempts(&mut self, lab: &Lab, table: &[(Attempt, End)]) -> Result<()> {
        for ((attempt, expected), outcome) in table.iter().zip(run_all(lab, table)) {
            let outcome = outcome?;
            let line = format!("{attempt}  expected {expected:8} was {:8}", outcome.end);
            self.check(&line, outcome.end == *expected);
            if outcome.end != *expected {
                println!("{}", outcome.detail);
            }
        }
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        println!("   10.77.1.10   client  bh0            bh1  server  10.77.1.130");
        println!("   fd77::1:10   ------------ Bulkhead ------------  fd77::2:10");
        let policy = fs::read_to_string(workspace().join(POLICY))?;
        let lab = Lab::new()?;
        for service in SERVICES {
            lab.start(service)?;
        }
        let gateway = Gateway::start(&lab, &policy, &GatewayOptions::default())?;

        self.step(&format!("Attempts under {POLICY}"))?;
        self.attempts(&lab, &table())?;

        self.step("What the gateway counted")?;
        show_counters(&gateway)?;
        let balanced = gateway.assert_conservation().is_ok();
        self.check("received = transmitted + dropped + held, on both ports", balanced);

        self.step("A live swap: the rule `web` denies, then allows again")?;
        let ping = (Attempt::new(Program::Ping, Family::V4), End::Passed);
        let http = |end| (Attempt::new(Program::Http, Family::V4), end);
        show_swap(&gateway.apply(&denying_in_blocks(&policy, "web"))?)?;
        self.attempts(&lab, &[http(End::Blocked), ping])?;
        show_swap(&gateway.apply(&policy)?)?;
        self.attempts(&lab, &[http(End::Passed), ping])?;
        gateway.assert_conservation()?;

        self.step("kill -9: the ports stay closed, until a new gateway takes over")?;
        gateway.kill9()?;
        let before = lab.link_stats(Side::Server, "eth0")?.rx_packets;
        let blocked = (ping.0, End::Blocked);
        self.attempts(&lab, &[http(End::Blocked), blocked])?;
        let through = lab.link_stats(Side::Server, "eth0")?.rx_packets - before;
        self.check(&format!("{through} packets reached the server"), through == 0);
        let gateway = Gateway::start(&lab, &policy, &GatewayOptions::default())?;
        lab.forget_neighbours()?;
        self.attempts(&lab, &[http(End::Passed), ping])?;
        let stopped = gateway.stop();
        let text = stopped.as_ref().err().map_or("clean stop".to_owned(), Error::to_string);
        self.check(&text, stopped.is_ok());
        Ok(())
    }

    fn replay(&mut self) -> Result<()> {
        self.step(&format!("A replay of {CAPTURE} under the same policy, without privileges"))?;
        let path = |name: &str| workspace().join(name).display().to_string();
        let (policy, capture) = (path(POLICY), path(CAPTURE));
        let arguments = ["replay", "--policy", &policy, "--pcap", &capture, "--json"];
        let limit = Duration::from_secs(60);
        let output = bulkhead(&std::env::temp_dir(), &arguments, limit)?.expect_success()?;
        let report: Value = serde_json::from_str(&output.stdout)?;
        let (forwarded, dropped) = (number(&report, "forwarded")?, number(&report, "dropped")?);
        let packets = number(&report, "packets")?;
        println!("   {packets} packets: {forwarded} forwarded, {dropped} dropped");
        show_rules(&report)?;
        println!();
        // The capture's only traffic that this policy denies are the attempts on telnet's port.
        let telnet = list(&report["rules"]).iter().find(|rule| rule["id"] == "no-telnet");
        let all_telnet = dropped > 0 && telnet.is_some_and(|rule| rule["hits"] == dropped);
        self.check("what was dropped are the attempts on telnet's port", all_telnet);
        self.check("packets = forwarded + dropped", packets == forwarded + dropped);
        Ok(())
    }
}

const SERVICES: [Service; 5] =
    [Service::Web, Service::Postgresql, Service::Ssh, Service::Dns, Service::Iperf];

fn needs() -> Vec<Need> {
    let programs = ["curl", "psql", "ssh", "dig", "ping", "iperf3"];
    let services = SERVICES.map(Need::Service);
    [Need::Gateway].into_iter().chain(services).chain(programs.map(Need::Program)).collect()
}

/// The attempts that the demo shows, and how the example policy has them end.
fn table() -> Vec<(Attempt, End)> {
    use End::{Blocked, Passed};
    use Program::{Dig, Http, Https, Iperf, Ping, Psql, Ssh, Telnet};
    let of_family = |family| {
        let try_it = |program| Attempt::new(program, family);
        [
            (try_it(Http), Passed),
            (try_it(Https), Passed),
            (try_it(Psql), Passed),
            (try_it(Ssh), Passed),
            (try_it(Dig), Passed),
            (try_it(Ping), Passed),
            (try_it(Telnet), Blocked),
            (try_it(Ping).from(Side::Server, 1).to(Side::Client, 1), Blocked),
        ]
    };
    let iperf = (Attempt::new(Iperf, Family::V4), Passed);
    of_family(Family::V4).into_iter().chain(of_family(Family::V6)).chain([iperf]).collect()
}

fn show_counters(gateway: &Gateway) -> Result<()> {
    // Frames in flight come to their end.
    let quiet = || (gateway.status().ok()?["conservation"]["balanced"] == true).then_some(());
    wait::until("quiet", Duration::from_secs(2), quiet)?;
    let status = gateway.status()?;
    println!(
        "   {:8} {:>10} {:>12} {:>10} {:>10}",
        "port", "received", "transmitted", "dropped", "mode"
    );
    for port in list(&status["ports"]) {
        println!(
            "   {:8} {:>10} {:>12} {:>10} {:>10}",
            port["name"].as_str().unwrap_or_default(),
            number(&port["rx"], "packets")?,
            number(&port["tx"], "packets")?,
            number(port, "drops")?,
            port["mode"].as_str().unwrap_or_default()
        );
    }
    show_rules(&gateway.rules()?)?;
    println!("\n   {:20} {:>10}", "drop reason", "packets");
    for total in list(&gateway.drops()?["totals"]) {
        let reason = total["reason"].as_str().unwrap_or_default();
        let port = total["port"].as_str().unwrap_or_default();
        println!("   {reason:20} {:>10}   on {port}", number(total, "packets")?);
    }
    println!();
    Ok(())
}

/// Hits by rule, of a running gateway or of a replay.
fn show_rules(document: &Value) -> Result<()> {
    println!("\n   {:20} {:>10}", "rule", "hits");
    for rule in list(&document["rules"]) {
        let id = rule["id"].as_str().unwrap_or_default();
        println!("   {id:20} {:>10}", number(rule, "hits")?);
    }
    Ok(())
}

fn show_swap(applied: &Value) -> Result<()> {
    let milliseconds = |key: &str| applied[key].as_f64().unwrap_or_default() * 1e3;
    println!(
        "   generation {}: compiled in {:.2} ms, taken by every worker within {:.3} ms",
        number(applied, "generation")?,
        milliseconds("compile_seconds"),
        milliseconds("swap_seconds")
    );
    Ok(())
}
