//! Addresses with a special purpose, and what that means for a packet that carries one.

use super::sources::IntervalMap;
use classifier::{AddressMatch, Family};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is, as far as a packet's source or destination goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Ordinary, or a special one that is globally reachable.
    Global,
    /// Used within networks or in texts, not across the Internet.
    NotGlobal,
    /// Valid on one link, never forwarded by a router (RFC 3927, RFC 4291).
    LinkLocal,
    /// Multicast and the limited broadcast address: a destination, never a source (RFC 1122,
    /// 3.2.1.3; RFC 4291, 2.7).
    Group,
    /// Reserved by the protocol: nobody can be reached there, so nobody sends from there. The
    /// unspecified address is one, and has its use as a source.
    Invalid,
}

/// A block of addresses and what RFC 6890, 2.2.1 has recorded of each block.
struct Row {
    block: IpAddr,
    len: u8,
    destination: bool,
    forwardable: bool,
    global: bool,
    reserved: bool,
    source: bool,
}

/// `columns` has `T` or `F` for: source, destination, forwardable, globally reachable,
/// reserved by protocol.
const fn row(block: IpAddr, len: u8, columns: &[u8; 5]) -> Row {
    let [source, destination, forwardable, global, reserved] = *columns;
    Row {
        block,
        len,
        source: source == b'T',
        destination: destination == b'T',
        forwardable: forwardable == b'T',
        global: global == b'T',
        reserved: reserved == b'T',
    }
}

const fn v4(octets: [u8; 4], len: u8, columns: &[u8; 5]) -> Row {
    row(IpAddr::V4(Ipv4Addr::from_octets(octets)), len, columns)
}

const fn v6(segments: [u16; 8], len: u8, columns: &[u8; 5]) -> Row {
    row(IpAddr::V6(Ipv6Addr::from_segments(segments)), len, columns)
}

/// The IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190) as of July 2026.
/// "N/A" and the blanks of terminated rows are `F`. Below each, what is not in the registry: groups,
/// and a format that is deprecated.
const ROWS: &[Row] = &[
    v4([0, 0, 0, 0], 8, b"TFFFT"),          // "This network": RFC 791, 3.2
    v4([0, 0, 0, 0], 32, b"TFFFT"),         // "This host": RFC 1122, 3.2.1.3
    v4([10, 0, 0, 0], 8, b"TTTFF"),         // Private use: RFC 1918
    v4([100, 64, 0, 0], 10, b"TTTFF"),      // Shared address space: RFC 6598
    v4([127, 0, 0, 0], 8, b"FFFFT"),        // Loopback: RFC 1122, 3.2.1.3
    v4([169, 254, 0, 0], 16, b"TTFFT"),     // Link-local: RFC 3927
    v4([172, 16, 0, 0], 12, b"TTTFF"),      // Private use: RFC 1918
    v4([192, 0, 0, 0], 24, b"FFFFF"),       // IETF protocol assignments: RFC 6890, 2.1
    v4([192, 0, 0, 0], 29, b"TTTFF"),       // IPv4 service continuity: RFC 7335
    v4([192, 0, 0, 8], 32, b"TFFFF"),       // IPv4 dummy address: RFC 7600
    v4([192, 0, 0, 9], 32, b"TTTTF"),       // Port Control Protocol anycast: RFC 7723
    v4([192, 0, 0, 10], 32, b"TTTTF"),      // TURN anycast: RFC 8155
    v4([192, 0, 0, 170], 32, b"FFFFT"),     // NAT64/DNS64 discovery: RFC 8880, RFC 7050, 2.2
    v4([192, 0, 0, 171], 32, b"FFFFT"),     // The same
    v4([192, 0, 2, 0], 24, b"FFFFF"),       // Documentation (TEST-NET-1): RFC 5737
    v4([192, 31, 196, 0], 24, b"TTTTF"),    // AS112: RFC 7535
    v4([192, 52, 193, 0], 24, b"TTTTF"),    // AMT: RFC 7450
    v4([192, 88, 99, 0], 24, b"FFFFF"),     // 6to4 relay anycast, terminated: RFC 7526
    v4([192, 88, 99, 2], 32, b"TTTFF"),     // 6a44 relay anycast: RFC 6751
    v4([192, 168, 0, 0], 16, b"TTTFF"),     // Private use: RFC 1918
    v4([192, 175, 48, 0], 24, b"TTTTF"),    // Direct delegation AS112: RFC 7534
    v4([198, 18, 0, 0], 15, b"TTTFF"),      // Benchmarking: RFC 2544
    v4([198, 51, 100, 0], 24, b"FFFFF"),    // Documentation (TEST-NET-2): RFC 5737
    v4([203, 0, 113, 0], 24, b"FFFFF"),     // Documentation (TEST-NET-3): RFC 5737
    v4([240, 0, 0, 0], 4, b"FFFFT"),        // Reserved: RFC 1112, 4
    v4([255, 255, 255, 255], 32, b"FTFFT"), // Limited broadcast: RFC 8190, RFC 919, 7
    v4([224, 0, 0, 0], 4, b"FTTTT"),        // Multicast: RFC 1112, 7.2, RFC 5771
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, b"FFFFT"), // Loopback: RFC 4291, 2.5.3
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, b"TFFFT"), // Unspecified: RFC 4291, 2.5.2
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, b"FFFFT"), // IPv4-mapped: RFC 4291, 2.5.5.2
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, b"TTTTF"), // IPv4-IPv6 translation: RFC 6052
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, b"TTTFF"), // IPv4-IPv6 translation, local: RFC 8215
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, b"TTTFF"), // Discard-only: RFC 6666
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, b"TFFFF"), // Dummy prefix: RFC 9780
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, b"FFFFF"), // IETF protocol assignments: RFC 2928
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, b"TTTFF"), // Teredo: RFC 4380, RFC 8190
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, b"TTTTF"), // Port Control Protocol anycast: RFC 7723
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, b"TTTTF"), // TURN anycast: RFC 8155
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, b"TTTTF"), // DNS-SD registration anycast: RFC 9665
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, b"TTTFF"), // Benchmarking: RFC 5180
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, b"TTTTF"), // AMT: RFC 7450
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, b"TTTTF"), // AS112: RFC 7535
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, b"FFFFF"), // ORCHID, terminated: RFC 4843
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, b"TTTTF"), // ORCHIDv2: RFC 7343
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, b"TTTTF"), // Drone remote identifiers: RFC 9374
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, b"FFFFF"), // Documentation: RFC 3849
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, b"TTTFF"), // 6to4: RFC 3056
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, b"TTTTF"), // Direct delegation AS112: RFC 7534
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, b"FFFFF"), // Documentation: RFC 9637
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, b"TTTFF"), // Segment routing identifiers: RFC 9602
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, b"TTTFF"), // Unique local: RFC 4193, RFC 8190
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, b"TTFFT"), // Link-local: RFC 4291, 2.5.6
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, b"FTTTT"), // Multicast: RFC 4291, 2.7
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, b"FFFFF"), // IPv4-compatible, deprecated: RFC 4291, 2.5.5.1
];

impl Row {
    fn class(&self) -> Class {
        match self {
            Row { reserved: true, destination: false, .. } => Class::Invalid,
            Row { reserved: true, source: false, .. } => Class::Group,
            Row { reserved: true, forwardable: false, .. } => Class::LinkLocal,
            Row { global: true, .. } => Class::Global,
            Row { .. } => Class::NotGlobal,
        }
    }
}

/// The rows, compiled.
#[derive(Debug)]
pub(super) struct Registry(IntervalMap<Class>);

impl Registry {
    pub(super) fn new() -> Self {
        let rows = ROWS.iter().filter_map(|row| {
            // No row is longer than its family's addresses.
            Some((AddressMatch::prefix(row.block, row.len).ok()?, row.class()))
        });
        let rows: Vec<_> = rows.collect();
        Registry(IntervalMap::narrowest(&rows, Class::Global, |classes| classes[0]))
    }

    /// What kind of address it is: that of the narrowest block it is in.
    #[inline]
    pub(super) fn class(&self, family: Family, address: u128) -> Class {
        self.0.at(family, address)
    }
}
