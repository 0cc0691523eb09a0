//! Two honest TCP ends with a lossy network around the state machine, and strangers who guess.
//!
//! The ends ([`endpoint`]) and the network ([`network`]) share nothing with the machine: they count
//! octets in 64 bits from the start of their stream, and make sequence numbers only for the wire.

mod endpoint;
mod network;

use super::tcp::{TcpClass, TcpConfig, TcpEvent, TcpSegment, TcpState};
use crate::verdict::DropReason;
use network::{Link, Plan, Report};

/// SplitMix64: the same runs every time, from a seed that a failure names.
#[derive(Clone)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// One of `0..bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Every transfer ends, and nothing is dropped but copies of what its receiver has had.
#[test]
fn honest_ends_never_lose_a_segment_to_the_state_machine() {
    let mut total = Report::default();
    for seed in 0..10_000 {
        let plan = Plan::draw(&mut Draw(seed), false);
        let report = Link::new(plan, seed).run();
        assert!(report.finished, "seed {seed}: it does not end\n{report:?}");
        assert!(report.delivered, "seed {seed}: data is missing\n{report:?}");
        assert_eq!(report.wronged, None, "seed {seed}: {plan:?}");
        assert!(report.class == Some(TcpClass::TimeWait), "seed {seed}: {report:?}\n{plan:?}");
        total.add(&report);
    }
    // Copies that came more than a window late.
    assert!(total.stale * 1000 < total.segments, "{total:?}");
    assert!(total.segments > 500_000, "{total:?}");
    assert!(total.probes > 1_000 && total.retransmissions > 10_000, "{total:?}");
}

/// Ends that abort at some point: the other end hears of it and the flow is closed, even when RSTs
/// and what they count from get lost.
#[test]
fn an_end_that_aborts_resets_the_other_through_the_state_machine() {
    let mut total = Report::default();
    for seed in 0..5_000 {
        let plan = Plan::draw(&mut Draw(seed), true);
        let report = Link::new(plan, seed).run();
        assert!(report.finished, "seed {seed}: it does not end\n{report:?}\n{plan:?}");
        assert_eq!(report.wronged, None, "seed {seed}: {plan:?}");
        total.add(&report);
    }
    assert!(total.resets > 1_000 && total.challenges > 10, "{total:?}");
}

/// A connection in the middle of a transfer, with windows of 64 KiB.
fn established() -> TcpState {
    let config = TcpConfig::default();
    let segment = |seq, ack, flags, payload, window_scale| TcpSegment {
        seq,
        ack,
        flags,
        window: 0xffff,
        payload,
        window_scale,
    };
    let (mut state, _) =
        TcpState::open(&segment(100, 0, 2, 0, None), &config).expect("a SYN opens");
    for (from_opener, segment) in [
        (false, segment(300, 101, 0x12, 0, None)),
        (true, segment(101, 301, 0x10, 1000, None)),
        (false, segment(301, 1101, 0x10, 500, None)),
    ] {
        state.observe(from_opener, &segment, &config).expect("it is in order");
    }
    assert_eq!(state.class(), TcpClass::Established);
    state
}

/// The state but for the note that a SYN passed, which only a SYN-ACK from the other side reads.
fn lasting(state: TcpState) -> [u8; 32] {
    let mut bytes = state.to_bytes();
    bytes[15] &= !32;
    bytes
}

/// How many of `count` segments from `from_opener`'s side pass, as `[passed, challenges]`; none may
/// change the state.
fn attack(
    count: u64,
    from_opener: bool,
    mut draw: impl FnMut(&mut Draw) -> TcpSegment,
) -> [u64; 2] {
    let config = TcpConfig::default();
    let before = established();
    let mut random = Draw(count ^ u64::from(from_opener));
    let mut passed = [0; 2];
    for _ in 0..count {
        let mut state = before;
        let segment = draw(&mut random);
        match state.observe(from_opener, &segment, &config) {
            Ok(TcpEvent::Pass { .. }) => passed[0] += 1,
            Ok(TcpEvent::Challenge) => passed[1] += 1,
            Ok(TcpEvent::Reopen) => panic!("{segment:?} reopens a live connection"),
            Err(_) => assert_eq!(state, before, "{segment:?}"),
        }
        assert_eq!(lasting(state), lasting(before), "{segment:?}");
    }
    passed
}

const GUESSES: u64 = 2_000_000;
/// Any set of flags but SYN, which is no guess: the end answers every one with a challenge.
const FLAGS: [u8; 6] = [0x10, 0x18, 0x11, 0x04, 0x14, 0x12];

#[test]
fn a_stranger_who_guesses_both_numbers_gets_nothing_in() {
    for from_opener in [true, false] {
        let [passed, challenges] = attack(GUESSES, from_opener, |draw| TcpSegment {
            seq: draw.next() as u32,
            ack: draw.next() as u32,
            flags: FLAGS[draw.below(6) as usize],
            window: draw.next() as u16,
            payload: draw.below(1460) as u16,
            window_scale: None,
        });
        // A guess at both is right once in 2^32 / 65,536 squared, 2^32 guesses.
        assert_eq!(passed, 0);
        // A RST in the window, which the end is left to judge: once in 65,536 (and a third are RSTs).
        assert!(challenges <= 3 * GUESSES / 65_536, "{challenges}");
    }
}

#[test]
fn a_stranger_who_knows_one_number_still_has_to_guess_the_other() {
    let seq = |from_opener| if from_opener { 1101 } else { 801 };
    let ack = |from_opener| if from_opener { 801 } else { 1101 };
    for from_opener in [true, false] {
        for known_seq in [true, false] {
            let config = TcpConfig::default();
            let mut random = Draw(9);
            let mut passed = 0;
            for _ in 0..GUESSES {
                let mut state = established();
                let guess = random.next() as u32;
                let segment = TcpSegment {
                    seq: if known_seq { seq(from_opener) } else { guess },
                    ack: if known_seq { guess } else { ack(from_opener) },
                    flags: 0x18,
                    window: 0xffff,
                    payload: 100,
                    window_scale: None,
                };
                passed += u64::from(state.observe(from_opener, &segment, &config).is_ok());
            }
            // Two windows' worth of 2^32, with room for chance.
            assert!(passed > 0 && passed < 2 * 2 * GUESSES / 65_536, "{passed}");
        }
    }
}

#[test]
fn a_syn_that_is_not_asked_for_changes_nothing_from_either_side() {
    let syn = |draw: &mut Draw| TcpSegment {
        seq: draw.next() as u32,
        ack: draw.next() as u32,
        flags: 0x02,
        window: draw.next() as u16,
        payload: draw.below(2) as u16,
        window_scale: Some(draw.below(15) as u8),
    };
    assert_eq!(attack(100_000, true, syn), [0, 100_000]);
    assert_eq!(attack(100_000, false, syn), [0, 0]);
    let mut state = established();
    let refused = state.observe(false, &syn(&mut Draw(1)), &TcpConfig::default());
    assert_eq!(refused, Err(DropReason::TcpSyn));
}

/// A state can come from a mapping that outlived its process: whatever is in it, nothing panics.
#[test]
fn every_32_bytes_are_a_state_that_takes_every_segment() {
    let mut draw = Draw(32);
    for _ in 0..500_000 {
        let mut bytes = [0; 32];
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&draw.next().to_le_bytes());
        }
        let mut state = TcpState::from_bytes(&bytes);
        assert_eq!(state.to_bytes(), bytes);
        for _ in 0..4 {
            let segment = TcpSegment {
                seq: draw.next() as u32,
                ack: draw.next() as u32,
                flags: draw.next() as u8,
                window: draw.next() as u16,
                payload: draw.next() as u16,
                window_scale: draw.chance(50).then(|| draw.next() as u8),
            };
            let _ = state.observe(draw.chance(50), &segment, &TcpConfig::default());
            state.in_flight(draw.chance(50), segment.seq);
        }
    }
}
