//! What the families of rule sets look like.

use super::addresses::{Crowding, Urn};
use crate::rulegen::{ICMP, TCP, UDP};
use clap::ValueEnum;
use classifier::FlagsMatch;

/// A family of rule sets.
///
/// The numbers of the first five are rounded from counts over the sets published with NeuroCuts
/// (Liang et al., SIGCOMM 2019), which were made with ClassBench's generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Structure {
    /// An access list between hosts: nearly exact addresses, few destinations, exact ports
    Acl1,
    /// An access list between networks: every mixture of lengths, few ports
    Acl2,
    /// A firewall of a site: everybody to a host, many service ports on both sides
    Fw1,
    /// A firewall of many networks: by source network and source port
    Fw2,
    /// A chain of a packet filter: networks and hosts on both sides, UDP first
    Ipc1,
    /// A segmentation policy: zones, label sets and services
    Identity,
}

/// A class of ports, as ClassBench has them. Its fifth, well-known (LO), is in none of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// WC: 0 to 65535.
    Any,
    /// HI: 1024 to 65535.
    High,
    /// EM: one port.
    Exact,
    /// AR: any other range.
    Range,
}

/// Entries with their weights.
type Weighted<T> = &'static [(u32, T)];

pub(super) struct Table {
    /// Modes of the prefix lengths of source and destination, on the scale of IPv4.
    pub lengths: Weighted<(u8, u8)>,
    /// How the addresses of source and destination crowd: below the root, /8, /16 and /24.
    pub crowding: [Crowding; 2],
    /// Most prefixes of source and destination that hold an address, wildcards not counted.
    pub nesting: [u8; 2],
    /// Protocol, source ports, destination ports.
    pub services: Weighted<(Option<u8>, Ports, Ports)>,
    /// Different exact ports.
    pub exact_ports: usize,
    /// Different arbitrary ranges of ports.
    pub port_ranges: usize,
    /// Of rules for TCP.
    pub flags: Weighted<FlagsMatch>,
    /// How many sides in a hundred name label sets, if there are any.
    pub identity_percent: u8,
}

/// Ports of services, the most frequent of the exact ports. Those that follow are drawn.
pub(super) const KNOWN_PORTS: [u16; 32] = [
    80, 443, 53, 22, 25, 123, 1521, 161, 1433, 21, 110, 143, 135, 139, 389, 3306, 69, 514, 162,
    137, 445, 23, 8080, 5432, 1526, 88, 750, 113, 3389, 636, 5060, 179,
];

/// IP protocols that only some of the structures have.
const GRE: u8 = 47;
const ESP: u8 = 50;
const EIGRP: u8 = 88;

const fn urn(variety: f64, fresh: f64) -> Urn {
    Urn { variety, fresh }
}

const fn flags(value: u16, mask: u16) -> FlagsMatch {
    FlagsMatch { value, mask }
}

impl Structure {
    pub(super) fn table(self) -> &'static Table {
        match self {
            Structure::Acl1 => &ACL1,
            Structure::Acl2 => &ACL2,
            Structure::Fw1 => &FW1,
            Structure::Fw2 => &FW2,
            Structure::Ipc1 => &IPC1,
            Structure::Identity => &IDENTITY,
        }
    }
}

use Ports::{Any, Exact, High, Range};

static ACL1: Table = Table {
    lengths: &[
        (66, (32, 32)),
        (11, (32, 22)),
        (10, (23, 32)),
        (3, (32, 25)),
        (3, (30, 22)),
        (3, (23, 16)),
        (2, (32, 4)),
        (1, (23, 28)),
        (1, (8, 32)),
    ],
    crowding: [
        [urn(20.0, 0.0), urn(0.1, 0.0), urn(0.4, 0.0), urn(5.0, 0.1)],
        [urn(6.0, 0.015), urn(0.3, 0.0), urn(0.05, 0.0), urn(0.3, 0.01)],
    ],
    nesting: [2, 4],
    services: &[
        (59, (Some(TCP), Any, Exact)),
        (17, (Some(TCP), Any, Any)),
        (11, (Some(TCP), Any, Range)),
        (9, (None, Any, Any)),
        (3, (Some(ICMP), Any, Any)),
        (1, (Some(UDP), Any, Exact)),
    ],
    exact_ports: 73,
    port_ranges: 34,
    flags: &[(82, FlagsMatch::ANY), (9, flags(0x0000, 0x0200)), (9, flags(0x1000, 0x1000))],
    identity_percent: 50,
};

static ACL2: Table = Table {
    lengths: &[
        (15, (16, 32)),
        (8, (12, 32)),
        (7, (24, 32)),
        (7, (32, 32)),
        (8, (32, 24)),
        (8, (32, 16)),
        (6, (32, 12)),
        (8, (24, 16)),
        (8, (16, 24)),
        (6, (24, 12)),
        (4, (12, 24)),
        (6, (0, 32)),
        (5, (0, 24)),
        (4, (32, 0)),
    ],
    crowding: [
        [urn(60.0, 0.02), urn(1.2, 0.1), urn(0.5, 0.25), urn(0.6, 0.5)],
        [urn(60.0, 0.03), urn(1.5, 0.15), urn(0.5, 0.3), urn(0.6, 0.5)],
    ],
    nesting: [2, 4],
    services: &[
        (46, (None, Any, Any)),
        (20, (Some(TCP), Any, Any)),
        (19, (Some(TCP), Any, Exact)),
        (6, (Some(TCP), Any, Range)),
        (5, (Some(UDP), Any, Exact)),
        (1, (Some(UDP), Any, High)),
        (1, (Some(UDP), Any, Range)),
        (1, (Some(ICMP), Any, Any)),
        (1, (Some(EIGRP), Any, Any)),
    ],
    exact_ports: 24,
    port_ranges: 1,
    flags: &[(88, FlagsMatch::ANY), (6, flags(0x0000, 0x0200)), (6, flags(0x1000, 0x1000))],
    identity_percent: 50,
};

static FW1: Table = Table {
    lengths: &[
        (62, (0, 32)),
        (18, (32, 0)),
        (6, (32, 32)),
        (5, (28, 0)),
        (4, (21, 0)),
        (2, (32, 21)),
        (2, (0, 0)),
        (1, (12, 32)),
    ],
    crowding: [
        [urn(60.0, 0.2), urn(0.5, 0.5), urn(0.3, 0.4), urn(0.5, 0.4)],
        [urn(100.0, 0.3), urn(1.0, 0.7), urn(0.3, 0.5), urn(0.5, 0.5)],
    ],
    nesting: [1, 1],
    services: &[
        (45, (Some(TCP), Any, Exact)),
        (8, (Some(TCP), Any, Any)),
        (4, (Some(TCP), High, High)),
        (14, (Some(UDP), Any, Exact)),
        (11, (Some(UDP), Exact, Any)),
        (3, (Some(UDP), Exact, Exact)),
        (2, (Some(UDP), High, High)),
        (2, (Some(UDP), Exact, High)),
        (2, (Some(UDP), High, Exact)),
        (5, (Some(GRE), Any, Any)),
        (3, (Some(ICMP), Any, Any)),
        (1, (None, Any, Any)),
    ],
    exact_ports: 40,
    port_ranges: 0,
    flags: &[(88, flags(0x0200, 0x1200)), (11, FlagsMatch::ANY), (1, flags(0x0400, 0x0400))],
    identity_percent: 50,
};

static FW2: Table = Table {
    lengths: &[
        (47, (23, 0)),
        (14, (32, 32)),
        (14, (15, 0)),
        (13, (0, 23)),
        (8, (32, 0)),
        (3, (24, 32)),
        (1, (0, 0)),
    ],
    crowding: [
        [urn(60.0, 0.3), urn(1.0, 0.8), urn(0.3, 0.5), urn(0.5, 0.5)],
        [urn(60.0, 0.3), urn(1.0, 0.8), urn(0.3, 0.5), urn(0.5, 0.5)],
    ],
    nesting: [1, 1],
    services: &[
        (27, (Some(UDP), Exact, Any)),
        (8, (Some(UDP), High, Any)),
        (18, (Some(TCP), Exact, Any)),
        (8, (Some(TCP), High, Any)),
        (22, (None, Any, Any)),
        (3, (None, Exact, Any)),
        (12, (Some(ESP), Any, Any)),
        (2, (Some(ICMP), Any, Any)),
    ],
    exact_ports: 7,
    port_ranges: 0,
    flags: &[(1, FlagsMatch::ANY)],
    identity_percent: 50,
};

static IPC1: Table = Table {
    lengths: &[
        (19, (32, 32)),
        (16, (24, 32)),
        (10, (32, 24)),
        (19, (24, 24)),
        (7, (0, 32)),
        (5, (0, 24)),
        (6, (24, 0)),
        (3, (32, 0)),
        (6, (24, 16)),
        (5, (16, 24)),
        (4, (27, 27)),
    ],
    crowding: [
        [urn(5.0, 0.001), urn(0.5, 0.004), urn(0.3, 0.005), urn(0.3, 0.05)],
        [urn(8.0, 0.002), urn(0.6, 0.01), urn(0.4, 0.01), urn(0.6, 0.12)],
    ],
    nesting: [1, 4],
    services: &[
        (33, (None, Any, Any)),
        (22, (Some(UDP), Any, Exact)),
        (9, (Some(UDP), Exact, Any)),
        (6, (Some(UDP), Any, High)),
        (1, (Some(UDP), Any, Range)),
        (14, (Some(TCP), Any, Exact)),
        (8, (Some(TCP), Exact, Any)),
        (2, (Some(TCP), Any, Any)),
        (2, (Some(TCP), Any, Range)),
        (1, (Some(TCP), Range, Any)),
        (1, (Some(ICMP), Any, Any)),
        (1, (Some(GRE), Any, Any)),
    ],
    exact_ports: 45,
    port_ranges: 7,
    flags: &[(3, FlagsMatch::ANY), (1, flags(0x0000, 0x0200))],
    identity_percent: 50,
};

static IDENTITY: Table = Table {
    // Of the sides that name addresses: the networks of offices and partners, and single hosts.
    lengths: &[
        (4, (24, 24)),
        (3, (32, 24)),
        (3, (24, 32)),
        (2, (32, 32)),
        (2, (16, 24)),
        (2, (0, 24)),
    ],
    crowding: [[urn(5.0, 0.0), urn(2.0, 0.0), urn(6.0, 0.02), urn(6.0, 0.1)]; 2],
    nesting: [3, 3],
    services: &[
        (64, (Some(TCP), Any, Exact)),
        (8, (Some(TCP), Any, Range)),
        (4, (Some(TCP), Any, Any)),
        (13, (Some(UDP), Any, Exact)),
        (4, (Some(ICMP), Any, Any)),
        (7, (None, Any, Any)),
    ],
    exact_ports: 200,
    port_ranges: 20,
    flags: &[(1, FlagsMatch::ANY)],
    identity_percent: 85,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_ports_in_a_table_has_ports_to_draw() {
        for structure in Structure::value_variants() {
            let table = structure.table();
            let has = |class| {
                table.services.iter().any(|(_, (_, src, dst))| [*src, *dst].contains(&class))
            };
            assert!(!has(Exact) || table.exact_ports > 0, "{structure:?}");
            assert!(!has(Range) || table.port_ranges > 0, "{structure:?}");
        }
    }

    #[test]
    fn known_ports_are_distinct() {
        let distinct: std::collections::HashSet<_> = KNOWN_PORTS.iter().collect();
        assert_eq!(distinct.len(), KNOWN_PORTS.len());
    }
}
