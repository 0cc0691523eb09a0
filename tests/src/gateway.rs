//! The gateway under test: `bulkhead run` in the gateway namespace.

use crate::process::{self, Output, Running};
use crate::{Error, Lab, Result, Side, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time for the gateway to come up: a queue bound a moment ago by another process is busy for a
/// while, and the machine may be.
const START: Duration = Duration::from_secs(30);
/// Time for one command over the control socket.
const COMMAND: Duration = Duration::from_secs(30);
/// Time for frames in flight to come to their end.
const QUIET: Duration = Duration::from_secs(2);

/// The workspace's root.
pub fn workspace() -> &'static Path {
    // This crate lives one directory below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The program under test: the environment's `BULKHEAD_BIN`, or the workspace's release build.
pub fn binary() -> PathBuf {
    match std::env::var_os("BULKHEAD_BIN") {
        Some(path) => PathBuf::from(path),
        None => workspace().join("target/release/bulkhead"),
    }
}

/// What goes into `gateway.yaml` besides the two ports. `None` leaves a key out.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Queues that the wire serves.
    pub queues: Option<u32>,
    /// `auto`, `native` or `generic`.
    pub xdp_mode: Option<&'static str>,
    /// `closed` or `open`.
    pub on_exit: Option<&'static str>,
    /// `spin` or `adaptive`.
    pub poll: Option<&'static str>,
    /// Let the kernel poll for the sockets.
    pub busy_poll: bool,
    /// A second wire, `far`, between `bh2` in zone office and `bh3` in zone plant.
    pub second_wire: bool,
    /// Address and port of the metrics endpoint, in the gateway namespace.
    pub metrics: Option<&'static str>,
    /// Most flows.
    pub flows: Option<u32>,
    /// Most frames of fragments that are held.
    pub held: Option<u32>,
    /// EtherTypes that pass unjudged.
    pub ethertypes: Vec<u16>,
    /// Path of the control socket, instead of one in the laboratory's directory.
    pub socket: Option<PathBuf>,
}

impl GatewayOptions {
    /// The text of `gateway.yaml` for a policy file and a control socket.
    pub fn yaml(&self, policy: &str, socket: &Path) -> String {
        let queues = self.queues.map(|n| format!(", queues: {n}")).unwrap_or_default();
        let (ports, wire) = if self.second_wire {
            (
                "  west: { interface: bh2, zone: office }\n  east: { interface: bh3, zone: plant }\n",
                "  - wire: { name: far, ports: [west, east] }\n",
            )
        } else {
            ("", "")
        };
        let mut text = format!(
            "version: 1\npolicy: {policy}\nports:\n  left: {{ interface: bh0, zone: clients }}\n  \
             right: {{ interface: bh1, zone: servers }}\n{ports}forward:\n  - wire: {{ name: uplink, \
             ports: [left, right]{queues} }}\n{wire}control: {{ socket: {} }}\n",
            socket.display()
        );
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                text += &format!("{key}: {value}\n");
            }
        };
        line("xdp_mode", self.xdp_mode.map(str::to_owned));
        line("on_exit", self.on_exit.map(str::to_owned));
        let busy_poll = if self.busy_poll { ", busy_poll: { micros: 20, budget: 64 }" } else { "" };
        let poll = self.poll.unwrap_or("adaptive");
        line("workers", Some(format!("{{ poll: {poll}{busy_poll} }}")));
        line("metrics", self.metrics.map(|listen| format!("{{ listen: \"{listen}\" }}")));
        line("flows", self.flows.map(|n| format!("{{ capacity: {n} }}")));
        line("rings", self.held.map(|n| format!("{{ frames: {} }}", 2 * n)));
        let held = |n: u32| {
            let max_bytes = 2048 * u64::from(n);
            format!("{{ max_frames: {n}, max_bytes: {max_bytes}, max_datagrams: {n} }}")
        };
        line("fragments", self.held.map(held));
        let types: Vec<_> = self.ethertypes.iter().map(|t| format!("{t:#06x}")).collect();
        line("ethertypes", (!types.is_empty()).then(|| format!("[{}]", types.join(", "))));
        text
    }
}

/// A running gateway. Dropped, it is stopped.
#[derive(Debug)]
pub struct Gateway<'lab> {
    lab: &'lab Lab,
    process: Running,
    socket: PathBuf,
}

/// Runs `bulkhead` with `arguments` outside the laboratory's namespaces.
///
/// # Errors
/// If the program is not there: build it first.
pub fn bulkhead(dir: &Path, arguments: &[&str], limit: Duration) -> Result<Output> {
    let program = program()?;
    let mut argv = vec![program.as_str()];
    argv.extend(arguments);
    process::run(dir, &argv, limit)
}

fn program() -> Result<String> {
    let path = binary();
    if path.exists() {
        return Ok(path.display().to_string());
    }
    let path = path.display();
    Err(Error::new(format!("{path} is not there; build it: cargo build --release -p bulkhead")))
}

/// Starts `bulkhead run` and does not wait until it is ready: for tests of how it fails.
///
/// # Errors
/// If its files cannot be written or it cannot be started.
pub fn launch(lab: &Lab, policy: &str, options: &GatewayOptions) -> Result<Running> {
    let config = write_config(lab, policy, options)?;
    lab.spawn(Side::Gateway, &[&program()?, "run", "--config", &config])
}

/// Writes `policy.yaml` and `gateway.yaml`; the path of the latter.
///
/// # Errors
/// If they cannot be written.
pub fn write_config(lab: &Lab, policy: &str, options: &GatewayOptions) -> Result<String> {
    lab.write("policy.yaml", policy)?;
    lab.write("gateway.yaml", &options.yaml("policy.yaml", &socket_path(lab, options)))
}

fn socket_path(lab: &Lab, options: &GatewayOptions) -> PathBuf {
    options.socket.clone().unwrap_or_else(|| lab.dir().join("control.sock"))
}

impl<'lab> Gateway<'lab> {
    /// Starts the gateway with `policy` (its text) and waits until the control socket answers.
    ///
    /// # Errors
    /// If it ends or does not answer, with what it said.
    pub fn start(lab: &'lab Lab, policy: &str, options: &GatewayOptions) -> Result<Gateway<'lab>> {
        let process = launch(lab, policy, options)?;
        let mut gateway = Gateway { lab, process, socket: socket_path(lab, options) };
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = gateway.process.ended() {
                let said = gateway.process.stderr();
                return Err(Error::new(format!("bulkhead run ended with {status}: {said}")));
            }
            match gateway.status() {
                Ok(_) => return Ok(gateway),
                Err(error) if Instant::now() >= deadline => {
                    let said = gateway.process.stderr();
                    return Err(Error::new(format!(
                        "no answer from bulkhead run: {error}\n{said}"
                    )));
                }
                Err(_) => {}
            }
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Path of the control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Runs `bulkhead <arguments> --socket S`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let socket = self.socket.display().to_string();
        let mut argv = arguments.to_vec();
        argv.extend(["--socket", &socket]);
        bulkhead(self.lab.dir(), &argv, COMMAND)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut argv = arguments.to_vec();
        argv.push("--json");
        let output = self.command(&argv)?.expect_success()?;
        Ok(serde_json::from_str(&output.stdout)?)
    }

    /// The answer of `bulkhead status --json`.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status"])
    }

    /// The answer of `bulkhead rules --json`.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub fn rules(&self) -> Result<Value> {
        self.json(&["rules"])
    }

    /// The answer of `bulkhead drops --json`.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub fn drops(&self) -> Result<Value> {
        self.json(&["drops"])
    }

    /// The answer of `bulkhead flows --json`.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub fn flows(&self) -> Result<Value> {
        self.json(&["flows"])
    }

    /// Hits of the rule `id`.
    ///
    /// # Errors
    /// If the gateway does not answer or has no such rule.
    pub fn hits(&self, id: &str) -> Result<u64> {
        let rules = self.rules()?;
        list(&rules["rules"])
            .iter()
            .find(|rule| rule["id"] == id)
            .and_then(|rule| rule["hits"].as_u64())
            .ok_or_else(|| Error::new(format!("no hits of rule {id} in {rules}")))
    }

    /// Frames dropped for `reason` on all ports; 0 when it is not listed.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub fn dropped_for(&self, reason: &str) -> Result<u64> {
        let drops = self.drops()?;
        let of_reason = list(&drops["totals"]).iter().filter(|total| total["reason"] == reason);
        of_reason.map(|total| number(total, "packets")).sum()
    }

    /// Applies the policy `text` with `bulkhead apply`, with more `arguments` if wanted: the output
    /// of the command.
    ///
    /// # Errors
    /// If the file cannot be written or the command not started.
    pub fn try_apply(&self, text: &str, arguments: &[&str]) -> Result<Output> {
        let file = self.lab.write("applied.yaml", text)?;
        let mut argv = vec!["apply", &file];
        argv.extend(arguments);
        self.command(&argv)
    }

    /// Applies the policy `text`: the answer.
    ///
    /// # Errors
    /// If the gateway refuses it.
    pub fn apply(&self, text: &str) -> Result<Value> {
        let output = self.try_apply(text, &["--json"])?.expect_success()?;
        Ok(serde_json::from_str(&output.stdout)?)
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// If the process does not end.
    pub fn kill9(mut self) -> Result<()> {
        self.process.signal(libc::SIGKILL);
        self.process.wait(Duration::from_secs(10)).map(drop)
    }

    /// SIGTERM, after checking conservation.
    ///
    /// # Errors
    /// If frames are unaccounted for, or it does not end with exit code 0.
    pub fn stop(self) -> Result<()> {
        self.stop_by(libc::SIGTERM)
    }

    /// The same by another signal.
    ///
    /// # Errors
    /// Those of [`stop`](Self::stop).
    pub fn stop_by(mut self, signal: i32) -> Result<()> {
        self.assert_conservation()?;
        self.process.signal(signal);
        let output = self.process.finish(Duration::from_secs(10))?;
        match output.code {
            Some(0) => Ok(()),
            _ => Err(Error::new(format!("signal {signal}: {}", output.describe()))),
        }
    }

    /// Checks that on every wire what each port received is what the other sent, what was dropped
    /// and what is held, and that the gateway says so itself. Waits for frames in flight.
    ///
    /// # Errors
    /// The sums that do not agree.
    pub fn assert_conservation(&self) -> Result<()> {
        wait::until_ok("conservation", QUIET, || conservation(&self.status()?))
    }
}

/// Checks one status document: for the two ports of each wire, rx(A) = tx(B) + drops(A) + held(A).
///
/// # Errors
/// The sums that do not agree.
pub fn conservation(status: &Value) -> Result<()> {
    let ports = list(&status["ports"]);
    for port in ports {
        let other = ports
            .iter()
            .find(|other| other["wire"] == port["wire"] && other["name"] != port["name"])
            .ok_or_else(|| Error::new(format!("the wire of {port} has one port only")))?;
        let received = number(&port["rx"], "packets")?;
        let (sent, dropped, held) =
            (number(&other["tx"], "packets")?, number(port, "drops")?, number(port, "held")?);
        if received != sent + dropped + held {
            return Err(Error::new(format!(
                "{} received {received}, but {} sent {sent}, {dropped} were dropped and {held} are \
                 held",
                port["name"], other["name"]
            )));
        }
    }
    if status["conservation"]["balanced"] != true {
        let claim = &status["conservation"];
        return Err(Error::new(format!("the sums agree, but the gateway says {claim}")));
    }
    Ok(())
}

/// The elements of a JSON array; none when it is something else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The number `key` of a JSON object.
///
/// # Errors
/// If there is none.
pub fn number(value: &Value, key: &str) -> Result<u64> {
    value[key].as_u64().ok_or_else(|| Error::new(format!("no number {key} in {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(left_rx: u64, right_tx: u64, left_drops: u64, left_held: u64) -> Value {
        let port = |name: &str, rx: u64, tx: u64, drops: u64, held: u64| {
            json!({"name": name, "wire": "w", "rx": {"packets": rx}, "tx": {"packets": tx},
                   "drops": drops, "held": held})
        };
        json!({"ports": [port("left", left_rx, 7, left_drops, left_held),
                         port("right", 9, right_tx, 2, 0)],
               "conservation": {"balanced": true}})
    }

    #[test]
    fn conservation_holds_when_the_sums_agree() {
        assert!(conservation(&status(10, 6, 3, 1)).is_ok());
    }

    #[test]
    fn conservation_fails_by_one_frame_either_way() {
        assert!(conservation(&status(11, 6, 3, 1)).is_err());
        assert!(conservation(&status(10, 7, 3, 1)).is_err());
    }
}
