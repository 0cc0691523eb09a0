//! IP protocols by the names that policies use and status prints (IANA, Assigned Internet Protocol
//! Numbers).

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

/// Protocols that have names here.
pub(crate) const NAMED: [(&str, u8); 8] = [
    ("icmp", ICMP),
    ("tcp", TCP),
    ("udp", UDP),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("sctp", SCTP),
];

/// The protocol's name, or its number where it has none here.
pub(crate) fn name(protocol: u8) -> String {
    let named = NAMED.iter().find(|(_, number)| *number == protocol);
    named.map_or_else(|| protocol.to_string(), |(name, _)| (*name).to_owned())
}

/// Whether its packets carry ports.
pub(crate) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// Whether its packets carry an ICMP type and code.
pub(crate) fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, ICMP | ICMPV6)
}
