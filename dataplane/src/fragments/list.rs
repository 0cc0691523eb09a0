//! Doubly linked lists over the slots of an arena.

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    behind: u32,
}

/// For each slot of an arena its neighbours, in the one list over these links that it is in.
#[derive(Debug)]
pub(super) struct Links(Vec<Link>);

impl Links {
    /// Links for slots `0..slots`.
    pub fn new(slots: usize) -> Self {
        Links(vec![Link { before: NONE, behind: NONE }; slots])
    }

    pub fn memory_usage(&self) -> usize {
        self.0.capacity() * size_of::<Link>()
    }
}

/// A list of slots. Every operation takes constant time.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    front: u32,
    back: u32,
    len: usize,
}

impl List {
    pub const EMPTY: List = List { front: NONE, back: NONE, len: 0 };

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    /// Appends `slot`, which is in no list over `links`.
    pub fn push_back(&mut self, links: &mut Links, slot: u32) {
        links.0[slot as usize] = Link { before: self.back, behind: NONE };
        match self.back {
            NONE => self.front = slot,
            back => links.0[back as usize].behind = slot,
        }
        self.back = slot;
        self.len += 1;
    }

    /// Takes out `slot`, which is in this list.
    pub fn remove(&mut self, links: &mut Links, slot: u32) {
        let Link { before, behind } = links.0[slot as usize];
        match before {
            NONE => self.front = behind,
            before => links.0[before as usize].behind = behind,
        }
        match behind {
            NONE => self.back = before,
            behind => links.0[behind as usize].before = before,
        }
        self.len -= 1;
    }
}
