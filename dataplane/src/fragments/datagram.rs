//! One datagram that is not whole yet, and what may be added to it.

use super::DatagramKey;
use super::arrival::{Arrival, First, NOT_ECT, payload_of};
use super::list::NONE;
use super::pieces::Pieces;
use crate::ports::Ports;
use crate::verdict::DropReason;
use classifier::Family;

/// Most bytes of an IPv4 packet, and of an IPv6 packet's payload.
const MAX_PACKET: u32 = 65_535;
const MIN_IPV4_HEADER: u16 = 20;
const IPV6_HEADER: u16 = 40;
const FRAGMENT_HEADER: u16 = 8;

/// A datagram: its pieces in order of offset, or the reason why there are none any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub key: DatagramKey,
    /// Hash of the key.
    pub hash: u64,
    /// Worker clock, nanoseconds, when its first fragment arrived or it was spoilt.
    pub since: u64,
    /// What spoilt it; it has no pieces then.
    pub spoilt: Option<DropReason>,
    /// The source that it counts for; none when it is spoilt.
    pub source: u32,
    /// Lowest piece.
    pub front: u32,
    /// Highest piece.
    back: u32,
    pieces: u16,
    /// Bytes of data that its pieces have.
    received: u32,
    /// Where the highest piece ends.
    reach: u32,
    /// Where the last fragment ended, once it came.
    end: Option<u32>,
    first: Option<First>,
    /// The ECN bits of its pieces.
    ecn: u8,
    /// Sum of the pieces' sums.
    sum: u32,
}

/// Why a fragment is not added to its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is there already, byte by byte.
    Duplicate,
    /// It breaks a rule, and with it the datagram.
    Spoils(DropReason),
}

/// The parts of a [`Whole`](super::Whole) that a datagram knows without its frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    pub first: First,
    pub payload_len: u32,
    pub packet_len: u32,
    pub sum: u32,
}

impl Datagram {
    pub fn new(key: DatagramKey, hash: u64, now: u64) -> Self {
        Datagram {
            key,
            hash,
            since: now,
            spoilt: None,
            source: NONE,
            front: NONE,
            back: NONE,
            pieces: 0,
            received: 0,
            reach: 0,
            end: None,
            first: None,
            ecn: 0,
            sum: 0,
        }
    }

    /// What remains of it when it is spoilt.
    pub fn spoilt_by(&self, reason: DropReason, now: u64) -> Self {
        Datagram { spoilt: Some(reason), ..Datagram::new(self.key, self.hash, now) }
    }

    /// Where the fragment `new` in `frame` goes: behind the piece that is returned, or in front.
    ///
    /// # Errors
    /// The [`Refusal`] when it may not be added.
    pub fn place<P: Ports>(
        &self,
        new: &Arrival,
        frame: &P::Frame,
        pieces: &Pieces<P::Frame>,
        ports: &P,
        max_fragments: u16,
    ) -> Result<u32, Refusal> {
        let spoils = |reason| Err(Refusal::Spoils(reason));
        let reach = self.reach.max(new.end);
        if self.packet_len(self.first.or(new.first), reach) > MAX_PACKET {
            return spoils(DropReason::FragmentOversize);
        }
        let end = if new.more { self.end } else { Some(new.end) };
        if end.is_some_and(|end| end < reach) || self.end.is_some_and(|e| Some(e) != end) {
            return spoils(DropReason::FragmentEnd);
        }
        let behind = self.gap(new, frame, pieces, ports)?;
        // RFC 3168, 5.3: such a mixture is dropped instead of being reassembled.
        let ecn = self.ecn | new.ecn;
        if ecn & NOT_ECT != 0 && ecn != NOT_ECT {
            return spoils(DropReason::FragmentEcn);
        }
        if self.pieces >= max_fragments {
            return spoils(DropReason::FragmentCount);
        }
        Ok(behind)
    }

    /// The piece behind which there is a gap that takes `new`.
    fn gap<P: Ports>(
        &self,
        new: &Arrival,
        frame: &P::Frame,
        pieces: &Pieces<P::Frame>,
        ports: &P,
    ) -> Result<u32, Refusal> {
        // Most fragments arrive in order.
        if new.start >= self.reach {
            return Ok(self.back);
        }
        let mut behind = NONE;
        let mut slot = self.front;
        while let Some(piece) = pieces.get(slot) {
            let old = &piece.arrival;
            if old.end <= new.start {
                (behind, slot) = (slot, piece.behind);
                continue;
            }
            if old.start >= new.end {
                break;
            }
            let same = (old.start, old.end, old.more) == (new.start, new.end, new.more)
                // The next header of the first fragment is the datagram's.
                && (new.start > 0 || old.next == new.next)
                && data(ports, &piece.frame, old) == data(ports, frame, new);
            return Err(if same {
                Refusal::Duplicate
            } else {
                Refusal::Spoils(DropReason::FragmentOverlap)
            });
        }
        Ok(behind)
    }

    /// What the datagram is when `new`, which [`place`](Self::place) found a place for, makes it
    /// whole.
    pub fn completed_by(&self, new: &Arrival) -> Option<Summary> {
        let end = if new.more { self.end? } else { new.end };
        if self.received + new.len() != end {
            return None;
        }
        let first = self.first.or(new.first)?;
        Some(Summary {
            first,
            payload_len: end,
            packet_len: match self.key.family {
                Family::V4 => self.packet_len(Some(first), end),
                Family::V6 => self.packet_len(Some(first), end) + u32::from(IPV6_HEADER),
            },
            sum: self.sum + u32::from(new.sum),
        })
    }

    /// Puts the piece in `slot` behind the piece `behind`, as [`place`](Self::place) said.
    pub fn link<F>(&mut self, pieces: &mut Pieces<F>, behind: u32, slot: u32) {
        let following = match pieces.get_mut(behind) {
            Some(piece) => std::mem::replace(&mut piece.behind, slot),
            None => std::mem::replace(&mut self.front, slot),
        };
        let Some(piece) = pieces.get_mut(slot) else { return };
        piece.behind = following;
        let new = piece.arrival;
        if following == NONE {
            self.back = slot;
            self.reach = new.end;
        }
        self.pieces += 1;
        self.received += new.len();
        if !new.more {
            self.end = Some(new.end);
        }
        self.first = self.first.or(new.first);
        self.ecn |= new.ecn;
        self.sum += u32::from(new.sum);
    }

    /// Bytes of the packet that ends with byte `reach` of the datagram, as its length field counts
    /// them. While the first fragment is missing, the least that it can come to.
    fn packet_len(&self, first: Option<First>, reach: u32) -> u32 {
        let header = match self.key.family {
            Family::V4 => first.map_or(MIN_IPV4_HEADER, |first| first.header_len),
            Family::V6 => {
                first.map_or(0, |f| f.header_len.saturating_sub(IPV6_HEADER + FRAGMENT_HEADER))
            }
        };
        u32::from(header) + reach
    }
}

/// The data of the fragment `arrival` in `frame`.
pub(super) fn data<'a, P: Ports>(
    ports: &'a P,
    frame: &'a P::Frame,
    arrival: &Arrival,
) -> Option<&'a [u8]> {
    payload_of(ports.view(frame).bytes, arrival.payload_offset, arrival.len())
}
