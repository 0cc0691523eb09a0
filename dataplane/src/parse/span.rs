//! A stretch of a packet: the bytes at hand, and how many there were on the wire.

use crate::verdict::DropReason;

/// Part of a frame. It has fewer bytes at hand than on the wire only when a capture was cut.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// The bytes at hand: at most `len`.
    pub bytes: &'a [u8],
    /// Bytes on the wire.
    pub len: usize,
}

impl<'a> Span<'a> {
    /// The first `N` bytes. Without them it is `reason` that the packet is dropped for, or the cut
    /// capture if the wire had them.
    #[inline]
    pub fn header<const N: usize>(self, reason: DropReason) -> Result<&'a [u8; N], DropReason> {
        self.bytes.first_chunk().ok_or_else(|| self.missing(N, reason))
    }

    /// The first `len` bytes, as [`header`](Self::header).
    #[inline]
    pub fn prefix(self, len: usize, reason: DropReason) -> Result<&'a [u8], DropReason> {
        self.bytes.get(..len).ok_or_else(|| self.missing(len, reason))
    }

    #[cold]
    fn missing(self, wanted: usize, reason: DropReason) -> DropReason {
        if self.len < wanted { reason } else { DropReason::CaptureCut }
    }

    /// What comes after the first `len` bytes.
    #[inline]
    pub fn skip(self, len: usize) -> Self {
        Span { bytes: self.bytes.get(len..).unwrap_or_default(), len: self.len.saturating_sub(len) }
    }

    /// The first `len` bytes or, if there are fewer, all.
    #[inline]
    pub fn limit(self, len: usize) -> Self {
        Span { bytes: self.bytes.get(..len).unwrap_or(self.bytes), len: self.len.min(len) }
    }

    /// Whether every byte is at hand.
    #[inline]
    pub fn whole(self) -> bool {
        self.bytes.len() == self.len
    }
}

/// The big-endian number in two bytes of a header. `AT` and the header's length are constants, so
/// that the bound is checked when the program is compiled.
#[inline]
pub(super) fn be16<const AT: usize, const N: usize>(header: &[u8; N]) -> u16 {
    const { assert!(AT + 2 <= N) };
    u16::from_be_bytes([header[AT], header[AT + 1]])
}

/// The big-endian number in four bytes of a header.
#[inline]
pub(super) fn be32<const AT: usize, const N: usize>(header: &[u8; N]) -> u32 {
    const { assert!(AT + 4 <= N) };
    u32::from_be_bytes([header[AT], header[AT + 1], header[AT + 2], header[AT + 3]])
}

/// The big-endian number in sixteen bytes of a header.
#[inline]
pub(super) fn be128<const AT: usize, const N: usize>(header: &[u8; N]) -> u128 {
    const { assert!(AT + 16 <= N) };
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[AT..AT + 16]);
    u128::from_be_bytes(octets)
}
