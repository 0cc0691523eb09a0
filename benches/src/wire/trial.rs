//! One trial, and what a gateway says about it.

use lab::exposition::{Series, parse, sum};
use lab::gateway::{Gateway, conservation, number};
use lab::{Error, Lab, Result, Side, wait};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// Time for frames in flight to come to their end.
const QUIET: Duration = Duration::from_secs(2);
/// The core that a gateway's worker has to itself.
const WORKER_CORE: u64 = 1;

/// What one trial came to.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// How long the source ran.
    pub seconds: f64,
    /// Frames that the source gave to the client's interface.
    pub offered: u64,
    /// Frames that had come to the server when the source ended.
    pub forwarded: u64,
    /// Million frames per second, offered.
    pub offered_mpps: f64,
    /// Million frames per second, forwarded.
    pub forwarded_mpps: f64,
    /// What the gateway counted, where it was Bulkhead.
    pub gateway: Option<Conserved>,
}

/// Frames of one trial as Bulkhead counted them, from the client's port: received = transmitted +
/// dropped + held has been checked, on both ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conserved {
    /// Received.
    pub received: u64,
    /// Transmitted by the other port.
    pub transmitted: u64,
    /// Dropped.
    pub dropped: u64,
    /// Held when it was quiet again.
    pub held: u64,
    /// Of the transmitted, those that came to the server: the kernel drops what the server's
    /// interface has no room for.
    pub arrived: u64,
    /// What the kernel dropped before they became Bulkhead's.
    pub socket: Socket,
}

/// The kernel's counters of the AF_XDP sockets (`XDP_STATISTICS`), both ports together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// Dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times the fill ring was found empty.
    pub rx_fill_ring_empty: u64,
    /// Dropped for other reasons.
    pub rx_dropped: u64,
}

/// A running gateway and its counters when the trial began.
pub(super) struct Accounts<'lab> {
    lab: &'lab Lab,
    gateway: Gateway<'lab>,
    /// Id of the rule that allows the traffic.
    rule: String,
    before: Totals,
}

/// Counters of the gateway since it started.
#[derive(Clone, Copy, Default)]
struct Totals {
    frames: Conserved,
    hits: u64,
}

impl<'lab> Accounts<'lab> {
    /// Where the gateway offers its metrics, in its own namespace.
    pub const METRICS: &'static str = "127.0.0.1:9464";

    /// The accounts of `gateway`.
    pub fn of(lab: &'lab Lab, gateway: Gateway<'lab>, rule: String) -> Result<Self> {
        let status = gateway.status()?;
        let worker = &status["workers"][0];
        if worker["core"] != WORKER_CORE {
            return Err(Error::new(format!("the worker is not on core {WORKER_CORE}: {worker}")));
        }
        if status["ports"][0]["mode"] != "native" {
            return Err(Error::new(format!("not in native mode: {}", status["ports"][0])));
        }
        Ok(Accounts { lab, gateway, rule, before: Totals::default() })
    }

    /// Begins a trial.
    pub fn open(&mut self) -> Result<()> {
        self.before = self.totals()?;
        Ok(())
    }

    /// Ends a trial: what came since it began. What arrived at the server is for the caller to say.
    ///
    /// # Errors
    /// If frames are unaccounted for, or another rule than the one meant let them through.
    pub fn settle(&self) -> Result<Conserved> {
        let Totals { frames: now, hits } = self.totals()?;
        let before = self.before.frames;
        let frames = Conserved {
            received: now.received - before.received,
            transmitted: now.transmitted - before.transmitted,
            dropped: now.dropped - before.dropped,
            held: now.held,
            arrived: 0,
            socket: now.socket.since(before.socket),
        };
        let hits = hits - self.before.hits;
        // A frame that found the transmit ring full was allowed by the rule and then dropped.
        if hits < frames.transmitted || hits > frames.received {
            return Err(Error::new(format!("rule {} was hit {hits} times: {frames:?}", self.rule)));
        }
        Ok(frames)
    }

    /// The counters once nothing is under way any more.
    fn totals(&self) -> Result<Totals> {
        let status = wait::until_ok("conservation", QUIET, || {
            let status = self.gateway.status()?;
            conservation(&status)?;
            Ok(status)
        })?;
        let [left, right] = [0, 1].map(|port| &status["ports"][port]);
        let packets = |port: &Value, direction: &str| number(&port[direction], "packets");
        let frames = Conserved {
            received: packets(left, "rx")?,
            transmitted: packets(right, "tx")?,
            dropped: number(left, "drops")?,
            held: number(left, "held")?,
            arrived: 0,
            socket: Socket::of(&self.scrape()?),
        };
        Ok(Totals { frames, hits: self.gateway.hits(&self.rule)? })
    }

    fn scrape(&self) -> Result<Series> {
        let url = format!("http://{}/metrics", Self::METRICS);
        let argv = ["curl", "-sS", "--fail", "--max-time", "5", &url];
        parse(&self.lab.exec(Side::Gateway, &argv, QUIET * 5)?.expect_success()?.stdout)
    }
}

impl Conserved {
    /// The counts of several trials together.
    pub fn plus(self, other: Conserved) -> Conserved {
        Conserved {
            received: self.received + other.received,
            transmitted: self.transmitted + other.transmitted,
            dropped: self.dropped + other.dropped,
            held: self.held + other.held,
            arrived: self.arrived + other.arrived,
            socket: self.socket.plus(other.socket),
        }
    }
}

impl Socket {
    fn of(series: &Series) -> Self {
        let total = |name: &str| sum(series, &format!("bulkhead_socket_{name}_total"), &[]) as u64;
        Socket {
            rx_ring_full: total("rx_ring_full"),
            rx_fill_ring_empty: total("rx_fill_ring_empty"),
            rx_dropped: total("rx_dropped"),
        }
    }

    fn since(self, before: Socket) -> Socket {
        Socket {
            rx_ring_full: self.rx_ring_full - before.rx_ring_full,
            rx_fill_ring_empty: self.rx_fill_ring_empty - before.rx_fill_ring_empty,
            rx_dropped: self.rx_dropped - before.rx_dropped,
        }
    }

    fn plus(self, other: Socket) -> Socket {
        Socket {
            rx_ring_full: self.rx_ring_full + other.rx_ring_full,
            rx_fill_ring_empty: self.rx_fill_ring_empty + other.rx_fill_ring_empty,
            rx_dropped: self.rx_dropped + other.rx_dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_drops_are_read_from_the_metrics_of_both_ports() {
        let text = "bulkhead_socket_rx_ring_full_total{port=\"left\",queue=\"0\"} 5\n\
                    bulkhead_socket_rx_ring_full_total{port=\"right\",queue=\"0\"} 2\n\
                    bulkhead_socket_rx_fill_ring_empty_total{port=\"left\",queue=\"0\"} 3\n";
        let socket = Socket::of(&parse(text).unwrap());
        let expected = Socket { rx_ring_full: 7, rx_fill_ring_empty: 3, rx_dropped: 0 };
        assert_eq!(socket, expected);
        assert_eq!(socket.since(expected), Socket::default());
    }
}
