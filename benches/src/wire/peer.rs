//! What forwards between the two interfaces of the gateway namespace.

use super::nftables::{self, Form};
use super::trial::{Accounts, Trial};
use super::xdp::Programs;
use crate::probe;
use lab::gateway::{Gateway, GatewayOptions};
use lab::{Error, Lab, Result, Side};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Time for one command that prepares a peer.
const SETUP: Duration = Duration::from_secs(20);
/// Traffic before the first trial: tables fill, and what forwards nothing is found out.
const WARM_UP: Duration = Duration::from_millis(300);

/// One of the things measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The kernel's bridge.
    Bridge,
    /// The kernel's bridge with one nftables rule that accepts the traffic.
    BridgeNftables,
    /// An XDP program that redirects from one interface to the other without a look.
    Redirect,
    /// Bulkhead with that many rules, of which the last allows the traffic.
    Bulkhead {
        /// Rules of the policy, at least 1.
        rules: usize,
    },
    /// The kernel's bridge with a policy of [disjoint rules](probe::disjoint_rules) in nftables.
    NftablesPolicy {
        /// Rules of the policy, at least 1; the last allows the traffic.
        rules: usize,
        /// How they are written.
        form: Form,
    },
    /// Bulkhead with that policy.
    BulkheadPolicy {
        /// Rules of the policy, at least 1.
        rules: usize,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Peer::Bridge => "kernel bridge".to_owned(),
            Peer::BridgeNftables => "kernel bridge, 1 nftables rule".to_owned(),
            Peer::Redirect => "bare XDP redirect".to_owned(),
            Peer::Bulkhead { rules: 1 } | Peer::BulkheadPolicy { rules: 1 } => {
                "Bulkhead, 1 rule".to_owned()
            }
            Peer::Bulkhead { rules } | Peer::BulkheadPolicy { rules } => {
                format!("Bulkhead, {rules} rules")
            }
            Peer::NftablesPolicy { rules, form: Form::List } => {
                format!("kernel bridge, {rules} nftables rules")
            }
            Peer::NftablesPolicy { rules, form: Form::Map } => {
                format!("kernel bridge, nftables map of {rules}")
            }
        })
    }
}

impl Peer {
    /// Rules of its policy, if it has one.
    pub fn rules(self) -> Option<usize> {
        match self {
            Peer::Bulkhead { rules }
            | Peer::NftablesPolicy { rules, .. }
            | Peer::BulkheadPolicy { rules } => Some(rules),
            Peer::Bridge | Peer::BridgeNftables | Peer::Redirect => None,
        }
    }

    /// Programs that it needs besides those of every laboratory.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Peer::Bridge => &["bridge"],
            Peer::BridgeNftables | Peer::NftablesPolicy { .. } => &["bridge", "nft"],
            Peer::Redirect => &[],
            Peer::Bulkhead { .. } | Peer::BulkheadPolicy { .. } => &["curl"],
        }
    }
}

/// A peer in a laboratory of its own, ready for trials.
pub struct Stand<'lab> {
    /// What stands there.
    pub peer: Peer,
    lab: &'lab Lab,
    programs: Programs,
    accounts: Option<Accounts<'lab>>,
}

impl<'lab> Stand<'lab> {
    /// Sets `peer` up in `lab`, which nothing else uses, and sees that it forwards.
    ///
    /// # Errors
    /// If a step is refused, or nothing is forwarded.
    pub fn set_up(lab: &'lab Lab, peer: Peer, flows: u16) -> Result<Stand<'lab>> {
        let programs = Programs::load(lab, flows)?;
        programs.attach_receiver(lab)?;
        let accounts = match peer {
            Peer::Bridge => bridge(lab).map(|()| None)?,
            Peer::BridgeNftables => {
                bridge(lab)?;
                nftables(lab, &one_rule()).map(|()| None)?
            }
            Peer::NftablesPolicy { rules, form } => {
                bridge(lab)?;
                let table = nftables::table(&probe::disjoint_rules(rules), form);
                nftables(lab, &table).map(|()| None)?
            }
            Peer::Redirect => programs.attach_redirect(lab).map(|()| None)?,
            Peer::Bulkhead { rules } => Some(bulkhead(lab, probe::policy(rules, ZONES))?),
            Peer::BulkheadPolicy { rules } => {
                Some(bulkhead(lab, probe::disjoint_policy(rules, ZONES))?)
            }
        };
        let mut stand = Stand { peer, lab, programs, accounts };
        stand.programs.send(lab, WARM_UP, &AtomicBool::new(false))?;
        if stand.programs.received()? == 0 {
            return Err(Error::new(format!("{peer} forwards nothing")));
        }
        Ok(stand)
    }

    /// One trial of `duration`, cut short by `stop`.
    ///
    /// # Errors
    /// If the source fails, or a gateway does not account for every frame.
    pub fn trial(&mut self, duration: Duration, stop: &AtomicBool) -> Result<Trial> {
        if let Some(accounts) = &mut self.accounts {
            accounts.open()?;
        }
        let before = self.programs.received()?;
        let sent = self.programs.send(self.lab, duration, stop)?;
        let mut gateway = self.accounts.as_ref().map(Accounts::settle).transpose()?;
        if let Some(gateway) = &mut gateway {
            gateway.arrived = self.programs.received()? - before;
        }
        let seconds = sent.elapsed.as_secs_f64();
        Ok(Trial {
            seconds,
            offered: sent.offered,
            forwarded: sent.received,
            offered_mpps: sent.offered as f64 / seconds / 1e6,
            forwarded_mpps: sent.received as f64 / seconds / 1e6,
            gateway,
        })
    }
}

/// The kernel's bridge between the ports. Frames that are redirected into a veth's peer arrive only
/// where it has GRO on or a program of its own.
fn bridge(lab: &Lab) -> Result<()> {
    lab.bridge()?;
    run(lab, &["ethtool", "-K", "bh0", "gro", "on"])?;
    // The server never speaks, so the bridge would not learn where it is, and flood.
    let server = lab.link(Side::Server, "eth0")?;
    let mac = server["address"].as_str().unwrap_or_default();
    run(lab, &["bridge", "fdb", "replace", mac, "dev", "bh1", "master", "static"])
}

/// One rule in the way of the bridge; what it does not accept is dropped.
fn one_rule() -> String {
    let port = probe::TARGET_PORT;
    format!(
        "table bridge wire {{
            chain forward {{
                type filter hook forward priority filter; policy drop;
                udp dport {port} accept
            }}
        }}"
    )
}

fn nftables(lab: &Lab, table: &str) -> Result<()> {
    let file = lab.write("wire.nft", table)?;
    run(lab, &["nft", "-f", &file])
}

/// The zones of a laboratory's gateway: the traffic goes from the first to the second.
const ZONES: [&str; 2] = ["clients", "servers"];

/// Bulkhead with a policy and the id of the rule that allows the traffic.
fn bulkhead<'lab>(lab: &'lab Lab, (policy, rule): (String, String)) -> Result<Accounts<'lab>> {
    let options = GatewayOptions {
        poll: Some("adaptive"),
        metrics: Some(Accounts::METRICS),
        ..GatewayOptions::default()
    };
    Accounts::of(lab, Gateway::start(lab, &policy, &options)?, rule)
}

fn run(lab: &Lab, argv: &[&str]) -> Result<()> {
    lab.exec(Side::Gateway, argv, SETUP)?.expect_success().map(drop)
}
