//! The fragment table of one worker: bounded, index-addressed, nothing allocated after its start.

use super::arrival::Arrival;
use super::datagram::{Datagram, Refusal, Summary, data};
use super::list::{Links, List, NONE};
use super::pieces::{Piece, Pieces};
use super::source::{SourceKey, Sources};
use super::{DatagramKey, Dropped, Ended, Fragment, FragmentConfig, Head, Offered, SHARE, Whole};
use crate::counters::Count;
use crate::parse::checksum::fold;
use crate::ports::{BURST, Ports};
use crate::verdict::DropReason;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Most datagrams dropped to make room for one fragment. One is enough for a place and a frame;
/// more are needed only where `max_bytes` binds before `max_frames`.
const EVICTIONS: usize = 8;
/// Datagrams that one call of [`FragmentTable::expire`] ends, at most: as many as a burst can begin.
const EXPIRIES: usize = BURST;
/// No further datagram is ended by a call that has dropped this many frames.
const EXPIRED_FRAMES: usize = 2 * BURST;

/// The datagrams of which a worker has some fragments and not all.
///
/// It owns the frames it holds. Each leaves by one list of [`Ended`]; [`drain`](Self::drain) gives
/// back those that are left at the end.
#[derive(Debug)]
pub struct FragmentTable<F> {
    datagrams: Vec<Datagram>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    pieces: Pieces<F>,
    sources: Sources,
    /// Over the slots of datagrams: `incomplete` and `spoilt`.
    ages: Links,
    /// In the order they were begun; with one timeout for all, in the order they end.
    incomplete: List,
    /// In the order they were spoilt.
    spoilt: List,
    max_bytes: u64,
    max_incomplete: usize,
    max_spoilt: usize,
    max_fragments: u16,
    max_per_source: usize,
    /// Nanoseconds.
    timeout: u64,
}

impl<F> FragmentTable<F> {
    /// An empty table with all its memory reserved.
    pub fn new(config: &FragmentConfig) -> Self {
        let max_incomplete = config.max_datagrams as usize;
        let max_spoilt = max_incomplete.div_ceil(4);
        let slots = max_incomplete + max_spoilt;
        let max_per_source = usize::from(config.max_datagrams_per_source.max(1));
        FragmentTable {
            datagrams: Vec::with_capacity(slots),
            free: Vec::with_capacity(slots),
            // Twice the room, as in the flow table: a sparse table reuses what removals spoilt.
            index: HashTable::with_capacity(2 * slots),
            hasher: RandomState::default(),
            pieces: Pieces::new(config.max_frames as usize),
            sources: Sources::new(max_incomplete, slots, max_per_source),
            ages: Links::new(slots),
            incomplete: List::EMPTY,
            spoilt: List::EMPTY,
            max_bytes: config.max_bytes,
            max_incomplete,
            max_spoilt,
            max_fragments: config.max_fragments,
            max_per_source,
            timeout: u64::try_from(config.timeout.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Bytes reserved; the frames themselves lie elsewhere.
    pub fn memory_usage(&self) -> usize {
        self.datagrams.capacity() * size_of::<Datagram>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
            + self.pieces.memory_usage()
            + self.sources.memory_usage()
            + self.ages.memory_usage()
    }

    /// Frames held, and their bytes.
    pub fn held(&self) -> Count {
        Count { packets: self.pieces.len() as u64, bytes: self.pieces.bytes() }
    }

    /// Datagrams that are incomplete.
    pub fn incomplete(&self) -> usize {
        self.incomplete.len()
    }

    /// Takes in `fragment`, which lies in `frame`, at `now` by the worker's clock, nanoseconds.
    ///
    /// It looks at no more fragments than a datagram may have, and ends ten datagrams at most: its
    /// own, the oldest of a source that is at its quota, and eight to make room.
    pub fn offer<P: Ports<Frame = F>>(
        &mut self,
        ports: &P,
        key: DatagramKey,
        fragment: &Fragment,
        frame: F,
        now: u64,
        ended: &mut Ended<F>,
    ) -> Offered {
        let arrival = Arrival::read(ports.view(&frame).bytes, key.family, fragment);
        // RFC 6946: an atomic fragment is a datagram of its own, whatever else has its key.
        let atomic = fragment.offset == 0 && !fragment.more;
        let slot = if atomic { None } else { self.find(&key, now, ended) };
        let datagram = match slot {
            Some(slot) => self.datagrams[slot as usize],
            None => Datagram::new(key, self.hasher.hash_one(key), now),
        };
        if let Some(reason) = datagram.spoilt {
            return refuse(frame, reason, key, ended);
        }
        let placed = arrival.map_err(Refusal::Spoils).and_then(|new| {
            let behind = datagram.place(&new, &frame, &self.pieces, ports, self.max_fragments)?;
            Ok((new, behind))
        });
        match placed {
            Ok((arrival, behind)) => {
                let new = Piece { frame, arrival, behind: NONE };
                let Some(summary) = datagram.completed_by(&arrival) else {
                    return self.hold(slot, datagram, new, behind, now, ended);
                };
                let whole = self.release(ports, &datagram, &summary, new, behind, &mut ended.whole);
                if let Some(slot) = slot {
                    self.forget(slot);
                }
                Offered::Complete(whole)
            }
            Err(Refusal::Duplicate) => refuse(frame, DropReason::FragmentDuplicate, key, ended),
            Err(Refusal::Spoils(reason)) => {
                if !atomic {
                    self.spoil(slot, datagram, reason, now, ended);
                }
                refuse(frame, reason, key, ended)
            }
        }
    }

    /// Ends datagrams that are past their timeout, oldest first; a bounded number, so that it is to
    /// be called once a burst.
    pub fn expire(&mut self, now: u64, ended: &mut Ended<F>) {
        let enough = ended.dropped.len() + EXPIRED_FRAMES;
        for _ in 0..EXPIRIES {
            match self.incomplete.front() {
                Some(slot) if self.expired(slot, now) && ended.dropped.len() < enough => {
                    self.end(slot, DropReason::FragmentTimeout, ended);
                }
                _ => break,
            }
        }
        for _ in 0..EXPIRIES {
            match self.spoilt.front() {
                Some(slot) if self.expired(slot, now) => self.forget(slot),
                _ => break,
            }
        }
    }

    /// Gives back every frame, as dropped by timeout: for the end of a capture or of the worker.
    pub fn drain(&mut self, ended: &mut Ended<F>) {
        while let Some(slot) = self.incomplete.front() {
            self.end(slot, DropReason::FragmentTimeout, ended);
        }
    }

    /// The datagram of `key`, spoilt or not. One past its timeout ends.
    fn find(&mut self, key: &DatagramKey, now: u64, ended: &mut Ended<F>) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let slot = *self.index.find(hash, |&slot| self.datagrams[slot as usize].key == *key)?;
        if self.expired(slot, now) {
            self.end(slot, DropReason::FragmentTimeout, ended);
            return None;
        }
        Some(slot)
    }

    /// A clock that stepped back by more than the timeout, as a replay's may, ends what came before:
    /// waiting until it has caught up would keep frames for as long.
    fn expired(&self, slot: u32, now: u64) -> bool {
        now.abs_diff(self.datagrams[slot as usize].since) > self.timeout
    }

    /// Takes a whole datagram apart into `whole`: the held pieces, and `new` behind the piece
    /// `behind`.
    fn release<P: Ports<Frame = F>>(
        &mut self,
        ports: &P,
        datagram: &Datagram,
        summary: &Summary,
        new: Piece<F>,
        behind: u32,
        whole: &mut Vec<F>,
    ) -> Whole {
        let before = whole.len();
        let mut head = Head::EMPTY;
        let mut skip = usize::from(summary.first.transport_offset);
        let mut give = |piece: Piece<F>| {
            let data = data(ports, &piece.frame, &piece.arrival).unwrap_or_default();
            head.extend(data.get(skip..).unwrap_or_default());
            skip = 0;
            whole.push(piece.frame);
        };
        let mut next = datagram.front;
        if behind != NONE {
            while let Some(piece) = self.pieces.take(next) {
                let slot = std::mem::replace(&mut next, piece.behind);
                give(piece);
                if slot == behind {
                    break;
                }
            }
        }
        give(new);
        while let Some(piece) = self.pieces.take(next) {
            next = piece.behind;
            give(piece);
        }
        Whole {
            frames: (whole.len() - before) as u16,
            packet_len: summary.packet_len.min(u32::from(u16::MAX)) as u16,
            payload_len: summary.payload_len as u16,
            next: summary.first.next,
            protocol: summary.first.protocol,
            transport_offset: summary.first.transport_offset,
            sum: fold(u64::from(summary.sum)),
            head,
        }
    }

    /// Keeps `new` until the rest of its datagram has come, if there is room or room can be made.
    fn hold(
        &mut self,
        slot: Option<u32>,
        datagram: Datagram,
        new: Piece<F>,
        behind: u32,
        now: u64,
        ended: &mut Ended<F>,
    ) -> Offered {
        let key = datagram.key;
        if let Err(left) = self.make_room(slot, &key, new.arrival.frame_len, now, ended) {
            // It can never get whole: later fragments need not be held.
            self.spoil(left, datagram, DropReason::FragmentTableFull, now, ended);
            return refuse(new.frame, DropReason::FragmentTableFull, key, ended);
        }
        match self.pieces.put(new) {
            Ok(piece) => {
                let slot = slot.unwrap_or_else(|| self.begin(datagram));
                self.datagrams[slot as usize].link(&mut self.pieces, behind, piece);
                Offered::Held
            }
            Err(new) => refuse(new.frame, DropReason::FragmentTableFull, key, ended),
        }
    }

    /// Drops incomplete datagrams until one more frame of `bytes` can be held, and one more datagram
    /// begun unless it is the one in `slot`.
    ///
    /// # Errors
    /// When there is no room to be made, or the datagram in `slot` was itself the one to go; then
    /// with what is left of `slot`.
    fn make_room(
        &mut self,
        slot: Option<u32>,
        key: &DatagramKey,
        bytes: u32,
        now: u64,
        ended: &mut Ended<F>,
    ) -> Result<(), Option<u32>> {
        let bytes = u64::from(bytes);
        if bytes > self.max_bytes {
            return Err(slot);
        }
        let source = SourceKey::of(key);
        if slot.is_none()
            && let Some(own) = self.sources.find(&source)
            && self.sources.count(own) >= self.max_per_source
            && let Some(oldest) = self.sources.oldest(own)
        {
            self.end(oldest, DropReason::FragmentSourceFull, ended);
        }
        for _ in 0..EVICTIONS {
            if self.has_room(slot.is_none(), bytes) {
                return Ok(());
            }
            let Some((loser, reason)) = self.loser(&source, slot.is_none(), now) else { break };
            self.end(loser, reason, ended);
            if slot == Some(loser) {
                return Err(None);
            }
        }
        if self.has_room(slot.is_none(), bytes) { Ok(()) } else { Err(slot) }
    }

    fn has_room(&self, begins: bool, bytes: u64) -> bool {
        !self.pieces.is_full()
            && self.pieces.bytes() + bytes <= self.max_bytes
            && !(begins && self.incomplete.len() >= self.max_incomplete)
    }

    /// The datagram that makes room for one of `source`, as the module's documentation says.
    fn loser(&self, source: &SourceKey, begins: bool, now: u64) -> Option<(u32, DropReason)> {
        let oldest = self.incomplete.front()?;
        if self.expired(oldest, now) {
            return Some((oldest, DropReason::FragmentTimeout));
        }
        let heaviest = self.sources.heaviest()?;
        let most = self.sources.count(heaviest);
        let own = self.sources.find(source);
        let owned = own.map_or(0, |own| self.sources.count(own));
        let loser = if most > SHARE || (begins && owned == SHARE) {
            // Of several sources with the most, it is the one that wants more.
            let gives = own.filter(|_| owned == most).unwrap_or(heaviest);
            self.sources.oldest(gives)?
        } else {
            oldest
        };
        Some((loser, DropReason::FragmentTableFull))
    }

    /// Enters a datagram that [`make_room`](Self::make_room) made room for.
    fn begin(&mut self, datagram: Datagram) -> u32 {
        let slot = self.enter(datagram);
        self.incomplete.push_back(&mut self.ages, slot);
        let source = self.sources.add(SourceKey::of(&datagram.key), slot);
        self.datagrams[slot as usize].source = source;
        slot
    }

    /// Drops what is held of `datagram`, which lies in `slot` if it is known, and remembers why.
    fn spoil(
        &mut self,
        slot: Option<u32>,
        datagram: Datagram,
        reason: DropReason,
        now: u64,
        ended: &mut Ended<F>,
    ) {
        if let Some(slot) = slot {
            self.end(slot, reason, ended);
        }
        if self.spoilt.len() >= self.max_spoilt {
            // Forgetting costs no safety, only frames: what comes of it is held until its timeout.
            let Some(oldest) = self.spoilt.front() else { return };
            self.forget(oldest);
        }
        let slot = self.enter(datagram.spoilt_by(reason, now));
        self.spoilt.push_back(&mut self.ages, slot);
    }

    /// Drops what is held of the datagram in `slot`, and forgets it.
    fn end(&mut self, slot: u32, reason: DropReason, ended: &mut Ended<F>) {
        let Datagram { key, front, .. } = self.datagrams[slot as usize];
        let mut next = front;
        while let Some(piece) = self.pieces.take(next) {
            next = piece.behind;
            ended.dropped.push(Dropped { frame: piece.frame, reason, datagram: key });
        }
        self.forget(slot);
    }

    fn enter(&mut self, datagram: Datagram) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.datagrams[slot as usize] = datagram;
                slot
            }
            None => {
                self.datagrams.push(datagram);
                self.datagrams.len() as u32 - 1
            }
        };
        let datagrams = &self.datagrams;
        self.index.insert_unique(datagram.hash, slot, |&s| datagrams[s as usize].hash);
        slot
    }

    /// Forgets the datagram in `slot`, which has no frames any more.
    fn forget(&mut self, slot: u32) {
        let Datagram { hash, spoilt, source, .. } = self.datagrams[slot as usize];
        if spoilt.is_some() {
            self.spoilt.remove(&mut self.ages, slot);
        } else {
            self.incomplete.remove(&mut self.ages, slot);
            self.sources.remove(source, slot);
        }
        if let Ok(entry) = self.index.find_entry(hash, |&s| s == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }
}

fn refuse<F>(frame: F, reason: DropReason, datagram: DatagramKey, ended: &mut Ended<F>) -> Offered {
    ended.dropped.push(Dropped { frame, reason, datagram });
    Offered::Dropped
}
