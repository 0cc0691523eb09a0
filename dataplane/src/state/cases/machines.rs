//! Runs the packets of a case through the machine that it is about, and says in its words what
//! happened.

use crate::state::datagram::{DatagramClass, DatagramEvent, DatagramState, Refresh};
use crate::state::icmp::{ErrorRules, IcmpError};
use crate::state::sctp::{SctpClass, SctpEvent, SctpPacket, SctpState};
use crate::state::tcp::{RstPolicy, TcpClass, TcpConfig, TcpEvent, TcpSegment, TcpState};
use crate::verdict::DropReason;
use classifier::Family;
use std::str::FromStr;

type Words<'a> = &'a [&'a str];

/// A machine and the flow that it is in the middle of.
pub(super) enum Machine {
    Tcp(Tcp),
    Datagram { echo: bool, refresh: Refresh, state: Option<DatagramState> },
    Sctp(Option<SctpState>),
    Icmp(ErrorRules),
}

/// TCP with its configuration and the initial sequence numbers of a run.
pub(super) struct Tcp {
    config: TcpConfig,
    base: (u32, u32),
    state: Option<TcpState>,
    /// Whether `<` has become the opener, by reopening.
    turned: bool,
}

impl Machine {
    pub fn new(protocol: &str, base: (u32, u32)) -> Machine {
        let datagram = |echo| Machine::Datagram { echo, refresh: Refresh::default(), state: None };
        match protocol {
            "tcp" => {
                Machine::Tcp(Tcp { config: TcpConfig::default(), base, state: None, turned: false })
            }
            "udp" | "other" => datagram(false),
            "echo" => datagram(true),
            "sctp" => Machine::Sctp(None),
            "icmp" => Machine::Icmp(ErrorRules::default()),
            other => panic!("no machine for {other}"),
        }
    }

    /// The state as it is kept in a flow; empty before there is one.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Machine::Tcp(tcp) => tcp.state.map_or(Vec::new(), |state| state.to_bytes().into()),
            Machine::Datagram { state, .. } => {
                state.map_or(Vec::new(), |state| state.to_bytes().into())
            }
            Machine::Sctp(state) => state.map_or(Vec::new(), |state| state.to_bytes().into()),
            Machine::Icmp(_) => Vec::new(),
        }
    }

    /// What happens to the packet in `input`, or why it cannot be read.
    pub fn step(&mut self, input: &str) -> Result<String, String> {
        let words: Vec<&str> = input.split_whitespace().collect();
        if words[0] == "config" {
            self.configure(&words[1..]).ok_or("a config line that nobody understands")?;
            return Ok(String::new());
        }
        match self {
            Machine::Tcp(tcp) => tcp.step(&words),
            Machine::Datagram { echo, refresh, state } => datagram(*echo, *refresh, state, &words),
            Machine::Sctp(state) => sctp(state, &words),
            Machine::Icmp(rules) => icmp(rules, &words),
        }
    }

    fn configure(&mut self, words: Words) -> Option<()> {
        match (self, words) {
            (Machine::Tcp(tcp), ["pick_up"]) => tcp.config.pick_up = true,
            (Machine::Tcp(tcp), ["rst", "strict"]) => tcp.config.rst = RstPolicy::Strict,
            (Machine::Datagram { refresh, .. }, ["refresh", "both"]) => *refresh = Refresh::Both,
            (Machine::Icmp(rules), ["min_mtu_v4", mtu]) => rules.min_mtu_v4 = mtu.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

impl Tcp {
    fn step(&mut self, words: Words) -> Result<String, String> {
        if let ["quoted", direction, seq] = words {
            let from_opener = *direction == ">";
            let base = if from_opener { self.base.0 } else { self.base.1 };
            let state = self.state.ok_or("nothing was sent yet")?;
            let there = state.in_flight(from_opener, number(seq, base)?);
            return Ok(if there { "in_flight" } else { "not_in_flight" }.to_owned());
        }
        let (from_opener, segment) = segment(words, self.base)?;
        let from_opener = from_opener != self.turned;
        let Some(state) = &mut self.state else {
            return Ok(self.open(&segment));
        };
        let before = *state;
        Ok(match state.observe(from_opener, &segment, &self.config) {
            Ok(TcpEvent::Pass { class, established }) => pass(tcp_class(class), established),
            Ok(TcpEvent::Challenge) => {
                assert_eq!(before.class(), state.class(), "a challenge changes nothing");
                "challenge".to_owned()
            }
            Ok(TcpEvent::Reopen) => {
                assert_eq!(before, *state, "reopening leaves the state");
                self.turned ^= !from_opener;
                self.open(&segment).replace("pass", "reopen")
            }
            Err(reason) => dropped(reason),
        })
    }

    fn open(&mut self, segment: &TcpSegment) -> String {
        match TcpState::open(segment, &self.config) {
            Ok((state, TcpEvent::Pass { class, established })) => {
                assert_eq!(TcpState::from_bytes(&state.to_bytes()), state);
                self.state = Some(state);
                pass(tcp_class(class), established)
            }
            Ok((_, event)) => panic!("{event:?} cannot open"),
            Err(reason) => dropped(reason),
        }
    }
}

/// Direction and segment of a line such as `> SA 300:10 ack 101 win 1000 wscale 7`.
pub(super) fn segment(words: Words, base: (u32, u32)) -> Result<(bool, TcpSegment), String> {
    let [direction, flags, place, rest @ ..] = words else {
        return Err("a segment has a direction, flags and a number".to_owned());
    };
    let from_opener = *direction == ">";
    let (own, other) = if from_opener { base } else { (base.1, base.0) };
    let (seq, payload) = place.split_once(':').unwrap_or((place, "0"));
    let bit = |flag| "FSRPAUEC".find(flag).map(|nth| 1 << nth).unwrap_or(0u8);
    let window_scale = match option(rest, "wscale") {
        None | Some("none") => None,
        Some(shift) => Some(read(shift)?),
    };
    let segment = TcpSegment {
        seq: number(seq, own)?,
        ack: number(option(rest, "ack").unwrap_or("=0"), other)?,
        flags: flags.chars().map(bit).fold(0, |all, bit| all | bit),
        window: read(option(rest, "win").unwrap_or("1000"))?,
        payload: read(payload)?,
        window_scale,
    };
    Ok((from_opener, segment))
}

fn datagram(
    echo: bool,
    refresh: Refresh,
    state: &mut Option<DatagramState>,
    words: Words,
) -> Result<String, String> {
    let from_opener = words[0] == ">";
    let request = words.get(1) == Some(&"request");
    let event = match state {
        None => {
            let opened =
                if echo { DatagramState::open_echo(request) } else { Ok(DatagramState::open()) };
            opened.map(|(fresh, event)| {
                *state = Some(fresh);
                event
            })
        }
        Some(state) if echo => state.observe_echo(from_opener, request),
        Some(state) => Ok(state.observe(from_opener, refresh)),
    };
    if let Some(state) = state {
        assert_eq!(DatagramState::from_bytes(state.to_bytes()), *state);
    }
    Ok(event.map_or_else(dropped, |DatagramEvent { class, refresh }| {
        let class = match class {
            DatagramClass::OneSided => "one_sided",
            DatagramClass::TwoSided => "two_sided",
        };
        format!("{class}{}", if refresh { " refresh" } else { "" })
    }))
}

fn sctp(state: &mut Option<SctpState>, words: Words) -> Result<String, String> {
    const CHUNKS: &[&str] = &[
        "DATA",
        "INIT",
        "INIT_ACK",
        "SACK",
        "HEARTBEAT",
        "HEARTBEAT_ACK",
        "ABORT",
        "SHUTDOWN",
        "SHUTDOWN_ACK",
        "ERROR",
        "COOKIE_ECHO",
        "COOKIE_ACK",
        "ECNE",
        "CWR",
        "SHUTDOWN_COMPLETE",
    ];
    let [direction, chunk, rest @ ..] = words else {
        return Err("a packet has a direction and a chunk".to_owned());
    };
    let chunk = CHUNKS.iter().position(|name| name == chunk).ok_or("no such chunk")?;
    let packet = SctpPacket {
        chunk: chunk as u8,
        tag: read(option(rest, "tag").unwrap_or("0"))?,
        initiate_tag: read(option(rest, "init").unwrap_or("0"))?,
        reflected: rest.contains(&"T"),
    };
    let open = |state: &mut Option<SctpState>| match SctpState::open(&packet) {
        Ok((fresh, event)) => {
            *state = Some(fresh);
            sctp_event(event)
        }
        Err(reason) => dropped(reason),
    };
    let Some(known) = state else {
        return Ok(open(state));
    };
    let got = known.observe(*direction == ">", &packet);
    assert_eq!(SctpState::from_bytes(&known.to_bytes()), *known);
    Ok(match got {
        Ok(SctpEvent::Reopen) => open(state).replace("pass", "reopen"),
        Ok(event) => sctp_event(event),
        Err(reason) => dropped(reason),
    })
}

fn sctp_event(event: SctpEvent) -> String {
    match event {
        SctpEvent::Pass { class, established } => {
            let class = match class {
                SctpClass::Opening => "opening",
                SctpClass::Established => "established",
                SctpClass::Closing => "closing",
                SctpClass::Closed => "closed",
            };
            pass(class, established)
        }
        SctpEvent::Challenge => "challenge".to_owned(),
        SctpEvent::Reopen => "reopen".to_owned(),
    }
}

fn icmp(rules: &ErrorRules, words: Words) -> Result<String, String> {
    let [family, what, rest @ ..] = words else {
        return Err("an error has a family, type and code".to_owned());
    };
    let (kind, code) = what.split_once('/').ok_or("type/code")?;
    let error = IcmpError {
        family: if *family == "v4" { Family::V4 } else { Family::V6 },
        kind: read(kind)?,
        code: read(code)?,
        rest: read(option(rest, "mtu").unwrap_or("0"))?,
    };
    let length = read(option(rest, "quoting").unwrap_or("0"))?;
    Ok(rules.admits(&error, length).map_or_else(dropped, |()| "pass".to_owned()))
}

fn pass(class: &str, established: bool) -> String {
    format!("pass {class}{}", if established { " new" } else { "" })
}

fn dropped(reason: DropReason) -> String {
    format!("drop {}", reason.as_str())
}

fn tcp_class(class: TcpClass) -> &'static str {
    match class {
        TcpClass::SynSent => "syn_sent",
        TcpClass::SynReceived => "syn_received",
        TcpClass::Established => "established",
        TcpClass::FinWait => "fin_wait",
        TcpClass::HalfClosed => "half_closed",
        TcpClass::Closing => "closing",
        TcpClass::TimeWait => "time_wait",
        TcpClass::Closed => "closed",
    }
}

/// A sequence number relative to `base`, or absolute after `=`.
fn number(text: &str, base: u32) -> Result<u32, String> {
    match text.strip_prefix('=') {
        Some(absolute) => read(absolute),
        None => Ok(base.wrapping_add(read::<i64>(text)? as u32)),
    }
}

/// The word after `name`.
fn option<'a>(words: Words<'a>, name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1).copied()
}

fn read<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of its kind"))
}
