//! ICMP and ICMPv6 errors: let through only when the packet that they quote is one of a flow's.
//!
//! An error never opens, refreshes or changes a flow. It is judged in this order: its type
//! ([`ErrorRules::admits`]), the quoted packet ([`quoted`]), the flow that the quoted packet belongs to
//! (looked up by the caller, in the direction against the error's), the number that the quoted
//! packet carries ([`TcpState::in_flight`], [`SctpState::sent`]) and the rate ([`TokenBucket`]).
//!
//! [`TcpState::in_flight`]: super::tcp::TcpState::in_flight
//! [`SctpState::sent`]: super::sctp::SctpState::sent

use crate::flows::Rate;
use crate::parse::protocol;
use crate::verdict::DropReason;
use classifier::Family;

/// Extension headers that a quote is followed through.
const MAX_EXTENSION_HEADERS: usize = 8;

/// An error message, apart from what it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IcmpError {
    /// ICMP or ICMPv6.
    pub family: Family,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Bytes 4 to 8 of the message, where the path MTU is.
    pub rest: u32,
}

/// The packet that an error quotes, as far as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    /// Source address, in the low bits.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Protocol of the last header.
    pub protocol: u8,
    /// Source port, or the identifier of an ICMP echo; 0 for protocols without.
    pub src_port: u16,
    /// Destination port; 0 for protocols without.
    pub dst_port: u16,
    /// Length of the packet that was sent, in octets, IP header included.
    pub length: u32,
    /// What places it in its flow.
    pub place: Place,
}

/// What the first eight octets of a transport header tell besides ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    None,
    /// TCP sequence number.
    Tcp(u32),
    /// SCTP verification tag.
    Sctp(u32),
    /// ICMP echo, and whether it is the request.
    Echo(bool),
}

/// Which errors pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRules {
    /// Smallest path MTU taken from an ICMP error, in octets. RFC 791 would allow 68; 552 is what
    /// Linux goes down to (`net.ipv4.route.min_pmtu`), as smaller ones only serve attacks.
    pub min_mtu_v4: u16,
    /// Smallest path MTU taken from an ICMPv6 error, in octets: every IPv6 link carries 1280
    /// (RFC 8200, 5), and a host discards a message that says less (RFC 8201, 4).
    pub min_mtu_v6: u16,
}

impl Default for ErrorRules {
    fn default() -> Self {
        ErrorRules { min_mtu_v4: 552, min_mtu_v6: 1280 }
    }
}

impl ErrorRules {
    /// Whether an error of this type, quoting a packet of `length` octets, may pass.
    ///
    /// # Errors
    /// [`DropReason::IcmpErrorType`] for all but destination unreachable, packet too big, time
    /// exceeded and parameter problem; [`DropReason::IcmpErrorMtu`] for a path MTU that is too small
    /// or that the quoted packet did not exceed (RFC 5927, 7.2).
    pub(crate) fn admits(&self, error: &IcmpError, length: u32) -> Result<(), DropReason> {
        let (mtu, least) = match (error.family, error.kind, error.code) {
            (Family::V4, 3, 4) => (error.rest & 0xffff, self.min_mtu_v4),
            (Family::V6, 2, 0) => (error.rest, self.min_mtu_v6),
            // RFC 792 and RFC 1122, 3.2.2.1; RFC 1812, 5.2.7.1.
            (Family::V4, 3, 0..=15) | (Family::V4, 11, 0..=1) | (Family::V4, 12, 0..=2) => {
                return Ok(());
            }
            // RFC 4443, 3; RFC 7112 and RFC 8883 for the later codes.
            (Family::V6, 1, 0..=8) | (Family::V6, 3, 0..=1) | (Family::V6, 4, 0..=9) => {
                return Ok(());
            }
            _ => return Err(DropReason::IcmpErrorType),
        };
        if mtu < u32::from(least) || mtu >= length {
            return Err(DropReason::IcmpErrorMtu);
        }
        Ok(())
    }
}

/// Reads the packet quoted in an error: `bytes` are what follows the eight octets of its header.
///
/// Checksums are not verified: routers on the way changed what they cover.
///
/// # Errors
/// [`DropReason::IcmpErrorQuote`]: the IP header, or eight octets behind it (RFC 792), are not whole,
/// or it is a fragment without them, or an ICMP message other than echo (RFC 1122, 3.2.2).
pub(crate) fn quoted(bytes: &[u8], family: Family) -> Result<Quote, DropReason> {
    let quote = match family {
        Family::V4 => quoted_v4(bytes),
        Family::V6 => quoted_v6(bytes),
    };
    quote.ok_or(DropReason::IcmpErrorQuote)
}

fn quoted_v4(bytes: &[u8]) -> Option<Quote> {
    let header = bytes.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let length = u16::from_be_bytes([header[2], header[3]]);
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    let whole = usize::from(length) >= header_len + 8;
    if header[0] >> 4 != 4 || header_len < 20 || offset != 0 || !whole {
        return None;
    }
    let address = |at: usize| {
        u128::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
    };
    let quote = Quote {
        src: address(12),
        dst: address(16),
        protocol: header[9],
        src_port: 0,
        dst_port: 0,
        length: u32::from(length),
        place: Place::None,
    };
    transport(quote, Family::V4, bytes.get(header_len..)?)
}

fn quoted_v6(bytes: &[u8]) -> Option<Quote> {
    let header = bytes.first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        u128::from_be_bytes(octets)
    };
    let payload = &bytes[40..];
    let (protocol, offset) = last_header(header[6], payload)?;
    if offset + 8 > payload_len {
        return None;
    }
    let quote = Quote {
        src: address(8),
        dst: address(24),
        protocol,
        src_port: 0,
        dst_port: 0,
        length: 40 + payload_len as u32,
        place: Place::None,
    };
    transport(quote, Family::V6, payload.get(offset..)?)
}

/// Follows the extension headers of a quoted packet (RFC 8200, 4): protocol and offset of what
/// comes after them. What is let through was parsed strictly on its way out, so order is not
/// checked again.
fn last_header(first: u8, payload: &[u8]) -> Option<(u8, usize)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;

    let mut next = first;
    let mut offset = 0;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let &[following, length, high, low] = match next {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => {
                payload.get(offset..)?.first_chunk::<4>()?
            }
            protocol => return Some((protocol, offset)),
        };
        if next == FRAGMENT {
            if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
                return None;
            }
            offset += 8;
        } else {
            offset += 8 + usize::from(length) * 8;
        }
        next = following;
    }
    None
}

fn transport(mut quote: Quote, family: Family, bytes: &[u8]) -> Option<Quote> {
    let &[a, b, c, d, e, f, g, h] = bytes.first_chunk::<8>()?;
    let word = u32::from_be_bytes([e, f, g, h]);
    let echo = match family {
        Family::V4 => (protocol::ICMP, 8, 0),
        Family::V6 => (protocol::ICMPV6, 128, 129),
    };
    match quote.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            quote.src_port = u16::from_be_bytes([a, b]);
            quote.dst_port = u16::from_be_bytes([c, d]);
            quote.place = match quote.protocol {
                protocol::TCP => Place::Tcp(word),
                protocol::SCTP => Place::Sctp(word),
                _ => Place::None,
            };
        }
        number if number == echo.0 => {
            if (a != echo.1 && a != echo.2) || b != 0 {
                return None;
            }
            quote.src_port = u16::from_be_bytes([e, f]);
            quote.place = Place::Echo(a == echo.1);
        }
        _ => {}
    }
    Some(quote)
}

/// A rate limit, as a bucket that fills by the clock and that each packet takes one token from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenBucket {
    /// Tokens in it, in billionths, so that a nanosecond at one a second is one unit.
    level: u64,
    filled_at: u64,
    per_second: u32,
    burst: u32,
}

impl TokenBucket {
    const TOKEN: u64 = 1_000_000_000;

    /// A full bucket.
    pub(crate) fn full(Rate { per_second, burst }: Rate) -> TokenBucket {
        TokenBucket { level: u64::from(burst) * Self::TOKEN, filled_at: 0, per_second, burst }
    }

    /// Takes a token at `now`, in nanoseconds; `false` if there is none. A clock that steps back
    /// fills nothing.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.filled_at);
        self.filled_at = now;
        let filled = elapsed.saturating_mul(u64::from(self.per_second));
        let full = u64::from(self.burst) * Self::TOKEN;
        self.level = self.level.saturating_add(filled).min(full);
        let left = self.level.checked_sub(Self::TOKEN);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }
}

#[cfg(test)]
mod tests;
