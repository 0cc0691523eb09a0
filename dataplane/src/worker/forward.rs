//! The end of a burst: what is allowed is sent on its way, the rest is taken back, and both counted.

use super::{Worker, headers};
use crate::ports::Ports;
use crate::recent::DroppedPacket;
use crate::verdict::{DropReason, Outcome};

impl<P: Ports> Worker<P> {
    /// Sends what is allowed on its way, takes back the rest, and counts both.
    pub(super) fn forward(&mut self, port: usize, now: u64) {
        let mut received = std::mem::take(&mut self.burst.received);
        let mut whole = std::mem::take(&mut self.ended.whole);
        let mut fragments = whole.drain(..);
        let mut assembled = 0;
        for (nth, frame) in received.drain(..).enumerate() {
            if let Some(datagram) = self.burst.assembled.get(assembled)
                && datagram.nth == nth
            {
                assembled += 1;
                for fragment in fragments.by_ref().take(datagram.others) {
                    self.part_from(port, nth, fragment, now);
                }
            }
            self.part_from(port, nth, frame, now);
        }
        drop(fragments);
        self.ended.whole = whole;
        self.burst.received = received;
        if !self.burst.allowed.is_empty() {
            self.transmit(port, now);
        }
    }

    /// Does with a frame of packet `nth` what the packet's verdict says.
    #[inline]
    fn part_from(&mut self, port: usize, nth: usize, frame: P::Frame, now: u64) {
        let verdict = self.burst.verdicts[nth];
        if let Some(rule) = verdict.rule {
            self.table.hit(self.number, rule);
        }
        match verdict.outcome {
            Outcome::Forward(reason) => {
                self.tally.passed(port, reason);
                self.burst.allowed.push(frame);
                self.burst.allowed_nth.push(nth);
            }
            Outcome::Drop(reason) => self.drop_frame(port, nth, frame, reason, now),
        }
    }

    fn drop_frame(
        &mut self,
        port: usize,
        nth: usize,
        frame: P::Frame,
        reason: DropReason,
        now: u64,
    ) {
        let verdict = self.burst.verdicts[nth];
        let key = headers(&self.burst.parsed[nth], self.hop(port));
        self.tally.dropped(port, reason);
        self.recent.push(DroppedPacket {
            at: now,
            port,
            reason,
            key,
            rule: verdict.rule,
            generation: verdict.generation,
            length: self.ports.view(&frame).wire_len,
        });
        self.ports.recycle(frame);
    }

    /// Hands the allowed frames to the other port. What its ring has no room for is dropped: a
    /// gateway that waits for one port starves the others. A datagram of which some fragments are
    /// dropped is lost to its receiver as if the wire had lost them.
    fn transmit(&mut self, port: usize, now: u64) {
        let egress = self.plan[port].egress;
        let offered = self.burst.allowed.len();
        // Fragments can make a burst longer than what the ports take at once.
        let mut left = offered + 1;
        while self.burst.allowed.len() < left && !self.burst.allowed.is_empty() {
            left = self.burst.allowed.len();
            self.ports.tx_burst(egress, &mut self.burst.allowed);
        }
        // Frames are taken in order, so those that stay were offered last.
        let taken = offered - self.burst.allowed.len();
        self.tally.submitted(port, taken as u64);
        let mut refused = std::mem::take(&mut self.burst.allowed);
        for (i, frame) in refused.drain(..).enumerate() {
            let nth = self.burst.allowed_nth[taken + i];
            self.drop_frame(port, nth, frame, DropReason::TxRingFull, now);
        }
        self.burst.allowed = refused;
        self.burst.allowed_nth.clear();
    }
}
