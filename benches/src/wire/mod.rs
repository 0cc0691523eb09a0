//! Forwarded packets per second on a wire of veth pairs: Bulkhead and its peers.
//!
//! ```text
//!   client namespace          gateway namespace          server namespace
//!   source -> eth0 ---------- bh0   the peer   bh1 ---------- eth0 -> receiver
//!   (core 0)                                                  (counts, drops)
//! ```
//!
//! The source is the same XDP program for every peer, run by the kernel itself
//! (`BPF_PROG_TEST_RUN` with live frames), so that it is not what is measured. So is the receiver.

mod nftables;
mod peer;
mod trial;
mod xdp;

pub use nftables::Form;
pub use peer::{Peer, Stand};
pub use trial::{Conserved, Socket, Trial};
