//! Flows: what lets the other direction of an accepted packet pass.
//!
//! Each worker has a table of its own. The workers of a wire tell each other of every flow they
//! open ([`FlowUpdate`]), so that a reply finds its flow on whichever queue it arrives: the update
//! is in the sibling's inbox before the packet that causes the reply is transmitted.

mod key;
mod table;

pub(crate) use key::{Direction, FlowKey, Hop, packet_key};
pub(crate) use table::{FlowTable, FlowUpdate};

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
