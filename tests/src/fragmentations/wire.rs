//! The sender, the gateway and the receiver, and what each of them counts.
//!
//! ```text
//!   senders (packet socket)                          Linux receiver (sockets)
//!   eth0 ------- bh0  bulkhead run (AF_XDP)  bh1 ------- eth0
//! ```

use super::datagram::{SERVER_V4, SERVER_V6};
use super::receiver::Receiver;
use crate::gateway::{Gateway, GatewayOptions, list, number};
use crate::oracle::socket::{PacketSocket, in_namespace};
use crate::{Error, Lab, Result, Side, wait};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time for a command.
const COMMAND: Duration = Duration::from_secs(30);
/// Time for counters to catch up with frames that have arrived.
const CATCH_UP: Duration = Duration::from_secs(3);
/// Most flows: of every source with the services that are allowed, and one for each TCP segment.
const FLOWS: u32 = 400_000;
/// Most frames of fragments held. What is left of datagrams with a gap stays for five seconds, and
/// an honest datagram must never have to go because of them.
const HELD: u32 = 32_768;
/// Reasons to drop a frame that are no judgement of it.
const NO_JUDGEMENT: [&str; 6] = [
    "tx_ring_full",
    "flow_table_full",
    "no_worker",
    "handover_full",
    "fragment_table_full",
    "fragment_source_full",
];
/// What the receiver's kernel counts and must not have to: packets that it cannot put together,
/// datagrams for ports that nobody has, and wrong checksums.
const COMPLAINTS: [&str; 10] = [
    "Ip:ReasmFails",
    "Ip6ReasmFails",
    "Ip:InHdrErrors",
    "Ip6InHdrErrors",
    "Udp:NoPorts",
    "Udp6NoPorts",
    "Udp:InCsumErrors",
    "Udp6InCsumErrors",
    "Icmp:InCsumErrors",
    "Icmp6InCsumErrors",
];

/// What is in force: some ports and echo requests, the rest by a rule or by default.
const POLICY: &str = r#"version: 1
zones:
  clients: { networks: [10.80.0.0/16, "fd80::/32"] }
  servers: { networks: [10.81.0.0/16, "fd81::/32"] }
services:
  open: [ { protocol: udp, ports: [7001, 7002] }, { protocol: tcp, ports: [7001] } ]
  shut: [ { protocol: udp, ports: [8001] }, { protocol: tcp, ports: [8001] } ]
  sentinel: { protocol: udp, ports: [9] }
  ping: [ { protocol: icmp, type: 8 }, { protocol: icmpv6, type: 128 } ]
rules:
  - { id: shut, from: clients, to: servers, service: shut, action: deny }
  - { id: open, from: clients, to: servers, service: [open, ping, sentinel], action: allow }
"#;

/// Everything at work.
pub(super) struct Wire<'lab> {
    lab: &'lab Lab,
    gateway: Gateway<'lab>,
    pub sender: PacketSocket,
    pub receiver: Receiver,
    /// Link-layer addresses of the sender and the receiver.
    pub macs: ([u8; 6], [u8; 6]),
    /// Queues of every interface, each with a worker of the gateway.
    pub queues: u32,
    /// Number of the last sentinels.
    pub sentinels: u64,
    before: Seen,
}

/// What was counted so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Frames that the gateway received from the senders.
    into: u64,
    /// Frames that it sent to the receiver.
    out_of: u64,
    /// Frames that it dropped without a judgement.
    unjudged: u64,
    /// Frames that it holds.
    held: u64,
    /// Frames that arrived at the receiver.
    arrived: u64,
    /// Frames and datagrams that the receiver's kernel had no room for.
    refused: u64,
    complaints: [u64; COMPLAINTS.len()],
}

/// What became of the frames of a round.
#[derive(Clone, Debug, Default)]
pub(super) struct Check {
    /// Frames that were lost, or dropped without a judgement.
    pub lost: u64,
    /// What the receiver's kernel complains of, if it does.
    pub complaint: Option<String>,
}

impl<'lab> Wire<'lab> {
    /// Starts the gateway on the `queues` of `lab` and readies both ends.
    ///
    /// # Errors
    /// What cannot be set up.
    pub(super) fn new(lab: &'lab Lab, queues: u32) -> Result<Self> {
        // Senders that answer nothing and say nothing by themselves.
        let sender = "ip addr flush dev eth0
            echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
            ip link set eth0 arp off";
        lab.exec(Side::Client, &["sh", "-ec", sender], COMMAND)?.expect_success()?;
        // The receiver has no way back to the senders, so that its kernel answers nothing. Its limits
        // for fragments are out of the way: room for the longest datagrams, and no bound on how many
        // others of the same source come in between (ip-sysctl, ipfrag_max_dist).
        let receiver = format!(
            "ip addr add {SERVER_V4}/32 dev eth0
            ip addr add {SERVER_V6}/128 dev eth0 nodad
            cd /proc/sys/net
            echo 67108864 >ipv4/ipfrag_high_thresh
            echo 67108864 >ipv6/ip6frag_high_thresh
            echo 0 >ipv4/ipfrag_max_dist
            echo 1 >ipv4/icmp_echo_ignore_all
            echo 1 >ipv6/icmp/echo_ignore_all"
        );
        lab.exec(Side::Server, &["sh", "-ec", &receiver], COMMAND)?.expect_success()?;
        let options = GatewayOptions {
            queues: Some(queues),
            flows: Some(FLOWS),
            held: Some(HELD),
            ..GatewayOptions::default()
        };
        let gateway = Gateway::start(lab, POLICY, &options)?;
        let sender = PacketSocket::open(lab, Side::Client, "eth0")?;
        let receiver = Receiver::open(lab)?;
        let macs = (mac(lab, Side::Client)?, mac(lab, Side::Server)?);
        let before = Seen::default();
        let mut wire = Wire { lab, gateway, sender, receiver, macs, queues, sentinels: 0, before };
        wire.before = wire.seen()?;
        Ok(wire)
    }

    /// What became of `sent` frames, sent since the last time.
    ///
    /// # Errors
    /// When counters cannot be read.
    pub(super) fn check(&mut self, sent: u64) -> Result<Check> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let (before, now) = (self.before.clone(), self.seen()?);
            let gone_before = sent.saturating_sub(now.into - before.into);
            let gone_behind =
                (now.out_of - before.out_of).saturating_sub(now.arrived - before.arrived);
            let refused = now.refused - before.refused + now.unjudged - before.unjudged;
            if gone_before + gone_behind > 0 && Instant::now() < deadline {
                continue;
            }
            let grown = |nth: &usize| now.complaints[*nth] > before.complaints[*nth];
            let complaint = (0..COMPLAINTS.len())
                .find(grown)
                .map(|nth| format!("{} grew to {}", COMPLAINTS[nth], now.complaints[nth]));
            self.before = now;
            self.make_room()?;
            return Ok(Check { lost: gone_before + gone_behind + refused, complaint });
        }
    }

    /// Waits until the gateway has given up so much that nothing has to go for want of room.
    fn make_room(&mut self) -> Result<()> {
        wait::until_ok("held fragments to time out", COMMAND, || {
            if self.before.held > u64::from(HELD) / 4 * 3 {
                self.before.held = self.seen()?.held;
                return Err(Error::new(format!("{} frames are held", self.before.held)));
            }
            Ok(())
        })
    }

    /// Frames that the gateway dropped, by reason.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let drops = self.gateway.drops()?;
        let mut sums = BTreeMap::new();
        // By port and reason.
        for total in list(&drops["totals"]) {
            let reason = total["reason"].as_str().unwrap_or_default().to_owned();
            *sums.entry(reason).or_default() += number(total, "packets")?;
        }
        sums.retain(|_, count| *count > 0);
        Ok(sums)
    }

    /// Stops the gateway, after checking conservation.
    ///
    /// # Errors
    /// Those of [`Gateway::stop`].
    pub(super) fn stop(self) -> Result<()> {
        self.gateway.stop()
    }

    fn seen(&self) -> Result<Seen> {
        let status = self.gateway.status()?;
        let port = |name: &str| {
            let found = list(&status["ports"]).iter().find(|port| port["interface"] == name);
            found.ok_or_else(|| Error::new(format!("no {name} in {status}")))
        };
        let drops = self.drops()?;
        let text = in_namespace(self.lab, Side::Server, || {
            // Of the thread: the process is in another namespace.
            let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            Ok([read("dev")?, read("snmp")?, read("snmp6")?])
        })?;
        let (arrived, dropped) = device(&text[0], "eth0")?;
        let counter = |name: &str| kernel_counter(&text[1], &text[2], name);
        let full = counter("Udp:RcvbufErrors")? + counter("Udp6RcvbufErrors")?;
        let mut complaints = [0; COMPLAINTS.len()];
        for (count, name) in complaints.iter_mut().zip(COMPLAINTS) {
            *count = counter(name)?;
        }
        Ok(Seen {
            into: number(&port("bh0")?["rx"], "packets")?,
            out_of: number(&port("bh1")?["tx"], "packets")?,
            unjudged: NO_JUDGEMENT.iter().filter_map(|reason| drops.get(*reason)).sum(),
            held: number(port("bh0")?, "held")?,
            arrived,
            refused: dropped + full,
            complaints,
        })
    }
}

fn mac(lab: &Lab, side: Side) -> Result<[u8; 6]> {
    let link = lab.link(side, "eth0")?;
    let text = link["address"].as_str().unwrap_or_default();
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Error::new(format!("not a link-layer address: {text}")))
}

/// Packets received by an interface and received packets dropped, as in `/proc/net/dev`.
fn device(text: &str, interface: &str) -> Result<(u64, u64)> {
    let missing = || Error::new(format!("no counters of {interface} in {text}"));
    let prefix = format!("{interface}:");
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&prefix));
    let fields: Vec<&str> = line.ok_or_else(missing)?.split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse().ok()).ok_or_else(missing);
    Ok((field(1)?, field(3)?))
}

/// A counter of the kernel: `Group:Name` of `/proc/net/snmp`, which has a line of names and a line of
/// values for each group; any other of `/proc/net/snmp6`, which has a line for each.
fn kernel_counter(snmp: &str, snmp6: &str, name: &str) -> Result<u64> {
    let missing = || Error::new(format!("the kernel does not count {name}"));
    let value = match name.split_once(':') {
        Some((group, name)) => {
            let mut lines =
                snmp.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
            let (names, values) = (lines.next().ok_or_else(missing)?, lines.next());
            let nth = names.split_whitespace().position(|other| other == name);
            values.unwrap_or_default().split_whitespace().nth(nth.ok_or_else(missing)?)
        }
        None => snmp6.lines().find_map(|line| {
            let (other, value) = line.split_once(char::is_whitespace)?;
            (other == name).then_some(value.trim())
        }),
    };
    value.and_then(|value| value.parse().ok()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_names() {
        let dev = "Inter-| Receive\n  lo: 1 2 3 4 5 6 7 8\neth0: 100 20 0 3 0 0 0 0 9 9\n";
        assert_eq!(device(dev, "eth0").unwrap(), (20, 3));
        assert!(device(dev, "eth1").is_err());
        let snmp = "Ip: Forwarding ReasmFails\nIp: 1 7\nUdp: NoPorts\nUdp: 5\n";
        let snmp6 = "Ip6InReceives \t 3\nIp6ReasmFails   \t11\n";
        assert_eq!(kernel_counter(snmp, snmp6, "Ip:ReasmFails").unwrap(), 7);
        assert_eq!(kernel_counter(snmp, snmp6, "Udp:NoPorts").unwrap(), 5);
        assert_eq!(kernel_counter(snmp, snmp6, "Ip6ReasmFails").unwrap(), 11);
        assert!(kernel_counter(snmp, snmp6, "Udp:InErrors").is_err());
        assert!(kernel_counter(snmp, snmp6, "Udp6NoPorts").is_err());
    }
}
