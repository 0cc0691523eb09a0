//! Ports: where frames come from and go to.
//!
//! Three kinds stand behind one trait: AF_XDP sockets, capture files and memory. Live gateway,
//! replay, tests and benches run the same worker over them.

#[cfg(feature = "af-xdp")]
pub(crate) mod af_xdp;
pub(crate) mod capture;
pub mod memory;

use crate::counters::Count;
use crate::parse::FrameView;

/// Most frames in a burst.
pub const BURST: usize = 64;

/// The ports one worker serves, and the frames that travel between them.
///
/// A frame is an ownership token: it is made by `rx_burst` or `adopt`, and ends in `tx_burst` or
/// `recycle`.
/// Ports are numbered from 0.
pub trait Ports {
    /// The token of one frame.
    type Frame;

    /// Receives up to [`BURST`] frames of `port` behind those in `frames`.
    fn rx_burst(&mut self, port: usize, frames: &mut Vec<Self::Frame>);

    /// A frame of these ports with the bytes of one that other ports received; `None` when no frame
    /// is free.
    fn adopt(&mut self, bytes: &[u8]) -> Option<Self::Frame>;

    /// The frame's bytes.
    fn view<'a>(&'a self, frame: &'a Self::Frame) -> FrameView<'a>;

    /// Transmits `frames` by `port`, in order, as far as there is room; what there is no room for
    /// stays in `frames`.
    fn tx_burst(&mut self, port: usize, frames: &mut Vec<Self::Frame>);

    /// Takes back a frame that goes nowhere.
    fn recycle(&mut self, frame: Self::Frame);

    /// Frames whose transmission by `port` was completed since the last call.
    fn completed(&mut self, port: usize) -> Count;

    /// The clock that flows live by, nanoseconds. Read once a burst.
    fn now(&self) -> u64;
}
