//! Flows: what lets the other direction of an accepted packet pass, and nothing else.
//!
//! ```text
//! key -> FlowTable: its flow -> judged by a newer table? -> state machine of its protocol -> forward
//!                   no flow  -> can it open one?         -> rules -> open
//! ICMP error: the packet that it quotes -> its flow -> in flight? -> forward
//! ```
//!
//! Each worker has [`Flows`] of its own, and every flow lies in one: a packet that arrives on the
//! queue of another worker is handed over to the one that owns it ([`handover`](crate::handover)).
//! Where they lie is [`flowtable`](crate::flowtable); what a packet does to them is
//! [`state`](crate::state).

mod config;
mod engine;
mod errors;
mod key;

pub use config::{FlowConfig, Rate};
pub(crate) use engine::{Answer, FlowPacket, Flows};
pub(crate) use errors::ErrorPacket;
pub(crate) use key::{Hop, flow_key, opening, packet_key};
#[cfg(feature = "af-xdp")]
pub(crate) use {engine::rule_of, key::opening_key};
