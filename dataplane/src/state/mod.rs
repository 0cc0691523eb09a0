//! What a packet does to the flow it belongs to: the state machines of TCP, UDP, SCTP, ICMP and the
//! rest, without clock and without table.
//!
//! Each machine is plain data of at most 32 bytes and a function from (state, direction, headers)
//! to what happens: forward and which timeout now runs, or the [`DropReason`]. The direction is
//! told by who opened the flow: the opener sent its first packet, the responder is the other end.
//!
//! | machine | state | opened by |
//! |---|---|---|
//! | [`tcp`] | 32 bytes | a SYN; when picking up, any segment with ACK |
//! | [`sctp`] | 17 bytes | INIT |
//! | [`datagram`] | 1 byte | any packet (UDP, protocols without ports); an echo request |
//! | [`icmp`] | none | nothing: errors are judged by the flow of the packet that they quote |
//!
//! [`DropReason`]: crate::DropReason

pub(crate) mod datagram;
pub(crate) mod icmp;
pub(crate) mod sctp;
pub(crate) mod tcp;
pub(crate) mod timeouts;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod simulation;
