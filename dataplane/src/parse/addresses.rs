//! The one thing that the two addresses of a packet can have wrong between them. What either says by
//! itself is for the [guard](crate::guard), which a policy configures.

use super::IpPacket;
use crate::verdict::DropReason;

/// Checks that source and destination differ: a host that answers such a packet answers itself
/// (CERT CA-1997-28, "LAND").
#[inline]
pub(super) fn check(packet: &IpPacket) -> Result<(), DropReason> {
    if packet.src == packet.dst { Err(DropReason::Land) } else { Ok(()) }
}
