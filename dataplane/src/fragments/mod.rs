//! Fragments: held until their datagram is whole, so that what is judged is what the receiver will
//! reassemble.
//!
//! ```text
//! offer -> read by itself -> place in its datagram -> incomplete: held
//!                                                  -> complete: all its frames, by offset
//!                                                  -> against a rule: the datagram is spoilt
//! ```
//!
//! A datagram leaves whole or not at all. A fragment that breaks a rule spoils its datagram: what is
//! held of it is dropped, and so is whatever comes of it until the timeout, all for the reason that
//! spoilt it (RFC 5722, 4; RFC 8200, 4.5). Two copies of a fragment must agree in every byte, for
//! one receiver believes the first and another the last; Linux (`inet_frag_queue_insert`) takes
//! anything inside a run of bytes it has for a duplicate and looks at offsets only.
//!
//! Nothing is remembered of a datagram that was released: a late copy of one of its fragments begins
//! a datagram that never gets whole and times out here. Safety does not rest on memory of the past.
//! Should frames be lost behind the gateway, a receiver can join what is left of one datagram with
//! parts of another of the same key; both were whole and judged, and as the transport header lies in
//! the first fragment ([`DropReason::FragmentTiny`], [`DropReason::FragmentChain`]), so was the
//! header of the mixture.
//!
//! # When there is no room
//!
//! Room is shared by source: an IPv4 address or an IPv6 /64, on one port and VLAN. A fragment that
//! completes its datagram needs no room. Any other makes room by dropping a datagram that is still
//! incomplete:
//! - one past its timeout, if there is one;
//! - else, of a source with more than `SHARE` (4) datagrams, the oldest of the source with most; a
//!   source that wants more than `SHARE` gives up its own oldest;
//! - else the oldest of all.
//!
//! So a source, however fast it sends, takes from others at most `SHARE` datagrams' room. Senders
//! that forge a new source address for every fragment take the oldest: an honest datagram then gets
//! whole as long as fewer than `max_frames` hostile fragments arrive between its first fragment and
//! its last. With 2,048 frames and a million such fragments a second that is 2 ms, where the
//! fragments of one datagram commonly come within tens of microseconds; one that takes longer under
//! such a flood is lost. Whoever can forge the honest sender's own address can spoil its datagrams;
//! only checking the sources of a zone helps against that.

mod arrival;
mod datagram;
mod list;
mod pieces;
mod source;
mod table;

pub use table::FragmentTable;

pub use crate::parse::Fragment;
use crate::ports::BURST;
use crate::verdict::DropReason;
use classifier::Family;
use std::time::Duration;

/// Incomplete datagrams that a source may have before others are preferred to it. Fragments of one
/// datagram leave a sender together, so that few are incomplete at a time: those in flight on
/// different paths, and those that lost a fragment on the way.
const SHARE: usize = 4;

/// What two fragments of one datagram have in common (RFC 791, 3.2; RFC 8200, 4.5), and where they
/// came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramKey {
    /// Source address, in the low bits.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Identification.
    pub id: u32,
    /// [`Parsed::vlan`](crate::parse::Parsed::vlan).
    pub vlan: u32,
    /// The worker's port of arrival.
    pub port: u16,
    /// Address family.
    pub family: Family,
    /// IPv4 protocol; 0 in IPv6, where the next header is no part of the key.
    pub protocol: u8,
}

impl DatagramKey {
    /// The datagram that `fragment` from `src` to `dst` belongs to.
    pub fn new(
        family: Family,
        src: u128,
        dst: u128,
        fragment: &Fragment,
        vlan: u32,
        port: u16,
    ) -> Self {
        let protocol = match family {
            Family::V4 => fragment.next,
            Family::V6 => 0,
        };
        DatagramKey { src, dst, id: fragment.id, vlan, port, family, protocol }
    }
}

/// Bounds of what is held, per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentConfig {
    /// Most frames held. They come out of the umem (`Rings::frames`), of which the rings need the
    /// most.
    pub max_frames: u32,
    /// Most bytes held, headers included.
    pub max_bytes: u64,
    /// Most incomplete datagrams. A quarter as many spoilt ones, which hold no frames, are
    /// remembered besides.
    pub max_datagrams: u32,
    /// Most fragments a datagram may come in. 64 are enough for 65,535 bytes over an IPv6 link of
    /// the smallest MTU, 1,280.
    pub max_fragments: u16,
    /// Most incomplete datagrams of one source; a further one takes the place of its oldest.
    pub max_datagrams_per_source: u16,
    /// How long a datagram may take to get whole, from its first fragment to arrive; and how long a
    /// spoilt one is remembered.
    ///
    /// A receiver waits for 15 s (RFC 791), 60 s (RFC 8200) or, with Linux and IPv4, 30 s. A gateway
    /// sees the fragments leave one sender back to back, and what has not come after a few seconds
    /// was lost; waiting on costs frames and, where a fast sender's identification wraps (RFC 4963),
    /// joins strangers. Cisco's ASA gives up after 5 s, and so does this.
    pub timeout: Duration,
}

impl Default for FragmentConfig {
    fn default() -> Self {
        FragmentConfig {
            max_frames: 2048,
            max_bytes: 4 << 20,
            max_datagrams: 2048,
            max_fragments: 64,
            max_datagrams_per_source: 64,
            timeout: Duration::from_secs(5),
        }
    }
}

/// What became of a fragment that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The table keeps its frame until the rest has come.
    Held,
    /// Its frame is in [`Ended::dropped`], perhaps with others of its datagram.
    Dropped,
    /// It completed its datagram.
    Complete(Whole),
}

/// A complete datagram. Its frames are the last [`frames`](Whole::frames) of [`Ended::whole`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many frames it came in.
    pub frames: u16,
    /// Bytes of the reassembled packet, header included and a fragment header not; saturating.
    pub packet_len: u16,
    /// Bytes reassembled: the payload of IPv4, the fragmentable part of IPv6.
    pub payload_len: u16,
    /// Protocol, or next header, of the first fragment (RFC 8200, 4.5).
    pub next: u8,
    /// Protocol of the transport header: in IPv6 the end of the chain that begins with `next`.
    pub protocol: u8,
    /// Where that header starts in what was reassembled, bytes; not past the first fragment.
    pub transport_offset: u16,
    /// Ones' complement sum (RFC 1071), not inverted, of what was reassembled from
    /// `transport_offset` on: with the pseudo-header's it must come to 0xffff.
    pub sum: u16,
    /// The first bytes from `transport_offset` on.
    pub head: Head,
}

impl Whole {
    /// Bytes from the start of the transport header to the end of the packet.
    pub fn transport_len(&self) -> u16 {
        self.payload_len.saturating_sub(self.transport_offset)
    }
}

/// The first bytes of a datagram's transport header and data, put together from its fragments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; Head::ROOM],
    len: usize,
}

impl Head {
    /// Most bytes put together: the longest TCP header and as much data.
    pub const ROOM: usize = 128;

    const EMPTY: Head = Head { bytes: [0; Head::ROOM], len: 0 };

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn extend(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(Head::ROOM - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bytes().fmt(f)
    }
}

/// A frame that goes no further.
#[derive(Debug)]
pub struct Dropped<F> {
    /// The frame.
    pub frame: F,
    /// Why.
    pub reason: DropReason,
    /// The datagram it was a part of, and the port it came in by.
    pub datagram: DatagramKey,
}

/// Frames that the table gave back. The caller empties both lists.
#[derive(Debug)]
pub struct Ended<F> {
    /// Frames of complete datagrams, each datagram's together and in order of offset: to be sent
    /// all, or none.
    pub whole: Vec<F>,
    /// Frames to be dropped, in no order.
    pub dropped: Vec<Dropped<F>>,
}

impl<F> Ended<F> {
    /// Lists with room for all that a table of this size gives back in one burst.
    pub fn new(config: &FragmentConfig) -> Self {
        let room = config.max_frames as usize + BURST;
        Ended { whole: Vec::with_capacity(room), dropped: Vec::with_capacity(room) }
    }

    /// Bytes reserved; the frames themselves lie elsewhere.
    pub fn memory_usage(&self) -> usize {
        self.whole.capacity() * size_of::<F>() + self.dropped.capacity() * size_of::<Dropped<F>>()
    }
}

#[cfg(test)]
mod tests;
