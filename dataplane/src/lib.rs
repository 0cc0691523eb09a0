//! What happens to a packet: ports, parse, guard, fragments, flows, verdict, workers, counters.
//!
//! ```text
//! port.rx_burst -> parse -> hand over what another worker owns -> guard -> fragments -> flows (hit: verdict)
//!               -> classify the misses, batched -> verdict -> forward -> port.tx_burst or recycle -> count
//! ```
//!
//! Live gateway, replay and tests drive the same worker over different [`ports`].

// Without the live gateway, nobody swaps tables, lists flows or reads counters one by one.
#![cfg_attr(not(feature = "af-xdp"), allow(dead_code))]

pub mod capture;
mod counters;
mod flows;
mod flowtable;
mod fragments;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
pub mod guard;
mod handover;
#[cfg(feature = "af-xdp")]
mod live;
mod parse;
pub mod ports;
mod recent;
mod replay;
pub(crate) mod state;
mod table;
mod tally;
#[cfg(test)]
mod testing;
mod verdict;
mod worker;

pub use counters::*;
pub use flows::{FlowConfig, Rate};
pub use fragments::FragmentConfig;
pub use gateway::*;
#[cfg(feature = "af-xdp")]
pub use live::{Gateway, SocketError, StartError, XdpError};
pub use parse::{Checksums, FrameView, Ipv4Options, ParseOptions, Tunnel, Tunnels};
pub use replay::{ReplayReport, SideMap, TooManySides, replay};
pub use state::datagram::Refresh;
pub use state::icmp::ErrorRules;
pub use state::tcp::RstPolicy;
pub use state::timeouts::Timeouts;
pub use table::{Established, FragmentMode, Table, TableRule, ZoneSettings};
pub use verdict::{Action, DropReason, Outcome, PassReason, Verdict};
