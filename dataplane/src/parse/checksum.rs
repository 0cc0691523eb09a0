//! The Internet checksum (RFC 1071) and the CRC32c of SCTP (RFC 9260, appendix A).

use super::span::Span;
use super::{Checksums, IpPacket, protocol};
use crate::verdict::DropReason;
use classifier::Family;

/// The ones' complement sum of `bytes` as 16-bit words in the byte order of the machine, not yet
/// folded. An odd byte is followed by zero. Sums of parts that begin at even bytes can be added.
///
/// The byte order does not matter as long as all words have the same (RFC 1071, 2 (B)), nor how
/// late the carries are added (2 (A)): halves of 64-bit words are summed apart, four words at a time,
/// which compiles to vector instructions.
#[inline]
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    const LANES: usize = 4;
    let mut lanes = [0u64; LANES];
    let (blocks, rest) = bytes.as_chunks::<{ 8 * LANES }>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u64::from_ne_bytes(*word);
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let (words, rest) = rest.as_chunks::<2>();
    for word in words {
        total += u64::from(u16::from_ne_bytes(*word));
    }
    if let [odd] = rest {
        total += u64::from(u16::from_ne_bytes([*odd, 0]));
    }
    total
}

/// A [`sum`] brought down to 16 bits, carries added. Zero only if every word was.
#[inline]
pub(crate) fn fold(sum: u64) -> u16 {
    // Each line halves what can be above 16 bits; the last may leave one more carry.
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Whether the words summed include their right checksum: their sum is minus zero.
#[inline]
pub(super) fn is_right(sum: u64) -> bool {
    fold(sum) == 0xffff
}

/// Checks the checksum of the transport header at the start of `l4`, if it has one and all of it is
/// at hand.
///
/// `addresses` are those of the pseudo-header, source before destination, or `None` where the packet
/// does not say which: sums over them are not checked then.
#[inline]
pub(super) fn verify(
    packet: &IpPacket,
    addresses: Option<&[u8]>,
    l4: Span<'_>,
    checksums: Checksums,
) -> Result<(), DropReason> {
    if checksums == Checksums::Off || !l4.whole() {
        return Ok(());
    }
    let partial = checksums == Checksums::AcceptPartial;
    let pseudo = addresses
        .map(|addresses| sum(addresses) + pseudo_numbers(packet.protocol, l4.bytes.len() as u16));
    match (packet.protocol, packet.family, pseudo) {
        (protocol::TCP, _, Some(pseudo)) => {
            let field = field::<16>(l4.bytes);
            let left_to_do = partial && field == Some(fold(pseudo));
            check(left_to_do || is_right(pseudo + sum(l4.bytes)), DropReason::TcpChecksum)
        }
        (protocol::UDP, family, Some(pseudo)) => {
            let field = field::<6>(l4.bytes);
            // None was made (RFC 768). IPv6 has no such packets but those of tunnels that say so
            // (RFC 8200, 8.1; RFC 6935), which nothing here knows of.
            if field == Some(0) {
                return check(family == Family::V4, DropReason::UdpChecksum);
            }
            let left_to_do = partial && field == Some(fold(pseudo));
            check(left_to_do || is_right(pseudo + sum(l4.bytes)), DropReason::UdpChecksum)
        }
        (protocol::ICMP, Family::V4, _) => check(is_right(sum(l4.bytes)), DropReason::IcmpChecksum),
        (protocol::ICMPV6, Family::V6, Some(pseudo)) => {
            check(is_right(pseudo + sum(l4.bytes)), DropReason::IcmpChecksum)
        }
        (protocol::SCTP, ..) => {
            let Some((head, [a, b, c, d, chunks @ ..])) = l4.bytes.split_at_checked(8) else {
                return Ok(());
            };
            let field = u32::from_le_bytes([*a, *b, *c, *d]);
            let left_to_do = partial && field == 0;
            check(left_to_do || field == crc32c(head, chunks), DropReason::SctpChecksum)
        }
        _ => Ok(()),
    }
}

/// Sum of the two words of numbers in a pseudo-header, which has them in network order.
#[inline]
pub(super) fn pseudo_numbers(protocol: u8, length: u16) -> u64 {
    u64::from(length.to_be()) + u64::from(u16::from(protocol).to_be())
}

#[inline]
fn check(right: bool, reason: DropReason) -> Result<(), DropReason> {
    if right { Ok(()) } else { Err(reason) }
}

/// The checksum field at byte `AT`, in the byte order of the machine.
#[inline]
fn field<const AT: usize>(bytes: &[u8]) -> Option<u16> {
    bytes.get(AT..AT + 2).map(|field| u16::from_ne_bytes([field[0], field[1]]))
}

/// CRC32c of an SCTP packet: of the bytes before the checksum field, zeroes in its place, and those
/// behind it. The field has it least significant byte first (RFC 9260, appendix A).
fn crc32c(head: &[u8], chunks: &[u8]) -> u32 {
    !advance(advance(advance(!0, head), &[0; 4]), chunks)
}

/// Takes `bytes` into a CRC register, eight at a time by eight tables (Kounavis and Berry,
/// "Novel Table Lookup-Based Algorithms for High-Performance CRC Generation", 2008).
pub(super) fn advance(mut crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d, e, f, g, h] =
            (u64::from_le_bytes(*word) ^ u64::from(crc)).to_le_bytes().map(usize::from);
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        crc = t7[a] ^ t6[b] ^ t5[c] ^ t4[d] ^ t3[e] ^ t2[f] ^ t1[g] ^ t0[h];
    }
    for byte in rest {
        crc = crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    crc
}

/// `TABLES[n][byte]`: what `byte` does to the register when `n` more bytes follow.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    /// The polynomial of Castagnoli, bits reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        let mut table = 0;
        while table < 8 {
            tables[table][byte] = crc;
            // One zero byte more.
            let mut bit = 0;
            while bit < 8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
                bit += 1;
            }
            table += 1;
        }
        byte += 1;
    }
    tables
}
