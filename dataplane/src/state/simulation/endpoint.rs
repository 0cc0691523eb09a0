//! One end of a TCP connection (RFC 9293), small: cumulative acknowledgements, one timer, no
//! congestion control. Octets are counted from the start of each stream: 0 is the SYN, then the
//! data, then the FIN.

use super::super::tcp::TcpSegment;
use super::Draw;
use std::collections::BTreeMap;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Ticks after which what is not acknowledged is sent again: more than a round trip.
const TIMEOUT: u64 = 90;

/// What an end does, drawn before it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behaviour {
    pub isn: u32,
    /// Octets to send.
    pub data: u64,
    /// Octets in a segment, at most.
    pub segment: u64,
    /// Octets of its receive buffer.
    pub buffer: u64,
    pub scale: Option<u8>,
    /// How often its application reads, in percent of ticks: a slow one closes the window.
    pub reads: u64,
    /// Opens the connection; both ends may.
    pub opens: bool,
    /// Does not close before the other end has.
    pub closes_last: bool,
    /// Probes a closed window with the next octet instead of an empty segment.
    pub probes_with_data: bool,
    /// When it aborts, if it does.
    pub aborts: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub own: Behaviour,
    /// Lowest octet not acknowledged, and next to send.
    una: u64,
    next: u64,
    /// Highest octet ever sent, plus one.
    max: u64,
    /// One past the last octet that the other end's window allows.
    edge: u64,
    peer_isn: Option<u32>,
    /// Shift of the other end's windows; `None` before its SYN.
    peer_scale: Option<u8>,
    /// Next octet expected.
    pub received: u64,
    ahead: BTreeMap<u64, u64>,
    unread: u64,
    peer_fin: Option<u64>,
    timer: u64,
    pub retransmissions: u64,
    pub probes: u64,
    /// It forgot the connection: after an abort or a RST.
    pub dead: bool,
    pub was_reset: bool,
    ack_due: bool,
}

impl Endpoint {
    pub fn new(own: Behaviour) -> Endpoint {
        Endpoint {
            own,
            una: 0,
            next: 0,
            max: 0,
            edge: 1,
            peer_isn: None,
            peer_scale: None,
            received: 0,
            ahead: BTreeMap::new(),
            unread: 0,
            peer_fin: None,
            timer: 0,
            retransmissions: 0,
            probes: 0,
            dead: false,
            was_reset: false,
            ack_due: false,
        }
    }

    /// One past its FIN.
    fn last(&self) -> u64 {
        self.own.data + 2
    }

    pub fn sent_all(&self) -> bool {
        self.una == self.last()
    }

    pub fn has_all(&self) -> bool {
        self.peer_fin.is_some_and(|fin| self.received == fin + 1)
    }

    /// It waits for a SYN that did not come.
    pub fn never_asked(&self) -> bool {
        !self.own.opens && self.peer_isn.is_none()
    }

    fn shift(&self) -> u8 {
        match (self.own.scale, self.peer_scale) {
            (Some(own), Some(_)) => own,
            _ => 0,
        }
    }

    fn segment(&self, from: u64, to: u64, flags: u8) -> TcpSegment {
        let control = u64::from(flags & SYN != 0) + u64::from(flags & FIN != 0);
        let shift = if flags & SYN != 0 { 0 } else { self.shift() };
        let free = self.own.buffer.saturating_sub(self.unread) >> shift;
        let ack = self.peer_isn.map_or(0, |isn| isn.wrapping_add(self.received as u32));
        TcpSegment {
            seq: self.own.isn.wrapping_add(from as u32),
            ack: if flags & ACK != 0 { ack } else { 0 },
            flags,
            window: free.min(0xffff) as u16,
            payload: (to - from - control) as u16,
            window_scale: if flags & SYN != 0 { self.own.scale } else { None },
        }
    }

    fn knows_peer(&self) -> u8 {
        if self.peer_isn.is_some() { ACK } else { 0 }
    }

    /// What it sends in this tick.
    pub fn tick(&mut self, now: u64, draw: &mut Draw, out: &mut Vec<TcpSegment>) {
        if self.dead {
            return;
        }
        if self.own.aborts.is_some_and(|at| now >= at) && self.next > 0 {
            out.push(self.segment(self.max, self.max, RST | self.knows_peer()));
            self.dead = true;
            return;
        }
        if self.unread > 0 && draw.chance(self.own.reads) {
            self.unread -= 1 + draw.below(self.unread);
            self.ack_due = true;
        }
        if self.una < self.max && now >= self.timer + TIMEOUT {
            self.next = self.una;
            self.timer = now;
            self.retransmissions += 1;
        }
        let before = out.len();
        if self.own.opens || self.peer_isn.is_some() {
            self.send(now, draw, out);
        }
        self.probe(now, draw, out);
        if std::mem::take(&mut self.ack_due) && out.len() == before && self.peer_isn.is_some() {
            // Before its SYN is acknowledged, an end answers with that.
            let syn = self.una == 0;
            let (from, flags) = if syn { (0, SYN | ACK) } else { (self.max.max(self.next), ACK) };
            out.push(self.segment(from, from + u64::from(syn), flags));
        }
    }

    fn send(&mut self, now: u64, draw: &mut Draw, out: &mut Vec<TcpSegment>) {
        if self.next == 0 {
            out.push(self.segment(0, 1, SYN | self.knows_peer()));
            self.sent(1, now);
        }
        while self.una > 0 && self.next < self.last() {
            let data_end = self.own.data + 1;
            let room = self.edge.saturating_sub(self.next);
            let len =
                room.min(1 + draw.below(self.own.segment)).min(data_end - self.next.min(data_end));
            let mut to = self.next + len;
            let waits =
                self.own.closes_last && self.peer_fin.is_none_or(|fin| self.received <= fin);
            let fin = to == data_end && self.next + len == data_end && !waits;
            let resends_fin = self.next == data_end;
            let mut flags = ACK;
            if (fin || resends_fin && !waits) && to < self.edge + 1 {
                to += 1;
                flags |= FIN;
            }
            if to == self.next {
                break;
            }
            out.push(self.segment(self.next, to, flags));
            self.sent(to, now);
        }
    }

    fn sent(&mut self, to: u64, now: u64) {
        if self.una == self.max {
            self.timer = now;
        }
        self.next = to;
        self.max = self.max.max(to);
    }

    /// Asks after a closed window (RFC 9293, 3.8.6.1), or whether an idle end still lives.
    fn probe(&mut self, now: u64, draw: &mut Draw, out: &mut Vec<TcpSegment>) {
        let established = self.una > 0 && self.peer_isn.is_some();
        let idle = self.una == self.max && now >= self.timer + TIMEOUT;
        if !established || !idle {
            return;
        }
        self.timer = now;
        self.probes += 1;
        let waiting = self.next <= self.own.data && self.edge <= self.next;
        if waiting && self.own.probes_with_data {
            out.push(self.segment(self.next, self.next + 1, ACK));
            self.max = self.max.max(self.next + 1);
        } else {
            // An octet that was sent before; some ends send none.
            let octet = draw.below(2) * u64::from(self.una > 1);
            out.push(self.segment(self.una - 1, self.una - 1 + octet, ACK));
        }
    }

    /// Takes a segment; what it answers at once.
    pub fn receive(&mut self, segment: &TcpSegment, now: u64) -> Option<TcpSegment> {
        if self.dead {
            return self.answer_as_stranger(segment);
        }
        let at = self.place(segment.seq);
        if segment.flags & RST != 0 {
            self.receive_reset(segment, at);
            return None;
        }
        if segment.flags & SYN != 0 {
            if self.peer_isn.is_none() {
                self.peer_isn = Some(segment.seq);
                self.peer_scale = segment.window_scale;
                self.received = 1;
            }
            self.ack_due = true;
            if self.peer_isn != Some(segment.seq) {
                return None;
            }
        } else if self.peer_isn.is_none() {
            return None;
        }
        if segment.flags & ACK != 0 && !self.receive_ack(segment, now) {
            return None;
        }
        if segment.flags & SYN == 0 {
            self.receive_data(segment, at);
        }
        None
    }

    /// An end that knows no connection resets (RFC 9293, 3.10.7.1).
    fn answer_as_stranger(&self, segment: &TcpSegment) -> Option<TcpSegment> {
        let reset = |seq, ack, flags| TcpSegment {
            seq,
            ack,
            flags,
            window: 0,
            payload: 0,
            window_scale: None,
        };
        if segment.flags & RST != 0 {
            return None;
        }
        if segment.flags & ACK != 0 {
            return Some(reset(segment.ack, 0, RST));
        }
        let length = u32::from(segment.payload) + u32::from(segment.flags & SYN != 0);
        Some(reset(0, segment.seq.wrapping_add(length), RST | ACK))
    }

    /// The octet of the other end's stream that a number stands for, near what is expected.
    fn place(&self, seq: u32) -> i64 {
        let expected = self.peer_isn.map_or(seq, |isn| isn.wrapping_add(self.received as u32));
        self.received as i64 + i64::from(seq.wrapping_sub(expected) as i32)
    }

    fn receive_reset(&mut self, segment: &TcpSegment, at: i64) {
        let refused = self.peer_isn.is_none()
            && segment.flags & ACK != 0
            && segment.ack == self.own.isn.wrapping_add(1);
        let window = self.own.buffer.saturating_sub(self.unread) as i64;
        let expected = self.received as i64;
        if refused || (self.peer_isn.is_some() && at == expected) {
            self.dead = true;
            self.was_reset = true;
        } else if self.peer_isn.is_some() && at > expected && at <= expected + window {
            // The challenge of RFC 5961, 3.2.
            self.ack_due = true;
        }
    }

    /// Whether the rest of the segment counts.
    fn receive_ack(&mut self, segment: &TcpSegment, now: u64) -> bool {
        let una = self.own.isn.wrapping_add(self.una as u32);
        let ack = self.una as i64 + i64::from(segment.ack.wrapping_sub(una) as i32);
        if ack > self.max as i64 {
            self.ack_due = true;
            return false;
        }
        let scaled = segment.flags & SYN == 0 && self.own.scale.is_some();
        let shift = if scaled { self.peer_scale.unwrap_or(0) } else { 0 };
        if ack >= self.una as i64 {
            let ack = ack as u64;
            if ack > self.una {
                self.una = ack;
                self.timer = now;
                self.next = self.next.max(ack);
            }
            self.edge = ack + (u64::from(segment.window) << shift);
        }
        true
    }

    fn receive_data(&mut self, segment: &TcpSegment, at: i64) {
        let fin = segment.flags & FIN != 0;
        let end = at + i64::from(segment.payload);
        if segment.payload == 0 && !fin {
            // Out of the window: a keep-alive or a probe, which asks for an answer.
            self.ack_due |= at < self.received as i64;
            return;
        }
        self.ack_due = true;
        let room = (self.received + self.own.buffer - self.unread.min(self.own.buffer)) as i64;
        let end = end.min(room);
        if fin && end == at + i64::from(segment.payload) {
            self.peer_fin = Some(end as u64);
        }
        if end > at.max(0) {
            let from = at.max(0) as u64;
            let to = self.ahead.entry(from).or_insert(end as u64);
            *to = (*to).max(end as u64);
        }
        while let Some((from, to)) = self.ahead.pop_first() {
            if from > self.received {
                self.ahead.insert(from, to);
                break;
            }
            self.unread += to.saturating_sub(self.received);
            self.received = self.received.max(to);
        }
        if self.peer_fin == Some(self.received) {
            self.received += 1;
        }
    }
}
