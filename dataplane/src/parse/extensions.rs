//! The chain of IPv6 extension headers (RFC 8200, 4).

use super::span::{Span, be16, be32};
use super::{Fragment, ParseOptions};
use crate::verdict::DropReason;

pub(super) const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers by IANA's registry that are not looked behind: mobility (RFC 6275), HIP
/// (RFC 7401), Shim6 (RFC 5533), and two for experiments (RFC 4727).
const UNKNOWN: [u8; 5] = [135, 139, 140, 253, 254];

/// Most options in one header, padding not counted (RFC 8504, 5.3; Linux's
/// `max_hbh_opts_number`).
const MAX_OPTIONS: u32 = 8;
/// Most bytes of padding in a row: more would not align anything (RFC 4942, 2.1.9.5).
const MAX_PADDING: usize = 7;

/// What the extension headers of a packet say.
pub(super) struct Chain {
    /// The protocol at the end of the chain; of a fragment that is not the first, what its header
    /// names.
    pub protocol: u8,
    /// Bytes of extension headers.
    pub len: usize,
    /// The fragment header.
    pub fragment: Option<Fragment>,
    /// A routing header leads on to another address than the packet's destination.
    pub routed_on: bool,
}

impl Chain {
    pub fn none(protocol: u8) -> Self {
        Chain { protocol, len: 0, fragment: None, routed_on: false }
    }
}

/// Follows the chain from header `first` at the start of `payload`, byte `start` of the frame.
///
/// Each header may come once and in the order of RFC 8200, 4.1, destination options also before a
/// routing header. That bounds the walk to five headers. Authentication and encapsulating security
/// payload are protocols like any other: what they protect is not looked into. So is no next header
/// (59), and what lies behind it is passed on as it is (RFC 8200, 4.7).
#[inline(never)]
pub(super) fn walk(
    first: u8,
    payload: Span<'_>,
    start: usize,
    options: &ParseOptions,
) -> Result<Chain, DropReason> {
    let mut chain = Chain::none(first);
    let mut order = Order::default();
    // What a packet that ends before its chain does is dropped for.
    let mut short = DropReason::Ipv6Extensions;
    while order.follow(chain.protocol, options)? {
        let rest = payload.skip(chain.len);
        let kind = chain.protocol;
        let header = rest.header::<8>(short)?;
        let len = if kind == FRAGMENT { 8 } else { 8 + 8 * usize::from(header[1]) };
        let whole = rest.prefix(len, short)?;
        chain.protocol = header[0];
        chain.len += len;
        match kind {
            ROUTING => chain.routed_on = leads_on(header, options)?,
            FRAGMENT => {
                let fragment = read_fragment(header, chain.len, payload, start);
                chain.fragment = Some(fragment);
                if fragment.offset != 0 {
                    // The next header is that of the first fragment's data, and stands there.
                    order.follow(chain.protocol, options)?;
                    return Ok(chain);
                }
                if fragment.more {
                    short = DropReason::Ipv6FirstFragment;
                }
            }
            _ => check_options(kind == HOP_BY_HOP, &whole[2..], options)?,
        }
    }
    Ok(chain)
}

/// The headers seen so far, a bit for each place in the order of RFC 8200, 4.1.
#[derive(Default)]
struct Order(u8);

impl Order {
    const EARLY_OPTIONS: u8 = 1 << 1;
    const ROUTING: u8 = 1 << 2;
    const LATE_OPTIONS: u8 = 1 << 4;

    /// Whether header `kind` belongs to the chain; if not, it is the protocol at its end.
    fn follow(&mut self, kind: u8, options: &ParseOptions) -> Result<bool, DropReason> {
        let place = match kind {
            HOP_BY_HOP => 1 << 0,
            DESTINATION_OPTIONS if self.0 < Self::EARLY_OPTIONS => Self::EARLY_OPTIONS,
            ROUTING => Self::ROUTING,
            FRAGMENT => 1 << 3,
            DESTINATION_OPTIONS => Self::LATE_OPTIONS,
            kind if UNKNOWN.contains(&kind) && !options.ipv6_unknown_headers => {
                return Err(DropReason::Ipv6UnknownHeader);
            }
            _ => return Ok(false),
        };
        let again = place == Self::LATE_OPTIONS
            && self.0 & Self::EARLY_OPTIONS != 0
            && self.0 & Self::ROUTING == 0;
        if self.0 >= place || again {
            return Err(DropReason::Ipv6Extensions);
        }
        self.0 |= place;
        Ok(true)
    }
}

/// Whether a routing header leads on to another address than the packet's destination.
fn leads_on(header: &[u8; 8], options: &ParseOptions) -> Result<bool, DropReason> {
    let [_, _, kind, segments_left, ..] = *header;
    match (kind, segments_left) {
        (0, _) => Err(DropReason::Ipv6Routing0),
        (_, 0) => Ok(false),
        _ if options.ipv6_source_routes => Ok(true),
        _ => Err(DropReason::Ipv6SourceRoute),
    }
}

/// The fragment header (RFC 8200, 4.5), which ends `chain_len` bytes into the payload.
fn read_fragment(header: &[u8; 8], chain_len: usize, payload: Span<'_>, start: usize) -> Fragment {
    let place = be16::<2, _>(header);
    Fragment {
        id: be32::<4, _>(header),
        offset: place & !7,
        more: place & 1 != 0,
        next: header[0],
        header_len: (40 + chain_len) as u16,
        payload_offset: (start + chain_len) as u16,
        payload_len: payload.skip(chain_len).len as u16,
    }
}

/// Checks the options of a hop-by-hop or destination options header (RFC 8200, 4.2).
fn check_options(
    hop_by_hop: bool,
    mut rest: &[u8],
    options: &ParseOptions,
) -> Result<(), DropReason> {
    const PAD_1: u8 = 0;
    const PAD_N: u8 = 1;
    const ROUTER_ALERT: u8 = 5;
    const JUMBO: u8 = 0xc2;
    const MALFORMED: DropReason = DropReason::Ipv6OptionMalformed;
    let (mut count, mut padding, mut alerts) = (0, 0, 0);
    while let [kind, tail @ ..] = rest {
        if *kind == PAD_1 {
            rest = tail;
            padding += 1;
        } else {
            let (len, tail) = tail.split_first().ok_or(MALFORMED)?;
            let (data, tail) = tail.split_at_checked(usize::from(*len)).ok_or(MALFORMED)?;
            rest = tail;
            if *kind == PAD_N {
                // RFC 4942, 2.1.9.5: padding that is not zero is a covert channel.
                if data.iter().any(|byte| *byte != 0) {
                    return Err(MALFORMED);
                }
                padding += 2 + data.len();
            } else {
                padding = 0;
                count += 1;
                match *kind {
                    JUMBO => return Err(DropReason::Ipv6Jumbogram),
                    // RFC 2711, 2.1: two bytes of value, once.
                    ROUTER_ALERT if hop_by_hop => {
                        alerts += 1;
                        if data.len() != 2 || alerts > 1 {
                            return Err(MALFORMED);
                        }
                    }
                    // The upper two bits say what a node does that does not know the option; all
                    // but zero say to drop the packet.
                    kind if kind >> 6 != 0 => return Err(DropReason::Ipv6Option),
                    _ if hop_by_hop && !options.ipv6_hop_by_hop_options => {
                        return Err(DropReason::Ipv6Option);
                    }
                    _ => {}
                }
            }
        }
        if padding > MAX_PADDING {
            return Err(MALFORMED);
        }
        if count > MAX_OPTIONS {
            return Err(DropReason::Ipv6Option);
        }
    }
    Ok(())
}
