//! The held frames of all datagrams, in one arena.

use super::arrival::Arrival;

/// A held fragment.
#[derive(Debug)]
pub(super) struct Piece<F> {
    pub frame: F,
    pub arrival: Arrival,
    /// The piece of the same datagram with the next higher offset, or none.
    pub behind: u32,
}

/// Every held fragment, by slot.
#[derive(Debug)]
pub(super) struct Pieces<F> {
    slots: Vec<Option<Piece<F>>>,
    free: Vec<u32>,
    /// Bytes of the frames held.
    bytes: u64,
}

impl<F> Pieces<F> {
    /// Room for `capacity` frames.
    pub fn new(capacity: usize) -> Self {
        Pieces {
            slots: (0..capacity).map(|_| None).collect(),
            free: (0..capacity as u32).rev().collect(),
            bytes: 0,
        }
    }

    pub fn memory_usage(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Piece<F>>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// Frames held.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Bytes of the frames held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The piece in `slot`; `None` for no slot.
    pub fn get(&self, slot: u32) -> Option<&Piece<F>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Piece<F>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Takes the piece out of `slot`; `None` for no slot.
    pub fn take(&mut self, slot: u32) -> Option<Piece<F>> {
        let piece = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.bytes -= u64::from(piece.arrival.frame_len);
        Some(piece)
    }

    /// Holds `piece`.
    ///
    /// # Errors
    /// The piece itself when there is no slot for it.
    pub fn put(&mut self, piece: Piece<F>) -> Result<u32, Piece<F>> {
        let Some(slot) = self.free.pop() else { return Err(piece) };
        self.bytes += u64::from(piece.arrival.frame_len);
        self.slots[slot as usize] = Some(piece);
        Ok(slot)
    }
}
