//! Neighbour discovery for IPv6 (RFC 4861), which is address resolution, router discovery and
//! redirects.

use super::sources::Claim;
use crate::parse::IpPacket;
use crate::parse::protocol;
use crate::verdict::DropReason;
use classifier::Family;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const CERTIFICATION_PATH_SOLICITATION: u8 = 148;

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// A type of message. Ports of an ICMPv6 packet are its type and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RouterSolicitation,
    RouterAdvertisement,
    Solicitation,
    Advertisement,
    Redirect,
}

impl Kind {
    /// `None` for ICMPv6 messages that are not of neighbour discovery.
    pub(super) fn of(packet: &IpPacket) -> Option<Kind> {
        match u8::try_from(packet.src_port).ok()? {
            ROUTER_SOLICITATION => Some(Kind::RouterSolicitation),
            ROUTER_ADVERTISEMENT => Some(Kind::RouterAdvertisement),
            SOLICITATION => Some(Kind::Solicitation),
            ADVERTISEMENT => Some(Kind::Advertisement),
            REDIRECT => Some(Kind::Redirect),
            _ => None,
        }
    }

    /// Bytes before the options.
    const fn fixed_len(self) -> usize {
        match self {
            Kind::RouterSolicitation => 8,
            Kind::RouterAdvertisement => 16,
            Kind::Solicitation | Kind::Advertisement => 24,
            Kind::Redirect => 40,
        }
    }
}

/// Whether it is a message that no router forwarded (RFC 4861, 3.1). Hosts ask and answer a
/// neighbour's global address from their own link-local one (RFC 4861, 7.2.2 and 7.3.3).
pub(super) fn is_on_link(packet: &IpPacket) -> bool {
    packet.family == Family::V6
        && packet.protocol == protocol::ICMPV6
        && packet.fragment.is_none()
        && packet.hop_limit == 255
        && Kind::of(packet).is_some()
}

/// Whether RFC 6980, 5 wants it ignored when it came in fragments. A certification path
/// advertisement may need them.
pub(super) fn never_fragmented(packet: &IpPacket) -> bool {
    let solicits_path = packet.src_port == u16::from(CERTIFICATION_PATH_SOLICITATION);
    Kind::of(packet).is_some() || solicits_path
}

/// Whether a packet without a source address may carry it (RFC 4861, 4.1 and 4.3; RFC 3590;
/// RFC 3810, 5.2.13).
pub(super) fn may_lack_source(packet: &IpPacket) -> bool {
    const MULTICAST_LISTENER_REPORT: u16 = 131;
    const MULTICAST_LISTENER_DONE: u16 = 132;
    const MULTICAST_LISTENER_REPORT_2: u16 = 143;
    matches!(Kind::of(packet), Some(Kind::RouterSolicitation | Kind::Solicitation))
        || matches!(
            packet.src_port,
            MULTICAST_LISTENER_REPORT | MULTICAST_LISTENER_DONE | MULTICAST_LISTENER_REPORT_2
        )
}

fn is_multicast(address: u128) -> bool {
    address >> 120 == 0xff
}

fn is_link_local(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}

/// `ff02::1:ff00:0/104` (RFC 4291, 2.7.1).
fn is_solicited_node(address: u128) -> bool {
    address >> 24 == 0xff02_0000_0000_0000_0000_0001_ff00_0000 >> 24
}

/// What the sender of a message claims, if it claims anything. `message` is all of it, from the
/// ICMPv6 header on; its frame came from `src_mac`.
///
/// # Errors
/// Why it is no honest message. RFC 4861, 6.1 and 7.1 say what a receiver must check; a gateway that
/// does it spares those that do not. The checksum is the parser's.
pub(super) fn claim(
    kind: Kind,
    packet: &IpPacket,
    message: &[u8],
    src_mac: [u8; 6],
) -> Result<Option<Claim>, DropReason> {
    const INVALID: DropReason = DropReason::NeighbourInvalid;
    if kind == Kind::Redirect {
        return Err(DropReason::Redirect);
    }
    let code = packet.dst_port;
    let Some((fixed, options)) = message.split_at_checked(kind.fixed_len()) else {
        return Err(INVALID);
    };
    if packet.hop_limit != 255 || code != 0 {
        return Err(INVALID);
    }
    let carried = match kind {
        Kind::Advertisement => TARGET_LINK_LAYER,
        _ => SOURCE_LINK_LAYER,
    };
    let says_mac = check_options(options, carried, src_mac)?;
    let unspecified = packet.src == 0;
    match kind {
        Kind::RouterSolicitation if unspecified && says_mac => Err(INVALID),
        Kind::RouterSolicitation => Ok(None),
        Kind::RouterAdvertisement if !is_link_local(packet.src) => Err(INVALID),
        Kind::RouterAdvertisement | Kind::Redirect => Ok(None),
        Kind::Solicitation => {
            let target = target(fixed).filter(|target| !is_multicast(*target)).ok_or(INVALID)?;
            match unspecified {
                true if says_mac || !is_solicited_node(packet.dst) => Err(INVALID),
                // Duplicate address detection (RFC 4862, 5.4): it wants the address for itself.
                true => Ok(Some(Claim::Wants(target))),
                false => Ok(None),
            }
        }
        Kind::Advertisement => {
            const SOLICITED: u8 = 0x40;
            let target = target(fixed).filter(|target| !is_multicast(*target)).ok_or(INVALID)?;
            let solicited = fixed.get(4).is_some_and(|flags| flags & SOLICITED != 0);
            if solicited && is_multicast(packet.dst) {
                return Err(INVALID);
            }
            Ok(Some(Claim::Holds(target)))
        }
    }
}

/// The target address of a solicitation or advertisement (RFC 4861, 4.3 and 4.4).
fn target(fixed: &[u8]) -> Option<u128> {
    let (_, target) = fixed.split_last_chunk::<16>()?;
    Some(u128::from_be_bytes(*target))
}

/// Whether there is a link-layer address option of the type `carried`.
///
/// # Errors
/// Options that are not whole or have no length (RFC 4861, 4.6), a link-layer address that is not
/// Ethernet's (RFC 2464, 6), or one other than `src_mac`.
fn check_options(mut options: &[u8], carried: u8, src_mac: [u8; 6]) -> Result<bool, DropReason> {
    let mut says_mac = false;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        let Some((option, rest)) = options.split_at_checked(length) else {
            return Err(DropReason::NeighbourInvalid);
        };
        if units == 0 {
            return Err(DropReason::NeighbourInvalid);
        }
        if kind == carried {
            match option[2..].try_into() {
                Ok(mac) if src_mac == mac => says_mac = true,
                Ok::<[u8; 6], _>(_) => return Err(DropReason::NeighbourMac),
                Err(_) => return Err(DropReason::NeighbourInvalid),
            }
        }
        options = rest;
    }
    if options.is_empty() { Ok(says_mac) } else { Err(DropReason::NeighbourInvalid) }
}
