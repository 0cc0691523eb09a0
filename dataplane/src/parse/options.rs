//! What the parser lets through that it need not.

use super::Tunnels;

/// How strictly frames are read. Made once per gateway; the default is the strictest that honest
/// traffic on a healthy network passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Bytes of the longest frame, Ethernet header and VLAN tags included, the frame check sequence
    /// not. 9,216 by default, what switches commonly call a jumbo frame.
    pub max_frame: u32,
    /// What is asked of checksums.
    pub checksums: Checksums,
    /// IPv4 options that may stand in a header; none by default.
    pub ipv4_options: Ipv4Options,
    /// Hop-by-hop options other than router alert whose type tells nodes that do not know them to
    /// skip them (RFC 8200, 4.2). Not by default: every router on the way may look at them.
    pub ipv6_hop_by_hop_options: bool,
    /// Routing headers that still lead elsewhere (segments left), all but type 0. Not by default:
    /// the destination that rules see is not where the packet ends.
    pub ipv6_source_routes: bool,
    /// Extension headers that the parser cannot look behind: mobility, HIP, Shim6 and those for
    /// experiments (IANA). Where allowed, they are matched by protocol, without ports.
    pub ipv6_unknown_headers: bool,
    /// Tunnels that are looked into: packets are judged by what they carry. None by default: the
    /// policy is asked about the tunnel.
    pub inside: Tunnels,
}

impl ParseOptions {
    /// The default.
    pub const STRICT: Self = ParseOptions {
        max_frame: 9216,
        checksums: Checksums::Verify,
        ipv4_options: Ipv4Options::NONE,
        ipv6_hop_by_hop_options: false,
        ipv6_source_routes: false,
        ipv6_unknown_headers: false,
        inside: Tunnels::NONE,
    };
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self::STRICT
    }
}

/// What is asked of the checksums of the IPv4 header, TCP, UDP, SCTP, ICMP and ICMPv6.
///
/// Those of fragments are not looked at before they are reassembled, and those of packets that a
/// capture cut cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checksums {
    /// They must be right.
    #[default]
    Verify,
    /// They must be right, or as the Linux kernel leaves them for a network card to finish
    /// (`CHECKSUM_PARTIAL`, Documentation/networking/checksum-offloads.rst): in TCP and UDP the
    /// folded sum of the pseudo-header, not complemented, and zero in SCTP. For virtual interfaces
    /// whose other end offloads, and captures taken on such a host: anybody can write such a sum,
    /// so a damaged packet that carries one is not found out.
    AcceptPartial,
    /// They are not looked at.
    Off,
}

/// A set of IPv4 options (RFC 791, 3.1; RFC 2113).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ipv4Options(u8);

impl Ipv4Options {
    /// No option: no header is longer than 20 bytes.
    pub const NONE: Self = Ipv4Options(0);
    /// Record route.
    pub const RECORD_ROUTE: Self = Ipv4Options(1);
    /// Loose source route. Rules see the next address of the route, not its end.
    pub const LOOSE_SOURCE_ROUTE: Self = Ipv4Options(1 << 1);
    /// Strict source route. Rules see the next address of the route, not its end.
    pub const STRICT_SOURCE_ROUTE: Self = Ipv4Options(1 << 2);
    /// Internet timestamp.
    pub const TIMESTAMP: Self = Ipv4Options(1 << 3);
    /// Router alert, which IGMP and RSVP carry.
    pub const ROUTER_ALERT: Self = Ipv4Options(1 << 4);

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Ipv4Options(self.0 | other.0)
    }

    /// Whether any option is in both sets.
    pub(super) const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every option of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
