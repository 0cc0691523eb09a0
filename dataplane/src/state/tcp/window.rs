//! One direction of a TCP connection as seen from between its ends, and which sequence and
//! acknowledgement numbers can be honest.
//!
//! After Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000), which Linux
//! conntrack follows too. All segments pass here before they reach an end, so what was seen of one
//! end bounds what the other can say:
//!
//! | | bound | why |
//! |---|---|---|
//! | I | seq <= limit of the sender | the receiver never allowed more; one octet further is a probe |
//! | II | seq + length >= end of the sender - largest window of the receiver | what is older was acknowledged before the newest was sent |
//! | III | ack <= end of the receiver | nobody acknowledges what was not sent |
//! | IV | ack >= what the sender has acknowledged - its largest window | RFC 5961, 5.2 |
//!
//! Where conntrack checks only the acknowledgement of segments without data, and takes any within
//! 66,000 octets, these bounds hold for every segment.

use crate::verdict::DropReason;

/// No window scale option in the SYN. Shifts go to 14 (RFC 7323, 2.3).
const UNSCALED: u8 = 15;
const MAX_SHIFT: u8 = 14;

/// Whether sequence number `a` comes after `b` (RFC 9293, 3.4).
pub(crate) const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

/// Whether `x` lies in `low..=high`, in sequence space; in nothing if `high` comes before `low`.
pub(crate) const fn between(x: u32, low: u32, high: u32) -> bool {
    !after(low, high) && x.wrapping_sub(low) <= high.wrapping_sub(low)
}

const fn later(a: u32, b: u32) -> u32 {
    if after(a, b) { a } else { b }
}

/// What has happened to one direction: bits of [`Side::flags`].
pub(super) mod seen {
    /// Its SYN passed.
    pub const SYN: u8 = 1;
    /// The other end acknowledged the SYN.
    pub const SYN_ACKED: u8 = 2;
    /// Its FIN passed; [`end`](super::Side::end) is one past it.
    pub const FIN: u8 = 4;
    /// The other end acknowledged the FIN.
    pub const FIN_ACKED: u8 = 8;
    /// It reset the connection.
    pub const RST: u8 = 16;
    /// A SYN of it passed within the connection and nothing answered it yet.
    pub const SYN_AGAIN: u8 = 32;
    /// Its connection was picked up midway: `end` may be low, and its window scale is not known.
    pub const PICKED_UP: u8 = 64;
}

/// The numbers of a segment. `end` is one past its last octet, SYN and FIN counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub seq: u32,
    pub end: u32,
    pub ack: u32,
    /// The window field, not scaled.
    pub window: u16,
}

/// One direction: what its sender sent, and what the other end allowed and acknowledged of it.
/// 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// One past the highest sequence number sent.
    pub end: u32,
    /// One past the highest sequence number that the other end's windows allowed.
    pub limit: u32,
    /// The highest acknowledgement number of the other end; the initial sequence number while the
    /// SYN is not acknowledged.
    pub acked: u32,
    /// Largest window that the sender advertised, in units of its scale; at least 1.
    window: u16,
    /// Shift of its window in force, low four bits, and as its SYN offered it, high four bits.
    scale: u8,
    /// Bits of [`seen`].
    pub flags: u8,
}

impl Side {
    /// A sender of which the SYN in `span` is the first that is seen.
    pub fn of_syn(span: Span, offered: Option<u8>) -> Side {
        let offered = offered.map_or(UNSCALED, |shift| shift.min(MAX_SHIFT));
        Side {
            end: span.end,
            limit: span.end,
            acked: span.seq,
            window: span.window.max(1),
            scale: offered << 4,
            flags: seen::SYN,
        }
    }

    /// A sender in the middle of its connection, about whom `end` and the window field are known.
    /// The scale is taken to be the largest, so that no honest segment is refused.
    pub fn picked_up(acked: u32, end: u32, limit: u32, window: u16) -> Side {
        let flags = seen::SYN | seen::PICKED_UP;
        let scale = UNSCALED << 4 | MAX_SHIFT;
        Side { end, limit, acked, window: window.max(1), scale, flags }
    }

    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    fn shift(&self) -> u8 {
        self.scale & 0x0f
    }

    /// Largest window, in octets: below 2^30 (RFC 7323, 2.3).
    fn largest_window(&self) -> u32 {
        u32::from(self.window) << self.shift()
    }

    /// A retransmitted SYN. Stacks drop options that seem not to get through; the answer's own
    /// option tells whether the one with the scale arrived.
    pub fn syn_again(&mut self, span: Span, offered: Option<u8>) {
        self.end = later(self.end, span.end);
        self.window = self.window.max(span.window);
        if let Some(shift) = offered {
            self.scale = shift.min(MAX_SHIFT) << 4;
        }
    }

    fn rescale(&mut self, shift: u8) {
        let octets = self.largest_window();
        let units = (octets + (1 << shift) - 1) >> shift;
        self.window = units.clamp(1, 0xffff) as u16;
        self.scale = self.scale & 0xf0 | shift;
    }

    /// Both SYNs are there: windows are scaled if both offered it (RFC 7323, 2.2).
    pub fn settle_scales(a: &mut Side, b: &mut Side) {
        let (of_a, of_b) = (a.scale >> 4, b.scale >> 4);
        let both = of_a != UNSCALED && of_b != UNSCALED;
        a.rescale(if both { of_a } else { 0 });
        b.rescale(if both { of_b } else { 0 });
    }

    /// Bounds I to IV for a segment from `self` to `receiver`.
    pub fn check(&self, receiver: &Side, span: Span) -> Result<(), DropReason> {
        let high = if span.seq == span.end {
            // A sender whose probe or FIN went an octet too far goes on counting from there.
            later(self.limit.wrapping_add(1), self.end)
        } else {
            self.limit
        };
        let low = self.end.wrapping_sub(receiver.largest_window());
        if after(span.seq, high) || after(low, span.end) {
            return Err(DropReason::TcpSequence);
        }
        let high = if receiver.has(seen::PICKED_UP) { receiver.limit } else { receiver.end };
        let low = receiver.acked.wrapping_sub(self.largest_window());
        if after(span.ack, high) || after(low, span.ack) {
            return Err(DropReason::TcpAck);
        }
        Ok(())
    }

    /// Lets the sender go one window of `receiver` beyond `from`.
    pub fn allow(&mut self, from: u32, receiver: &Side) {
        self.limit = later(self.limit, from.wrapping_add(receiver.largest_window()));
    }

    /// Takes note of a segment from `self` to `receiver` that is within bounds. `shift` is false
    /// for a SYN, whose window is never scaled (RFC 7323, 2.2).
    pub fn advance(&mut self, receiver: &mut Side, span: Span, shift: bool) {
        let shift = if shift { self.shift() } else { 0 };
        let allowed = u32::from(span.window) << shift;
        let units = (allowed + (1 << self.shift()) - 1) >> self.shift();
        self.window = self.window.max(units.min(0xffff) as u16);
        let known = later(self.end, self.limit);
        if after(span.end, known) {
            // Sent further than it was allowed: bound II has to reach back from there.
            let over = span.end.wrapping_sub(known);
            let units = (over >> receiver.shift()) + 1;
            receiver.window = receiver.window.saturating_add(units.min(0xffff) as u16);
        }
        self.end = later(self.end, span.end);
        receiver.acked = later(receiver.acked, span.ack);
        receiver.end = later(receiver.end, span.ack);
        receiver.limit = later(receiver.limit, span.ack.wrapping_add(allowed));
    }

    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0..4].copy_from_slice(&self.end.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.limit.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.acked.to_ne_bytes());
        bytes[12..14].copy_from_slice(&self.window.to_ne_bytes());
        bytes[14] = self.scale;
        bytes[15] = self.flags;
        bytes
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Side {
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Side {
            end: word(0),
            limit: word(4),
            acked: word(8),
            window: u16::from_ne_bytes([bytes[12], bytes[13]]),
            scale: bytes[14],
            flags: bytes[15],
        }
    }
}
