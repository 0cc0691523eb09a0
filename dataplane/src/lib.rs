//! What happens to a packet: ports, parse, flows, verdict, workers, counters.
//!
//! ```text
//! port.rx_burst -> parse -> flows (hit: verdict) -> classify the misses, batched
//!               -> verdict -> forward -> port.tx_burst or recycle -> count
//! ```
//!
//! Live gateway, replay and tests drive the same worker over different [`ports`].

// Without the live gateway, nobody swaps tables, lists flows or reads counters one by one.
#![cfg_attr(not(feature = "af-xdp"), allow(dead_code))]

pub mod capture;
mod counters;
mod flows;
mod gateway;
#[cfg(feature = "af-xdp")]
mod live;
mod parse;
pub mod ports;
mod recent;
mod replay;
mod table;
mod tally;
#[cfg(test)]
mod testing;
mod verdict;
mod worker;

pub use counters::*;
pub use flows::FlowConfig;
pub use gateway::*;
#[cfg(feature = "af-xdp")]
pub use live::{Gateway, SocketError, StartError, XdpError};
pub use parse::FrameView;
pub use replay::{ReplayReport, SideMap, TooManySides, replay};
pub use table::{Table, TableRule};
pub use verdict::{Action, DropReason, Outcome, PassReason, Verdict};
