//! Sends scripts through both worlds, and tells packet by packet what came out.
//!
//! Rounds take turns between the two ends. In a round every script sends what its end says next; the
//! frames go in bursts, and each burst ends with a sentinel, which every policy allows. Each world
//! keeps the order of one direction, so when the sentinel has come out, what has not come out before
//! it never will.

use super::packet::{Datagram, End, hex, identity, protocol, udp, untagged};
use super::policy::SENTINELS;
use super::scripts::Script;
use super::worlds::{World, Worlds};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Frames on their way at once: few enough for the smallest queue on it, the 256 of a veth with an
/// XDP program.
const BURST: usize = 128;
/// How long a sentinel may take before another is sent.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many sentinels may be lost in a row.
const SENTINEL_TRIES: usize = 20;

/// Whether each world let a packet out, by [`World`].
pub(super) type Passed = [bool; 2];

/// A script and what became of its packets.
pub(super) struct Played {
    pub script: Script,
    /// Of each step, in order; `None` where it was not sent. Shorter where the script was ended.
    pub outcomes: Vec<Option<Passed>>,
    /// Whether the worlds came apart: what follows would differ because of that.
    ended: bool,
}

impl Played {
    /// The steps that were sent, with what became of them.
    pub(super) fn sent(&self) -> impl Iterator<Item = (usize, Passed)> {
        self.outcomes.iter().enumerate().filter_map(|(nth, outcome)| Some((nth, (*outcome)?)))
    }

    /// The end that speaks next.
    fn speaker(&self) -> Option<End> {
        let next = self.script.steps.get(self.outcomes.len())?;
        (!self.ended).then_some(next.from)
    }

    /// Whether the step to come is an answer to one that did not come through.
    fn is_moot(&self) -> bool {
        let nth = self.outcomes.len();
        let step = &self.script.steps[nth];
        let before = self.script.steps[..nth].iter().zip(&self.outcomes);
        let heard = before.rev().find(|(other, _)| other.from != step.from);
        step.answer && heard.is_some_and(|(_, outcome)| *outcome != Some([true, true]))
    }
}

/// What is kept from one set of scripts to the next under one policy.
#[derive(Default)]
pub(super) struct Stage {
    /// Sentinels so far, by what they are known by: no two are the same.
    sentinels: HashMap<Vec<u8>, usize>,
    /// Frames that are told apart by nothing that a router leaves are sent once.
    known: HashSet<Vec<u8>>,
}

impl Stage {
    /// Plays `scripts` to their ends.
    ///
    /// # Errors
    /// When sentinels do not come through, or a frame comes out that was not sent so.
    pub(super) fn play(
        &mut self,
        worlds: &mut Worlds<'_>,
        scripts: Vec<Script>,
    ) -> Result<Vec<Played>> {
        let begin = |script| Played { script, outcomes: Vec::new(), ended: false };
        let mut all: Vec<Played> = scripts.into_iter().map(begin).collect();
        while all.iter().any(|played| played.speaker().is_some()) {
            for from in End::BOTH {
                self.round(worlds, from, &mut all)?;
            }
        }
        Ok(all)
    }

    /// Sends what every script has to say from this end.
    fn round(&mut self, worlds: &mut Worlds<'_>, from: End, all: &mut [Played]) -> Result<()> {
        // Script and step of each frame.
        let mut due = Vec::new();
        for (nth, played) in all.iter_mut().enumerate() {
            while played.speaker() == Some(from) {
                let step = played.outcomes.len();
                let frame = &played.script.steps[step].frame;
                if !played.is_moot() && self.known.insert(identity(frame)) {
                    due.push((nth, step));
                }
                played.outcomes.push(None);
            }
        }
        for burst in due.chunks(BURST) {
            let frames: Vec<&[u8]> =
                burst.iter().map(|&(nth, step)| &*all[nth].script.steps[step].frame).collect();
            let passed = self.exchange(worlds, from, &frames)?;
            for (&(nth, step), passed) in burst.iter().zip(passed) {
                all[nth].outcomes[step] = Some(passed);
                all[nth].ended |= passed[0] != passed[1];
            }
        }
        Ok(())
    }

    /// Sends a burst and a sentinel through both worlds; what became of each frame.
    fn exchange(
        &mut self,
        worlds: &mut Worlds<'_>,
        from: End,
        frames: &[&[u8]],
    ) -> Result<Vec<Passed>> {
        let mut burst = Burst::new(frames, self.sentinels.len());
        for attempt in 0..SENTINEL_TRIES {
            let sentinel = self.sentinel(from);
            let mut out = if attempt == 0 { frames.to_vec() } else { Vec::new() };
            out.push(&sentinel);
            for world in World::BOTH {
                worlds.send(world, from, &out)?;
            }
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                for world in World::BOTH {
                    let hear = |frame: &[u8]| burst.hear(world, frame, &self.sentinels);
                    worlds.receive(world, from.other(), hear)?;
                    let hear_back = |frame: &[u8]| burst.hear_back(frame, &self.sentinels);
                    worlds.receive(world, from, hear_back)?;
                }
                if let Some(wrong) = burst.wrong {
                    return Err(Error::new(wrong));
                }
                if burst.ended == [true; 2] {
                    return Ok(burst.passed);
                }
                // The gateway's worker may be waiting for this core.
                std::thread::yield_now();
            }
        }
        Err(Error::new(format!("no sentinel came through: {:?}", burst.ended)))
    }

    fn sentinel(&mut self, from: End) -> Vec<u8> {
        let number = self.sentinels.len();
        let [src, dst] = match from {
            End::Left => SENTINELS,
            End::Right => [SENTINELS[1], SENTINELS[0]],
        };
        let body = udp(9, 9, &number.to_be_bytes());
        let (src, dst, mark) = (src.into(), dst.into(), 0);
        let frame = Datagram { from, src, dst, protocol: protocol::UDP, mark, body }.frame();
        self.sentinels.insert(identity(&frame), number);
        frame
    }
}

/// Frames on their way, and what has come out so far.
struct Burst<'a> {
    frames: &'a [&'a [u8]],
    /// What each is known by, and its position.
    sent: HashMap<Vec<u8>, usize>,
    passed: Vec<Passed>,
    /// Number of its first sentinel: those before it ended other bursts, and come late.
    first: usize,
    /// Whether a sentinel has come out, by [`World`].
    ended: [bool; 2],
    /// A frame that should not have come out so.
    wrong: Option<String>,
}

impl<'a> Burst<'a> {
    fn new(frames: &'a [&'a [u8]], first: usize) -> Self {
        let known = |(nth, frame): (usize, &&[u8])| (identity(frame), nth);
        let sent = frames.iter().enumerate().map(known).collect();
        let passed = vec![[false; 2]; frames.len()];
        Burst { frames, sent, passed, first, ended: [false; 2], wrong: None }
    }

    fn hear(&mut self, world: World, frame: &[u8], sentinels: &HashMap<Vec<u8>, usize>) {
        let identity = identity(frame);
        if let Some(&number) = sentinels.get(&identity) {
            self.ended[world as usize] |= number >= self.first;
            return;
        }
        match self.sent.get(&identity) {
            None => self.complain("that was not sent so", frame),
            // A wire changes nothing.
            Some(&nth) if world == World::Gateway && frame != untagged(self.frames[nth]) => {
                self.complain("changed", frame);
            }
            Some(&nth) if self.passed[nth][world as usize] => self.complain("twice", frame),
            Some(&nth) => self.passed[nth][world as usize] = true,
        }
    }

    /// At the end that sends, nothing comes out but a sentinel of the round before that was thought
    /// lost.
    fn hear_back(&mut self, frame: &[u8], sentinels: &HashMap<Vec<u8>, usize>) {
        if sentinels.get(&identity(frame)).is_none_or(|&number| number >= self.first) {
            self.complain("back", frame);
        }
    }

    fn complain(&mut self, how: &str, frame: &[u8]) {
        self.wrong = Some(format!("a frame came out {how}: {}", hex(frame)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_back_but_a_late_sentinel_of_another_burst() {
        let frame = |mark| {
            let [src, dst] = SENTINELS.map(Into::into);
            let (from, body) = (End::Left, udp(9, 9, &[mark]));
            Datagram { from, src, dst, protocol: protocol::UDP, mark: 0, body }.frame()
        };
        let sentinels = HashMap::from([(identity(&frame(0)), 0), (identity(&frame(1)), 1)]);
        for (mark, wrong) in [(0, false), (1, true), (2, true)] {
            let mut burst = Burst::new(&[], 1);
            burst.hear_back(&frame(mark), &sentinels);
            assert_eq!(burst.wrong.is_some(), wrong, "{mark}");
        }
    }
}
