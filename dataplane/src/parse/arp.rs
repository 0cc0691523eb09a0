//! Address resolution (RFC 826) of IPv4 on Ethernet.

use super::span::{Span, be16, be32};
use crate::verdict::DropReason;

/// An ARP packet. Whether its claims are true is not asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// What it does.
    pub operation: ArpOperation,
    /// Hardware address that the sender claims.
    pub sender_mac: [u8; 6],
    /// IPv4 address that the sender claims; 0 in a probe (RFC 5227).
    pub sender: u32,
    /// Hardware address of the target; without meaning in a request.
    pub target_mac: [u8; 6],
    /// IPv4 address asked about, or of the one answered.
    pub target: u32,
}

/// The operations of RFC 826. Those of other protocols with ARP's format (reverse and inverse ARP)
/// have no business on this EtherType between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender's address is at the sender's hardware address.
    Reply,
}

/// Hardware type Ethernet, protocol type IPv4, addresses of 6 and 4 bytes.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

pub(super) fn parse(l3: Span<'_>) -> Result<Arp, DropReason> {
    let packet = l3.header::<28>(DropReason::ArpHeader)?;
    let operation = match be16::<6, _>(packet) {
        1 => ArpOperation::Request,
        2 => ArpOperation::Reply,
        _ => return Err(DropReason::ArpHeader),
    };
    if packet[..6] != ETHERNET_IPV4 {
        return Err(DropReason::ArpHeader);
    }
    let mac = |at: usize| {
        [packet[at], packet[at + 1], packet[at + 2], packet[at + 3], packet[at + 4], packet[at + 5]]
    };
    Ok(Arp {
        operation,
        sender_mac: mac(8),
        sender: be32::<14, _>(packet),
        target_mac: mac(18),
        target: be32::<24, _>(packet),
    })
}
