//! Flow configuration (stub).
use std::time::Duration;

/// Size and idle timeouts of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowConfig {
    /// Most flows per worker.
    pub capacity: u32,
    /// TCP, nothing closed (RFC 5382 asks for at least 2 h 4 min).
    pub tcp: Duration,
    /// TCP after a FIN from both sides or a RST (RFC 5382: 4 min).
    pub tcp_closing: Duration,
    /// UDP (RFC 4787: at least 2 min).
    pub udp: Duration,
    /// ICMP and ICMPv6 (RFC 5508: at least 60 s).
    pub icmp: Duration,
    /// Everything else.
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
