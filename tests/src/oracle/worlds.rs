//! The two worlds that get the same packets: a wire with Bulkhead, and a router with nftables.
//!
//! ```text
//!   far end (left)     middle                            far end (right)
//!   eth0 ------------- bh0  bulkhead run (AF_XDP)  bh1 ------------- eth0
//!   eth0 ------------- bh0  Linux router, nftables bh1 ------------- eth0
//! ```
//!
//! The router sends whatever comes in by one port out by the other, as a wire does: a routing table
//! for each port of arrival, neighbours that are known, no addresses of its own. The far ends hear
//! and send by packet sockets and answer nothing.

use super::packet::End;
use super::policy::ZONES;
use super::socket::{PacketSocket, counters, flush_conntrack};
use crate::gateway::{Gateway, GatewayOptions, bulkhead, list, number};
use crate::{Error, Lab, Result, Side, wait};
use std::time::Duration;

/// Time for a command.
const COMMAND: Duration = Duration::from_secs(30);
/// Time for counters to catch up with frames that have arrived.
const CATCH_UP: Duration = Duration::from_secs(3);
/// Most flows; the gateway is started anew when half of them are taken.
const FLOWS: u32 = 400_000;
/// Reasons to drop a packet that are no judgement of it.
const NO_JUDGEMENT: [&str; 4] = ["tx_ring_full", "flow_table_full", "flow_inbox_full", "no_worker"];

/// One of the two worlds, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    Gateway,
    Nftables,
}

impl World {
    pub(super) const BOTH: [World; 2] = [World::Gateway, World::Nftables];
}

impl End {
    fn side(self) -> Side {
        match self {
            End::Left => Side::Client,
            End::Right => Side::Server,
        }
    }

    fn port(self) -> &'static str {
        match self {
            End::Left => "bh0",
            End::Right => "bh1",
        }
    }
}

/// Frames by world and end.
type Counts = [[u64; 2]; 2];

/// What the kernel and the gateway count: frames in by each end's port, and frames out by it.
#[derive(Clone, Copy, Default)]
struct Seen {
    into: Counts,
    out_of: Counts,
    /// Packets dropped without a judgement.
    unjudged: u64,
}

/// Both worlds at work.
pub(super) struct Worlds<'lab> {
    wire: &'lab Lab,
    router: &'lab Lab,
    gateway: Gateway<'lab>,
    sockets: [[PacketSocket; 2]; 2],
    sent: Counts,
    received: Counts,
    /// What was counted before the first frame.
    base: Seen,
    flows: u64,
}

impl<'lab> Worlds<'lab> {
    /// Starts the gateway with `policy` on `wire`, and makes a router of `router`.
    ///
    /// # Errors
    /// What cannot be set up.
    pub(super) fn new(wire: &'lab Lab, router: &'lab Lab, policy: &str) -> Result<Self> {
        make_router(router)?;
        let open = |lab: &Lab, end: End| {
            quieten(lab, end.side())?;
            PacketSocket::open(lab, end.side(), "eth0")
        };
        let both = |lab| -> Result<_> { Ok([open(lab, End::Left)?, open(lab, End::Right)?]) };
        let sockets = [both(wire)?, both(router)?];
        let mut worlds = Worlds {
            wire,
            router,
            gateway: start(wire, policy)?,
            sockets,
            sent: Counts::default(),
            received: Counts::default(),
            base: Seen::default(),
            flows: 0,
        };
        worlds.begin_counting()?;
        Ok(worlds)
    }

    /// Puts `policy` in force in both worlds, and has the kernel forget its connections.
    ///
    /// # Errors
    /// What is refused.
    pub(super) fn install(&mut self, policy: &str) -> Result<()> {
        self.gateway.apply(policy)?;
        let file = self.router.write("policy.yaml", policy)?;
        let rules = self.router.dir().join("policy.nft").display().to_string();
        let zones = [(ZONES[0], "bh0"), (ZONES[1], "bh1"), (ZONES[2], "elsewhere")]
            .map(|(zone, interface)| format!("{zone}={interface}"));
        let mut argv = vec!["export", "nft", &file, "--hardened", "--out", &rules];
        argv.extend(zones.iter().flat_map(|zone| ["--zone", zone]));
        bulkhead(self.router.dir(), &argv, COMMAND)?.expect_success()?;
        self.router.exec(Side::Gateway, &["nft", "-f", &rules], COMMAND)?.expect_success()?;
        flush_conntrack(self.router, Side::Gateway)
    }

    /// Starts the gateway anew, without flows.
    ///
    /// # Errors
    /// What keeps it from stopping or starting.
    pub(super) fn forget_flows(self, policy: &str) -> Result<Self> {
        let Worlds { wire, router, gateway, sockets, .. } = self;
        gateway.stop()?;
        let (sent, received, base) = <(Counts, Counts, Seen)>::default();
        let gateway = start(wire, policy)?;
        let mut worlds = Worlds { wire, router, gateway, sockets, sent, received, base, flows: 0 };
        worlds.begin_counting()?;
        Ok(worlds)
    }

    /// Whether the gateway knows so many flows that it should forget them before the next policy.
    pub(super) fn is_crowded(&self) -> bool {
        self.flows > u64::from(FLOWS) / 2
    }

    /// Sends `frames` out of the far end `from` of `world`.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn send(&mut self, world: World, from: End, frames: &[&[u8]]) -> Result<()> {
        self.sockets[world as usize][from as usize].send(frames)?;
        self.sent[world as usize][from as usize] += frames.len() as u64;
        Ok(())
    }

    /// Hands what has arrived at the far end `at` of `world` to `each`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn receive(
        &mut self,
        world: World,
        at: End,
        mut each: impl FnMut(&[u8]),
    ) -> Result<()> {
        let received = &mut self.received[world as usize][at as usize];
        self.sockets[world as usize][at as usize].receive(|frame| {
            *received += 1;
            each(frame);
        })?;
        Ok(())
    }

    /// Starts counting from here: what is on its way is left out.
    ///
    /// # Errors
    /// When counters cannot be read.
    pub(super) fn begin_counting(&mut self) -> Result<()> {
        for world in World::BOTH {
            for end in End::BOTH {
                self.receive(world, end, |_| ())?;
                self.sockets[world as usize][end as usize].lost()?;
            }
        }
        self.sent = Counts::default();
        self.received = Counts::default();
        self.base = self.seen()?;
        Ok(())
    }

    /// Checks that no frame was lost since counting began: that all that were sent came to where
    /// they are judged, and all that left it to the far end.
    ///
    /// # Errors
    /// Which did not.
    pub(super) fn check_losses(&mut self) -> Result<()> {
        for (world, name) in [(World::Gateway, "gateway"), (World::Nftables, "router")] {
            for end in End::BOTH {
                let lost = self.sockets[world as usize][end as usize].lost()?;
                if lost > 0 {
                    let port = end.port();
                    return Err(Error::new(format!(
                        "{lost} frames lost behind {port} of the {name}"
                    )));
                }
            }
        }
        wait::until_ok("the counters", CATCH_UP, || {
            let seen = self.seen()?;
            if seen.unjudged != self.base.unjudged {
                return Err(Error::new("packets were dropped without a judgement"));
            }
            let mut all = String::new();
            for (w, name) in ["gateway", "router"].into_iter().enumerate() {
                for e in End::BOTH.map(|end| end as usize) {
                    let (sent, got) = (self.sent[w][e], self.received[w][e]);
                    let into = seen.into[w][e] - self.base.into[w][e];
                    let out_of = seen.out_of[w][e] - self.base.out_of[w][e];
                    if (sent, got) != (into, out_of) {
                        let port = End::BOTH[e].port();
                        all += &format!(
                            "{port} of the {name} got {into} of {sent} frames, and {got} of \
                             {out_of} came from it; "
                        );
                    }
                }
            }
            if all.is_empty() { Ok(()) } else { Err(Error::new(all)) }
        })
    }

    fn seen(&mut self) -> Result<Seen> {
        let status = self.gateway.status()?;
        let drops = self.gateway.drops()?;
        self.flows = number(&status["flows"], "open")?;
        let mut seen = Seen::default();
        for end in End::BOTH {
            let ports = list(&status["ports"]);
            let port = ports.iter().find(|port| port["interface"] == end.port());
            let port = port.ok_or_else(|| Error::new(format!("no {} in {status}", end.port())))?;
            seen.into[World::Gateway as usize][end as usize] = number(&port["rx"], "packets")?;
            seen.out_of[World::Gateway as usize][end as usize] = number(&port["tx"], "packets")?;
        }
        for total in list(&drops["totals"]) {
            if NO_JUDGEMENT.iter().any(|reason| total["reason"] == *reason) {
                seen.unjudged += number(total, "packets")?;
            }
        }
        let text = counters(self.router, Side::Gateway)?;
        for end in End::BOTH {
            let (received, sent) = device(&text, end.port())?;
            seen.into[World::Nftables as usize][end as usize] = received;
            seen.out_of[World::Nftables as usize][end as usize] = sent;
        }
        seen.unjudged += conntrack_drops(&text)?;
        Ok(seen)
    }

    /// Stops the gateway, after checking conservation.
    ///
    /// # Errors
    /// Those of [`Gateway::stop`].
    pub(super) fn stop(self) -> Result<()> {
        self.gateway.stop()
    }
}

fn start<'lab>(wire: &'lab Lab, policy: &str) -> Result<Gateway<'lab>> {
    let options = GatewayOptions { flows: Some(FLOWS), ..GatewayOptions::default() };
    Gateway::start(wire, policy, &options)
}

/// Packets received and sent by an interface, as in `/proc/net/dev`.
fn device(text: &str, interface: &str) -> Result<(u64, u64)> {
    let missing = || Error::new(format!("no counters of {interface} in {text}"));
    let prefix = format!("{interface}:");
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&prefix));
    let fields: Vec<&str> = line.ok_or_else(missing)?.split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse().ok()).ok_or_else(missing);
    Ok((field(1)?, field(9)?))
}

/// Packets that connection tracking dropped for want of room or in a race: a line for each core,
/// hexadecimal, under the names of the columns.
fn conntrack_drops(text: &str) -> Result<u64> {
    let missing = || Error::new(format!("no counters of connection tracking in {text}"));
    let mut lines = text.lines().skip_while(|line| !line.contains("early_drop"));
    let names: Vec<&str> = lines.next().ok_or_else(missing)?.split_whitespace().collect();
    let mut total = 0;
    for line in lines {
        for (name, value) in names.iter().zip(line.split_whitespace()) {
            if ["insert_failed", "drop", "early_drop"].contains(name) {
                total += u64::from_str_radix(value, 16).map_err(|_| missing())?;
            }
        }
    }
    Ok(total)
}

/// Has a far end answer nothing: no addresses, and what it hears ends with the packet socket.
fn quieten(lab: &Lab, side: Side) -> Result<()> {
    let script = "
        ip addr flush dev eth0
        echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
        ip link set eth0 arp off
        nft add table netdev quiet
        nft add chain netdev quiet silence \
            '{ type filter hook ingress device eth0 priority 0; policy drop; }'";
    lab.exec(side, &["sh", "-ec", script], COMMAND)?.expect_success().map(drop)
}

/// Has the middle route between its two ports. What the kernel judges by itself, before the rules
/// are asked, is as little as it can be told.
fn make_router(lab: &Lab) -> Result<()> {
    let mut script = String::from(
        "set_all() { for i in all default bh0 bh1; do echo $3 >/proc/sys/net/$1/conf/$i/$2; done; }
        ip link set bh0 addrgenmode none
        ip link set bh1 addrgenmode none
        set_all ipv6 accept_ra 0
        set_all ipv6 disable_ipv6 0
        set_all ipv6 accept_source_route 1
        set_all ipv6 forwarding 1
        set_all ipv4 rp_filter 0
        set_all ipv4 send_redirects 0
        set_all ipv4 accept_source_route 1
        set_all ipv4 forwarding 1
        cd /proc/sys/net/netfilter
        echo 0 >nf_conntrack_tcp_loose
        echo 0 >nf_conntrack_tcp_be_liberal
        echo 1 >nf_conntrack_checksum
        nft 'table inet quiet { chain out { type filter hook output priority 0; policy drop; }; }'
        ",
    );
    let mac = |bytes: [u8; 6]| bytes.map(|b| format!("{b:02x}")).join(":");
    // Both before any neighbour: a port forgets its neighbours with its address.
    for end in End::BOTH {
        script += &format!("ip link set {} address {}\n", end.port(), mac(end.router_mac()));
    }
    for (end, table) in End::BOTH.into_iter().zip([100, 101]) {
        let (port, out, next) = (end.port(), end.other().port(), mac(end.other().mac()));
        script += &format!(
            "ip neigh replace 192.0.2.1 lladdr {next} dev {out} nud permanent
            ip neigh replace fe80::1 lladdr {next} dev {out} nud permanent
            ip route add default via 192.0.2.1 dev {out} onlink table {table}
            ip -6 route add default via fe80::1 dev {out} table {table}
            ip rule add iif {port} lookup {table}
            ip -6 rule add iif {port} lookup {table}
            "
        );
    }
    lab.exec(Side::Gateway, &["sh", "-ec", &script], COMMAND)?.expect_success().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_the_names_of_their_columns() {
        let text = "Inter-|   Receive   |  Transmit\n   bh0: 1 20 3 4 5 6 7 8 9 100 11\n  bh1:0 0 0 0 0 \
                    0 0 0 0 0 0\nentries  found insert insert_failed drop early_drop icmp_error\n\
                    00 01 02 03 04 0a 07\n00 00 00 10 00 00 00\n";
        assert_eq!(device(text, "bh0").unwrap(), (20, 100));
        assert!(device(text, "bh2").is_err());
        assert_eq!(conntrack_drops(text).unwrap(), 3 + 4 + 10 + 16);
    }
}
