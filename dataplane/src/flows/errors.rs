//! ICMP errors: they pass when a flow's own packet caused them, and change nothing.

use super::engine::{Answer, Flows, head};
use super::key::{Hop, echo_key};
use crate::flowtable::{Class, Direction, End, FlowKey};
use crate::parse::{Echo, Icmp, IpPacket};
use crate::state::icmp::{IcmpError, Place, Quote, quoted};
use crate::state::sctp::SctpState;
use crate::state::tcp::TcpState;
use crate::table::Table;
use crate::verdict::DropReason;
use classifier::Family;

/// An ICMP error on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorPacket<'a> {
    /// Its headers.
    pub packet: &'a IpPacket,
    /// What it says.
    pub icmp: Icmp,
    /// What follows its eight bytes of header: the packet it is about, or the beginning of it.
    pub quote: &'a [u8],
    /// [`Parsed::vlan`](crate::parse::Parsed::vlan).
    pub vlan: u32,
    /// Its way through the gateway.
    pub hop: Hop,
}

impl Flows {
    /// Takes the error to the flow of the packet that it quotes.
    #[cold]
    pub fn judge_error(&mut self, error: &ErrorPacket<'_>, table: &Table, now: u64) -> Answer {
        match self.flow_of_error(error) {
            Ok((slot, key, direction)) => {
                match self.recheck(slot, &key, direction, error.hop.reversed(), table) {
                    Ok(rule) if self.errors.take(now) => Answer::Pass(rule),
                    Ok(_) => Answer::Drop(DropReason::IcmpErrorRate),
                    Err(denied_by) => Answer::Revoked(denied_by),
                }
            }
            Err(reason) => Answer::Drop(reason),
        }
    }

    /// The flow of the packet that an error quotes, and that packet's direction there.
    fn flow_of_error(
        &self,
        error: &ErrorPacket<'_>,
    ) -> Result<(u32, FlowKey, Direction), DropReason> {
        let ErrorPacket { packet, icmp, .. } = error;
        let Icmp { kind, code, rest, .. } = *icmp;
        let message = IcmpError { family: packet.family, kind, code, rest };
        let quote = quoted(error.quote, packet.family)?;
        self.config.errors.admits(&message, quote.length)?;
        // An error goes to whom the packet came from (RFC 1812, 4.3.2.4; RFC 4443, 2.4).
        if quote.src != packet.dst {
            return Err(DropReason::IcmpErrorFlow);
        }
        let (key, direction) = quoted_flow(error, &quote);
        let slot = self.table.find(&key, self.table.hash(&key)).ok_or(DropReason::IcmpErrorFlow)?;
        let from_opener = direction == self.table.opened(slot);
        self.check_place(slot, from_opener, quote.place)?;
        Ok((slot, key, direction))
    }

    /// Whether the flow in `slot` sent the packet at `place`, and may still hear of it.
    fn check_place(&self, slot: u32, from_opener: bool, place: Place) -> Result<(), DropReason> {
        let state = self.table.state(slot);
        let fits = match place {
            Place::Tcp(seq) => TcpState::from_bytes(state).in_flight(from_opener, seq),
            Place::Sctp(tag) => SctpState::from_bytes(head(state)).sent(from_opener, tag),
            Place::Echo(_) | Place::None => {
                // Before its first answer, nothing came from the responder.
                let sent = from_opener || self.table.class(slot) != Class::OneSided;
                return if sent { Ok(()) } else { Err(DropReason::IcmpErrorFlow) };
            }
        };
        if fits { Ok(()) } else { Err(DropReason::IcmpErrorSequence) }
    }
}

/// The flow that the packet that an error quotes would belong to: it went the other way.
fn quoted_flow(error: &ErrorPacket<'_>, quote: &Quote) -> (FlowKey, Direction) {
    let &ErrorPacket { packet, vlan, hop, .. } = error;
    let source = End { address: quote.src, port: quote.src_port, side: hop.egress };
    let target = End { address: quote.dst, port: quote.dst_port, side: hop.ingress };
    match quote.place {
        Place::Echo(request) => {
            let asks = if packet.family == Family::V4 { [8, 0] } else { [128, 0] };
            let echo = Echo { request, id: quote.src_port, asks };
            echo_key([source, target], echo, quote.protocol, vlan, packet.family)
        }
        _ => FlowKey::between(source, target, quote.protocol, vlan, packet.family),
    }
}
