//! What is to be checked of the packets of each zone.

use classifier::AddressMatch;
use std::net::IpAddr;

/// What to do with a packet that fails a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Drop it, and count it by its reason.
    #[default]
    Drop,
    /// Count it, and let it go on.
    Count,
    /// Do not check.
    Off,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 3] = [Mode::Drop, Mode::Count, Mode::Off];

    /// The word for it in policies and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Drop => "drop",
            Mode::Count => "count",
            Mode::Off => "off",
        }
    }
}

/// The mode of each kind of check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Sources that are not the zone's, or are another zone's (RFC 2827, RFC 3704).
    pub spoofed: Mode,
    /// Addresses that no packet can carry there: reserved by the protocol, groups as sources,
    /// link-local and unspecified sources outside their use (RFC 6890, RFC 1122, RFC 4291).
    pub bogons: Mode,
    /// Sources that are not globally reachable and not named as the zone's: private, shared,
    /// documentation, benchmarking and the like (RFC 6890). Off by default: it suits a zone that is
    /// the Internet.
    pub not_global: Mode,
    /// ARP (RFC 826, RFC 5227).
    pub arp: Mode,
    /// Neighbour discovery (RFC 4861, RFC 6980).
    pub neighbour: Mode,
    /// Router advertisements (RFC 6105, RFC 7113) other than those of [`ZoneGuard::routers`].
    pub router_advertisements: Mode,
    /// Messages of DHCP servers (RFC 2131, RFC 8415, RFC 7610) other than
    /// [`ZoneGuard::dhcp_servers`].
    pub dhcp_server: Mode,
}

impl Default for Modes {
    fn default() -> Self {
        Modes {
            spoofed: Mode::Drop,
            bogons: Mode::Drop,
            not_global: Mode::Off,
            arp: Mode::Drop,
            neighbour: Mode::Drop,
            router_advertisements: Mode::Drop,
            dhcp_server: Mode::Drop,
        }
    }
}

/// Which addresses may be sources in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Sources {
    /// All but those that belong to another zone.
    #[default]
    Any,
    /// Those that belong to the zone.
    Networks,
    /// These, whichever zone they belong to.
    Listed(Vec<AddressMatch>),
}

/// Who in a zone may send what only few may.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Senders {
    /// Nobody.
    #[default]
    Nobody,
    /// Everybody.
    Everybody,
    /// Those with these addresses.
    Listed(Vec<IpAddr>),
}

/// What is to be checked of the packets that arrive from one zone.
///
/// The default, for a zone of which nothing is known: sources are any, and every check that is on by
/// default is made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ZoneGuard {
    /// Addresses that belong to the zone. Where those of zones overlap, an address belongs to the
    /// narrowest; what two zones have alike belongs to both.
    pub networks: Vec<AddressMatch>,
    /// Sources.
    pub sources: Sources,
    /// What is done with what is found.
    pub modes: Modes,
    /// Who may send router advertisements.
    pub routers: Senders,
    /// Who may answer DHCP clients and relays.
    pub dhcp_servers: Senders,
}

/// What is to be checked in every zone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GuardConfig {
    /// By zone number ([`ZoneId`](classifier::ZoneId)). Packets of other zones are checked as
    /// [`ZoneGuard::default`] says.
    pub zones: Vec<ZoneGuard>,
}
