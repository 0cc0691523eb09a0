//! The fragment table under fragments of a few datagrams, in any order, overlapping and not, with a
//! clock that steps both ways and room for little.
//!
//! Every frame that goes in is accounted for, and what comes out as whole is put together again by
//! a receiver that takes nothing but exact tilings ([`reassemble`](spec::reassemble)).

mod spec;

use arbitrary::{Result, Unstructured};
use dataplane::fuzzing::fragments::{DatagramKey, Ended, FragmentTable, Offered, Whole};
use dataplane::ports::{BURST, Ports};
use dataplane::{Count, DropReason, FragmentConfig, FrameView};
use spec::{Datagram, Spec, reassemble};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Most steps of an input.
const STEPS: usize = 400;

/// Runs the steps that `data` makes.
///
/// # Panics
/// When a frame is lost or comes twice, a bound is passed, or a datagram comes out that is none.
pub fn run(data: &[u8]) -> bool {
    let mut bytes = Unstructured::new(data);
    let Ok(mut lab) = Lab::read(&mut bytes) else { return false };
    for _ in 0..STEPS {
        if bytes.is_empty() || lab.step(&mut bytes).is_err() {
            break;
        }
    }
    lab.finish();
    true
}

/// Frames by token number.
#[derive(Default)]
struct Frames(Vec<Vec<u8>>);

/// A token that cannot be copied.
#[derive(Debug)]
struct Token(usize);

impl Ports for Frames {
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

/// What came out of one call.
#[derive(Default)]
struct Out {
    whole: Vec<usize>,
    dropped: BTreeMap<usize, DropReason>,
}

/// The table, and what it must hold.
struct Lab {
    table: FragmentTable<Token>,
    config: FragmentConfig,
    frames: Frames,
    ended: Ended<Token>,
    memory: usize,
    now: u64,
    datagrams: Vec<Datagram>,
    /// By token number.
    specs: Vec<Spec>,
    /// Tokens in the table, by datagram.
    held: HashMap<DatagramKey, BTreeSet<usize>>,
    /// When the datagram was begun.
    begun: HashMap<DatagramKey, u64>,
    /// What spoilt which datagram when; the oldest first.
    spoilt: VecDeque<(DatagramKey, DropReason, u64)>,
}

impl Lab {
    fn read(bytes: &mut Unstructured<'_>) -> Result<Lab> {
        let config = FragmentConfig {
            max_frames: bytes.int_in_range(0..=24)?,
            max_bytes: *bytes.choose(&[1 << 20, 2_000, 500, 100])?,
            max_datagrams: bytes.int_in_range(0..=6)?,
            max_fragments: bytes.int_in_range(0..=12)?,
            max_datagrams_per_source: bytes.int_in_range(0..=5)?,
            timeout: Duration::from_nanos(*bytes.choose(&[1_000, 0, 10])?),
        };
        let datagrams: Result<Vec<_>> = (0..6).map(|nth| Datagram::read(nth, bytes)).collect();
        let table = FragmentTable::new(&config);
        Ok(Lab {
            memory: table.memory_usage(),
            table,
            config,
            frames: Frames::default(),
            ended: Ended::new(&config),
            now: 1 << 20,
            datagrams: datagrams?,
            specs: Vec::new(),
            held: HashMap::new(),
            begun: HashMap::new(),
            spoilt: VecDeque::new(),
        })
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match bytes.int_in_range(0..=15u8)? {
            0 => self.now += bytes.int_in_range(0..=20u64)?,
            1 => self.now += self.timeout() + bytes.int_in_range(0..=1)?,
            2 => self.now -= bytes.int_in_range(0..=1_001u64)?,
            3 => self.expire(),
            4 => self.drain(),
            _ => {
                let nth = bytes.choose_index(self.datagrams.len())?;
                let spec = Spec::read(&self.datagrams[nth], bytes)?;
                self.offer(spec);
            }
        }
        Ok(())
    }

    fn timeout(&self) -> u64 {
        self.config.timeout.as_nanos() as u64
    }

    fn past(&self, since: u64) -> bool {
        self.now.abs_diff(since) > self.timeout()
    }

    fn offer(&mut self, spec: Spec) {
        let (token, key) = (self.specs.len(), spec.key());
        let frame = spec.frame();
        self.frames.0.push(frame);
        self.specs.push(spec.clone());
        let before = self.held.get(&key).cloned().unwrap_or_default();
        // Of what is held of the datagram, what the fragment meets.
        let over = self.begun.get(&key).is_some_and(|&since| self.past(since));
        let met: Vec<&Spec> = if spec.is_atomic() || over {
            Vec::new()
        } else {
            before.iter().map(|&token| &self.specs[token]).collect()
        };
        let alone = met.is_empty();
        let copy = met.iter().any(|other| other.same_as(&spec));
        let touches = met.iter().any(|other| other.touches(&spec));
        let tiling = reassemble(met.iter().copied().chain([&spec]));
        let known = self.spoilt.iter().position(|(spoilt, ..)| *spoilt == key);
        if let Some(nth) = known
            && self.past(self.spoilt[nth].2)
            && !spec.is_atomic()
        {
            self.spoilt.remove(nth);
        }
        let spoilt = self.spoilt.iter().find(|(spoilt, ..)| *spoilt == key && !spec.is_atomic());
        let spoilt = spoilt.map(|(_, reason, _)| *reason);

        let fragment = spec.fragment();
        let offered =
            self.table.offer(&self.frames, key, &fragment, Token(token), self.now, &mut self.ended);
        self.held.entry(key).or_default().insert(token);
        let out = self.settle();
        assert_eq!(out.dropped.contains_key(&token), offered == Offered::Dropped);
        assert_eq!(out.whole.contains(&token), matches!(offered, Offered::Complete(_)));
        let all_gone = before.iter().all(|token| out.dropped.contains_key(token));
        match offered {
            Offered::Held => {
                assert!(spoilt.is_none() && !touches && !copy && !spec.is_atomic() && !spec.cut);
                assert_eq!(tiling, None, "it is complete");
                let begins = before.is_empty() || all_gone;
                assert!(begins || before.iter().all(|token| !out.dropped.contains_key(token)));
                if begins {
                    self.begun.insert(key, self.now);
                }
            }
            Offered::Complete(whole) => {
                assert!(spoilt.is_none() && !spec.cut, "{spoilt:?}");
                let bytes = tiling.expect("only a tiling is complete");
                let mut tokens = if alone { BTreeSet::new() } else { before };
                tokens.insert(token);
                assert_eq!(out.whole.iter().copied().collect::<BTreeSet<_>>(), tokens);
                assert!(out.whole.is_sorted_by_key(|&token| self.specs[token].offset));
                assert!(out.whole.len() <= usize::from(self.config.max_fragments));
                let first = &self.specs[out.whole[0]];
                assert_whole(&whole, first, &bytes, out.whole.len());
            }
            Offered::Dropped => {
                let reason = out.dropped[&token];
                self.assert_dropped(&spec, reason, spoilt, copy, touches || tiling.is_none());
                if copy && !spec.cut && spoilt.is_none() {
                    assert!(before.iter().all(|token| !out.dropped.contains_key(token)));
                } else if !spec.is_atomic() {
                    assert!(all_gone, "a spoilt datagram stays");
                    if spoilt.is_none() {
                        self.spoil(key, reason);
                    }
                }
            }
        }
        self.check();
    }

    fn assert_dropped(
        &self,
        spec: &Spec,
        reason: DropReason,
        spoilt: Option<DropReason>,
        copy: bool,
        not_whole: bool,
    ) {
        use DropReason as D;
        if let Some(spoilt) = spoilt {
            assert_eq!(reason, spoilt, "of a datagram that is spoilt");
        } else if spec.cut {
            assert_eq!(reason, D::CaptureCut);
        } else if copy {
            assert_eq!(reason, D::FragmentDuplicate);
        } else {
            assert_ne!(reason, D::FragmentDuplicate, "of what was never there");
            // A datagram that gets whole is dropped for what it is, never for want of room.
            let room = matches!(
                reason,
                D::FragmentOverlap | D::FragmentEnd | D::FragmentTableFull | D::FragmentTimeout
            );
            assert!(not_whole || !room, "{reason:?}: it is complete");
        }
    }

    fn spoil(&mut self, key: DatagramKey, reason: DropReason) {
        let most = (self.config.max_datagrams as usize).div_ceil(4);
        if self.spoilt.len() >= most {
            self.spoilt.pop_front();
        }
        if most > 0 {
            self.spoilt.push_back((key, reason, self.now));
        }
    }

    fn expire(&mut self) {
        self.table.expire(self.now, &mut self.ended);
        while self.spoilt.front().is_some_and(|(.., since)| self.past(*since)) {
            self.spoilt.pop_front();
        }
        let begun = self.begun.clone();
        let out = self.settle();
        assert!(out.whole.is_empty());
        for (&token, &reason) in &out.dropped {
            assert!(self.past(begun[&self.specs[token].key()]), "dropped before its time");
            assert_eq!(reason, DropReason::FragmentTimeout);
        }
        self.check();
    }

    fn drain(&mut self) {
        self.table.drain(&mut self.ended);
        let out = self.settle();
        assert!(out.whole.is_empty() && self.held.is_empty(), "a frame was lost");
        assert!(out.dropped.values().all(|&reason| reason == DropReason::FragmentTimeout));
        self.check();
    }

    /// Takes what came out off what is held.
    fn settle(&mut self) -> Out {
        let room = self.config.max_frames as usize + BURST;
        assert!(self.ended.whole.len() <= room && self.ended.dropped.len() <= room);
        let mut out = Out::default();
        for Token(token) in self.ended.whole.drain(..) {
            out.whole.push(token);
        }
        for dropped in self.ended.dropped.drain(..) {
            let Token(token) = dropped.frame;
            assert_eq!(dropped.datagram, self.specs[token].key());
            assert_eq!(out.dropped.insert(token, dropped.reason), None, "dropped twice");
        }
        let mut touched = HashSet::new();
        for &token in out.whole.iter().chain(out.dropped.keys()) {
            let key = self.specs[token].key();
            touched.insert(key);
            let tokens = self.held.get_mut(&key).expect("a frame that is not held came out");
            assert!(tokens.remove(&token), "token {token} came twice");
            if tokens.is_empty() {
                self.held.remove(&key);
                self.begun.remove(&key);
            }
        }
        out
    }

    /// What holds between calls.
    fn check(&self) {
        let tokens = || self.held.values().flatten();
        let bytes: usize = tokens().map(|&token| self.frames.0[token].len()).sum();
        let held = self.table.held();
        assert_eq!(held, Count { packets: tokens().count() as u64, bytes: bytes as u64 });
        assert!(
            held.packets <= self.config.max_frames.into() && held.bytes <= self.config.max_bytes
        );
        assert_eq!(self.table.incomplete(), self.held.len());
        assert!(self.held.len() <= self.config.max_datagrams as usize);
        let mut sources: HashMap<_, u16> = HashMap::new();
        for key in self.held.keys() {
            *sources.entry(spec::source(key)).or_default() += 1;
        }
        let most = self.config.max_datagrams_per_source.max(1);
        assert!(sources.values().all(|&count| count <= most));
        assert_eq!(self.table.memory_usage(), self.memory, "it allocated");
    }

    /// Past every timeout, and drained, all that went in has come out.
    fn finish(mut self) {
        self.now += 10 * (self.timeout() + 1);
        self.expire();
        self.drain();
        assert_eq!(self.table.held(), Count::default());
    }
}

/// What is said of a datagram is true of `bytes`, which an independent receiver put together.
fn assert_whole(whole: &Whole, first: &Spec, bytes: &[u8], frames: usize) {
    assert_eq!(usize::from(whole.frames), frames);
    assert_eq!(usize::from(whole.payload_len), bytes.len());
    assert_eq!(usize::from(whole.packet_len), (first.packet_header() + bytes.len()).min(65_535));
    assert_eq!(whole.next, first.next);
    let (protocol, offset) = first.transport(bytes).expect("headers end within the datagram");
    assert_eq!((whole.protocol, usize::from(whole.transport_offset)), (protocol, offset));
    let transport = &bytes[offset..];
    assert_eq!(usize::from(whole.transport_len()), transport.len());
    assert_eq!(whole.head.bytes(), &transport[..transport.len().min(128)]);
    let mut sum = 0u32;
    for pair in transport.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u32::from(b));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(u32::from(whole.sum), sum);
}
