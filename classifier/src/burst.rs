//! The working memory of a batched lookup: keys, and lists of where they are on their way.

use crate::tree::Target;
use crate::words::Words;
use std::mem::MaybeUninit;

/// Most keys that go through the stages of a lookup together. So many, because the ends of a
/// stage's loops are mispredicted, once a burst.
pub(crate) const BURST: usize = 256;

/// Items that a vector store may write beyond those that count.
pub(crate) const SLACK: usize = 16;

/// Numbers of keys.
pub(crate) type Numbers = List<u32, { BURST + SLACK }>;

/// Steps, at most one a key.
pub(crate) type Steps = List<Step, { BURST + SLACK }>;

/// Steps to blocks, at most two a key.
pub(crate) type BlockSteps = List<Step, { 2 * BURST + SLACK }>;

/// The packed keys of a burst.
pub(crate) struct Burst<const N: usize> {
    words: [MaybeUninit<Words<N>>; BURST],
    len: usize,
}

impl<const N: usize> Burst<N> {
    #[inline(always)]
    pub fn new() -> Self {
        Burst { words: [const { MaybeUninit::uninit() }; BURST], len: 0 }
    }

    /// Fills a new burst with the first [`BURST`] of `words`.
    #[inline(always)]
    pub fn fill(&mut self, words: impl Iterator<Item = Words<N>>) {
        let mut len = 0;
        for (place, words) in self.words.iter_mut().zip(words) {
            place.write(words);
            len += 1;
        }
        self.len = len;
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// `key` must be less than the number of keys pushed.
    #[inline(always)]
    pub unsafe fn words(&self, key: usize) -> &Words<N> {
        debug_assert!(key < self.len);
        // SAFETY: the caller's: it is inside, and was written.
        unsafe { self.words.get_unchecked(key).assume_init_ref() }
    }

    /// The place of the words of all [`BURST`] keys; those not pushed are uninitialised.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn as_ptr(&self) -> *const Words<N> {
        self.words.as_ptr().cast()
    }
}

/// Where a key of a burst is on its way: a place (the number of a slot or a block, or a target) in
/// the high half, the key's number in the low half.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Step(u64);

impl Step {
    #[inline(always)]
    pub fn new(place: usize, key: u32) -> Self {
        Step((place as u64) << 32 | u64::from(key))
    }

    #[inline(always)]
    pub fn at(self, place: usize) -> Self {
        Step::new(place, self.0 as u32)
    }

    #[inline(always)]
    pub fn to(self, target: Target) -> Self {
        self.at(target.0 as usize)
    }

    #[inline(always)]
    pub fn target(self) -> Target {
        Target((self.0 >> 32) as u32)
    }

    #[inline(always)]
    pub fn place(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline(always)]
    pub fn key(self) -> usize {
        self.0 as u32 as usize
    }
}

/// A list on the stack, appended to without a branch.
pub(crate) struct List<T, const CAPACITY: usize> {
    items: [MaybeUninit<T>; CAPACITY],
    len: usize,
}

impl<T: Copy, const CAPACITY: usize> List<T, CAPACITY> {
    #[inline(always)]
    pub fn new() -> Self {
        List { items: [const { MaybeUninit::uninit() }; CAPACITY], len: 0 }
    }

    /// Writes `item` at the end, and counts it when `wanted`.
    ///
    /// # Safety
    /// Fewer than `CAPACITY` items were counted.
    #[inline(always)]
    pub unsafe fn push(&mut self, item: T, wanted: bool) {
        debug_assert!(self.len < CAPACITY);
        // SAFETY: the caller's.
        unsafe { self.items.get_unchecked_mut(self.len) }.write(item);
        self.len += usize::from(wanted);
    }

    /// # Safety
    /// The item was written since the list was made.
    #[inline(always)]
    pub unsafe fn get(&self, index: usize) -> T {
        debug_assert!(index < CAPACITY);
        // SAFETY: the caller's.
        unsafe { self.items.get_unchecked(index).assume_init() }
    }

    #[inline(always)]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the first `len` items were written.
        unsafe { std::slice::from_raw_parts(self.items.as_ptr().cast(), self.len) }
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The place after the last item, to store a vector of which the first few count.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn end(&mut self) -> *mut T {
        self.items.as_mut_ptr().cast::<T>().wrapping_add(self.len)
    }

    /// Counts `more` items, which were written at the [`end`](List::end).
    ///
    /// # Safety
    /// They were.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn grow(&mut self, more: usize) {
        debug_assert!(self.len + more <= CAPACITY);
        self.len += more;
    }
}

/// Where keys go on after a slot or a node.
pub(crate) struct Ahead {
    /// To nodes.
    pub inner: Steps,
    /// To the first and second block of a leaf.
    pub blocks: BlockSteps,
    /// To leaves with more blocks than two.
    pub long: Steps,
}

impl Ahead {
    #[inline(always)]
    pub fn new() -> Self {
        Ahead { inner: Steps::new(), blocks: BlockSteps::new(), long: Steps::new() }
    }

    #[inline(always)]
    pub fn clear(&mut self) {
        self.inner.clear();
        self.blocks.clear();
        self.long.clear();
    }

    /// Appends a step to a target, if `wanted`, where it goes on.
    ///
    /// # Safety
    /// The lists have room.
    #[inline(always)]
    pub unsafe fn sort(&mut self, step: Step, wanted: bool) {
        let target = step.target();
        let (first, count) = target.to_blocks();
        let node = target.is_node() & wanted;
        let leaf = !target.is_node() & wanted;
        // SAFETY: the caller's.
        unsafe {
            self.inner.push(step, node);
            self.blocks.push(step.at(first), leaf & (count > 0));
            self.blocks.push(step.at(first + 1), leaf & (count > 1));
            self.long.push(step, leaf & (count > 2));
        }
    }
}
