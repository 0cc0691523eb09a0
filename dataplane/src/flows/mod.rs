//! Flows: what lets the other direction of an accepted packet pass.
//!
//! Each worker has a table of its own, and every flow lies in one: a packet that arrives on the
//! queue of another worker is handed over to the one that owns it ([`handover`](crate::handover)).

mod config;
mod key;
mod table;

pub use config::{FlowConfig, Rate};
pub(crate) use key::{Direction, FlowKey, Hop, packet_key};
pub(crate) use table::FlowTable;

#[cfg(test)]
mod tests;
