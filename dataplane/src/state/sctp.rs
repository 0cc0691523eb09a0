//! An SCTP association between two zones (RFC 9260), judged by the first chunk of each packet and
//! the verification tag.
//!
//! ```text
//!   INIT -> INIT-ACK -> COOKIE-ECHO -> COOKIE-ACK -> established
//!   SHUTDOWN -> SHUTDOWN-ACK -> SHUTDOWN-COMPLETE, or ABORT -> closed
//! ```
//!
//! Each end chooses the tag that packets to it must carry and tells it in its INIT or INIT-ACK; no
//! other packet passes. The states are those of Linux (nf_conntrack_proto_sctp), without its
//! leniency towards chunks that do not fit the state. A HEARTBEAT opens a flow too: that is how an
//! association with several addresses begins to use another path (RFC 9260, 5.4); its tags are
//! learnt from it and its answer.

pub use crate::parse::SctpPacket;
use crate::verdict::DropReason;

/// Chunk types (RFC 9260, 3.2).
mod chunk {
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const HEARTBEAT: u8 = 4;
    pub const HEARTBEAT_ACK: u8 = 5;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// How far an association is: each has a timeout of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SctpClass {
    /// Before the COOKIE-ACK, or a path without an answer to its HEARTBEAT. Half-open.
    Opening,
    /// Data flows.
    Established,
    /// After a SHUTDOWN.
    Closing,
    /// After a SHUTDOWN-COMPLETE or an ABORT.
    Closed,
}

/// What to do with a packet that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SctpEvent {
    /// Forward; the association is in `class` and its timeout begins anew.
    Pass {
        /// Class after this packet.
        class: SctpClass,
        /// Whether it became established by this packet.
        established: bool,
    },
    /// Forward and leave the timeout as it is: an INIT within an association, which its end answers
    /// without effect until the sender proves by a cookie that it restarted (RFC 9260, 5.2.2). To
    /// be rate-limited, as the sender need not know the association.
    Challenge,
    /// The association is over and this INIT begins another: forget the flow and judge the packet
    /// as the first of its own. The state is as before.
    Reopen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    CookieWait,
    CookieEchoed,
    HeartbeatSent,
    Established,
    ShutdownSent,
    ShutdownAckSent,
    Closed,
}

impl Phase {
    const ALL: [Phase; 7] = [
        Phase::CookieWait,
        Phase::CookieEchoed,
        Phase::HeartbeatSent,
        Phase::Established,
        Phase::ShutdownSent,
        Phase::ShutdownAckSent,
        Phase::Closed,
    ];
}

/// State of an association: the tags that packets must carry, by the end they go to. 0 is unknown;
/// no end chooses it (RFC 9260, 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SctpState {
    phase: Phase,
    to_opener: u32,
    to_responder: u32,
    /// Tags of an opener that says it restarted, until the responder takes its cookie.
    restart_to_opener: u32,
    restart_to_responder: u32,
}

impl SctpState {
    /// The state after the first packet of a flow.
    ///
    /// # Errors
    /// [`DropReason::SctpState`] for all but INIT and HEARTBEAT, [`DropReason::SctpTag`] for an INIT
    /// with a verification tag or without an Initiate Tag.
    pub fn open(packet: &SctpPacket) -> Result<(SctpState, SctpEvent), DropReason> {
        let (phase, to_opener, to_responder) = match packet.chunk {
            chunk::INIT => (Phase::CookieWait, initiate_tag(packet, 0)?, 0),
            chunk::HEARTBEAT if packet.tag != 0 => (Phase::HeartbeatSent, 0, packet.tag),
            _ => return Err(DropReason::SctpState),
        };
        let state = SctpState {
            phase,
            to_opener,
            to_responder,
            restart_to_opener: 0,
            restart_to_responder: 0,
        };
        Ok((state, state.pass(false)))
    }

    /// The next packet of the flow, from its opener or from the responder.
    ///
    /// # Errors
    /// Why it is dropped. The state is then as before.
    pub fn observe(
        &mut self,
        from_opener: bool,
        packet: &SctpPacket,
    ) -> Result<SctpEvent, DropReason> {
        let was = self.phase;
        match packet.chunk {
            chunk::INIT => return self.init(from_opener, packet),
            chunk::INIT_ACK => return self.init_ack(from_opener, packet),
            chunk::ABORT => {
                self.check_reflected(from_opener, packet)?;
                self.phase = Phase::Closed;
            }
            chunk::SHUTDOWN_COMPLETE => {
                self.check_reflected(from_opener, packet)?;
                if !matches!(was, Phase::ShutdownAckSent | Phase::Closed) {
                    return Err(DropReason::SctpState);
                }
                self.phase = Phase::Closed;
            }
            chunk::COOKIE_ECHO if from_opener && self.restarts(true, packet.tag) => {
                return Ok(SctpEvent::Challenge);
            }
            chunk::COOKIE_ACK if !from_opener && self.restarts(false, packet.tag) => {
                // The responder took the cookie of the opener that restarted.
                self.to_opener = self.restart_to_opener;
                self.to_responder = self.restart_to_responder;
                self.restart_to_opener = 0;
                self.restart_to_responder = 0;
                self.phase = Phase::Established;
            }
            other => {
                self.learn(from_opener, packet);
                self.check(from_opener, packet.tag)?;
                self.phase = self.next(other)?;
            }
        }
        Ok(self.pass(was == Phase::Established))
    }

    /// How far the association is.
    pub fn class(&self) -> SctpClass {
        match self.phase {
            Phase::CookieWait | Phase::CookieEchoed | Phase::HeartbeatSent => SctpClass::Opening,
            Phase::Established => SctpClass::Established,
            Phase::ShutdownSent | Phase::ShutdownAckSent => SctpClass::Closing,
            Phase::Closed => SctpClass::Closed,
        }
    }

    /// Whether a packet of the opener's, or the responder's, with this verification tag can be of
    /// the association. For ICMP errors that quote it.
    pub fn sent(&self, from_opener: bool, tag: u32) -> bool {
        let init = tag == 0 && from_opener && self.phase == Phase::CookieWait;
        init || self.check(from_opener, tag).is_ok()
    }

    /// The state as it is kept in a flow.
    pub fn to_bytes(self) -> [u8; 17] {
        let tags =
            [self.to_opener, self.to_responder, self.restart_to_opener, self.restart_to_responder];
        let mut bytes = [0; 17];
        for (place, tag) in bytes.chunks_exact_mut(4).zip(tags) {
            place.copy_from_slice(&tag.to_ne_bytes());
        }
        bytes[16] = self.phase as u8;
        bytes
    }

    /// The state in a flow. Every 17 bytes are one; a phase that does not exist is the last.
    pub fn from_bytes(bytes: &[u8; 17]) -> SctpState {
        let tag = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        SctpState {
            phase: *Phase::ALL.get(usize::from(bytes[16])).unwrap_or(&Phase::Closed),
            to_opener: tag(0),
            to_responder: tag(4),
            restart_to_opener: tag(8),
            restart_to_responder: tag(12),
        }
    }

    /// The phase after a chunk other than those that open or end an association.
    fn next(&self, kind: u8) -> Result<Phase, DropReason> {
        use Phase::*;
        let phase = match (kind, self.phase) {
            (chunk::COOKIE_ECHO, CookieWait | CookieEchoed) => CookieEchoed,
            (chunk::COOKIE_ACK, CookieEchoed) => Established,
            (chunk::COOKIE_ECHO | chunk::COOKIE_ACK, Established) => Established,
            (chunk::HEARTBEAT, HeartbeatSent) => HeartbeatSent,
            (chunk::HEARTBEAT_ACK, HeartbeatSent) => Established,
            (chunk::SHUTDOWN, Established | ShutdownSent) => ShutdownSent,
            (chunk::SHUTDOWN_ACK, Established | ShutdownSent | ShutdownAckSent) => ShutdownAckSent,
            // Until the COOKIE-ACK passes, only what the COOKIE-ECHO may be overtaken by.
            (_, CookieWait | HeartbeatSent | Closed) => return Err(DropReason::SctpState),
            (chunk::COOKIE_ECHO | chunk::COOKIE_ACK | chunk::SHUTDOWN | chunk::SHUTDOWN_ACK, _) => {
                return Err(DropReason::SctpState);
            }
            (_, phase) => phase,
        };
        Ok(phase)
    }

    fn init(&mut self, from_opener: bool, packet: &SctpPacket) -> Result<SctpEvent, DropReason> {
        let initiate = initiate_tag(packet, 0)?;
        match self.phase {
            Phase::Closed => return Ok(SctpEvent::Reopen),
            Phase::CookieWait if from_opener && self.to_responder == 0 => self.to_opener = initiate,
            Phase::CookieWait if from_opener && self.to_opener == initiate => {}
            // Both begin at once (RFC 9260, 5.2.1).
            Phase::CookieWait if !from_opener && self.to_responder == 0 => {
                self.to_responder = initiate;
            }
            _ if from_opener => {
                self.restart_to_opener = initiate;
                self.restart_to_responder = 0;
                return Ok(SctpEvent::Challenge);
            }
            _ => return Err(DropReason::SctpState),
        }
        Ok(self.pass(false))
    }

    fn init_ack(
        &mut self,
        from_opener: bool,
        packet: &SctpPacket,
    ) -> Result<SctpEvent, DropReason> {
        if !from_opener && self.restart_to_opener != 0 && packet.tag == self.restart_to_opener {
            self.restart_to_responder = initiate_tag(packet, packet.tag)?;
            return Ok(SctpEvent::Challenge);
        }
        self.check(from_opener, packet.tag)?;
        let initiate = initiate_tag(packet, packet.tag)?;
        match (self.phase, from_opener) {
            (Phase::CookieWait, false) => self.to_responder = initiate,
            (Phase::CookieWait | Phase::CookieEchoed, true) if initiate == self.to_opener => {}
            (Phase::CookieEchoed, false) if initiate == self.to_responder => {}
            _ => return Err(DropReason::SctpState),
        }
        Ok(self.pass(false))
    }

    /// On a path that a HEARTBEAT opened, the answer tells the tag of the other direction.
    fn learn(&mut self, from_opener: bool, packet: &SctpPacket) {
        let answer = packet.chunk == chunk::HEARTBEAT_ACK && !from_opener;
        if self.phase == Phase::HeartbeatSent && answer && self.to_opener == 0 {
            self.to_opener = packet.tag;
        }
    }

    fn restarts(&self, from_opener: bool, tag: u32) -> bool {
        let expected = if from_opener { self.restart_to_responder } else { self.restart_to_opener };
        self.restart_to_responder != 0 && tag == expected
    }

    fn check(&self, from_opener: bool, tag: u32) -> Result<(), DropReason> {
        let expected = if from_opener { self.to_responder } else { self.to_opener };
        if expected != 0 && tag == expected { Ok(()) } else { Err(DropReason::SctpTag) }
    }

    fn check_reflected(&self, from_opener: bool, packet: &SctpPacket) -> Result<(), DropReason> {
        self.check(from_opener != packet.reflected, packet.tag)
    }

    fn pass(&self, was_established: bool) -> SctpEvent {
        let class = self.class();
        SctpEvent::Pass { class, established: class == SctpClass::Established && !was_established }
    }
}

/// The Initiate Tag of an INIT or INIT-ACK whose verification tag is `tag`.
fn initiate_tag(packet: &SctpPacket, tag: u32) -> Result<u32, DropReason> {
    if packet.tag == tag && packet.initiate_tag != 0 {
        Ok(packet.initiate_tag)
    } else {
        Err(DropReason::SctpTag)
    }
}
