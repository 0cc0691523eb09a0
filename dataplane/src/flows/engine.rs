//! The flows of one worker: a packet's flow, what the packet does to it, and how one begins.

use super::config::FlowConfig;
use super::key::{Hop, opening_key};
use crate::flowtable::{
    Class, Direction, FlowKey, FlowTable, FlowTableConfig, HashKey, NewFlow, Opening, Refused,
    ticks,
};
use crate::parse::{Echo, IpPacket, L4, SctpPacket, TcpSegment, protocol};
use crate::state::datagram::{DatagramClass, DatagramState};
use crate::state::icmp::TokenBucket;
use crate::state::sctp::{SctpClass, SctpEvent, SctpState};
use crate::state::tcp::{TcpClass, TcpConfig, TcpEvent, TcpState};
use crate::state::timeouts::Timeout;
use crate::table::{Established, Table};
use crate::verdict::{Action, DropReason};

/// Rule of a flow that no rule of the table in force allows, and that may finish nevertheless.
const NO_RULE: u32 = u32::MAX;
/// The rule that a flow names, if it names one.
#[inline]
pub(crate) fn rule_of(rule: u32) -> Option<u32> {
    (rule != NO_RULE).then_some(rule)
}

/// Slots of the timer wheel handled in a burst.
const EXPIRED_PER_BURST: usize = 128;

/// A packet, and the flow that it belongs to or would open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowPacket<'a> {
    /// The flow.
    pub key: FlowKey,
    /// Its hash.
    pub hash: u64,
    /// Which way the packet goes through it.
    pub direction: Direction,
    /// Its headers.
    pub packet: &'a IpPacket,
    /// Its way through the gateway.
    pub hop: Hop,
}

/// What a flow says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Forward it, by this rule of the table in force; by none where the flow outlived its rule.
    Pass(Option<u32>),
    /// Drop it.
    Drop(DropReason),
    /// The table in force ended the flow by this rule, or because no rule allows it any more: judge
    /// the packet as the first of its own.
    Revoked(Option<u32>),
    /// The flow is over and the packet begins another: judge it as the first of its own.
    Reopen,
}

/// What a flow begins with.
struct Beginning {
    state: [u8; 32],
    class: Class,
    timeout: Timeout,
}

/// The flows that one worker owns.
#[derive(Debug)]
pub(crate) struct Flows {
    pub table: FlowTable,
    pub(super) config: FlowConfig,
    pub(super) errors: TokenBucket,
    challenges: TokenBucket,
    /// Worker clock at the first burst.
    started: Option<u64>,
}

impl Flows {
    /// No flows yet, and all memory for them.
    pub fn new(config: FlowConfig) -> Self {
        let table = FlowTableConfig {
            capacity: config.capacity,
            capacity_v6: config.capacity_v6,
            quota: config.quota,
            timeouts: config.timeouts.to_ticks(),
        };
        Flows {
            table: FlowTable::new(table, HashKey::random()),
            config,
            errors: TokenBucket::full(config.error_rate),
            challenges: TokenBucket::full(config.challenge_rate),
            started: None,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.table.clear();
        self.errors = TokenBucket::full(self.config.error_rate);
        self.challenges = TokenBucket::full(self.config.challenge_rate);
        self.started = None;
    }

    /// The time is `now` by the worker's clock: flows that were idle for too long end. Once a burst.
    #[inline]
    pub fn advance(&mut self, now: u64) {
        self.started.get_or_insert(now);
        self.table.advance(ticks(now), EXPIRED_PER_BURST);
    }

    /// Takes the packet through its flow, which lies in `slot`.
    #[inline]
    pub fn judge(&mut self, slot: u32, at: &FlowPacket<'_>, table: &Table, now: u64) -> Answer {
        let rule = match self.recheck(slot, &at.key, at.direction, at.hop, table) {
            Ok(rule) => rule,
            Err(denied_by) => return Answer::Revoked(denied_by),
        };
        let from_opener = at.direction == self.table.opened(slot);
        let passed = match at.packet.l4 {
            L4::Tcp(segment) => self.tcp(slot, from_opener, &segment, now),
            L4::Sctp(packet) => self.sctp(slot, from_opener, &packet, now),
            L4::Icmp(icmp) => self.echo(slot, from_opener, icmp.echo),
            L4::None => {
                self.datagram(slot, from_opener, at.packet.protocol);
                Ok(true)
            }
        };
        match passed {
            Ok(true) => Answer::Pass(rule),
            Ok(false) => Answer::Reopen,
            Err(reason) => Answer::Drop(reason),
        }
    }

    /// The rule of the table in force by which the flow in `slot` may go on: its packet goes in
    /// `direction` by `hop`.
    ///
    /// # Errors
    /// It may not, and is forgotten; with the rule that denies it, if one does.
    #[inline]
    pub(super) fn recheck(
        &mut self,
        slot: u32,
        key: &FlowKey,
        direction: Direction,
        hop: Hop,
        table: &Table,
    ) -> Result<Option<u32>, Option<u32>> {
        let (rule, generation) = self.table.judgement(slot);
        if generation == table.generation() as u32 {
            return Ok(rule_of(rule));
        }
        self.rejudge(slot, key, direction, hop, table)
    }

    #[cold]
    fn rejudge(
        &mut self,
        slot: u32,
        key: &FlowKey,
        direction: Direction,
        hop: Hop,
        table: &Table,
    ) -> Result<Option<u32>, Option<u32>> {
        let generation = table.generation() as u32;
        let opened = self.table.opened(slot);
        let opening = self.table.opening(slot);
        let hop = if opened == direction { hop } else { hop.reversed() };
        let asked = opening_key(key, opened, &opening, hop.from_zone, hop.to_zone);
        match table.judge(&asked) {
            Some((rule, Action::Allow)) => {
                self.table.rejudged(slot, rule, generation);
                self.table.set_opening(slot, opening, table.established(rule) == Established::Keep);
                Ok(Some(rule))
            }
            _ if self.table.kept(slot) => {
                self.table.rejudged(slot, NO_RULE, generation);
                Ok(None)
            }
            denied => {
                self.table.remove(slot);
                Err(denied.map(|(rule, _)| rule))
            }
        }
    }

    /// Whether the segment passes as the connection's; `false` if it begins another.
    #[inline]
    fn tcp(
        &mut self,
        slot: u32,
        from_opener: bool,
        segment: &TcpSegment,
        now: u64,
    ) -> Result<bool, DropReason> {
        let config = self.tcp_config(now);
        let mut state = TcpState::from_bytes(self.table.state(slot));
        let event = state.observe(from_opener, segment, &config);
        *self.table.state_mut(slot) = state.to_bytes();
        match event {
            Ok(TcpEvent::Pass { class, .. }) => {
                self.table.touch(slot, Timeout::tcp(class).number());
                self.table.set_class(slot, worth_of_tcp(class));
                Ok(true)
            }
            Ok(TcpEvent::Challenge) => self.challenge(now),
            Ok(TcpEvent::Reopen) => Ok(false),
            Err(reason) => {
                // A SYN-ACK can show that both ends forgot the connection.
                if state.class() == TcpClass::Closed && self.table.class(slot) != Class::Closing {
                    self.table.touch(slot, Timeout::tcp(TcpClass::Closed).number());
                    self.table.set_class(slot, Class::Closing);
                }
                Err(reason)
            }
        }
    }

    fn sctp(
        &mut self,
        slot: u32,
        from_opener: bool,
        packet: &SctpPacket,
        now: u64,
    ) -> Result<bool, DropReason> {
        let mut state = SctpState::from_bytes(head(self.table.state(slot)));
        let event = state.observe(from_opener, packet);
        *head_mut(self.table.state_mut(slot)) = state.to_bytes();
        match event? {
            SctpEvent::Pass { class, .. } => {
                self.table.touch(slot, Timeout::sctp(class).number());
                self.table.set_class(slot, worth_of_sctp(class));
                Ok(true)
            }
            SctpEvent::Challenge => self.challenge(now),
            SctpEvent::Reopen => Ok(false),
        }
    }

    /// Lets a packet pass that changes nothing and makes an end answer, if there were not too many.
    #[cold]
    fn challenge(&mut self, now: u64) -> Result<bool, DropReason> {
        if self.challenges.take(now) { Ok(true) } else { Err(DropReason::ChallengeRate) }
    }

    fn echo(
        &mut self,
        slot: u32,
        from_opener: bool,
        echo: Option<Echo>,
    ) -> Result<bool, DropReason> {
        // Other messages have no flow.
        let Some(Echo { request, .. }) = echo else { return Err(DropReason::IcmpUnasked) };
        let mut state = DatagramState::from_bytes(*head(self.table.state(slot)));
        let event = state.observe_echo(from_opener, request)?;
        *head_mut(self.table.state_mut(slot)) = state.to_bytes();
        if event.refresh {
            self.table.touch(slot, Timeout::IcmpEcho.number());
            self.table.set_class(slot, worth_of_datagram(event.class));
        }
        Ok(true)
    }

    #[inline]
    fn datagram(&mut self, slot: u32, from_opener: bool, number: u8) {
        let mut state = DatagramState::from_bytes(*head(self.table.state(slot)));
        let event = state.observe(from_opener, self.config.refresh);
        *head_mut(self.table.state_mut(slot)) = state.to_bytes();
        if event.refresh {
            self.table.touch(slot, datagram_timeout(number, event.class).number());
            self.table.set_class(slot, worth_of_datagram(event.class));
        }
    }

    /// Whether `packet` can be the first of a flow.
    ///
    /// # Errors
    /// Why it cannot, whatever the rules say.
    #[inline]
    pub fn may_open(&self, packet: &IpPacket, now: u64) -> Result<(), DropReason> {
        self.begin(packet, now).map(drop)
    }

    /// Opens the flow of a packet that `rule` of `table` allows.
    ///
    /// # Errors
    /// Why there is none: [`may_open`](Self::may_open)'s reasons, or no room.
    pub fn open(
        &mut self,
        at: &FlowPacket<'_>,
        opening: Opening,
        rule: u32,
        table: &Table,
        now: u64,
    ) -> Result<(), DropReason> {
        let beginning = self.begin(at.packet, now)?;
        let new = NewFlow {
            opened: at.direction,
            rule,
            generation: table.generation() as u32,
            class: beginning.class,
            timeout: beginning.timeout.number(),
        };
        let slot = self.table.open(&at.key, at.hash, new).map_err(|refused| match refused {
            Refused::Full => DropReason::FlowTableFull,
            Refused::Quota => DropReason::FlowQuota,
        })?;
        *self.table.state_mut(slot) = beginning.state;
        self.table.set_opening(slot, opening, table.established(rule) == Established::Keep);
        Ok(())
    }

    #[inline]
    fn begin(&self, packet: &IpPacket, now: u64) -> Result<Beginning, DropReason> {
        let mut state = [0; 32];
        let (class, timeout) = match packet.l4 {
            L4::Tcp(segment) => {
                let (opened, _) = TcpState::open(&segment, &self.tcp_config(now))?;
                state = opened.to_bytes();
                (worth_of_tcp(opened.class()), Timeout::tcp(opened.class()))
            }
            L4::Sctp(packet) => {
                let (opened, _) = SctpState::open(&packet)?;
                *head_mut(&mut state) = opened.to_bytes();
                (worth_of_sctp(opened.class()), Timeout::sctp(opened.class()))
            }
            L4::Icmp(icmp) => {
                let request = icmp.echo.is_some_and(|echo| echo.request);
                let (opened, event) = DatagramState::open_echo(request)?;
                *head_mut(&mut state) = opened.to_bytes();
                (worth_of_datagram(event.class), Timeout::IcmpEcho)
            }
            L4::None => {
                let (opened, event) = DatagramState::open();
                *head_mut(&mut state) = opened.to_bytes();
                (worth_of_datagram(event.class), datagram_timeout(packet.protocol, event.class))
            }
        };
        Ok(Beginning { state, class, timeout })
    }

    #[inline]
    fn tcp_config(&self, now: u64) -> TcpConfig {
        let since = now.saturating_sub(self.started.unwrap_or(now));
        TcpConfig {
            pick_up: u128::from(since) < self.config.pick_up.as_nanos(),
            rst: self.config.rst,
        }
    }
}

#[inline]
fn datagram_timeout(number: u8, class: DatagramClass) -> Timeout {
    if number == protocol::UDP { Timeout::udp(class) } else { Timeout::other(class) }
}

#[inline]
fn worth_of_tcp(class: TcpClass) -> Class {
    match class {
        TcpClass::SynSent | TcpClass::SynReceived => Class::HalfOpen,
        TcpClass::Established | TcpClass::FinWait | TcpClass::HalfClosed => Class::Established,
        TcpClass::Closing | TcpClass::TimeWait | TcpClass::Closed => Class::Closing,
    }
}

fn worth_of_sctp(class: SctpClass) -> Class {
    match class {
        SctpClass::Opening => Class::HalfOpen,
        SctpClass::Established => Class::Established,
        SctpClass::Closing | SctpClass::Closed => Class::Closing,
    }
}

#[inline]
fn worth_of_datagram(class: DatagramClass) -> Class {
    match class {
        DatagramClass::OneSided => Class::OneSided,
        DatagramClass::TwoSided => Class::Established,
    }
}

/// The bytes of a flow's state that a machine has for its own: at most all 32.
#[inline]
pub(super) fn head<const N: usize>(state: &[u8; 32]) -> &[u8; N] {
    &state.as_chunks().0[0]
}

#[inline]
fn head_mut<const N: usize>(state: &mut [u8; 32]) -> &mut [u8; N] {
    &mut state.as_chunks_mut().0[0]
}
