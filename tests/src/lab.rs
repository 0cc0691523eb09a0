//! Three network namespaces and the two veth pairs that join them.

use crate::process::{self, Output, Running};
use crate::services::Service;
use crate::{Error, Result, wait};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Time for one command that makes or removes a part of the laboratory.
const SETUP: Duration = Duration::from_secs(20);

/// One of the three namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the clients are: interface `eth0`.
    Client,
    /// Where the gateway runs: `bh0` towards the clients, `bh1` towards the servers.
    Gateway,
    /// Where the services are: interface `eth0`.
    Server,
}

/// IP version of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The address of host `host` (1 or 2) on `side`.
///
/// # Panics
/// For the gateway, which has no addresses, and for hosts that do not exist.
pub fn address(side: Side, host: u8, family: Family) -> &'static str {
    match (side, host, family) {
        (Side::Client, 1, Family::V4) => "10.77.1.10",
        (Side::Client, 2, Family::V4) => "10.77.1.11",
        (Side::Client, 1, Family::V6) => "fd77::1:10",
        (Side::Client, 2, Family::V6) => "fd77::1:11",
        (Side::Server, 1, Family::V4) => "10.77.1.130",
        (Side::Server, 2, Family::V4) => "10.77.1.131",
        (Side::Server, 1, Family::V6) => "fd77::2:10",
        (Side::Server, 2, Family::V6) => "fd77::2:11",
        _ => panic!("no host {host} on {side:?}"),
    }
}

/// How the veth pairs are made.
#[derive(Clone, Copy, Debug)]
pub struct LabOptions {
    /// Receive and transmit queues of every interface.
    pub queues: u32,
    /// MTU of every interface, bytes.
    pub mtu: u32,
}

impl Default for LabOptions {
    fn default() -> Self {
        LabOptions { queues: 1, mtu: 1500 }
    }
}

/// What the kernel counted on one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// The laboratory. Dropped, also by a panic, it ends what runs in it and removes its namespaces.
#[derive(Debug)]
pub struct Lab {
    name: String,
    dir: TempDir,
    pub(crate) services: Mutex<Vec<(Service, Running)>>,
}

impl Lab {
    /// Single-queue veth pairs with an MTU of 1500 bytes.
    ///
    /// # Errors
    /// If a namespace or interface cannot be made.
    pub fn new() -> Result<Lab> {
        Lab::with(LabOptions::default())
    }

    /// Namespaces, veth pairs and addresses as `options` say.
    ///
    /// # Errors
    /// If a namespace or interface cannot be made.
    pub fn with(options: LabOptions) -> Result<Lab> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        static SWEEP: Once = Once::new();
        let dir = TempDir::with_prefix("bulkhead-lab-")?;
        // Services and unprivileged programs read their files here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        SWEEP.call_once(|| remove_namespaces_of_the_dead(dir.path()));
        let name = format!("bh-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // From here on a failure drops the lab, which removes what was made.
        let lab = Lab { name, dir, services: Mutex::new(Vec::new()) };
        lab.build(options)?;
        Ok(lab)
    }

    fn build(&self, options: LabOptions) -> Result<()> {
        for side in [Side::Client, Side::Gateway, Side::Server] {
            self.host(&["ip", "netns", "add", &self.namespace(side)])?;
            // Defaults apply to interfaces made later. An endpoint speaks when it is spoken to; the
            // gateway's own kernel never speaks.
            let settings: &[(&str, &str)] = match side {
                Side::Gateway => &[("all/disable_ipv6", "1"), ("default/disable_ipv6", "1")],
                _ => &[
                    ("default/accept_dad", "0"),
                    ("default/accept_ra", "0"),
                    ("default/router_solicitations", "0"),
                ],
            };
            let script: String = settings
                .iter()
                .map(|(key, value)| format!("echo {value} >/proc/sys/net/ipv6/conf/{key}; "))
                .collect();
            self.exec(side, &["sh", "-ec", &script], SETUP)?.expect_success()?;
            self.ip(side, "link set lo up")?;
        }
        self.join(Side::Client, "bh0", options)?;
        self.join(Side::Server, "bh1", options)?;
        self.wait_for_carrier()
    }

    /// A veth pair between `side` and the gateway, whose end is named `port`.
    fn join(&self, side: Side, port: &str, options: LabOptions) -> Result<()> {
        let LabOptions { queues, mtu } = options;
        let size = format!("mtu {mtu} numrxqueues {queues} numtxqueues {queues}");
        let (gateway, end) = (self.namespace(Side::Gateway), self.namespace(side));
        let add = format!(
            "link add name {port} {size} netns {gateway} type veth peer name eth0 {size} netns {end}"
        );
        self.ip(Side::Gateway, &add)?;
        // Without these the endpoints would send partial checksums and frames larger than the
        // MTU, which a real wire never carries.
        let offloads = ["tx", "rx", "tso", "gso", "gro", "sg"];
        for (place, interface) in [(Side::Gateway, port), (side, "eth0")] {
            let mut argv = vec!["ethtool", "-K", interface];
            argv.extend(offloads.iter().flat_map(|o| [*o, "off"]));
            self.exec(place, &argv, SETUP)?.expect_success()?;
        }
        for host in [1, 2] {
            self.ip(side, &format!("addr add {}/24 dev eth0", address(side, host, Family::V4)))?;
            let v6 = address(side, host, Family::V6);
            // Deprecated: never the source that the kernel chooses, but one that can be bound.
            let life = if host == 1 { "" } else { "preferred_lft 0" };
            self.ip(side, &format!("addr add {v6}/64 dev eth0 nodad {life}"))?;
        }
        self.ip(side, "link set eth0 up")?;
        self.ip(Side::Gateway, &format!("link set {port} up"))
    }

    fn wait_for_carrier(&self) -> Result<()> {
        for (side, interface) in [(Side::Client, "eth0"), (Side::Server, "eth0")] {
            let what = format!("carrier on {interface} of {side:?}");
            wait::until(&what, SETUP, || {
                let link = self.link(side, interface).ok()?;
                (link["operstate"] == "UP").then_some(())
            })?;
        }
        Ok(())
    }

    /// Joins the two ports with the kernel's bridge, in the gateway's place: for captures and for
    /// the control experiment that everything passes where nobody judges.
    ///
    /// # Errors
    /// If the bridge cannot be made.
    pub fn bridge(&self) -> Result<()> {
        self.ip(Side::Gateway, "link add br0 type bridge mcast_snooping 0")?;
        for port in ["bh0", "bh1"] {
            self.ip(Side::Gateway, &format!("link set {port} master br0"))?;
        }
        self.ip(Side::Gateway, "link set br0 up")
    }

    /// Tells both ends the other's link-layer addresses, so that no address resolution is needed.
    ///
    /// # Errors
    /// If an entry cannot be made.
    pub fn set_neighbours(&self) -> Result<()> {
        for (side, other) in [(Side::Client, Side::Server), (Side::Server, Side::Client)] {
            let link = self.link(other, "eth0")?;
            let mac = link["address"].as_str().unwrap_or_default();
            for host in [1, 2] {
                for family in [Family::V4, Family::V6] {
                    let ip = address(other, host, family);
                    let entry = format!("neigh replace {ip} lladdr {mac} dev eth0 nud permanent");
                    self.ip(side, &entry)?;
                }
            }
        }
        Ok(())
    }

    /// Has both ends forget what address resolution told them, failures included: after a time
    /// without an answer they would not ask again at once.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn forget_neighbours(&self) -> Result<()> {
        self.ip(Side::Client, "neigh flush dev eth0")?;
        self.ip(Side::Server, "neigh flush dev eth0")
    }

    /// Takes both ends' addresses away: their kernels then say nothing, whatever arrives, and what
    /// comes out of the gateway is what was put in.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn silence(&self) -> Result<()> {
        for side in [Side::Client, Side::Server] {
            let argv = ["sh", "-ec", "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6"];
            self.exec(side, &argv, SETUP)?.expect_success()?;
            self.ip(side, "addr flush dev eth0")?;
            self.ip(side, "link set eth0 arp off")?;
        }
        Ok(())
    }

    /// Name of a namespace, for messages and `ip`.
    pub fn namespace(&self, side: Side) -> String {
        let suffix = match side {
            Side::Client => "cl",
            Side::Gateway => "gw",
            Side::Server => "sv",
        };
        format!("{}-{suffix}", self.name)
    }

    /// Directory for the files of this laboratory; removed with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes `text` to the file `name` of the laboratory's directory; its path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.dir().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Runs a command in the namespace of `side` for at most `limit`.
    ///
    /// # Errors
    /// If it cannot be started; what it answers is in the output.
    pub fn exec(&self, side: Side, argv: &[&str], limit: Duration) -> Result<Output> {
        self.spawn(side, argv)?.finish(limit)
    }

    /// Starts a command in the namespace of `side`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, side: Side, argv: &[&str]) -> Result<Running> {
        let namespace = self.namespace(side);
        let mut full = vec!["ip", "netns", "exec", &namespace];
        full.extend(argv);
        process::spawn(self.dir(), &full)
    }

    /// `ip <command>` in the namespace of `side`; words are separated by blanks.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn ip(&self, side: Side, command: &str) -> Result<()> {
        let namespace = self.namespace(side);
        let mut argv = vec!["ip", "-n", &namespace];
        argv.extend(command.split_whitespace());
        self.host(&argv)
    }

    /// What `ip -j -s -d link show` says about an interface.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn link(&self, side: Side, interface: &str) -> Result<Value> {
        let namespace = self.namespace(side);
        let argv = ["ip", "-n", &namespace, "-j", "-s", "-d", "link", "show", "dev", interface];
        let output = process::run(self.dir(), &argv, SETUP)?.expect_success()?;
        let mut links: Value = serde_json::from_str(&output.stdout)?;
        Ok(links[0].take())
    }

    /// The id of the XDP program on an interface, if it carries one.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn xdp_program(&self, side: Side, interface: &str) -> Result<Option<u64>> {
        Ok(self.link(side, interface)?["xdp"]["prog"]["id"].as_u64())
    }

    /// The kernel's counters of an interface.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn link_stats(&self, side: Side, interface: &str) -> Result<LinkStats> {
        let link = self.link(side, interface)?;
        let counter = |direction: &str, unit: &str| {
            link["stats64"][direction][unit]
                .as_u64()
                .ok_or_else(|| Error::new(format!("no {direction} {unit} of {interface}: {link}")))
        };
        Ok(LinkStats {
            rx_packets: counter("rx", "packets")?,
            rx_bytes: counter("rx", "bytes")?,
            tx_packets: counter("tx", "packets")?,
            tx_bytes: counter("tx", "bytes")?,
        })
    }

    fn host(&self, argv: &[&str]) -> Result<()> {
        process::run(self.dir(), argv, SETUP)?.expect_success().map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut services =
            std::mem::take(&mut *self.services.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some((_, mut running)) = services.pop() {
            running.stop();
        }
        for side in [Side::Client, Side::Gateway, Side::Server] {
            remove_namespace(self.dir(), &self.namespace(side));
        }
    }
}

/// Ends what still runs in a namespace (children of the services, such as sshd's sessions) and
/// removes it. Nobody is left to hear of a failure.
fn remove_namespace(dir: &Path, namespace: &str) {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        for pid in pids_in(dir, namespace) {
            // SAFETY: kill takes two integers. The process is in a namespace that only this
            // laboratory put processes into.
            unsafe { libc::kill(pid, signal) };
        }
        let empty = || pids_in(dir, namespace).is_empty().then_some(());
        if wait::until("the namespace to be empty", Duration::from_secs(3), empty).is_ok() {
            break;
        }
    }
    let _ = process::run(dir, &["ip", "netns", "del", namespace], SETUP);
}

fn pids_in(dir: &Path, namespace: &str) -> Vec<i32> {
    process::run(dir, &["ip", "netns", "pids", namespace], SETUP)
        .map(|o| o.stdout.split_whitespace().filter_map(|p| p.parse().ok()).collect())
        .unwrap_or_default()
}

/// Removes the empty namespaces of laboratories whose process was killed before it could.
fn remove_namespaces_of_the_dead(dir: &Path) {
    let names = process::run(dir, &["ip", "netns", "list"], SETUP);
    for line in names.map(|o| o.stdout).unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name
            .strip_prefix("bh-")
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            && pids_in(dir, name).is_empty()
        {
            let _ = process::run(dir, &["ip", "netns", "del", name], SETUP);
        }
    }
}
