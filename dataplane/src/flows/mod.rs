//! Flows: what lets the other direction of an accepted packet pass.
//!
//! Each worker has a table of its own, and every flow lies in one: a packet that arrives on the
//! queue of another worker is handed over to the one that owns it ([`handover`](crate::handover)).

mod key;
mod table;

pub(crate) use key::{Direction, FlowKey, Hop, packet_key};
pub(crate) use table::FlowTable;

use std::time::Duration;

/// Size and idle timeouts of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowConfig {
    /// Most flows per worker.
    pub capacity: u32,
    /// TCP, not closing (RFC 5382 asks for at least 2 hours and 4 minutes).
    pub tcp: Duration,
    /// TCP after a RST or a FIN from both sides (RFC 5382: 4 minutes).
    pub tcp_closing: Duration,
    /// UDP (RFC 4787: at least 2 minutes).
    pub udp: Duration,
    /// ICMP and ICMPv6 echo (RFC 5508: at least 60 seconds).
    pub icmp: Duration,
    /// Every other protocol.
    pub other: Duration,
}

impl Default for FlowConfig {
    fn default() -> Self {
        FlowConfig {
            capacity: 262_144,
            tcp: Duration::from_secs(2 * 3600 + 4 * 60),
            tcp_closing: Duration::from_secs(4 * 60),
            udp: Duration::from_secs(2 * 60),
            icmp: Duration::from_secs(60),
            other: Duration::from_secs(10 * 60),
        }
    }
}

#[cfg(test)]
mod tests;
