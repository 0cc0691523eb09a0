//! The last drops a worker saw, for the question "why was this dropped?".

use crate::verdict::DropReason;
use classifier::PacketKey;

/// Drops remembered per worker.
pub(crate) const REMEMBERED: usize = 256;

/// One dropped packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DroppedPacket {
    /// Worker clock, nanoseconds.
    pub at: u64,
    /// The worker's port it arrived by.
    pub port: usize,
    pub reason: DropReason,
    /// Its headers, when they could be read.
    pub key: Option<PacketKey>,
    /// The rule it was judged by, in the table of `generation`.
    pub rule: Option<u32>,
    pub generation: u64,
    /// Bytes on the wire.
    pub length: u32,
}

/// A ring of the last drops, newest overwriting oldest.
#[derive(Debug)]
pub(crate) struct RecentDrops {
    ring: Vec<DroppedPacket>,
    next: usize,
}

impl Default for RecentDrops {
    fn default() -> Self {
        RecentDrops { ring: Vec::with_capacity(REMEMBERED), next: 0 }
    }
}

impl RecentDrops {
    #[inline]
    pub fn push(&mut self, drop: DroppedPacket) {
        if self.ring.len() < REMEMBERED {
            self.ring.push(drop);
        } else {
            self.ring[self.next] = drop;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &DroppedPacket> {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        newer.iter().rev().chain(older.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_and_the_oldest_are_overwritten() {
        let mut recent = RecentDrops::default();
        for at in 0..REMEMBERED as u64 + 10 {
            recent.push(DroppedPacket {
                at,
                port: 0,
                reason: DropReason::PolicyDefault,
                key: None,
                rule: None,
                generation: 1,
                length: 60,
            });
        }
        let times: Vec<u64> = recent.iter().map(|d| d.at).collect();
        let expected: Vec<u64> = (10..REMEMBERED as u64 + 10).rev().collect();
        assert_eq!(times, expected);
    }
}
