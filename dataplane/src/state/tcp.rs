//! A TCP connection between two zones (RFC 9293, RFC 5961), judged from the middle.
//!
//! ```text
//!            SYN           SYN-ACK            ACK
//!   (none) -------> SynSent -------> SynReceived -------> Established
//!                      | SYN (both open at once)  ^           | FIN
//!                      +--------------------------+           v
//!   Closed <--- RST, anywhere      TimeWait <--- Closing <--- FinWait / HalfClosed
//! ```
//!
//! The state is two [`Side`]s; the class follows from what was seen of either. Of a segment that is
//! dropped nothing is learnt, so that an attacker who has to guess sequence numbers changes nothing.
//!
//! **RST** (RFC 5961, 3.2). An end resets only if the number is exactly the next it expects, and
//! answers any other in its window with a challenge ACK. From here two numbers can be that one:
//! what the receiver last acknowledged, and the end of what was sent to it. Only these close the
//! flow. Others in the window are forwarded without effect ([`RstPolicy::Window`]), because the
//! challenge is how an honest end whose earlier segment got lost is asked for the right number; a
//! zone with ends older than RFC 5961 can have them dropped ([`RstPolicy::Strict`]).
//!
//! **SYN in a connection** (RFC 5961, 4.2: "irrespective of the sequence number, TCP MUST send an
//! ACK"). From the opener it is forwarded without effect, so that the responder challenges and an
//! opener that restarted answers with the RST that frees the connection. From the responder it is
//! dropped: it would ask for a connection in a direction that nobody allowed. If the responder
//! answers with a SYN-ACK instead, it has forgotten the connection as well: the SYN-ACK is dropped
//! and the flow closed, and the SYN that is sent again opens a new one.
//!
//! **TIME-WAIT** (RFC 9293, 3.6.1; RFC 6191). A SYN beyond the last sequence number of its sender
//! opens a new connection. Others may be old duplicates and are forwarded without effect; if the
//! other end is in TIME-WAIT still, its challenge leads to the RST that closes the flow.

mod window;

pub use crate::parse::TcpSegment;
use crate::parse::tcp_flag::{ACK, FIN, RST, SYN};
use crate::verdict::DropReason;
use window::{Side, Span, after, between, seen};

impl TcpSegment {
    fn span(&self) -> Span {
        let control = u32::from(self.flags & FIN != 0) + u32::from(self.flags & SYN != 0);
        let end = self.seq.wrapping_add(u32::from(self.payload)).wrapping_add(control);
        Span { seq: self.seq, end, ack: self.ack, window: self.window }
    }
}

/// What happens to a RST whose number is in the window but not the next expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RstPolicy {
    /// Forwarded without effect on the flow; the end answers with a challenge ACK (RFC 5961, 3.2).
    #[default]
    Window,
    /// Dropped, to protect ends that do not do RFC 5961.
    Strict,
}

/// Choices of the TCP state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpConfig {
    /// Whether a connection can begin with a segment from its middle: for a bounded time after a
    /// restart. Its windows are checked loosely, as their scale is not known.
    pub pick_up: bool,
    /// RSTs in the window.
    pub rst: RstPolicy,
}

/// How far a connection is: each has a timeout of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpClass {
    /// A SYN passed. Half-open.
    SynSent,
    /// Both SYNs passed, not both acknowledged; or picked up and not answered yet. Half-open.
    SynReceived,
    /// Both SYNs are acknowledged.
    Established,
    /// One end sent a FIN that is not acknowledged.
    FinWait,
    /// One end's FIN is acknowledged; data flows the other way for as long as it takes.
    HalfClosed,
    /// Both ends sent a FIN (CLOSING or LAST-ACK).
    Closing,
    /// Both FINs are acknowledged.
    TimeWait,
    /// Reset.
    Closed,
}

/// What to do with a segment that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// Forward; the connection is in `class` and its timeout begins anew.
    Pass {
        /// Class after this segment.
        class: TcpClass,
        /// Whether it became established by this segment.
        established: bool,
    },
    /// Forward and leave the timeout as it is: the end will answer with a challenge ACK. To be
    /// rate-limited, as the sender need not know the connection.
    Challenge,
    /// The connection is over and this SYN begins another: forget the flow and judge the segment as
    /// the first of its own. The state is as before.
    Reopen,
}

/// The kinds of segments, by SYN, RST, FIN and ACK.
enum Kind {
    Syn,
    SynAck,
    Rst,
    /// Data, acknowledgement or FIN.
    Ack,
}

impl Kind {
    /// Sets of flags that no stack sends (null, FIN without ACK, SYN with FIN, ...) are none.
    fn of(flags: u8) -> Result<Kind, DropReason> {
        match flags & (SYN | RST | FIN | ACK) {
            SYN => Ok(Kind::Syn),
            flags if flags == SYN | ACK => Ok(Kind::SynAck),
            RST => Ok(Kind::Rst),
            flags if flags == RST | ACK => Ok(Kind::Rst),
            ACK => Ok(Kind::Ack),
            flags if flags == FIN | ACK => Ok(Kind::Ack),
            _ => Err(DropReason::TcpState),
        }
    }
}

/// State of a connection. 32 bytes, any of which are a state ([`TcpState::from_bytes`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpState {
    opener: Side,
    responder: Side,
}

impl TcpState {
    /// The state after the first segment of a flow.
    ///
    /// # Errors
    /// [`DropReason::TcpNotOpen`] for all but a SYN, or a segment with ACK when picking up.
    pub fn open(
        segment: &TcpSegment,
        config: &TcpConfig,
    ) -> Result<(TcpState, TcpEvent), DropReason> {
        let span = segment.span();
        let mut state = match Kind::of(segment.flags)? {
            Kind::Syn => TcpState {
                opener: Side::of_syn(span, segment.window_scale),
                responder: Side::default(),
            },
            Kind::Ack if config.pick_up => TcpState::picked_up(span, segment.flags & FIN != 0),
            _ => return Err(DropReason::TcpNotOpen),
        };
        Ok((state, state.pass(false)))
    }

    /// Both sides as far as one segment tells of them. Unknown windows are taken as the largest.
    fn picked_up(span: Span, fin: bool) -> TcpState {
        const LARGEST: u32 = 0xffff << 14;
        let opener_limit = span.end.wrapping_add(LARGEST);
        let mut opener = Side::picked_up(span.seq, span.end, opener_limit, span.window);
        if fin {
            opener.flags |= seen::FIN;
        }
        let responder_limit = span.ack.wrapping_add(u32::from(span.window) << 14);
        let mut responder = Side::picked_up(span.ack, span.ack, responder_limit, 0xffff);
        responder.flags |= seen::SYN_ACKED;
        TcpState { opener, responder }
    }

    /// The next segment of the flow, from its opener or from the responder.
    ///
    /// # Errors
    /// Why it is dropped. The state is then as before, but for a SYN-ACK that shows the connection
    /// to be forgotten by both ends, which closes it.
    pub fn observe(
        &mut self,
        from_opener: bool,
        segment: &TcpSegment,
        config: &TcpConfig,
    ) -> Result<TcpEvent, DropReason> {
        match Kind::of(segment.flags)? {
            Kind::Syn => self.syn(from_opener, segment),
            Kind::SynAck => self.syn_ack(from_opener, segment),
            Kind::Rst => self.rst(from_opener, segment, config),
            Kind::Ack => self.ack(from_opener, segment),
        }
    }

    /// How far the connection is.
    pub fn class(&self) -> TcpClass {
        let (a, b) = (&self.opener, &self.responder);
        let both = |flags| a.has(flags) && b.has(flags);
        if self.closed() {
            TcpClass::Closed
        } else if !both(seen::SYN) {
            TcpClass::SynSent
        } else if !both(seen::SYN_ACKED) {
            TcpClass::SynReceived
        } else if both(seen::FIN_ACKED) {
            TcpClass::TimeWait
        } else if both(seen::FIN) {
            TcpClass::Closing
        } else if a.has(seen::FIN_ACKED) || b.has(seen::FIN_ACKED) {
            TcpClass::HalfClosed
        } else if a.has(seen::FIN) || b.has(seen::FIN) {
            TcpClass::FinWait
        } else {
            TcpClass::Established
        }
    }

    /// Whether a packet of the opener's, or the responder's, with sequence number `seq` can still be
    /// on its way: sent and not yet acknowledged (RFC 5927, 4). For ICMP errors that quote it.
    pub fn in_flight(&self, from_opener: bool, seq: u32) -> bool {
        let sender = if from_opener { &self.opener } else { &self.responder };
        sender.has(seen::SYN) && between(seq, sender.acked, sender.end)
    }

    /// The state as it is kept in a flow.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.opener.to_bytes());
        bytes[16..].copy_from_slice(&self.responder.to_bytes());
        bytes
    }

    /// The state in a flow. Every 32 bytes are one.
    pub fn from_bytes(bytes: &[u8; 32]) -> TcpState {
        let half = |at: usize| {
            let mut side = [0; 16];
            side.copy_from_slice(&bytes[at..at + 16]);
            Side::from_bytes(side)
        };
        TcpState { opener: half(0), responder: half(16) }
    }

    fn closed(&self) -> bool {
        self.opener.has(seen::RST) || self.responder.has(seen::RST)
    }

    /// Sender and receiver.
    fn ends(&mut self, from_opener: bool) -> (&mut Side, &mut Side) {
        if from_opener {
            (&mut self.opener, &mut self.responder)
        } else {
            (&mut self.responder, &mut self.opener)
        }
    }

    /// Forward. Whatever passed, the ends are alive: a SYN before it was not a new beginning.
    fn pass(&mut self, was_established: bool) -> TcpEvent {
        self.opener.flags &= !seen::SYN_AGAIN;
        let class = self.class();
        TcpEvent::Pass { class, established: class == TcpClass::Established && !was_established }
    }

    fn syn(&mut self, from_opener: bool, segment: &TcpSegment) -> Result<TcpEvent, DropReason> {
        let span = segment.span();
        let class = self.class();
        let (sender, receiver) = self.ends(from_opener);
        match class {
            TcpClass::Closed => return Ok(TcpEvent::Reopen),
            TcpClass::TimeWait if after(span.seq, sender.end) => return Ok(TcpEvent::Reopen),
            _ => {}
        }
        if !sender.has(seen::SYN) {
            // Both open at once (RFC 9293, 3.5): only the responder's SYN can still be missing.
            *sender = Side::of_syn(span, segment.window_scale);
            Side::settle_scales(sender, receiver);
        } else if !sender.has(seen::SYN_ACKED) && span.seq == sender.acked {
            if !receiver.has(seen::SYN) {
                sender.syn_again(span, segment.window_scale);
            }
        } else if class == TcpClass::SynSent {
            // A connection that was given up before it was answered, and begun again.
            let newer = after(span.seq, sender.acked);
            return if newer { Ok(TcpEvent::Reopen) } else { Err(DropReason::TcpSyn) };
        } else if !from_opener {
            return Err(DropReason::TcpSyn);
        } else if class == TcpClass::SynReceived
            && sender.has(seen::SYN_ACKED)
            && span.end == sender.acked
        {
            // The SYN-ACK did not arrive; the SYN is sent again.
        } else {
            sender.flags |= seen::SYN_AGAIN;
            return Ok(TcpEvent::Challenge);
        }
        Ok(self.pass(false))
    }

    fn syn_ack(&mut self, from_opener: bool, segment: &TcpSegment) -> Result<TcpEvent, DropReason> {
        let span = segment.span();
        let class = self.class();
        let (sender, receiver) = self.ends(from_opener);
        if !receiver.has(seen::SYN) {
            return Err(DropReason::TcpHandshake);
        }
        if class == TcpClass::Closed && !sender.has(seen::SYN) {
            // The opener gave up and its RST got lost; it will send another.
            let asked = receiver.has(seen::RST)
                && between(span.ack, receiver.acked.wrapping_add(1), receiver.end);
            return if asked { Ok(TcpEvent::Challenge) } else { Err(DropReason::TcpHandshake) };
        }
        if sender.has(seen::SYN_ACKED) && receiver.has(seen::SYN_ACKED) {
            return self.late_syn_ack(from_opener, span);
        }
        // It acknowledges the SYN, and no more than came with it (RFC 9293, 3.10.7.3).
        let lowest = receiver.acked.wrapping_add(u32::from(!receiver.has(seen::SYN_ACKED)));
        if !between(span.ack, lowest, receiver.end) {
            return Err(DropReason::TcpHandshake);
        }
        let own = sender.acked.wrapping_sub(u32::from(sender.has(seen::SYN_ACKED)));
        if !sender.has(seen::SYN) {
            *sender = Side::of_syn(span, segment.window_scale);
            Side::settle_scales(sender, receiver);
        } else if span.seq != own {
            if from_opener || sender.has(seen::SYN_ACKED) {
                return Err(DropReason::TcpHandshake);
            }
            // A server that answers SYNs without remembering them chooses another number for the
            // SYN that is sent again (RFC 4987, 3.6). If it had reset the connection, it is closed
            // still.
            let reset = sender.flags & seen::RST;
            *sender = Side::of_syn(span, segment.window_scale);
            sender.flags |= reset;
            Side::settle_scales(sender, receiver);
        }
        sender.advance(receiver, span, false);
        // It may send before its own SYN is acknowledged, if the first SYN had data (RFC 7413).
        sender.allow(span.seq.wrapping_add(1), receiver);
        receiver.flags |= seen::SYN_ACKED;
        Ok(self.pass(false))
    }

    /// A SYN-ACK in a connection that is past its handshake.
    fn late_syn_ack(&mut self, from_opener: bool, span: Span) -> Result<TcpEvent, DropReason> {
        let (sender, receiver) = self.ends(from_opener);
        if !after(span.end, sender.end) && sender.check(receiver, span).is_ok() {
            // The last ACK of the handshake did not arrive; the receiver will send it again.
            return Ok(TcpEvent::Challenge);
        }
        if !from_opener && receiver.has(seen::SYN_AGAIN) {
            sender.flags |= seen::RST;
        }
        Err(DropReason::TcpSyn)
    }

    fn rst(
        &mut self,
        from_opener: bool,
        segment: &TcpSegment,
        config: &TcpConfig,
    ) -> Result<TcpEvent, DropReason> {
        let span = segment.span();
        let (sender, receiver) = self.ends(from_opener);
        // In SYN-SENT an end goes by the acknowledgement of its SYN (RFC 9293, 3.10.7.3).
        let refuses = segment.flags & ACK != 0
            && receiver.has(seen::SYN)
            && !receiver.has(seen::SYN_ACKED)
            && between(span.ack, receiver.acked.wrapping_add(1), receiver.end);
        let next = sender.acked.wrapping_add(u32::from(!sender.has(seen::SYN_ACKED)));
        let exact = sender.has(seen::SYN) && (span.seq == sender.end || span.seq == next);
        if refuses || exact {
            sender.flags |= seen::RST;
            return Ok(self.pass(false));
        }
        // An opener that is asked about a connection it has forgotten answers with the number that
        // it was asked with, of which nothing is known here (RFC 9293, 3.5.1).
        let answers = from_opener && !receiver.has(seen::SYN);
        let in_window = sender.has(seen::SYN) && between(span.seq, sender.acked, sender.limit);
        match config.rst {
            RstPolicy::Window if answers || in_window => Ok(TcpEvent::Challenge),
            _ => Err(DropReason::TcpReset),
        }
    }

    fn ack(&mut self, from_opener: bool, segment: &TcpSegment) -> Result<TcpEvent, DropReason> {
        let span = segment.span();
        let class = self.class();
        let (sender, receiver) = self.ends(from_opener);
        if !sender.has(seen::SYN) || !receiver.has(seen::SYN) {
            // The responder holds an older connection of the opener's and challenges its SYN
            // (RFC 9293, 3.5.1).
            let challenge = !from_opener && span.seq == span.end;
            return if challenge { Ok(TcpEvent::Challenge) } else { Err(DropReason::TcpHandshake) };
        }
        if !receiver.has(seen::SYN_ACKED) && !receiver.has(seen::PICKED_UP) {
            // The last ACK of the handshake: it follows the sender's own SYN and acknowledges the
            // other, and no less.
            let acknowledges = between(span.ack, receiver.acked.wrapping_add(1), receiver.end);
            if !sender.has(seen::SYN_ACKED) || !acknowledges {
                return Err(DropReason::TcpHandshake);
            }
            // It got lost, and a keep-alive or the probe of a closed window comes before another:
            // with the number of the SYN, so that the receiver does not take it for that ACK.
            let probe = span.seq.wrapping_add(1) == sender.acked && !after(span.end, sender.acked);
            if probe {
                return Ok(TcpEvent::Challenge);
            }
            if after(sender.acked, span.seq) {
                return Err(DropReason::TcpHandshake);
            }
        }
        sender.check(receiver, span)?;
        let fin = segment.flags & FIN != 0;
        // Nothing follows a FIN, and it is sent again only as it was (RFC 9293, 3.10.4).
        let misplaced = if sender.has(seen::FIN) {
            after(span.end, sender.end) || (fin && span.end != sender.end)
        } else {
            fin && after(sender.end, span.end)
        };
        if misplaced {
            return Err(DropReason::TcpSequence);
        }
        sender.advance(receiver, span, true);
        receiver.flags |= seen::SYN_ACKED;
        if fin {
            sender.flags |= seen::FIN;
        }
        if receiver.has(seen::FIN) && receiver.acked == receiver.end {
            receiver.flags |= seen::FIN_ACKED;
        }
        Ok(self.pass(class == TcpClass::Established))
    }
}

const _: () = assert!(size_of::<TcpState>() == 32);
