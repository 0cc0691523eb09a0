//! One flow as it lies in the arena.

use super::TIMEOUTS;
use super::key::FlowKey;
use crate::flowtable::Direction;
use classifier::{Family, IpBits};

/// What a flow is worth when room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// A handshake that is not complete.
    HalfOpen = 0,
    /// Packets in one direction only.
    OneSided = 1,
    /// Both ends take part. Never gives way.
    Established = 2,
    /// Over, but for what is still on its way.
    Closing = 3,
}

impl Class {
    /// The word for it in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::HalfOpen => "half_open",
            Class::OneSided => "one_sided",
            Class::Established => "established",
            Class::Closing => "closing",
        }
    }

    /// How many there are.
    pub const COUNT: usize = 4;
    /// All of them, by number.
    pub const ALL: [Class; Class::COUNT] =
        [Class::HalfOpen, Class::OneSided, Class::Established, Class::Closing];
}

/// Number of an idle timeout in [`FlowTableConfig::timeouts`](super::FlowTableConfig::timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutNumber(u8);

impl TimeoutNumber {
    /// Timeout `number`, modulo the number of timeouts.
    pub const fn new(number: u8) -> Self {
        TimeoutNumber(number % TIMEOUTS as u8)
    }

    /// Its index.
    #[inline]
    pub const fn index(self) -> usize {
        // For the compiler, which then sees that it is within bounds.
        self.0 as usize % TIMEOUTS
    }
}

/// What the packet that opened a flow said besides the flow's key: rules may ask for it, also when
/// the flow is judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Opening {
    /// Hardware address of its sender.
    pub src_mac: [u8; 6],
    /// Hardware address it was sent to.
    pub dst_mac: [u8; 6],
    /// Bytes of the IP packet.
    pub length: u16,
    /// Family, code point, and whether it came in fragments.
    pub ip: IpBits,
    /// Flag bits of a TCP segment.
    pub tcp_flags: u8,
}

impl Opening {
    /// What lies in a slot without a flow.
    pub const NONE: Opening = Opening {
        src_mac: [0; 6],
        dst_mac: [0; 6],
        length: 0,
        ip: IpBits::new(Family::V4),
        tcp_flags: 0,
    };
}

const _: () = assert!(size_of::<Opening>() == 16);

/// A flow to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// Direction of the packet that opens it.
    pub opened: Direction,
    /// Rule that allows it, in the table of `generation`.
    pub rule: u32,
    /// Generation it is judged by, low bits.
    pub generation: u32,
    /// What it is worth for now.
    pub class: Class,
    /// Its idle timeout.
    pub timeout: TimeoutNumber,
}

/// The hot part of a flow: one cache line. The table is in the documentation of the
/// [module](super).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// Both IPv4 addresses, or the index of the [`Addresses`].
    addresses: u64,
    tuple: u64,
    side: u16,
    marks: u8,
    pub timeout: TimeoutNumber,
    /// Tick of the last packet, low bits.
    pub last_seen: u32,
    pub rule: u32,
    pub generation: u32,
    pub state: [u8; 32],
}

/// The addresses of an IPv6 flow: half a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(super) struct Addresses {
    pub first: u128,
    pub second: u128,
}

const _: () = assert!(size_of::<Record>() == 64 && align_of::<Record>() == 64);
const _: () = assert!(size_of::<Addresses>() == 32);
const _: () = assert!(std::mem::offset_of!(Record, state) == 32);

const CLASS: u8 = 0b0000_0011;
const V6: u8 = 0b0000_0100;
const OPENED_REVERSE: u8 = 0b0000_1000;
const LIVE: u8 = 0b0001_0000;
const KEPT: u8 = 0b0010_0000;

impl Record {
    /// What lies in a slot without a flow.
    pub const FREE: Record = Record {
        addresses: 0,
        tuple: 0,
        side: 0,
        marks: 0,
        timeout: TimeoutNumber(0),
        last_seen: 0,
        rule: 0,
        generation: 0,
        state: [0; 32],
    };

    /// A live record of `key` at tick `now`; its IPv6 addresses are to be found at `addresses`.
    pub fn new(key: &FlowKey, new: NewFlow, now: u32, addresses: u32) -> Self {
        let opened = match new.opened {
            Direction::Forward => 0,
            Direction::Reverse => OPENED_REVERSE,
        };
        let (addresses, family) = match key.family {
            Family::V4 => (key.addresses_v4(), 0),
            Family::V6 => (u64::from(addresses), V6),
        };
        Record {
            addresses,
            tuple: key.tuple,
            side: key.side,
            marks: LIVE | family | opened | new.class as u8,
            timeout: new.timeout,
            last_seen: now,
            rule: new.rule,
            generation: new.generation,
            state: [0; 32],
        }
    }

    #[inline]
    pub fn live(&self) -> bool {
        self.marks & LIVE != 0
    }

    #[inline]
    pub fn class(&self) -> Class {
        Class::ALL[usize::from(self.marks & CLASS)]
    }

    pub fn set_class(&mut self, class: Class) {
        self.marks = self.marks & !CLASS | class as u8;
    }

    /// Whether it may finish whatever a newer table says.
    #[inline]
    pub fn kept(&self) -> bool {
        self.marks & KEPT != 0
    }

    pub fn set_kept(&mut self, kept: bool) {
        self.marks = self.marks & !KEPT | if kept { KEPT } else { 0 };
    }

    #[inline]
    pub fn family(&self) -> Family {
        if self.marks & V6 == 0 { Family::V4 } else { Family::V6 }
    }

    #[inline]
    pub fn opened(&self) -> Direction {
        if self.marks & OPENED_REVERSE == 0 { Direction::Forward } else { Direction::Reverse }
    }

    /// Where its IPv6 addresses are.
    #[inline]
    pub fn addresses_v6(&self) -> u32 {
        self.addresses as u32
    }

    /// Whether it is the live flow `key`.
    #[inline]
    pub fn is(&self, key: &FlowKey, v6: &[Addresses]) -> bool {
        let marks = match key.family {
            Family::V4 => LIVE,
            Family::V6 => LIVE | V6,
        };
        if self.tuple != key.tuple || self.side != key.side || self.marks & (LIVE | V6) != marks {
            return false;
        }
        match key.family {
            Family::V4 => self.addresses == key.addresses_v4(),
            Family::V6 => {
                v6[self.addresses as usize] == Addresses { first: key.first, second: key.second }
            }
        }
    }

    /// The key it was made of.
    pub fn key(&self, v6: &[Addresses]) -> FlowKey {
        let family = self.family();
        let (first, second) = match family {
            Family::V4 => {
                (u128::from(self.addresses as u32), u128::from((self.addresses >> 32) as u32))
            }
            Family::V6 => {
                let Addresses { first, second } = v6[self.addresses as usize];
                (first, second)
            }
        };
        FlowKey { first, second, tuple: self.tuple, side: self.side, family }
    }
}
