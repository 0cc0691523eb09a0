//! The flow table: bounded, index-addressed, expired little by little.
//!
//! Everything lies in arrays of plain data that name each other by `u32` indices, so that the table
//! can live in a shared mapping and outlive the process that works on it. All memory is there, and
//! written to once, before the first packet.
//!
//! ```text
//! hash --> Index: bucket, 64 bytes: 10 x (tag 16 bits, slot 32 bits)
//!              \--> arena[slot]: Record, 64 bytes --(IPv6)--> Addresses, 32 bytes
//!                   nodes[slot]: 16 bytes: place in the timer wheel, place among its kind
//!                   openings[slot]: 16 bytes: what its first packet said, for judging it anew
//! ```
//!
//! A record, one cache line:
//!
//! | bytes  | what                                                                            |
//! |--------|---------------------------------------------------------------------------------|
//! | 0..8   | IPv4: addresses of the first and second end; IPv6: index of its addresses, 0    |
//! | 8..16  | ports of the first and second end (2 x 16 bits), VLANs (2 x 12 bits), protocol  |
//! | 16..18 | the worker's port behind which the first end lives                              |
//! | 18     | class (2 bits), family, direction that opened it, live, kept                    |
//! | 19     | number of its idle timeout                                                      |
//! | 20..24 | tick of its last packet, low 32 bits                                            |
//! | 24..28 | rule that allowed it                                                            |
//! | 28..32 | generation it was last judged by, low 32 bits                                   |
//! | 32..64 | protocol state, which the table does not look into                              |
//!
//! **Cost.** A hit reads two lines (three for IPv6), and writes one of them when it is touched: no
//! list is touched by a packet of a known flow. [`FlowTable::find_burst`] reads the lines of a
//! burst before it needs any of them. Opening and removing touch a few nodes, four to a line. No
//! call does work that grows with the number of flows, but for [`FlowTable::clear`].
//!
//! **Time** is counted in ticks of 1/16 s ([`ticks`]). [`FlowTable::advance`] sets it, once a
//! burst. A clock that steps back stands still until it goes on.
//!
//! **When it is full**, a newcomer takes the place of the oldest flow of the most numerous kind
//! among half-open, one-sided and closing ones, by family; established ones stay, and if there is
//! nothing else the newcomer is refused. The most numerous kind is the one that a flood is made of:
//! a UDP flood then costs no TCP handshake its place, nor do handshakes of newcomers push out each
//! other while closed connections lie about. Oldest is the one that has been of its class for
//! longest.
//!
//! **Quota.** A source (an IPv4 address, or an IPv6 /64) may have opened so many of the flows at
//! hand. Sources are counted exactly, in an array with a place for each flow: a source stands there
//! only while it has a flow, so that there cannot be more sources than flows, and a flood from
//! random sources finds nothing to overflow and makes nobody's count wrong.

#[cfg(any(test, fuzzing))]
mod check;
mod hash;
mod index;
mod key;
mod record;
mod report;
mod rings;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod wheel;
mod work;

pub use hash::HashKey;
pub use key::{Direction, End, FlowKey};
pub use record::{Class, NewFlow, Opening, TimeoutNumber};
#[cfg(fuzzing)]
pub use table::FlowCounts;
pub use table::FlowTable;
pub use wheel::{MAX_TIMEOUT, ticks, timeout_ticks};
#[cfg(feature = "af-xdp")]
pub use {
    report::{BytesPerFlow, RuleCounts, Top},
    sources::Source,
    wheel::time,
};

/// Number of different idle timeouts.
pub const TIMEOUTS: usize = 32;

/// Size, quota and idle timeouts of a flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTableConfig {
    /// Most flows, at least 1, at most [`MAX_CAPACITY`].
    pub capacity: u32,
    /// How many of them may be IPv6 ones.
    pub capacity_v6: u32,
    /// Most flows that one source may have opened; 0 for any number.
    pub quota: u32,
    /// Idle timeouts in ticks, at most [`MAX_TIMEOUT`] each; flows name them by number.
    pub timeouts: [u32; TIMEOUTS],
}

/// Most flows that a table can be made for: 2^28, more than fit any machine's memory.
pub const MAX_CAPACITY: u32 = 1 << 28;

/// Why a flow was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Every flow there is room for is established.
    Full,
    /// The source has opened as many flows as it may.
    Quota,
}
