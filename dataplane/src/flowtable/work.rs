//! Counts the memory that a call looks at, for the tests that bound it. Nothing outside of tests.

/// A bucket of an index is looked at.
#[inline(always)]
pub(super) fn bucket() {
    #[cfg(test)]
    count::BUCKETS.set(count::BUCKETS.get() + 1);
}

/// A record is looked at.
#[inline(always)]
pub(super) fn record() {
    #[cfg(test)]
    count::RECORDS.set(count::RECORDS.get() + 1);
}

/// A node is put into a ring or taken out of it.
#[inline(always)]
pub(super) fn relink() {
    #[cfg(test)]
    count::RELINKS.set(count::RELINKS.get() + 1);
}

/// Buckets, records and relinks since the last call, on this thread.
#[cfg(test)]
pub(super) fn taken() -> [u64; 3] {
    [count::BUCKETS.take(), count::RECORDS.take(), count::RELINKS.take()]
}

#[cfg(test)]
mod count {
    use std::cell::Cell;

    thread_local! {
        pub static BUCKETS: Cell<u64> = const { Cell::new(0) };
        pub static RECORDS: Cell<u64> = const { Cell::new(0) };
        pub static RELINKS: Cell<u64> = const { Cell::new(0) };
    }
}
