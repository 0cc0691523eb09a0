//! What the flows of a gateway are given.

use crate::state::datagram::Refresh;
use crate::state::icmp::ErrorRules;
use crate::state::tcp::RstPolicy;
use crate::state::timeouts::Timeouts;
use std::time::Duration;

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// After a pause.
    pub burst: u32,
}

/// Size, quota, timeouts and choices of the flow table. Sizes and rates are those of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowConfig {
    /// Most flows, at least 1.
    pub capacity: u32,
    /// How many of them may be IPv6 ones, which need more memory.
    pub capacity_v6: u32,
    /// Most flows that one source, an IPv4 address or an IPv6 /64, may have opened; 0 for any number.
    pub quota: u32,
    /// How long flows live without a packet.
    pub timeouts: Timeouts,
    /// For how long after the start a TCP connection may begin with a segment from its middle, so
    /// that connections survive a restart; zero for never.
    pub pick_up: Duration,
    /// What happens to a TCP RST in the window that is not the next expected (RFC 5961).
    pub rst: RstPolicy,
    /// Whose packets keep a flow of UDP or a protocol without ports alive.
    pub refresh: Refresh,
    /// Which ICMP errors pass.
    pub errors: ErrorRules,
    /// How many ICMP errors pass.
    pub error_rate: Rate,
    /// How many segments pass that change nothing and may cause a challenge ACK (RFC 5961, 7).
    pub challenge_rate: Rate,
}

impl Default for FlowConfig {
    fn default() -> Self {
        FlowConfig {
            capacity: 262_144,
            capacity_v6: 131_072,
            quota: 0,
            timeouts: Timeouts::default(),
            pick_up: Duration::ZERO,
            rst: RstPolicy::default(),
            refresh: Refresh::default(),
            errors: ErrorRules::default(),
            error_rate: Rate { per_second: 1_000, burst: 1_000 },
            challenge_rate: Rate { per_second: 1_000, burst: 1_000 },
        }
    }
}
