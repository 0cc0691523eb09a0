//! Attempts with real programs: does it get through?

use crate::process::Output;
use crate::services::{Service, ssh_key};
use crate::{Error, Family, Lab, Result, Side, address};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Patience with an attempt that is expected to be blocked.
pub const BLOCKED_PATIENCE: Duration = Duration::from_secs(2);
/// Patience with an attempt that is expected to pass, on a busy machine.
pub const PASS_PATIENCE: Duration = Duration::from_secs(15);

/// How an attempt ended, or is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The service answered.
    Passed,
    /// Nothing came back.
    Blocked,
    /// Neither: a refusal, a missing program. The laboratory is wrong, not the gateway.
    Broken,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            End::Passed => "passed",
            End::Blocked => "blocked",
            End::Broken => "broken",
        })
    }
}

/// How an attempt ended, and what the program said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The program's words.
    pub detail: String,
}

/// A program that tries a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// `curl http://` on port 80.
    Http,
    /// `curl https://` on port 443.
    Https,
    /// `curl http://` on telnet's port 23.
    Telnet,
    /// `psql` with a query.
    Psql,
    /// `ssh` with a command.
    Ssh,
    /// `dig` over UDP.
    Dig,
    /// `dig +tcp`.
    DigTcp,
    /// `ping`, three echo requests.
    Ping,
    /// `iperf3`, a quarter of a megabyte.
    Iperf,
}

/// One attempt: who tries what where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The program.
    pub program: Program,
    /// IP version.
    pub family: Family,
    /// Side and host it starts from.
    pub from: (Side, u8),
    /// Side and host it goes to.
    pub to: (Side, u8),
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match self.program {
            Program::Http => "curl http",
            Program::Https => "curl https",
            Program::Telnet => "curl port 23",
            Program::Psql => "psql",
            Program::Ssh => "ssh",
            Program::Dig => "dig",
            Program::DigTcp => "dig +tcp",
            Program::Ping => "ping",
            Program::Iperf => "iperf3",
        };
        write!(f, "{program:12} {:>11} -> {:<11}", self.source(), self.target())
    }
}

impl Attempt {
    /// From host 1 of the clients to host 1 of the servers.
    pub fn new(program: Program, family: Family) -> Self {
        Attempt { program, family, from: (Side::Client, 1), to: (Side::Server, 1) }
    }

    /// The same from host `host` of `side`.
    pub fn from(self, side: Side, host: u8) -> Self {
        Attempt { from: (side, host), ..self }
    }

    /// The same to host `host` of `side`.
    pub fn to(self, side: Side, host: u8) -> Self {
        Attempt { to: (side, host), ..self }
    }

    /// The address it starts from.
    pub fn source(&self) -> &'static str {
        address(self.from.0, self.from.1, self.family)
    }

    /// The address it goes to.
    pub fn target(&self) -> &'static str {
        address(self.to.0, self.to.1, self.family)
    }

    /// The service it needs on the other side; `ping` needs none.
    pub fn service(&self) -> Option<Service> {
        match self.program {
            Program::Http | Program::Https | Program::Telnet => Some(Service::Web),
            Program::Psql => Some(Service::Postgresql),
            Program::Ssh => Some(Service::Ssh),
            Program::Dig | Program::DigTcp => Some(Service::Dns),
            Program::Iperf => Some(Service::Iperf),
            Program::Ping => None,
        }
    }

    /// Runs it with `patience` for an answer. The service must have been started.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn run(&self, lab: &Lab, patience: Duration) -> Result<Outcome> {
        let seconds = patience.as_secs().max(1).to_string();
        let output = lab.exec(
            self.from.0,
            &self.command(lab, &seconds).iter().map(String::as_str).collect::<Vec<_>>(),
            // The program's own timeout comes first; this one is for a program that hangs.
            patience + Duration::from_secs(10),
        )?;
        Ok(self.interpret(&output))
    }

    /// Whether it gets through, with the patience that `expected` deserves, and its outcome.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn run_expecting(&self, lab: &Lab, expected: End) -> Result<Outcome> {
        self.run(lab, if expected == End::Passed { PASS_PATIENCE } else { BLOCKED_PATIENCE })
    }

    fn command(&self, lab: &Lab, seconds: &str) -> Vec<String> {
        let (source, target) = (self.source(), self.target());
        let host = match self.family {
            Family::V4 => target.to_owned(),
            Family::V6 => format!("[{target}]"),
        };
        let curl = |url: String| {
            // Verbose: otherwise it does not say whether a host is unreachable or refuses.
            format!(
                "curl -sv -k -o /dev/null -w %{{http_code}} --interface {source} \
                 --max-time {seconds} {url}"
            )
        };
        let line = match self.program {
            Program::Http => curl(format!("http://{host}/")),
            Program::Https => curl(format!("https://{host}/")),
            Program::Telnet => curl(format!("http://{host}:23/")),
            Program::Psql => {
                // libpq takes no timeout below two seconds and binds no source address.
                let seconds = if seconds == "1" { "2" } else { seconds };
                return [
                    "psql",
                    "-X",
                    "-A",
                    "-t",
                    "-c",
                    "select 6*7",
                    &format!(
                        "host={target} user=postgres dbname=postgres connect_timeout={seconds}"
                    ),
                ]
                .map(str::to_owned)
                .to_vec();
            }
            Program::Ssh => format!(
                "ssh -F none -i {} -b {source} -o BatchMode=yes -o StrictHostKeyChecking=no -o \
                 UserKnownHostsFile=/dev/null -o ConnectTimeout={seconds} -o LogLevel=ERROR \
                 root@{target} echo 42",
                ssh_key(lab).display()
            ),
            Program::Dig | Program::DigTcp => {
                let tcp = if self.program == Program::DigTcp { "+tcp" } else { "+notcp" };
                format!(
                    "dig @{target} -b {source} +time={seconds} +tries=1 {tcp} +short \
                     server.lab.test A"
                )
            }
            Program::Ping => {
                // `-W` is for each answer, `-w` for all.
                format!("ping -n -c 3 -i 0.2 -W 1 -w {seconds} -I {source} {target}")
            }
            Program::Iperf => {
                format!(
                    "iperf3 --json -c {target} -B {source} -n 256K --connect-timeout {seconds}000"
                )
            }
        };
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn interpret(&self, output: &Output) -> Outcome {
        let answered = match self.program {
            Program::Http | Program::Https | Program::Telnet => output.stdout == "200",
            Program::Psql | Program::Ssh => output.stdout.trim() == "42",
            Program::Dig | Program::DigTcp => {
                output.stdout.trim() == address(Side::Server, 1, Family::V4)
            }
            // It asks until three answers are there: on a busy machine that may take more than
            // three requests, but none may be lost.
            Program::Ping => output.stdout.contains(", 0% packet loss"),
            Program::Iperf => output.stdout.contains("\"sum_received\""),
        };
        let said = format!("{}{}", output.stdout, output.stderr);
        let end = match (answered && output.success(), self.silent(output, &said)) {
            (true, _) => End::Passed,
            (false, true) => End::Blocked,
            (false, false) => End::Broken,
        };
        Outcome { end, detail: output.describe() }
    }

    /// Whether the program reports that nothing came back. On one segment an unreachable host is
    /// one whose address resolution got no answer.
    fn silent(&self, output: &Output, said: &str) -> bool {
        let unreachable = ["No route to host", "Host unreachable", "Address unreachable"];
        if unreachable.iter().any(|words| said.contains(words)) {
            return true;
        }
        match self.program {
            // curl: 28 is "operation timeout".
            Program::Http | Program::Https | Program::Telnet => output.code == Some(28),
            Program::Psql => said.contains("timeout expired"),
            Program::Ssh => said.contains("timed out"),
            Program::Dig | Program::DigTcp => {
                said.contains("timed out") || said.contains("no servers could be reached")
            }
            // ping: 1 is "no answer at all".
            Program::Ping => output.code == Some(1) && said.contains(" 0 received"),
            Program::Iperf => said.contains("unable to connect") && !said.contains("refused"),
        }
    }
}

/// A large transfer with iperf3 from the clients' host 1 to the servers' host 1 (the other way
/// when `reverse`) of `megabytes` (2^20 bytes): iperf3's report.
///
/// # Errors
/// If it does not finish in a minute, or less than half is reported as received. iperf3 does not
/// count what is still in flight when the sender has sent all.
pub fn transfer(lab: &Lab, family: Family, megabytes: u64, reverse: bool) -> Result<Value> {
    let (target, size) = (address(Side::Server, 1, family), format!("{megabytes}M"));
    let mut argv = vec!["iperf3", "--json", "-c", target, "-n", &size, "--connect-timeout", "5000"];
    if reverse {
        argv.push("-R");
    }
    let output = lab.exec(Side::Client, &argv, Duration::from_secs(60))?.expect_success()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    match report["end"]["sum_received"]["bytes"].as_u64() {
        Some(received) if received >= megabytes << 19 => Ok(report),
        received => Err(Error::new(format!("{size} sent, {received:?} bytes received"))),
    }
}

/// Runs a table of attempts, in groups of eight at once: the outcome of each, in order.
pub fn run_all(lab: &Lab, table: &[(Attempt, End)]) -> Vec<Result<Outcome>> {
    let group = |group: &[(Attempt, End)]| {
        std::thread::scope(|scope| {
            let start = |&(attempt, expected): &(Attempt, End)| {
                scope.spawn(move || attempt.run_expecting(lab, expected))
            };
            let threads: Vec<_> = group.iter().map(start).collect();
            let panicked = |_| Error::new("the attempt's thread panicked");
            threads.into_iter().map(|t| t.join().map_err(panicked)?).collect::<Vec<_>>()
        })
    };
    table.chunks(8).flat_map(group).collect()
}

/// Runs a table of attempts and says which ended otherwise than expected.
///
/// # Errors
/// One line for each difference.
pub fn expect_all(lab: &Lab, table: &[(Attempt, End)]) -> Result<()> {
    let mut differences = Vec::new();
    for ((attempt, expected), outcome) in table.iter().zip(run_all(lab, table)) {
        match outcome {
            Ok(outcome) if outcome.end == *expected => {}
            Ok(Outcome { end, detail }) => {
                differences
                    .push(format!("{attempt}: expected {expected:?}, was {end:?}: {detail}"));
            }
            Err(error) => differences.push(format!("{attempt}: {error}")),
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(Error::new(differences.join("\n"))) }
}
