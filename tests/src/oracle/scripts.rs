//! Scripts: packets in an order, of one conversation, as well-behaved ends would send them.

use super::mutations;
use super::packet::{Datagram, End, Segment, flag, icmp, protocol, udp};
use super::policy::{Draw, Policy};
use super::strays;
use fastrand::Rng;
use std::collections::HashSet;
use std::net::IpAddr;
use std::str::FromStr;

macro_rules! classes {
    ($($variant:ident = $name:literal, $about:literal;)+) => {
        /// A kind of scripts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class { $(#[doc = $about] $variant,)+ }

        impl Class {
            /// Every class.
            pub const ALL: &'static [Class] = &[$(Class::$variant,)+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Class::$variant => $name,)+ }
            }

            /// What its scripts are.
            pub const fn describe(self) -> &'static str {
                match self { $(Class::$variant => $about,)+ }
            }
        }
    };
}

classes! {
    Udp = "udp", "UDP requests and answers, one that comes from the wrong side among them.";
    Icmp = "icmp", "ICMP and ICMPv6 echo requests and replies.";
    TcpHandshake = "tcp-handshake", "TCP connections from SYN to FIN or RST, as two hosts have them.";
    Protocols = "protocols", "GRE, ESP and other protocols without ports, SCTP associations.";
    TcpState = "tcp-state", "TCP segments that no connection asks for.";
    IcmpState = "icmp-state", "ICMP messages that nobody asked for.";
    Mutations = "mutations", "Good packets with one header field changed, within good traffic.";
}

impl FromStr for Class {
    type Err = crate::Error;

    fn from_str(name: &str) -> crate::Result<Class> {
        let found = Class::ALL.iter().copied().find(|class| class.as_str() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Class::ALL.iter().map(|class| class.as_str()).collect();
            crate::Error::new(format!("no class `{name}`: {}", names.join(", ")))
        })
    }
}

/// One packet of a script.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The end that sends it.
    pub from: End,
    pub frame: Vec<u8>,
    /// What it is, for people.
    pub label: &'static str,
    /// Sent only if what the other end sent last came through: a host answers what it received.
    pub answer: bool,
}

/// Packets that are sent in this order.
#[derive(Debug)]
pub(super) struct Script {
    pub class: Class,
    /// Id of the rule it was drawn from.
    pub rule: String,
    pub steps: Vec<Step>,
}

/// Makes the scripts of one policy.
pub(super) struct Writer<'a> {
    pub policy: &'a Policy,
    pub rng: &'a mut Rng,
    /// Identifier of the packet made last.
    mark: u32,
    /// Source port, or identifier, of the conversation begun last: no two share theirs.
    port: u16,
    /// Ends of conversations over protocols without ports: no two share theirs either.
    pairs: HashSet<(u8, IpAddr, IpAddr)>,
}

/// One end's conversation with another, and its packets so far.
pub(super) struct Talk {
    pub draw: Draw,
    pub protocol: u8,
    /// Port of the end that begins, or identifier of an echo.
    pub port: u16,
    pub steps: Vec<Step>,
}

impl Talk {
    pub(super) fn is_v6(&self) -> bool {
        self.draw.src.is_ipv6()
    }

    /// Ports of a packet that the beginner sends, or that it gets.
    pub(super) fn ports(&self, back: bool) -> (u16, u16) {
        if back { (self.draw.port, self.port) } else { (self.port, self.draw.port) }
    }

    pub(super) fn script(self, class: Class) -> Script {
        Script { class, rule: self.draw.rule, steps: self.steps }
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(policy: &'a Policy, rng: &'a mut Rng) -> Self {
        Writer { policy, rng, mark: 0, port: 1024, pairs: HashSet::new() }
    }

    /// The next script of `class`.
    pub(super) fn script(&mut self, class: Class) -> Script {
        match class {
            Class::Udp => self.udp(),
            Class::Icmp => self.echo(),
            Class::TcpHandshake => self.tcp(),
            Class::Protocols => self.protocols(),
            Class::TcpState => strays::tcp(self),
            Class::IcmpState => strays::icmp(self),
            Class::Mutations => mutations::script(self),
        }
    }

    /// A conversation over `protocol` (ICMP stands for ICMPv6 too), with nothing said yet.
    pub(super) fn talk(&mut self, protocol: u8) -> Talk {
        let draw = self.policy.draw(protocol, self.rng);
        let protocol = match protocol {
            protocol::ICMP if draw.src.is_ipv6() => protocol::ICMPV6,
            other => other,
        };
        self.port = self.port.checked_add(1).unwrap_or(1025);
        Talk { draw, protocol, port: self.port, steps: Vec::new() }
    }

    /// A frame of `talk` with this body, from the end that began or, with `back`, to it.
    pub(super) fn frame(&mut self, talk: &Talk, back: bool, body: Vec<u8>) -> Vec<u8> {
        self.mark += 1;
        let Draw { from, src, dst, .. } = talk.draw;
        let (from, src, dst) = if back { (from.other(), dst, src) } else { (from, src, dst) };
        Datagram { from, src, dst, protocol: talk.protocol, mark: self.mark, body }.frame()
    }

    /// Adds a packet to `talk`: an answer whenever the other end spoke before.
    pub(super) fn say(&mut self, talk: &mut Talk, label: &'static str, back: bool, body: Vec<u8>) {
        let frame = self.frame(talk, back, body);
        let from = if back { talk.draw.from.other() } else { talk.draw.from };
        talk.steps.push(Step { from, frame, label, answer: true });
    }

    pub(super) fn payload(&mut self) -> Vec<u8> {
        let length = match self.rng.u8(0..10) {
            0 => 0,
            1 => self.rng.usize(1000..=1200),
            _ => self.rng.usize(1..=64),
        };
        (0..length).map(|_| self.rng.u8(..)).collect()
    }

    fn udp(&mut self) -> Script {
        let mut talk = self.talk(protocol::UDP);
        let wrong_side = self.rng.u8(0..16) == 0;
        for _ in 0..self.rng.usize(1..=3) {
            let ports = talk.ports(false);
            let payload = self.payload();
            self.say(&mut talk, "UDP request", false, udp(ports.0, ports.1, &payload));
            let ports = talk.ports(true);
            let payload = self.payload();
            if wrong_side {
                let body = udp(ports.0, ports.1, &payload);
                self.say(&mut talk, "UDP answer from the wrong side", true, body);
                if let Some(step) = talk.steps.last_mut() {
                    step.from = talk.draw.from;
                    step.frame[..6].copy_from_slice(&step.from.router_mac());
                    step.frame[6..12].copy_from_slice(&step.from.mac());
                }
            } else if self.rng.u8(0..4) > 0 {
                self.say(&mut talk, "UDP answer", true, udp(ports.0, ports.1, &payload));
            }
        }
        talk.script(Class::Udp)
    }

    fn echo(&mut self) -> Script {
        let mut talk = self.talk(protocol::ICMP);
        for seq in 1..=self.rng.u32(1..=3) {
            self.ask(&mut talk, seq);
            for _ in 0..self.rng.usize(0..=2) {
                self.reply(&mut talk, seq);
            }
        }
        talk.script(Class::Icmp)
    }

    /// An echo request.
    pub(super) fn ask(&mut self, talk: &mut Talk, seq: u32) {
        let kind = if talk.is_v6() { 128 } else { 8 };
        let body = icmp(kind, 0, u32::from(talk.port) << 16 | seq, &self.payload());
        self.say(talk, "echo request", false, body);
    }

    /// An echo reply.
    pub(super) fn reply(&mut self, talk: &mut Talk, seq: u32) {
        let kind = if talk.is_v6() { 129 } else { 0 };
        let body = icmp(kind, 0, u32::from(talk.port) << 16 | seq, &self.payload());
        self.say(talk, "echo reply", true, body);
    }

    fn tcp(&mut self) -> Script {
        let mut talk = self.talk(protocol::TCP);
        let mut tcp = Connection::new(self.rng);
        for _ in 0..self.rng.usize(1..=2) {
            if self.rng.u8(0..8) == 0 {
                tcp.refused(self, &mut talk);
            } else {
                tcp.open(self, &mut talk);
                tcp.transfer(self, &mut talk);
                if !tcp.close(self, &mut talk) {
                    break;
                }
            }
            tcp = tcp.next(self.rng);
        }
        talk.script(Class::TcpHandshake)
    }

    fn protocols(&mut self) -> Script {
        use protocol::{AH, ESP, GRE, SCTP};
        let number = *self.rng.choice(&[GRE, ESP, AH, 253, SCTP]).unwrap_or(&GRE);
        let mut talk = self.talk(number);
        let Draw { src, dst, .. } = talk.draw;
        let ends = (number, src.min(dst), src.max(dst));
        if number == SCTP || !self.pairs.insert(ends) {
            talk.protocol = SCTP;
            self.associate(&mut talk);
            return talk.script(Class::Protocols);
        }
        for back in [false, true, false, true] {
            let mut body = match number {
                // No options, version 0, of IPv4 (RFC 2784); next header UDP, 24 bytes (RFC 4302);
                // SPI and sequence number (RFC 4303).
                GRE => vec![0, 0, 8, 0],
                AH => vec![17, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
                _ => vec![0, 0, 1, 0, 0, 0, 0, 1],
            };
            body.extend((0..40).map(|_| self.rng.u8(..)));
            self.say(&mut talk, "a packet without ports", back, body);
        }
        talk.script(Class::Protocols)
    }

    /// An SCTP association (RFC 9260, 5.1).
    pub(super) fn associate(&mut self, talk: &mut Talk) {
        let tags = [self.rng.u32(1..), self.rng.u32(1..)];
        // Initiate tag, window, streams and TSN; a cookie.
        let init = |tag: u32| [tag, 65_535, 1 << 16 | 1, 1].map(u32::to_be_bytes).concat();
        let cookie = [0, 7, 0, 8, 1, 2, 3, 4];
        let chunks = [
            ("SCTP INIT", 1, 0, init(tags[0])),
            ("SCTP INIT ACK", 2, tags[0], [init(tags[1]), cookie.to_vec()].concat()),
            ("SCTP COOKIE ECHO", 10, tags[1], vec![1, 2, 3, 4]),
            ("SCTP COOKIE ACK", 11, tags[0], vec![]),
            ("SCTP DATA", 0, tags[1], vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9]),
        ];
        for (nth, (label, kind, tag, value)) in chunks.into_iter().enumerate() {
            let back = nth % 2 == 1;
            let ports = talk.ports(back);
            let mut body = [ports.0, ports.1].map(u16::to_be_bytes).concat();
            body.extend(tag.to_be_bytes());
            body.extend([0; 4]);
            // Data in one piece has the flags B and E.
            body.extend([kind, if kind == 0 { 3 } else { 0 }]);
            body.extend((4 + value.len() as u16).to_be_bytes());
            body.extend(value);
            self.say(talk, label, back, body);
        }
    }
}

/// Sequence numbers of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    /// Next sequence number of the end that began and of the other.
    pub next: [u32; 2],
    window: u16,
    options: &'static [u8],
}

/// Maximum segment size; the same with SACK, timestamps and a window scale (RFC 9293, 3.1;
/// RFC 7323).
const OPTIONS: [&[u8]; 3] =
    [&[], &[2, 4, 5, 0xb4], &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]];

impl Connection {
    pub(super) fn new(rng: &mut Rng) -> Self {
        // Now and then, close to where sequence numbers wrap around.
        let mut start = || if rng.u8(0..4) == 0 { u32::MAX - rng.u32(0..20) } else { rng.u32(..) };
        let next = [start(), start()];
        Connection { next, window: 64_240, options: rng.choice(OPTIONS).unwrap_or(&[]) }
    }

    /// A later connection of the same ends (RFC 6191, 2: its sequence numbers are higher).
    fn next(self, rng: &mut Rng) -> Self {
        let next = self.next.map(|n| n.wrapping_add(rng.u32(100_000..1_000_000)));
        Connection { next, ..Connection::new(rng) }
    }

    /// A segment with these flags, at the next sequence number of its end.
    pub(super) fn segment(
        &mut self,
        writer: &mut Writer<'_>,
        talk: &mut Talk,
        (label, back, flags): (&'static str, bool, u8),
        payload: &[u8],
    ) {
        let (this, other) = (usize::from(back), usize::from(!back));
        let acks = flags & flag::ACK != 0;
        let segment = Segment {
            ports: talk.ports(back),
            seq: self.next[this],
            ack: if acks { self.next[other] } else { 0 },
            flags,
            window: self.window,
            options: if flags & flag::SYN != 0 { self.options } else { &[] },
            payload,
        };
        writer.say(talk, label, back, segment.bytes());
        let counts = u32::from(flags & (flag::SYN | flag::FIN) != 0);
        self.next[this] = self.next[this].wrapping_add(counts + payload.len() as u32);
    }

    pub(super) fn open(&mut self, writer: &mut Writer<'_>, talk: &mut Talk) {
        let start = *self;
        self.segment(writer, talk, ("SYN", false, flag::SYN), &[]);
        if writer.rng.u8(0..8) == 0 {
            *self = start;
            self.segment(writer, talk, ("SYN again", false, flag::SYN), &[]);
        }
        self.segment(writer, talk, ("SYN-ACK", true, flag::SYN | flag::ACK), &[]);
        self.segment(writer, talk, ("ACK of the SYN-ACK", false, flag::ACK), &[]);
    }

    fn refused(&mut self, writer: &mut Writer<'_>, talk: &mut Talk) {
        self.segment(writer, talk, ("SYN", false, flag::SYN), &[]);
        // RFC 9293, 3.10.7.1: sequence number 0, and an acknowledgement of the SYN.
        self.next[1] = 0;
        self.segment(writer, talk, ("RST of a refused SYN", true, flag::RST | flag::ACK), &[]);
    }

    pub(super) fn transfer(&mut self, writer: &mut Writer<'_>, talk: &mut Talk) {
        for _ in 0..writer.rng.usize(0..=2) {
            let back = writer.rng.bool();
            for _ in 0..writer.rng.usize(1..=3) {
                let mut payload = writer.payload();
                payload.push(0);
                self.segment(writer, talk, ("data", back, flag::PSH | flag::ACK), &payload);
            }
            self.segment(writer, talk, ("ACK", !back, flag::ACK), &[]);
        }
    }

    /// Whether the connection is over.
    fn close(&mut self, writer: &mut Writer<'_>, talk: &mut Talk) -> bool {
        let (way, back) = (writer.rng.u8(0..8), writer.rng.bool());
        let fin = flag::FIN | flag::ACK;
        match way {
            0 => return false,
            1 => self.segment(writer, talk, ("RST", back, flag::RST), &[]),
            2 => self.segment(writer, talk, ("RST-ACK", back, flag::RST | flag::ACK), &[]),
            3..6 => {
                self.segment(writer, talk, ("FIN", back, fin), &[]);
                self.segment(writer, talk, ("FIN in answer", !back, fin), &[]);
                self.segment(writer, talk, ("ACK of the FIN", back, flag::ACK), &[]);
            }
            _ => {
                self.segment(writer, talk, ("FIN", back, fin), &[]);
                self.segment(writer, talk, ("ACK of the FIN", !back, flag::ACK), &[]);
                let late = [7; 20];
                let data = flag::PSH | flag::ACK;
                self.segment(writer, talk, ("data after a FIN", !back, data), &late);
                self.segment(writer, talk, ("ACK", back, flag::ACK), &[]);
                self.segment(writer, talk, ("FIN", !back, fin), &[]);
                self.segment(writer, talk, ("ACK of the FIN", back, flag::ACK), &[]);
            }
        }
        true
    }
}
