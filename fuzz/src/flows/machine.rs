//! The state machines of one flow, and packets that come near what they wait for.

use arbitrary::{Result, Unstructured};
use dataplane::fuzzing::flowtable::Class;
use dataplane::fuzzing::parse::TcpSegment;
use dataplane::fuzzing::state::{
    DatagramClass, DatagramState, SctpClass, SctpEvent, SctpPacket, SctpState, TcpClass, TcpConfig,
    TcpEvent, TcpState,
};
use dataplane::{DropReason, Refresh, RstPolicy};

/// SYN and ACK among the flags of a segment.
const SYN_ACK: u8 = 0x12;

/// What a flow's packets are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
    Echo,
}

impl Protocol {
    pub const ALL: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Echo];

    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
            Protocol::Echo => 1,
        }
    }
}

/// Choices that hold for all flows of an input.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    pub tcp: TcpConfig,
    pub refresh: Refresh,
}

impl Choices {
    pub fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let [pick_up, strict, both] = bytes.arbitrary()?;
        Ok(Choices {
            tcp: TcpConfig {
                pick_up,
                rst: if strict { RstPolicy::Strict } else { RstPolicy::Window },
            },
            refresh: if both { Refresh::Both } else { Refresh::Opener },
        })
    }
}

/// A packet as its machine sees it.
#[derive(Clone, Copy, Debug)]
pub enum Packet {
    Tcp(TcpSegment),
    Udp,
    Sctp(SctpPacket),
    Echo { request: bool },
}

impl Packet {
    /// A packet whose numbers are near those in `state`, if it has any, or are any.
    pub fn read(
        protocol: Protocol,
        request: bool,
        state: &[u8; 32],
        bytes: &mut Unstructured<'_>,
    ) -> Result<Self> {
        Ok(match protocol {
            Protocol::Tcp => Packet::Tcp(TcpSegment {
                seq: number(state, bytes)?,
                ack: number(state, bytes)?,
                flags: match bytes.int_in_range(0..=15u8)? {
                    15 => bytes.arbitrary()?,
                    n => [2, 0x12, 0x10, 0x18, 0x11, 4, 0x14, 0x10][usize::from(n % 8)],
                },
                window: *bytes.choose(&[0xffff, 0, 1, 1000])?,
                payload: *bytes.choose(&[0, 0, 1, 1460, 0xffff])?,
                window_scale: *bytes.choose(&[None, Some(0), Some(7), Some(14), Some(255)])?,
            }),
            Protocol::Udp => Packet::Udp,
            Protocol::Sctp => Packet::Sctp(SctpPacket {
                chunk: bytes.int_in_range(0..=15)?,
                tag: number(state, bytes)?,
                initiate_tag: number(state, bytes)?,
                reflected: bytes.arbitrary()?,
            }),
            Protocol::Echo => Packet::Echo { request },
        })
    }
}

/// One of the words of `state`, give or take, or any number.
fn number(state: &[u8; 32], bytes: &mut Unstructured<'_>) -> Result<u32> {
    let [which, by] = bytes.arbitrary::<[u8; 2]>()?;
    let word = |nth: usize| {
        let at = 4 * nth;
        u32::from_ne_bytes([state[at], state[at + 1], state[at + 2], state[at + 3]])
    };
    Ok(match which {
        0..=127 => word(usize::from(which % 8)),
        128..=223 => word(usize::from(which % 8)).wrapping_add_signed(i32::from(by as i8)),
        224..=239 => u32::from(by) << 24,
        _ => bytes.arbitrary()?,
    })
}

/// What becomes of a packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Forward; the flow is worth `class` and has timeout `timeout`, which begins anew if `refresh`.
    Pass { class: Class, timeout: u8, refresh: bool },
    /// Forward, and nothing else.
    Challenge,
    /// It begins another flow in place of this one.
    Reopen,
}

/// The state of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Tcp(TcpState),
    Datagram(DatagramState),
    Sctp(SctpState),
}

impl Machine {
    /// The state that the first packet makes.
    pub fn open(
        packet: &Packet,
        choices: &Choices,
    ) -> core::result::Result<(Self, Event), DropReason> {
        Ok(match packet {
            Packet::Tcp(segment) => {
                let (state, event) = TcpState::open(segment, &choices.tcp)?;
                assert!(matches!(event, TcpEvent::Pass { .. }), "{event:?} opens");
                (Machine::Tcp(state), of_tcp(event, &state))
            }
            Packet::Udp => {
                let (state, event) = DatagramState::open();
                (Machine::Datagram(state), of_datagram(8, event.class, event.refresh))
            }
            Packet::Echo { request } => {
                let (state, event) = DatagramState::open_echo(*request)?;
                (Machine::Datagram(state), of_datagram(10, event.class, event.refresh))
            }
            Packet::Sctp(packet) => {
                let (state, event) = SctpState::open(packet)?;
                assert!(matches!(event, SctpEvent::Pass { .. }), "{event:?} opens");
                (Machine::Sctp(state), of_sctp(event, &state))
            }
        })
    }

    /// The next packet.
    ///
    /// # Panics
    /// When what was dropped changed anything, or what happens does not fit the state.
    pub fn observe(
        &mut self,
        from_opener: bool,
        packet: &Packet,
        choices: &Choices,
    ) -> core::result::Result<Event, DropReason> {
        match (self, packet) {
            (Machine::Tcp(state), Packet::Tcp(segment)) => {
                observe_tcp(state, from_opener, segment, &choices.tcp)
            }
            (Machine::Sctp(state), Packet::Sctp(packet)) => {
                observe_sctp(state, from_opener, packet)
            }
            (Machine::Datagram(state), Packet::Udp) => {
                let event = state.observe(from_opener, choices.refresh);
                assert!(event.refresh || !from_opener);
                Ok(of_datagram(8, event.class, event.refresh))
            }
            (Machine::Datagram(state), Packet::Echo { request }) => {
                let before = *state;
                let event = state.observe_echo(from_opener, *request);
                assert!(event.is_ok() || *state == before);
                let event = event?;
                Ok(of_datagram(10, event.class, event.refresh))
            }
            (machine, packet) => unreachable!("{packet:?} in {machine:?}"),
        }
    }

    /// The state as a flow keeps it. It is the same when it is read again.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        match self {
            Machine::Tcp(state) => bytes = state.to_bytes(),
            Machine::Datagram(state) => bytes[..1].copy_from_slice(&state.to_bytes()),
            Machine::Sctp(state) => bytes[..17].copy_from_slice(&state.to_bytes()),
        }
        bytes
    }

    /// The state in a flow.
    pub fn from_bytes(protocol: Protocol, bytes: &[u8; 32]) -> Self {
        match protocol {
            Protocol::Tcp => Machine::Tcp(TcpState::from_bytes(bytes)),
            Protocol::Udp | Protocol::Echo => {
                Machine::Datagram(DatagramState::from_bytes([bytes[0]]))
            }
            Protocol::Sctp => {
                let (head, _) = bytes.split_first_chunk().expect("17 are fewer than 32");
                Machine::Sctp(SctpState::from_bytes(head))
            }
        }
    }
}

/// Any bytes are a state: it can come from a mapping that outlived its process.
///
/// # Panics
/// When a packet makes one panic, or a drop changes it.
pub fn any_state(protocol: Protocol, bytes: &mut Unstructured<'_>) -> Result<()> {
    let raw: [u8; 32] = bytes.arbitrary()?;
    let mut machine = Machine::from_bytes(protocol, &raw);
    assert!(protocol != Protocol::Tcp || machine.to_bytes() == raw);
    let choices = Choices::read(bytes)?;
    for _ in 0..4 {
        let [from_opener, request] = bytes.arbitrary()?;
        let packet = Packet::read(protocol, request, &machine.to_bytes(), bytes)?;
        let _ = machine.observe(from_opener, &packet, &choices);
        assert_eq!(Machine::from_bytes(protocol, &machine.to_bytes()), machine);
        match machine {
            Machine::Tcp(state) => drop(state.in_flight(from_opener, bytes.arbitrary()?)),
            Machine::Sctp(state) => drop(state.sent(from_opener, bytes.arbitrary()?)),
            Machine::Datagram(_) => {}
        }
    }
    Ok(())
}

fn observe_tcp(
    state: &mut TcpState,
    from_opener: bool,
    segment: &TcpSegment,
    config: &TcpConfig,
) -> core::result::Result<Event, DropReason> {
    let before = *state;
    let event = state.observe(from_opener, segment, config);
    let (was, is) = (before.class(), state.class());
    // Both ends forgot the connection, and the one that answers a new SYN shows it.
    let forgotten = !from_opener && segment.flags & SYN_ACK == SYN_ACK && is == TcpClass::Closed;
    assert!(event.is_ok() || *state == before || forgotten, "{segment:?}: {before:?} {state:?}");
    let event = event?;
    match event {
        TcpEvent::Pass { class, established } => {
            assert_eq!(class, is);
            assert_eq!(established, is == TcpClass::Established && was != is);
        }
        TcpEvent::Challenge => assert_eq!(was, is, "a challenge changes the class"),
        TcpEvent::Reopen => {
            assert_eq!(*state, before);
            assert_eq!(segment.flags & SYN_ACK, 2, "it is no SYN");
            let over = matches!(was, TcpClass::Closed | TcpClass::TimeWait | TcpClass::SynSent);
            assert!(over, "a SYN ends a connection that is {was:?}");
        }
    }
    let half_open = |class| matches!(class, TcpClass::SynSent | TcpClass::SynReceived);
    assert!(half_open(was) || !half_open(is), "{was:?} becomes {is:?} by {segment:?}");
    assert!(was != TcpClass::Closed || is == was, "what is closed opens by {segment:?}");
    Ok(of_tcp(event, state))
}

fn observe_sctp(
    state: &mut SctpState,
    from_opener: bool,
    packet: &SctpPacket,
) -> core::result::Result<Event, DropReason> {
    let before = *state;
    let event = state.observe(from_opener, packet);
    assert!(event.is_ok() || *state == before, "{packet:?}: {before:?} {state:?}");
    let event = event?;
    match event {
        SctpEvent::Pass { class, established } => {
            assert_eq!(class, state.class());
            // A restart establishes anew.
            let was = before.class() == SctpClass::Established;
            assert_eq!(established, class == SctpClass::Established && !was);
        }
        SctpEvent::Challenge => assert_eq!(before.class(), state.class()),
        SctpEvent::Reopen => {
            assert_eq!(*state, before);
            assert!(before.class() == SctpClass::Closed && packet.chunk == 1);
        }
    }
    Ok(of_sctp(event, state))
}

fn of_tcp(event: TcpEvent, state: &TcpState) -> Event {
    let class = match state.class() {
        TcpClass::SynSent | TcpClass::SynReceived => Class::HalfOpen,
        TcpClass::Established | TcpClass::FinWait | TcpClass::HalfClosed => Class::Established,
        TcpClass::Closing | TcpClass::TimeWait | TcpClass::Closed => Class::Closing,
    };
    match event {
        TcpEvent::Pass { .. } => Event::Pass { class, timeout: state.class() as u8, refresh: true },
        TcpEvent::Challenge => Event::Challenge,
        TcpEvent::Reopen => Event::Reopen,
    }
}

fn of_datagram(first: u8, class: DatagramClass, refresh: bool) -> Event {
    match class {
        DatagramClass::OneSided => Event::Pass { class: Class::OneSided, timeout: first, refresh },
        DatagramClass::TwoSided => {
            Event::Pass { class: Class::Established, timeout: first + 1, refresh }
        }
    }
}

fn of_sctp(event: SctpEvent, state: &SctpState) -> Event {
    let class = match state.class() {
        SctpClass::Opening => Class::HalfOpen,
        SctpClass::Established => Class::Established,
        SctpClass::Closing | SctpClass::Closed => Class::Closing,
    };
    match event {
        SctpEvent::Pass { .. } => {
            Event::Pass { class, timeout: 12 + state.class() as u8, refresh: true }
        }
        SctpEvent::Challenge => Event::Challenge,
        SctpEvent::Reopen => Event::Reopen,
    }
}
