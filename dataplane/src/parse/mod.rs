//! From the bytes of a frame to the facts that flows and rules look at.
//!
//! One pass that allocates nothing and reads no byte it did not check to be there. It never guesses:
//! what two receivers could read differently, what no honest sender puts on a wire, and what rules
//! could not judge is a [`DropReason`], each its own. [`ParseOptions`] says what may pass beyond that.
//! Lengths are checked against the frame as it was on the wire, so that a capture cut by a snap
//! length is judged by its headers when those are whole.

mod addresses;
mod arp;
pub(crate) mod checksum;
mod ethernet;
mod extensions;
mod ipv4;
mod ipv6;
mod option_list;
mod options;
pub(crate) mod reassembled;
mod sctp;
mod span;
mod tcp;
mod transport;
#[allow(dead_code, reason = "the workers do not ask it yet")]
mod tunnels;

pub use arp::{Arp, ArpOperation};
pub use options::{Checksums, Ipv4Options, ParseOptions};
#[allow(unused_imports, reason = "the workers do not ask it yet")]
pub(crate) use tunnels::{Inner, inner};
pub use tunnels::{Tunnel, Tunnels};

use crate::verdict::DropReason;
use classifier::Family;

/// IP protocol numbers (IANA) that are looked into.
pub(crate) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const GRE: u8 = 47;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
}

/// TCP flag bits (RFC 9293, 3.1).
pub(crate) mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

/// One frame as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// The bytes there are.
    pub bytes: &'a [u8],
    /// Its length on the wire: more than `bytes` only when a capture cut it.
    pub wire_len: u32,
}

/// A parsed frame. Offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Hardware address of the sender: neither zero nor a group.
    pub src_mac: [u8; 6],
    /// Hardware address it is sent to.
    pub dst_mac: [u8; 6],
    /// VLAN identifiers: the inner or only tag's in the low half, the outer one's of two in the
    /// high half; 0 where there is no tag, or one that carries a priority only.
    pub vlan: u32,
    /// What it carries.
    pub content: Content,
}

/// The outer one of the identifiers in [`Parsed::vlan`], which switches look at; 0 for none.
#[inline]
pub(crate) fn outer_vlan(vlan: u32) -> u16 {
    let [outer, only] = [(vlan >> 16) as u16, vlan as u16];
    if outer != 0 { outer } else { only }
}

/// What kind of packet a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// IPv4 or IPv6, with its headers read.
    Ip(IpPacket),
    /// Address resolution (RFC 826).
    Arp(Arp),
    /// Another EtherType, or the length field of an 802.3 frame (below 0x600).
    Other(u16),
}

/// The headers of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// Source address, in the low bits.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Address family.
    pub family: Family,
    /// Protocol of the last header: for IPv6, the one at the end of the chain.
    pub protocol: u8,
    /// Differentiated services code point, 6 bits (RFC 2474).
    pub dscp: u8,
    /// Time to live, or hop limit; not 0.
    pub hop_limit: u8,
    /// Bytes of the IP packet, its header included; 65,535 also for an IPv6 packet longer than that.
    pub length: u16,
    /// Source port, or ICMP type; 0 for protocols that have neither, and for fragments of a datagram.
    pub src_port: u16,
    /// Destination port, or ICMP code; 0 as `src_port`.
    pub dst_port: u16,
    /// What the transport header says besides.
    pub l4: L4,
    /// Where the packet belongs in a datagram, if it has fragment fields that say so. Unless it
    /// [is atomic](Fragment::is_atomic), ports are not known and `l4` is [`L4::None`].
    pub fragment: Option<Fragment>,
    /// It was put together from fragments; `fragment` is `None` then.
    pub reassembled: bool,
    /// Where the transport header starts; in a fragment, its data.
    pub l4_offset: u16,
    /// Bytes from there to the end of the IP packet.
    pub l4_len: u16,
    /// A neighbour solicitation or advertisement that cannot have crossed a router.
    pub neighbour_discovery: bool,
}

impl IpPacket {
    /// Flag bits of a TCP segment; 0 for anything else.
    #[inline]
    pub fn tcp_flags(&self) -> u8 {
        match self.l4 {
            L4::Tcp(segment) => segment.flags,
            _ => 0,
        }
    }

    /// The ICMP request or reply that it is, if it is one.
    #[inline]
    pub fn echo(&self) -> Option<Echo> {
        match self.l4 {
            L4::Icmp(icmp) => icmp.echo,
            _ => None,
        }
    }

    /// Whether it is a part of a datagram, to be judged with the other parts.
    #[inline]
    pub fn is_partial(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_atomic())
    }
}

/// What a transport header says besides ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4 {
    /// Nothing: UDP, a protocol that is not looked into, or a fragment.
    None,
    /// TCP.
    Tcp(TcpSegment),
    /// ICMP over IPv4 or ICMPv6 over IPv6.
    Icmp(Icmp),
    /// SCTP.
    Sctp(SctpPacket),
}

/// A TCP segment (RFC 9293).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, whether or not ACK is set.
    pub ack: u32,
    /// Flag bits, FIN lowest.
    pub flags: u8,
    /// Window, as it stands in the header.
    pub window: u16,
    /// Bytes of data.
    pub payload: u16,
    /// Window scale of a SYN (RFC 7323), at most 14.
    pub window_scale: Option<u8>,
}

/// An SCTP packet (RFC 9260), as its first chunk tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SctpPacket {
    /// Type of the first chunk.
    pub chunk: u8,
    /// Verification tag of the common header; 0 with INIT only.
    pub tag: u32,
    /// Initiate Tag of an INIT or INIT-ACK, otherwise 0.
    pub initiate_tag: u32,
    /// T bit of an ABORT or SHUTDOWN-COMPLETE: the tag is the sender's own (RFC 9260, 8.5.1).
    pub reflected: bool,
}

/// An ICMP (RFC 792) or ICMPv6 (RFC 4443) message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Whether it asks or answers, if its type does.
    pub echo: Option<Echo>,
    /// Bytes 4 to 7, for instance the MTU.
    pub rest: u32,
    /// It reports an error about the packet that it quotes.
    pub is_error: bool,
}

/// A message of those ICMP types that ask and answer: echo, timestamp, information and address mask
/// (RFC 792, RFC 950), and echo and node information of ICMPv6 (RFC 4443, RFC 4620).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Whether it is the request.
    pub request: bool,
    /// Its identifier; of node information, what is asked for.
    pub id: u16,
    /// Type and code of the request.
    pub asks: [u8; 2],
}

/// Where a packet belongs in a fragmented datagram (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4.
    pub id: u32,
    /// Bytes of the datagram's payload before this part, a multiple of 8.
    pub offset: u16,
    /// Whether parts follow.
    pub more: bool,
    /// Protocol of the datagram, or the header that its first part begins with.
    pub next: u8,
    /// Bytes of IP header and extension headers before the part, the fragment header included.
    pub header_len: u16,
    /// Where the part starts in the frame.
    pub payload_offset: u16,
    /// Bytes of the part.
    pub payload_len: u16,
}

impl Fragment {
    /// Whether it is all of its datagram: an IPv6 packet that has a fragment header for no need
    /// (RFC 6946). It is read like any whole packet.
    #[inline]
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// Reads the headers of a frame.
///
/// # Errors
/// The [`DropReason`] for which a packet like this is dropped.
#[inline]
pub fn parse(frame: FrameView<'_>, options: &ParseOptions) -> Result<Parsed, DropReason> {
    ethernet::parse(frame, options)
}

#[cfg(test)]
mod tests;
