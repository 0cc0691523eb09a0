//! Fragments as frames, put together byte by byte, and ports that hand out numbered tokens.

use super::super::*;
use crate::counters::Count;
use crate::parse::FrameView;
use crate::ports::Ports;
use crate::testing::ethernet;

/// What a test says of one fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub family: Family,
    /// Low bits of the source address.
    pub src: u128,
    pub id: u32,
    pub offset: usize,
    pub more: bool,
    pub next: u8,
    pub data: Vec<u8>,
    /// Bytes of IPv4 options, or of an IPv6 hop-by-hop header; a multiple of 8.
    pub options: usize,
    /// ECN codepoint.
    pub ecn: u8,
    pub vlan: u16,
    pub port: u16,
}

pub(super) const DST: u128 = 0x0a00_0002;

/// A fragment of a UDP datagram from 10.0.0.1.
pub(super) fn v4(offset: usize, more: bool, data: &[u8]) -> Spec {
    Spec {
        family: Family::V4,
        src: 0x0a00_0001,
        id: 1,
        offset,
        more,
        next: 17,
        data: data.to_vec(),
        options: 0,
        ecn: 0,
        vlan: 0,
        port: 0,
    }
}

/// A fragment of a UDP datagram from 2001:db8::1.
pub(super) fn v6(offset: usize, more: bool, data: &[u8]) -> Spec {
    Spec { family: Family::V6, src: 0x2001_0db8 << 96 | 1, ..v4(offset, more, data) }
}

/// `payload` in fragments of `size` bytes.
pub(super) fn split(whole: &Spec, size: usize) -> Vec<Spec> {
    let last = whole.data.len().div_ceil(size) - 1;
    let piece = |(nth, data): (usize, &[u8])| Spec {
        offset: nth * size,
        more: nth < last,
        data: data.to_vec(),
        ..whole.clone()
    };
    whole.data.chunks(size).enumerate().map(piece).collect()
}

impl Spec {
    pub fn fragment(&self) -> Fragment {
        let header = match self.family {
            Family::V4 => 20,
            Family::V6 => 48,
        };
        let ethernet = if self.vlan == 0 { 14 } else { 18 };
        Fragment {
            id: self.id,
            offset: self.offset as u16,
            more: self.more,
            next: self.next,
            header_len: (header + self.options) as u16,
            payload_offset: (ethernet + header + self.options) as u16,
            payload_len: self.data.len() as u16,
        }
    }

    pub fn key(&self) -> DatagramKey {
        let vlan = u32::from(self.vlan);
        DatagramKey::new(self.family, self.src, DST, &self.fragment(), vlan, self.port)
    }

    pub fn frame(&self) -> Vec<u8> {
        assert!(self.offset.is_multiple_of(8) && self.offset <= 65_528);
        let place = self.offset as u16;
        let (ethertype, packet) = match self.family {
            Family::V4 => {
                let mut packet = vec![0x45 + self.options as u8 / 4, self.ecn];
                packet.extend((20 + self.options as u16 + self.data.len() as u16).to_be_bytes());
                packet.extend((self.id as u16).to_be_bytes());
                packet.extend(((place / 8) | (u16::from(self.more) << 13)).to_be_bytes());
                packet.extend([64, self.next, 0, 0]);
                packet.extend((self.src as u32).to_be_bytes());
                packet.extend((DST as u32).to_be_bytes());
                packet.extend(std::iter::repeat_n(1, self.options));
                (0x0800, packet)
            }
            Family::V6 => {
                let mut packet = vec![0x60, self.ecn << 4, 0, 0];
                packet.extend((8 + self.options as u16 + self.data.len() as u16).to_be_bytes());
                packet.extend([if self.options > 0 { 0 } else { 44 }, 64]);
                packet.extend(self.src.to_be_bytes());
                packet.extend(DST.to_be_bytes());
                if self.options > 0 {
                    packet.extend([44, (self.options / 8 - 1) as u8, 1, self.options as u8 - 4]);
                    packet.extend(std::iter::repeat_n(0, self.options - 4));
                }
                packet.extend([self.next, 0]);
                packet.extend((place | u16::from(self.more)).to_be_bytes());
                packet.extend(self.id.to_be_bytes());
                (0x86dd, packet)
            }
        };
        let vlans = [self.vlan];
        let vlans = if self.vlan == 0 { &[][..] } else { &vlans };
        ethernet(vlans, ethertype, &[packet, self.data.clone()].concat())
    }
}

/// A token that cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token(pub usize);

/// Frames by token number.
#[derive(Default)]
pub(super) struct TokenPorts(pub Vec<Vec<u8>>);

impl Ports for TokenPorts {
    type Frame = Token;

    fn view<'a>(&'a self, frame: &'a Token) -> FrameView<'a> {
        let bytes = &self.0[frame.0];
        FrameView { bytes, wire_len: bytes.len() as u32 }
    }

    fn rx_burst(&mut self, _: usize, _: &mut Vec<Token>) {
        unreachable!("the table receives nothing")
    }

    fn tx_burst(&mut self, _: usize, _: &mut Vec<Token>) {
        unreachable!("the table transmits nothing")
    }

    fn recycle(&mut self, _: Token) {
        unreachable!("the table recycles nothing")
    }

    fn adopt(&mut self, _: &[u8]) -> Option<Token> {
        unreachable!("the table adopts nothing")
    }

    fn completed(&mut self, _: usize) -> Count {
        unreachable!("the table does not ask")
    }

    fn now(&self) -> u64 {
        unreachable!("the table is told")
    }
}

/// A table, and an account of every token that went into it.
pub(super) struct Lab {
    pub table: FragmentTable<Token>,
    pub ports: TokenPorts,
    pub now: u64,
    config: FragmentConfig,
    ended: Ended<Token>,
    /// By token number, whether it came out.
    out: Vec<bool>,
    /// What did not come out yet.
    held: Count,
    memory: usize,
}

/// What came out of one call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub offered: Option<Offered>,
    pub whole: Vec<usize>,
    pub dropped: Vec<(usize, DropReason)>,
}

impl Lab {
    pub fn new(config: FragmentConfig) -> Self {
        let table = FragmentTable::new(&config);
        Lab {
            memory: table.memory_usage(),
            table,
            ports: TokenPorts::default(),
            now: 1 << 40,
            config,
            ended: Ended::new(&config),
            out: Vec::new(),
            held: Count::default(),
        }
    }

    /// Offers `spec` in a frame whose token has the next number.
    pub fn offer(&mut self, spec: &Spec) -> Outcome {
        self.offer_frame(spec.frame(), spec)
    }

    pub fn offer_frame(&mut self, frame: Vec<u8>, spec: &Spec) -> Outcome {
        let number = self.ports.0.len();
        self.held.packets += 1;
        self.held.bytes += frame.len() as u64;
        self.ports.0.push(frame);
        self.out.push(false);
        let offered = self.table.offer(
            &self.ports,
            spec.key(),
            &spec.fragment(),
            Token(number),
            self.now,
            &mut self.ended,
        );
        let outcome = self.settle(Some(offered));
        // Held, dropped or released: where the call says it is.
        let dropped = outcome.dropped.iter().any(|(n, _)| *n == number);
        assert_eq!(dropped, offered == Offered::Dropped);
        let released = outcome.whole.contains(&number);
        assert_eq!(released, matches!(offered, Offered::Complete(_)));
        if let Offered::Complete(whole) = offered {
            assert_eq!(usize::from(whole.frames), outcome.whole.len());
        }
        outcome
    }

    /// Offers all of `specs`; what came of the last one.
    pub fn offer_all<'a>(&mut self, specs: impl IntoIterator<Item = &'a Spec>) -> Outcome {
        specs.into_iter().map(|spec| self.offer(spec)).last().expect("there is one")
    }

    pub fn expire(&mut self) -> Outcome {
        self.table.expire(self.now, &mut self.ended);
        self.settle(None)
    }

    /// Drains the table, and checks that every token came out.
    pub fn finish(mut self) -> Outcome {
        self.table.drain(&mut self.ended);
        let outcome = self.settle(None);
        assert_eq!(self.table.held(), Count::default());
        assert_eq!(self.table.incomplete(), 0);
        assert!(self.out.iter().all(|&out| out), "a token was lost");
        outcome
    }

    fn settle(&mut self, offered: Option<Offered>) -> Outcome {
        let capacities = [self.ended.whole.capacity(), self.ended.dropped.capacity()];
        let whole: Vec<usize> = self.ended.whole.drain(..).map(|token| token.0).collect();
        let drop = |d: Dropped<Token>| (d.frame.0, d.reason);
        let dropped: Vec<_> = self.ended.dropped.drain(..).map(drop).collect();
        for &number in whole.iter().chain(dropped.iter().map(|(number, _)| number)) {
            assert!(!std::mem::replace(&mut self.out[number], true), "token {number} came twice");
            self.held.packets -= 1;
            self.held.bytes -= self.ports.0[number].len() as u64;
        }
        assert_eq!(self.table.held(), self.held);
        assert!(self.held.packets <= self.config.max_frames.into());
        assert!(self.held.bytes <= self.config.max_bytes);
        assert!(self.table.incomplete() <= self.config.max_datagrams as usize);
        assert_eq!(self.table.memory_usage(), self.memory, "it allocated");
        let room = self.config.max_frames as usize + BURST;
        assert_eq!(capacities, [room, room], "a list grew");
        Outcome { offered, whole, dropped }
    }
}
