//! The state machines against the scenarios in `cases/`, which README.md there explains.

mod kernel;
mod language;
mod machines;

use language::{Case, Topic};
use machines::Machine;

const TOPICS: &[(&str, &str)] = &[
    ("tcp_open.txt", include_str!("cases/tcp_open.txt")),
    ("tcp_simultaneous.txt", include_str!("cases/tcp_simultaneous.txt")),
    ("tcp_window.txt", include_str!("cases/tcp_window.txt")),
    ("tcp_close.txt", include_str!("cases/tcp_close.txt")),
    ("tcp_reset.txt", include_str!("cases/tcp_reset.txt")),
    ("tcp_pick_up.txt", include_str!("cases/tcp_pick_up.txt")),
    ("tcp_quoted.txt", include_str!("cases/tcp_quoted.txt")),
    ("udp.txt", include_str!("cases/udp.txt")),
    ("other.txt", include_str!("cases/other.txt")),
    ("echo.txt", include_str!("cases/echo.txt")),
    ("sctp.txt", include_str!("cases/sctp.txt")),
    ("icmp.txt", include_str!("cases/icmp.txt")),
];

/// What is added to the sequence numbers of the opener and of the responder. Cases use 100 and a
/// little more for the one, 300 for the other: their numbers wrap at every place.
const BASES: &[(u32, u32)] = &[
    (0, 0),
    (0u32.wrapping_sub(100), 0u32.wrapping_sub(300)),
    (0u32.wrapping_sub(101), 0u32.wrapping_sub(301)),
    (0u32.wrapping_sub(130), 0u32.wrapping_sub(350)),
    (0x8000_0000 - 101, 0x8000_0000 - 301),
    (0x7fff_ff00, 0),
    (0, 0xffff_fc00),
    (2_863_311_530, 1_431_655_765),
];

fn topics() -> impl Iterator<Item = Topic> {
    TOPICS.iter().map(|(name, text)| Topic::read(name, text))
}

/// Runs a case and says where it first differs.
fn run(topic: &Topic, case: &Case, base: (u32, u32)) -> Result<(), String> {
    let mut machine = Machine::new(&topic.protocol, base);
    for line in &case.lines {
        let (expected, closes) = match line.expected.strip_suffix(" closes") {
            Some(rest) => (rest, true),
            None => (line.expected.as_str(), false),
        };
        let before = machine.bytes();
        let got = machine.step(&line.input).map_err(|bad| {
            format!("state/cases/{}:{}: {bad} in `{}`", topic.name, line.number, line.input)
        })?;
        let at = || {
            let Line { number, input, .. } = line;
            format!("state/cases/{}:{number}: {} {base:?}: `{input}`", topic.name, case.name)
        };
        if got != expected {
            return Err(format!("{}: expected {expected}, got {got}", at()));
        }
        let inert = got.starts_with("drop ") && !closes;
        if inert && machine.bytes() != before {
            return Err(format!("{}: it was dropped and changed the state", at()));
        }
    }
    Ok(())
}

use language::Line;

#[test]
fn every_case_ends_as_it_says() {
    let mut cases = 0;
    let mut differences = Vec::new();
    for topic in topics() {
        let bases = if topic.protocol == "tcp" { BASES } else { &BASES[..1] };
        for case in &topic.cases {
            cases += 1;
            differences.extend(bases.iter().find_map(|&base| run(&topic, case, base).err()));
        }
    }
    assert!(differences.is_empty(), "{} of {cases}\n{}", differences.len(), differences.join("\n"));
    assert!(cases >= 400, "{cases} cases");
}

#[test]
fn a_case_that_says_otherwise_is_found() {
    for topic in topics() {
        let mut case = topic.cases[0].clone();
        let last = case.lines.last_mut().expect("a case has packets");
        last.expected = "pass nowhere".to_owned();
        let place = format!("state/cases/{}:{}:", topic.name, last.number);
        let difference = run(&topic, &case, (0, 0)).expect_err("it was changed");
        assert!(difference.starts_with(&place), "{difference}");
    }
}
