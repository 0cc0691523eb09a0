//! One flow, one worker: who owns a packet, and the way to it from the queue it arrived on.
//!
//! The hash by which a network card spreads packets over queues is its own, and nothing makes it put
//! both directions of a flow, or a fragment and its datagram, on one queue. So each packet of a wire
//! is owned by one of its workers, and a worker that receives what a sibling owns copies it into a
//! bounded ring to that sibling, which judges and transmits it as if its own queue had received it.
//! Every flow then lies in exactly one table, and no lookup ever waits for another core.
//!
//! # Steered by the pair of hosts
//!
//! The owner follows from the two addresses alone, in no order; of an ICMP error, from the addresses
//! of the packet it quotes, because a router that belongs to no flow may have sent it. Ports would
//! spread the flows between two hosts over several workers, but a fragment has none (RFC 791, 2.3;
//! RFC 8200, 4.5): its worker would reassemble the datagram for others, and hand over all its pieces
//! once more, in order with the flow's whole packets. By hosts, fragments, errors, echoes and all
//! flows of a pair meet where their state is. The price: what two hosts, or the two ends of a tunnel,
//! exchange never takes more than one worker. The hash is seeded, so that a sender cannot choose
//! addresses that all fall on one.
//!
//! What is not IP, or cannot be parsed, has no flow and is judged where it arrived. So is an error
//! whose quotation does not reach the addresses, by its own; it belongs to no flow that it could name.
//!
//! # Order
//!
//! Packets of a flow that arrive by one queue of one port have one way: their receiver is the owner,
//! or all pass through the ring from that queue's worker to the owner, first in, first out. A full
//! ring drops, it never delays. Between packets that arrive by different queues there is no order to
//! keep: the card fills them independently and cores empty them independently, here as in a kernel.
//! What a forwarded packet causes, such as a reply, arrives after that packet was judged by the very
//! worker that will judge the reply.

use crate::parse::{IpPacket, L4};
use crate::ports::BURST;
use crate::tally::Counter;
use classifier::Family;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use foldhash::quality::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Frames of one port that can wait on all ways out of a worker together, unless [`BURST`] on each
/// is more: half a receive ring of the usual size.
const WAITING: usize = 1024;

/// Which of the workers of a wire owns a packet. Clones agree.
#[derive(Clone, Debug)]
struct Steering {
    hasher: RandomState,
    workers: usize,
}

impl Steering {
    /// The worker that owns `packet`, which lies in `frame`.
    #[inline]
    fn owner(&self, packet: &IpPacket, frame: &[u8]) -> usize {
        let (one, other) = quoted_hosts(packet, frame).unwrap_or((packet.src, packet.dst));
        let hash = self.hasher.hash_one((one.min(other), one.max(other)));
        // A hash is a fraction of 2^64.
        ((u128::from(hash) * self.workers as u128) >> 64) as usize
    }
}

/// The addresses of the packet that an ICMP error quotes, if `packet` is one and quotes so much. Type 0
/// is reserved (RFC 4443, 2.1).
#[inline]
fn quoted_hosts(packet: &IpPacket, frame: &[u8]) -> Option<(u128, u128)> {
    if !matches!(packet.l4, L4::Icmp(icmp) if icmp.is_error && icmp.kind != 0) {
        return None;
    }
    let start = usize::from(packet.l4_offset);
    let message = frame.get(start..frame.len().min(start + usize::from(packet.l4_len)))?;
    // Eight bytes of its own (RFC 792; RFC 4443, 3), then the packet from its header on.
    let quote = message.get(8..)?;
    let version = *quote.first()? >> 4;
    match packet.family {
        Family::V4 if version == 4 => {
            let address = |at: usize| {
                let octets = quote.get(at..)?.first_chunk::<4>()?;
                Some(u128::from(u32::from_be_bytes(*octets)))
            };
            Some((address(12)?, address(16)?))
        }
        Family::V6 if version == 6 => {
            let address =
                |at: usize| Some(u128::from_be_bytes(*quote.get(at..)?.first_chunk::<16>()?));
            Some((address(8)?, address(24)?))
        }
        _ => None,
    }
}

/// The way of one port's frames from one worker to another: a ring of buffers that were allocated
/// once, and the same buffers on their way back.
#[derive(Debug)]
pub(crate) struct Link {
    full: ArrayQueue<Vec<u8>>,
    empty: ArrayQueue<Vec<u8>>,
    /// Frames put in since the start; the giving worker writes it.
    handed_out: CachePadded<Counter>,
    /// Frames taken out since the start; the taking worker writes it.
    taken_in: CachePadded<Counter>,
    /// Bytes reserved.
    memory: usize,
}

impl Link {
    /// Room for `room` frames of up to `frame_size` bytes.
    fn new(room: usize, frame_size: usize) -> Self {
        let link = Link {
            full: ArrayQueue::new(room),
            empty: ArrayQueue::new(room),
            handed_out: CachePadded::default(),
            taken_in: CachePadded::default(),
            memory: room * (frame_size + 2 * size_of::<Vec<u8>>()),
        };
        while link.empty.push(Vec::with_capacity(frame_size)).is_ok() {}
        link
    }

    /// Copies `frame` in; `false` when there is no room.
    #[inline]
    fn hand_out(&self, frame: &[u8]) -> bool {
        let Some(mut buffer) = self.empty.pop() else { return false };
        buffer.clear();
        // A frame of a umem is no longer than the buffer.
        buffer.extend_from_slice(frame);
        // Counted before it can be taken, so that no more are ever taken than were put in.
        self.handed_out.add(1);
        // Every buffer there is finds room in either ring.
        self.full.push(buffer).is_ok()
    }

    /// Shows `take` the oldest frame and frees its place; `false` when there is none.
    #[inline]
    fn take_in(&self, take: &mut impl FnMut(&[u8])) -> bool {
        // Looked at first: finding a ring empty costs `pop` a fence.
        if self.full.is_empty() {
            return false;
        }
        let Some(buffer) = self.full.pop() else { return false };
        self.taken_in.add(1);
        take(&buffer);
        self.empty.push(buffer).is_ok()
    }

    /// Frames put in since the start.
    pub fn handed_out(&self) -> u64 {
        self.handed_out.get()
    }

    /// Frames put in and not taken out. Exact while neither end is at work.
    pub fn waiting(&self) -> u64 {
        let taken_in = self.taken_in.get();
        self.handed_out.get().saturating_sub(taken_in)
    }

    /// Bytes reserved.
    pub fn memory_usage(&self) -> usize {
        self.memory
    }
}

/// The links between a worker and one of its siblings, by port.
#[derive(Debug)]
struct Sibling {
    to: Vec<Arc<Link>>,
    from: Vec<Arc<Link>>,
}

/// One worker's part in the hand-over between the workers of a wire.
///
/// Siblings are numbered from 0 in the order of the workers, this one left out.
#[derive(Debug)]
pub(crate) struct Handover {
    steering: Steering,
    /// This worker among those of the wire.
    number: usize,
    siblings: Vec<Sibling>,
    /// For each port, the sibling whose frames are taken in first next time.
    turn: Vec<usize>,
    /// Siblings given a frame since [`take_burdened`](Self::take_burdened), one bit each.
    burdened: u64,
}

/// Joins `workers` workers that serve `ports` ports each, of frames of up to `frame_size` bytes:
/// their parts in order, none where there is but one worker, who owns everything.
pub(crate) fn join(workers: usize, ports: usize, frame_size: usize) -> Vec<Option<Handover>> {
    if workers < 2 {
        return (0..workers).map(|_| None).collect();
    }
    let room = (WAITING / (workers - 1)).max(BURST);
    join_with_room(workers, ports, frame_size, room).into_iter().map(Some).collect()
}

/// The same with room for `room` frames on each link.
pub(crate) fn join_with_room(
    workers: usize,
    ports: usize,
    frame_size: usize,
    room: usize,
) -> Vec<Handover> {
    assert!(workers <= 1 + u64::BITS as usize, "siblings are named by the bits of a word");
    let steering = Steering { hasher: RandomState::default(), workers };
    let link = || -> Vec<Arc<Link>> {
        (0..ports).map(|_| Arc::new(Link::new(room, frame_size))).collect()
    };
    // By giver, then taker; nobody gives to itself.
    let links: Vec<Vec<_>> = (0..workers)
        .map(|giver| (0..workers).map(|taker| (giver != taker).then(link)).collect())
        .collect();
    let part = |number: usize| {
        let sibling = |other: usize| {
            let (to, from) = (links[number][other].clone()?, links[other][number].clone()?);
            Some(Sibling { to, from })
        };
        Handover {
            steering: steering.clone(),
            number,
            siblings: (0..workers).filter_map(sibling).collect(),
            turn: vec![0; ports],
            burdened: 0,
        }
    };
    (0..workers).map(part).collect()
}

impl Handover {
    /// The sibling that owns `packet`, which lies in `frame`; `None` when this worker does.
    #[inline]
    pub fn owner(&self, packet: &IpPacket, frame: &[u8]) -> Option<usize> {
        let owner = self.steering.owner(packet, frame);
        (owner != self.number).then(|| owner - usize::from(owner > self.number))
    }

    /// Copies `frame`, which arrived by `port`, into the ring to `sibling`; `false` when it is full.
    #[inline]
    pub fn hand_out(&mut self, sibling: usize, port: usize, frame: &[u8]) -> bool {
        self.burdened |= 1 << sibling;
        self.siblings[sibling].to[port].hand_out(frame)
    }

    /// Shows `take` up to [`BURST`] frames that arrived by `port` at siblings. The siblings take
    /// turns in being the first, so that a busy one keeps none from its share. Frames shown.
    #[inline]
    pub fn take_in(&mut self, port: usize, mut take: impl FnMut(&[u8])) -> usize {
        let first = self.turn[port];
        self.turn[port] = if first + 1 < self.siblings.len() { first + 1 } else { 0 };
        let (before, from_first) = self.siblings.split_at(first);
        let mut taken = 0;
        for sibling in from_first.iter().chain(before) {
            while taken < BURST && sibling.from[port].take_in(&mut take) {
                taken += 1;
            }
        }
        taken
    }

    /// Whether a sibling handed over a frame that is not taken in.
    pub fn is_waiting(&self) -> bool {
        self.siblings.iter().flat_map(|sibling| &sibling.from).any(|link| !link.full.is_empty())
    }

    /// The siblings that were given frames since the last call, one bit each.
    #[inline]
    pub fn take_burdened(&mut self) -> u64 {
        std::mem::take(&mut self.burdened)
    }

    /// The ways out of this worker for the frames of `port`.
    pub fn ways_out(&self, port: usize) -> Vec<Arc<Link>> {
        self.siblings.iter().map(|sibling| sibling.to[port].clone()).collect()
    }
}

#[cfg(test)]
mod tests;
