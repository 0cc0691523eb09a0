//! Makes the captures of `pcaps/`: real clients and servers over a kernel bridge, recorded by
//! tcpdump on the clients' interface, with a README that tells how each was made.
//!
//! Usage: `make-pcaps [directory]`; the default is the workspace's `pcaps`.

use lab::capture::{self, Recording};
use lab::gateway::workspace;
use lab::need::{Need, missing};
use lab::process::{Output, run};
use lab::services::{Service, ssh_key};
use lab::{Error, Lab, Result, Side};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Time for one command of a capture.
const COMMAND: Duration = Duration::from_secs(60);

/// Kept out of every capture: multicast listener reports, which the endpoints send when they like.
const NOISE: &str = "not (ip6 and ip6[6] == 0)";

/// One capture: what runs while tcpdump records.
struct Recipe {
    file: &'static str,
    about: &'static str,
    /// Shell commands in the client namespace; `KEY` stands for the SSH key's path.
    commands: &'static [&'static str],
    filter: &'static str,
    /// Whether the commands are to fail: nobody answers.
    fails: bool,
}

const fn recipe(
    file: &'static str,
    about: &'static str,
    commands: &'static [&'static str],
) -> Recipe {
    Recipe { file, about, commands, filter: NOISE, fails: false }
}

const RECIPES: &[Recipe] = &[
    recipe(
        "http",
        "two requests on one connection, then one for a page that is not there",
        &[
            "curl -sS http://10.77.1.130/ http://10.77.1.130/index.html",
            "curl -sS http://10.77.1.130/missing",
        ],
    ),
    recipe(
        "http-v6",
        "two requests on one connection over IPv6",
        &["curl -sS http://[fd77::2:10]/ http://[fd77::2:10]/index.html"],
    ),
    recipe(
        "https",
        "TLS 1.3, then TLS 1.2",
        &["curl -sSk https://10.77.1.130/", "curl -sSk --tls-max 1.2 https://10.77.1.130/"],
    ),
    recipe(
        "postgresql",
        "create, insert, select, drop",
        &["psql -X 'host=10.77.1.130 user=postgres' -c 'create table t (id int, name text)' \
           -c \"insert into t select i, 'name ' || i from generate_series(1, 100) i\" \
           -c 'select * from t' -c 'drop table t'"],
    ),
    recipe(
        "ssh",
        "key login and one command",
        &["ssh -F none -i KEY -o BatchMode=yes -o StrictHostKeyChecking=no -o \
           UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@10.77.1.130 uname -s"],
    ),
    recipe(
        "dns",
        "A, AAAA, TXT and an unknown name over UDP, one query over TCP, one over IPv6",
        &[
            "dig +short @10.77.1.130 server.lab.test A",
            "dig +short @10.77.1.130 server.lab.test AAAA",
            "dig +short @10.77.1.130 about.lab.test TXT",
            "dig +short @10.77.1.130 missing.lab.test A",
            "dig +short +tcp @10.77.1.130 server.lab.test A",
            "dig +short @fd77::2:10 server.lab.test AAAA",
        ],
    ),
    recipe(
        "icmp-v4",
        "echo, small and large",
        &["ping -n -c 4 -i 0.2 10.77.1.130", "ping -n -c 2 -i 0.2 -s 1400 10.77.1.130"],
    ),
    recipe(
        "icmp-v6",
        "echo, small and large",
        &["ping -n -c 4 -i 0.2 fd77::2:10", "ping -n -c 2 -i 0.2 -s 1400 fd77::2:10"],
    ),
    recipe(
        "iperf3",
        "a transfer of 100 kB up, then 20 kB down",
        &["iperf3 -c 10.77.1.130 -n 100K", "iperf3 -c 10.77.1.130 -n 20K -R"],
    ),
    Recipe {
        file: "denied-telnet",
        about: "connection attempts that the bridge's nftables rule drops: SYNs and nothing else",
        commands: &[
            "curl -sS --max-time 4 http://10.77.1.130:23/",
            "curl -sS --max-time 4 http://[fd77::2:10]:23/",
        ],
        filter: "tcp port 23",
        fails: true,
    },
];

/// Drops what goes to telnet's port, for the capture of attempts that nobody answers.
const DENY_TELNET: &str = "table bridge telnet { chain forward { type filter hook forward \
                           priority 0; tcp dport 23 drop; }; }";

fn main() -> ExitCode {
    let directory = std::env::args_os().nth(1).map_or(workspace().join("pcaps"), PathBuf::from);
    match make(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make-pcaps: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(directory: &Path) -> Result<()> {
    let services = [Service::Web, Service::Postgresql, Service::Ssh, Service::Dns, Service::Iperf];
    let programs =
        ["tcpdump", "tshark", "editcap", "mergecap", "capinfos", "nft", "curl", "psql", "ssh"];
    let needs: Vec<Need> = [Need::Lab]
        .into_iter()
        .chain(services.map(Need::Service))
        .chain(programs.into_iter().chain(["dig", "ping", "iperf3"]).map(Need::Program))
        .collect();
    if let Some(why) = missing(&needs) {
        return Err(Error::new(why));
    }
    fs::create_dir_all(directory)?;
    let lab = Lab::new()?;
    lab.bridge()?;
    for service in services {
        lab.start(service)?;
    }
    for recipe in RECIPES {
        println!("{:14} {}", recipe.file, recipe.about);
        make_one(&lab, directory, recipe)?;
    }
    derive(directory)?;
    fs::write(directory.join("README.md"), readme(&lab, directory)?)?;
    Ok(())
}

/// Runs a recipe while tcpdump records; `http` is recorded three ways at once.
fn make_one(lab: &Lab, directory: &Path, recipe: &Recipe) -> Result<()> {
    // Each capture begins with address resolution, as on a network that was quiet.
    lab.forget_neighbours()?;
    if recipe.fails {
        lab.exec(Side::Gateway, &["nft", DENY_TELNET], COMMAND)?.expect_success()?;
    }
    let record = |suffix: &str, options: &[&str]| {
        let file = directory.join(format!("{}{suffix}.pcap", recipe.file));
        Recording::start(lab, (Side::Client, "eth0"), file, options, recipe.filter)
    };
    let mut recordings = vec![record("", &[])?];
    if recipe.file == "http" {
        recordings.push(record("-nanosecond", &["--time-stamp-precision", "nano"])?);
        recordings.push(record("-snap96", &["-s", "96"])?);
    }
    for command in recipe.commands {
        let command = command.replace("KEY", &ssh_key(lab).display().to_string());
        let output = lab.exec(Side::Client, &["sh", "-c", &command], COMMAND)?;
        if output.success() == recipe.fails {
            return Err(Error::new(format!("{}: {}", recipe.file, output.describe())));
        }
    }
    if recipe.fails {
        let undo = ["nft", "delete table bridge telnet"];
        lab.exec(Side::Gateway, &undo, COMMAND)?.expect_success()?;
    }
    recordings.into_iter().try_for_each(|recording| recording.finish().map(drop))
}

/// The captures that are made from other captures.
fn derive(directory: &Path) -> Result<()> {
    let file = |name: &str| directory.join(name);
    capture::edit(&["-F", "pcapng"], &file("http.pcap"), &file("http.pcapng"))?;
    let inputs: Vec<String> =
        RECIPES.iter().map(|r| file(&format!("{}.pcap", r.file)).display().to_string()).collect();
    let output = file("mixed.pcap").display().to_string();
    let mut argv = vec!["mergecap", "-F", "pcap", "-w", &output];
    argv.extend(inputs.iter().map(String::as_str));
    run(&std::env::temp_dir(), &argv, COMMAND)?.expect_success().map(drop)
}

fn readme(lab: &Lab, directory: &Path) -> Result<String> {
    let mut text = String::from(README_HEAD);
    text += "| file | packets | bytes on the wire | what |\n|---|---|---|---|\n";
    let mut row = |file: &str, about: &str| -> Result<()> {
        let (packets, bytes) = capture::totals(&directory.join(file))?;
        writeln!(text, "| {file} | {packets} | {bytes} | {about} |").map_err(|_| full())
    };
    for recipe in RECIPES {
        row(&format!("{}.pcap", recipe.file), recipe.about)?;
    }
    row("http-nanosecond.pcap", "the traffic of http.pcap, recorded with nanosecond time stamps")?;
    row("http-snap96.pcap", "the traffic of http.pcap, recorded with a snap length of 96 bytes")?;
    row("http.pcapng", "http.pcap as pcapng (`editcap -F pcapng`)")?;
    row(
        "mixed.pcap",
        "all captures that have commands below, merged in order of time (`mergecap`)",
    )?;
    text += "\n## Commands\n\nRun in the client namespace, one after the other.\n";
    for recipe in RECIPES {
        write!(text, "\n{}.pcap (tcpdump filter `{}`):\n\n", recipe.file, recipe.filter)
            .map_err(|_| full())?;
        for command in recipe.commands {
            let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(text, "    {command}").map_err(|_| full())?;
        }
    }
    text += "\n## Programs\n\n";
    for command in VERSIONS {
        let output = run(lab.dir(), &["sh", "-c", command], COMMAND)?;
        writeln!(text, "- {}", first_line(&output)).map_err(|_| full())?;
    }
    Ok(text)
}

fn full() -> Error {
    Error::new("cannot write to a string")
}

fn first_line(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr).lines().next().unwrap_or_default().to_owned()
}

/// Commands that say the versions of clients, servers and tools.
const VERSIONS: &[&str] = &[
    "curl --version | cut -d' ' -f1-2",
    "nginx -v 2>&1 | sed 's/^nginx version: //'",
    "psql --version",
    "ssh -V 2>&1",
    "dig -v 2>&1",
    "dnsmasq --version | cut -d' ' -f1-3",
    "ping -V",
    "iperf3 --version",
    "tcpdump --version 2>&1 | grep ^tcpdump",
    "mergecap --version",
    "uname -sr | sed 's/^/kernel: /'",
];

const README_HEAD: &str = "\
# Captures

Real clients and real servers, recorded in network namespaces by `make pcaps`
(`cargo run -p bulkhead-tests --bin make-pcaps`), which also writes this file. They belong to
Bulkhead and carry its licence. Nothing in them is secret: the keys were made for the recording and
are gone.

The clients' namespace and the servers' namespace are joined by a kernel bridge in a third one:
one layer 2 segment, as a wire of the gateway is. tcpdump records on the clients' interface, so both
directions are there, and address resolution (ARP, neighbour discovery) at the start of each capture.
Transmit offloads are off: packets are as a wire carries them, checksums are right, none is longer
than the MTU of 1500 bytes.

| | IPv4 | IPv6 |
|---|---|---|
| client | 10.77.1.10 | fd77::1:10 |
| server | 10.77.1.130 | fd77::2:10 |

";
