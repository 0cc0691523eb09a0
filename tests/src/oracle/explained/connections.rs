//! What a packet is within its connection, read from those that both let through before it and from
//! nothing that Bulkhead keeps.

use super::Case;
use super::facts::{EndOf, be16};
use crate::oracle::packet::{End, protocol};

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const ACK: u8 = 0x10;

/// One segment.
struct Segment {
    /// Whether the packet's own end sent it.
    own: bool,
    flags: u8,
    seq: u32,
    /// One past its last number.
    end: u32,
    ack: u32,
    window: u32,
    /// Shift that its SYN offers.
    shift: Option<u32>,
}

impl Segment {
    fn read(tcp: &[u8], own: bool) -> Option<Segment> {
        let word = |at: usize| Some(u32::from_be_bytes(*tcp.get(at..)?.first_chunk()?));
        let (header, flags, seq) = (usize::from(*tcp.get(12)? >> 4) * 4, *tcp.get(13)?, word(4)?);
        let data = tcp.len().checked_sub(header)? as u32;
        let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = seq.wrapping_add(data).wrapping_add(control);
        let window = be16(tcp, 14)? as u32;
        Some(Segment {
            own,
            flags,
            seq,
            end,
            ack: word(8)?,
            window,
            shift: shift(tcp.get(20..header)?),
        })
    }

    fn is_syn_ack(&self) -> bool {
        self.flags & (SYN | ACK) == SYN | ACK
    }
}

/// The window scale among the options of a header (RFC 7323, 2.2).
fn shift(mut options: &[u8]) -> Option<u32> {
    loop {
        match options {
            [1, rest @ ..] => options = rest,
            [3, 3, shift, ..] => return Some(u32::from(*shift).min(14)),
            [0, ..] | [] => return None,
            [_, length, ..] => options = options.get(usize::from(*length).max(2)..)?,
            [_] => return None,
        }
    }
}

/// Whether `a` comes after `b`, and how far.
fn beyond(a: u32, b: u32) -> Option<u32> {
    let distance = a.wrapping_sub(b);
    (distance != 0 && distance < 1 << 31).then_some(distance)
}

/// The greatest of numbers that count in a circle.
fn latest(numbers: impl Iterator<Item = u32>) -> Option<u32> {
    numbers.reduce(|a, b| if beyond(b, a).is_some() { b } else { a })
}

impl Case<'_> {
    /// This segment, and those of its connection that passed before.
    fn segments(&self) -> Option<(Segment, Vec<Segment>)> {
        let (src, dst) = self.ends()?;
        let Some((protocol::TCP, tcp)) = self.upper() else { return None };
        let before = self.passed.iter().filter_map(|&(from, frame)| {
            let earlier =
                Case { from, frame, earlier: vec![], passed: vec![], stricter: self.stricter };
            let Some((protocol::TCP, tcp)) = earlier.upper() else { return None };
            let ends = earlier.ends()?;
            let own = ends == (src, dst);
            (own || ends == (dst, src)).then(|| Segment::read(tcp, own))?
        });
        Some((Segment::read(tcp, true)?, before.collect()))
    }

    /// Whether a segment with ACK ends further before what its sender sent last than the other end
    /// ever let it send at once, or acknowledges as long ago.
    pub(super) fn lies_behind_the_window(&self) -> bool {
        let Some((segment, before)) = self.segments() else { return false };
        if segment.flags & ACK == 0 {
            return false;
        }
        let of = |own: bool| before.iter().filter(move |earlier| earlier.own == own);
        let scaled = [true, false].map(|own| of(own).any(|earlier| earlier.shift.is_some()));
        let window = |own: bool| {
            let shift = of(own).find_map(|earlier| earlier.shift).unwrap_or(0);
            let shift = if scaled == [true, true] { shift } else { 0 };
            let octets = |earlier: &Segment| {
                if earlier.flags & SYN != 0 { earlier.window } else { earlier.window << shift }
            };
            of(own).map(octets).max().unwrap_or(0)
        };
        let sent = latest(of(true).map(|earlier| earlier.end));
        let acked = latest(of(true).filter(|earlier| earlier.flags & ACK != 0).map(|e| e.ack));
        let behind = |last: Option<u32>, this: u32, window: u32| {
            last.and_then(|last| beyond(last, this)).is_some_and(|distance| distance > window)
        };
        behind(sent, segment.end, window(false)) || behind(acked, segment.ack, window(true))
    }

    /// Whether it is a SYN-ACK that acknowledges no SYN of the other end, or has another number than
    /// its sender's SYN-ACK before.
    pub(super) fn is_foreign_syn_ack(&self) -> bool {
        let Some((segment, before)) = self.segments() else { return false };
        let asked = |earlier: &Segment| {
            !earlier.own && earlier.flags & SYN != 0 && earlier.seq.wrapping_add(1) == segment.ack
        };
        let differs =
            |earlier: &Segment| earlier.own && earlier.is_syn_ack() && earlier.seq != segment.seq;
        segment.is_syn_ack() && (!before.iter().any(asked) || before.iter().any(differs))
    }

    /// Whether it is an SCTP packet that can only come behind a COOKIE ECHO, and none passed, or a
    /// COOKIE ECHO and no INIT ACK passed.
    pub(super) fn comes_before_the_cookie(&self) -> bool {
        let (Some((src, dst)), Some((protocol::SCTP, sctp))) = (self.ends(), self.upper()) else {
            return false;
        };
        let passed = |chunk: u8| {
            self.passed
                .iter()
                .any(|&(from, frame)| self.is_chunk_of(from, frame, (src, dst), chunk))
        };
        match sctp.get(12) {
            Some(1 | 2 | 6) | None => false,
            Some(10) => !passed(2),
            Some(_) => !passed(10),
        }
    }

    /// Whether a packet begins with this chunk and is of the association between `ends`.
    fn is_chunk_of(
        &self,
        from: End,
        frame: &[u8],
        ends: (EndOf<'_>, EndOf<'_>),
        chunk: u8,
    ) -> bool {
        let packet = Case { from, frame, earlier: vec![], passed: vec![], stricter: self.stricter };
        let same = packet.ends().is_some_and(|of| of == ends || (of.1, of.0) == ends);
        same && packet.upper().is_some_and(|(_, sctp)| sctp.get(12) == Some(&chunk))
    }
}
