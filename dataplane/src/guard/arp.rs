//! Address resolution for IPv4 (RFC 826).

use super::sources::Claim;
use crate::parse::{Arp, ArpOperation};
use crate::verdict::DropReason;

/// What the sender of `arp` claims. Its frame came from `src_mac`.
///
/// # Errors
/// Why it is no honest message.
pub(super) fn claim(arp: &Arp, src_mac: [u8; 6]) -> Result<Claim, DropReason> {
    if arp.sender_mac != src_mac {
        return Err(DropReason::ArpMac);
    }
    match (arp.sender, arp.operation) {
        // A probe (RFC 5227, 2.1.1): whoever sends it wants the address for itself.
        (0, ArpOperation::Request) => Ok(Claim::Wants(u128::from(arp.target))),
        (0, ArpOperation::Reply) => Err(DropReason::ArpAddress),
        // A request tells its sender's address as much as a reply does (RFC 826), and a gratuitous
        // one (RFC 5227, 2.3) tells nothing else.
        (sender, _) => Ok(Claim::Holds(u128::from(sender))),
    }
}
