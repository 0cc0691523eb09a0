//! Ports that receive from a capture in memory and remember what they were told to transmit.

use super::{BURST, Ports};
use crate::capture::{Capture, Record};
use crate::counters::Count;
use crate::parse::FrameView;

/// Packets of one burst lie at most this far apart in capture time, nanoseconds: they share one
/// reading of the clock.
const BURST_SPAN: u64 = 1_000_000;

/// The packets of a capture, each arriving by a port, in order.
#[derive(Debug)]
pub(crate) struct CapturePorts<'a> {
    capture: &'a Capture,
    /// Port by which each record arrives.
    arrivals: &'a [u16],
    next: usize,
    now: u64,
    completed: Vec<Count>,
    forwarded: Vec<bool>,
}

impl<'a> CapturePorts<'a> {
    /// The records of `capture`, record `n` arriving by port `arrivals[n]` of `ports`.
    pub fn new(capture: &'a Capture, arrivals: &'a [u16], ports: usize) -> Self {
        assert_eq!(capture.records().len(), arrivals.len(), "every record arrives somewhere");
        CapturePorts {
            capture,
            arrivals,
            next: 0,
            now: 0,
            completed: vec![Count::default(); ports],
            forwarded: vec![false; arrivals.len()],
        }
    }

    /// The port by which the next record arrives; `None` after the last.
    #[inline]
    pub fn next_port(&self) -> Option<usize> {
        self.arrivals.get(self.next).map(|&port| usize::from(port))
    }

    /// Records received so far.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Starts over from the first record.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Which records were transmitted.
    pub fn into_forwarded(self) -> Vec<bool> {
        self.forwarded
    }

    fn record(&self, frame: u32) -> &'a Record {
        &self.capture.records()[frame as usize]
    }
}

impl Ports for CapturePorts<'_> {
    /// Number of the record.
    type Frame = u32;

    #[inline]
    fn rx_burst(&mut self, port: usize, frames: &mut Vec<u32>) {
        let Some(first) = self.capture.records().get(self.next) else { return };
        self.now = first.time;
        let end = self.arrivals.len().min(self.next + BURST);
        while self.next < end
            && usize::from(self.arrivals[self.next]) == port
            && self.capture.records()[self.next].time.saturating_sub(self.now) <= BURST_SPAN
        {
            frames.push(self.next as u32);
            self.next += 1;
        }
    }

    /// None: a frame is a record of the capture, and the one worker of a replay receives them all.
    fn adopt(&mut self, _bytes: &[u8]) -> Option<u32> {
        None
    }

    #[inline]
    fn view<'b>(&'b self, frame: &'b u32) -> FrameView<'b> {
        self.capture.view(self.record(*frame))
    }

    #[inline]
    fn tx_burst(&mut self, port: usize, frames: &mut Vec<u32>) {
        for frame in frames.drain(..) {
            self.completed[port].packets += 1;
            self.completed[port].bytes += u64::from(self.record(frame).wire_len);
            self.forwarded[frame as usize] = true;
        }
    }

    #[inline]
    fn recycle(&mut self, _frame: u32) {}

    #[inline]
    fn completed(&mut self, port: usize) -> Count {
        std::mem::take(&mut self.completed[port])
    }

    fn now(&self) -> u64 {
        self.now
    }
}
