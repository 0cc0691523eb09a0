//! Ports in memory: frames put in by hand, and collected where they come out.

use super::{BURST, Ports};
use crate::counters::Count;
use crate::parse::FrameView;
use std::collections::VecDeque;

/// A set of ports whose frames are plain byte vectors.
#[derive(Debug, Default)]
pub struct MemoryPorts {
    ports: Vec<MemoryPort>,
    /// Frames that can be adopted before none is free.
    free: usize,
    clock: u64,
}

#[derive(Debug, Default)]
struct MemoryPort {
    rx: VecDeque<Vec<u8>>,
    tx: Vec<Vec<u8>>,
    /// Frames the transmit ring takes before it is full.
    room: usize,
    completed: Count,
}

impl MemoryPorts {
    /// `count` ports whose transmit rings never fill, and that never lack a frame.
    pub fn new(count: usize) -> Self {
        let port = || MemoryPort { room: usize::MAX, ..MemoryPort::default() };
        MemoryPorts { ports: (0..count).map(|_| port()).collect(), free: usize::MAX, clock: 0 }
    }

    /// Queues `frame` for reception on `port`.
    pub fn deliver(&mut self, port: usize, frame: Vec<u8>) {
        self.ports[port].rx.push_back(frame);
    }

    /// Takes what was transmitted by `port`.
    pub fn take_sent(&mut self, port: usize) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.ports[port].tx)
    }

    /// Lets the transmit ring of `port` take only `room` more frames.
    pub fn limit_tx(&mut self, port: usize, room: usize) {
        self.ports[port].room = room;
    }

    /// Lets only `free` more frames be adopted.
    pub fn limit_adopted(&mut self, free: usize) {
        self.free = free;
    }

    /// Sets the clock, nanoseconds.
    pub fn set_clock(&mut self, now: u64) {
        self.clock = now;
    }
}

impl Ports for MemoryPorts {
    type Frame = Vec<u8>;

    fn rx_burst(&mut self, port: usize, frames: &mut Vec<Vec<u8>>) {
        let rx = &mut self.ports[port].rx;
        frames.extend(rx.drain(..rx.len().min(BURST)));
    }

    fn adopt(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.free = self.free.checked_sub(1)?;
        Some(bytes.to_vec())
    }

    fn view<'a>(&'a self, frame: &'a Vec<u8>) -> FrameView<'a> {
        FrameView { bytes: frame, wire_len: frame.len() as u32 }
    }

    fn tx_burst(&mut self, port: usize, frames: &mut Vec<Vec<u8>>) {
        let port = &mut self.ports[port];
        let taken = frames.len().min(port.room);
        port.room -= taken;
        for frame in frames.drain(..taken) {
            port.completed.packets += 1;
            port.completed.bytes += frame.len() as u64;
            port.tx.push(frame);
        }
    }

    fn recycle(&mut self, _frame: Vec<u8>) {}

    fn completed(&mut self, port: usize) -> Count {
        std::mem::take(&mut self.ports[port].completed)
    }

    fn now(&self) -> u64 {
        self.clock
    }
}
