//! Addresses that cannot stand where they stand on any network, whatever the zone.

use super::{IpPacket, protocol};
use crate::verdict::DropReason;
use classifier::Family;

/// ff00::/8, by its topmost byte.
const MULTICAST_V6: u128 = 0xff;
/// ::ffff:0:0/96, without its last 32 bits.
const MAPPED: u128 = 0xffff;

/// Checks source and destination of a packet whose ports are known if they ever will be.
#[inline]
pub(super) fn check(packet: &IpPacket) -> Result<(), DropReason> {
    let (bad_source, bad_destination) = match packet.family {
        Family::V4 => (bad_source_v4(packet), bad_destination_v4(packet.dst as u32)),
        Family::V6 => (bad_source_v6(packet), bad_destination_v6(packet.dst)),
    };
    if bad_source {
        Err(DropReason::MartianSource)
    } else if bad_destination {
        Err(DropReason::MartianDestination)
    } else if packet.src == packet.dst {
        Err(DropReason::Land)
    } else {
        Ok(())
    }
}

/// RFC 1122, 3.2.1.3: no source is this network, loopback, a group or the limited broadcast.
/// 240.0.0.0/4 below the broadcast address is reserved (RFC 1112), but some networks use it; it is
/// for the lists of bogons to say.
#[inline]
fn bad_source_v4(packet: &IpPacket) -> bool {
    let src = packet.src as u32;
    match src >> 24 {
        0 => !(src == 0 && nameless_v4(packet)),
        127 | 224..=239 => true,
        _ => src == u32::MAX,
    }
}

/// Whether a host that has no address yet may send this: a DHCP client's broadcast (RFC 2131, 4.1)
/// and group membership reports (RFC 3376, 4.2.13).
#[cold]
fn nameless_v4(packet: &IpPacket) -> bool {
    let dst = packet.dst as u32;
    match packet.protocol {
        protocol::UDP => (packet.src_port, packet.dst_port, dst) == (68, 67, u32::MAX),
        protocol::IGMP => packet.fragment.is_none() && matches!(dst >> 24, 224..=239),
        _ => false,
    }
}

#[inline]
fn bad_destination_v4(dst: u32) -> bool {
    matches!(dst >> 24, 0 | 127)
}

/// RFC 4291, 2.5.3 and 2.7: no source is loopback or a group. IPv4-mapped addresses (2.5.5.2) are
/// for the programs of one host; on a wire a filter for IPv4 would be asked under another name
/// (draft-itojun-v6ops-v4mapped-harmful), and Linux drops them as well.
#[inline]
fn bad_source_v6(packet: &IpPacket) -> bool {
    let src = packet.src;
    match src {
        0 => !nameless_v6(packet),
        1 => true,
        _ => src >> 120 == MULTICAST_V6 || src >> 32 == MAPPED,
    }
}

/// Whether a host that has no address yet may send this: neighbour solicitations for the detection
/// of duplicates and router solicitations (RFC 4861, 4.1 and 4.3), and reports of group membership
/// (RFC 3590), all to groups of the link. DHCPv6 has link-local sources (RFC 8415, 13.1).
#[cold]
fn nameless_v6(packet: &IpPacket) -> bool {
    packet.protocol == protocol::ICMPV6
        && packet.dst >> 112 == 0xff02
        && packet.dst_port == 0
        && match packet.src_port {
            133 | 135 => packet.hop_limit == 255,
            131 | 132 | 143 => packet.hop_limit == 1,
            _ => false,
        }
}

/// RFC 4291, 2.5.2, 2.5.3 and 2.7: nothing is sent to the unspecified address, and neither loopback
/// nor a group of reserved or interface-local scope leaves a host.
#[inline]
fn bad_destination_v6(dst: u128) -> bool {
    let group_kept_inside = dst >> 120 == MULTICAST_V6 && dst >> 112 & 0x0f <= 1;
    dst <= 1 || group_kept_inside || dst >> 32 == MAPPED
}
