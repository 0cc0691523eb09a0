//! Sixteen rules side by side, compared at once.
//!
//! A block is a few rows of sixteen 32-bit units, one for each rule: first what every table compares,
//! then two rows for each optional column of the table ([`Uses`]):
//!
//! | row | holds |
//! |---|---|
//! | `0..A` | source address, first unit first |
//! | `A..2A` | destination address |
//! | `2A` | lowest source port (high half) and destination port (low half) |
//! | `2A + 1` | highest ports |
//! | `2A + 2` | protocol, protocol mask, host bits of destination and source; 8 bits each |
//! | `2A + 3` | the rule's index |
//!
//! A row is a cache line. The rules of a block are in order, so the first that matches wins.

use crate::RuleIndex;
use crate::entry::{Entry, Uses};
use crate::isa::Isa;
use crate::words::{PROTOCOL_SHIFT, Words, link, sides, tag, transport};

/// Rules in a block.
pub(crate) const LANES: usize = 16;

/// "No rule": after every rule there can be.
pub(crate) const NONE: RuleIndex = RuleIndex::MAX;

/// A row of a block: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Row(pub [u32; LANES]);

/// What a rule matches in an optional column, from bits of the key: see [`Columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// `(key ^ first row) & second row` is zero.
    Bits,
    /// Both halves of the key are between those of the rows.
    Ranges,
}

/// Every optional column there is.
const MOST_COLUMNS: usize = 8;

/// The optional columns of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Kind, and which half of which word of the key it looks at (the high half?).
    list: [(Column, usize, bool); MOST_COLUMNS],
    len: usize,
}

impl Columns {
    pub fn of<const A: usize>(uses: Uses) -> Self {
        let mut columns = Columns { list: [(Column::Bits, 0, false); MOST_COLUMNS], len: 0 };
        let mut add = |wanted: bool, column| {
            if wanted {
                columns.list[columns.len] = column;
                columns.len += 1;
            }
        };
        add(uses.misc, (Column::Bits, transport(A), false));
        add(uses.zones, (Column::Bits, sides(A), true));
        add(uses.identities, (Column::Ranges, sides(A), false));
        add(uses.vlan || uses.dst_mac, (Column::Bits, tag(A), false));
        add(uses.dst_mac, (Column::Bits, tag(A), true));
        add(uses.src_mac, (Column::Bits, link(A), false));
        add(uses.src_mac, (Column::Bits, link(A), true));
        add(uses.length, (Column::Ranges, link(A), false));
        columns
    }

    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = (Column, usize, bool)> {
        self.list[..self.len].iter().copied()
    }

    /// Rows of a block.
    #[inline(always)]
    pub fn rows<const A: usize>(&self) -> usize {
        2 * A + 4 + 2 * self.len
    }
}

/// Row of the lowest ports; the others follow.
pub(crate) const fn ports_row(a: usize) -> usize {
    2 * a
}

/// Row of the rules' indices.
pub(crate) const fn index_row(a: usize) -> usize {
    ports_row(a) + 3
}

/// The unit of a key that address row `row` is compared with.
#[inline(always)]
pub(crate) fn address_unit<const N: usize>(words: &Words<N>, row: usize) -> u32 {
    (words[row / 2] >> (32 * (1 - row % 2))) as u32
}

/// Half of a word.
#[inline(always)]
pub(crate) fn half<const N: usize>(words: &Words<N>, word: usize, high: bool) -> u32 {
    (words[word] >> if high { 32 } else { 0 }) as u32
}

#[inline(always)]
fn row(block: &[Row], row: usize) -> &[u32; LANES] {
    &block[row].0
}

/// How far to shift row `row` of an address to get the host bits out, of `host` in all: row 0 is the
/// first of the source. 32 or more leave nothing.
#[inline(always)]
pub(crate) const fn after(a: usize, row: usize) -> u32 {
    32 * (a - 1 - row % a) as u32
}

/// A block with no rules.
pub(crate) fn empty<const A: usize>(columns: &Columns) -> Vec<Row> {
    let mut block = vec![Row([0; LANES]); columns.rows::<A>()];
    (0..LANES).for_each(|lane| clear::<A>(&mut block, lane));
    block
}

/// Makes a lane of a block match nothing.
pub(crate) fn clear<const A: usize>(block: &mut [Row], lane: usize) {
    // Ends exchanged: no port is between them.
    set(block, ports_row(A), lane, u32::MAX);
    set(block, ports_row(A) + 1, lane, 0);
    set(block, index_row(A), lane, NONE);
}

fn set(block: &mut [Row], row: usize, lane: usize, value: u32) {
    block[row].0[lane] = value;
}

/// Writes `entry` into a lane of a block.
pub(crate) fn write<const A: usize, const N: usize>(
    block: &mut [Row],
    columns: &Columns,
    lane: usize,
    entry: &Entry<A, N>,
) {
    for row in 0..2 * A {
        set(block, row, lane, address_unit(&entry.value, row));
    }
    let (low, high) = (entry.low, entry.high);
    let pair = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
    let ports = ports_row(A);
    set(block, ports, lane, pair(low[0], low[1]));
    set(block, ports + 1, lane, pair(high[0], high[1]));
    let (src_len, dst_len) = entry.prefix_lens();
    let byte = |word: u64| word >> PROTOCOL_SHIFT & 0xff;
    let (protocol, mask) = (byte(entry.value[transport(A)]), byte(entry.mask[transport(A)]));
    let host = |len: u8| 32 * A as u64 - u64::from(len);
    let meta = protocol << 24 | mask << 16 | host(dst_len) << 8 | host(src_len);
    set(block, ports + 2, lane, meta as u32);
    set(block, index_row(A), lane, entry.rule);
    for (i, (column, word, upper)) in columns.iter().enumerate() {
        let (first, second) = match column {
            // What stands above the length is no range.
            Column::Ranges if word == link(A) => (pair(0, low[4]), pair(u16::MAX, high[4])),
            Column::Ranges => (pair(low[2], low[3]), pair(high[2], high[3])),
            Column::Bits => {
                // The protocol shares the word of the flags and has its place already.
                let mask = half(&entry.mask, word, upper)
                    & if word == transport(A) { !(0xff << PROTOCOL_SHIFT) } else { u32::MAX };
                (half(&entry.value, word, upper) & mask, mask)
            }
        };
        set(block, ports + 4 + 2 * i, lane, first);
        set(block, ports + 5 + 2 * i, lane, second);
    }
}

/// For every processor.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    unsafe fn better<const A: usize, const N: usize>(
        block: *const Row,
        columns: &Columns,
        words: &Words<N>,
        best: RuleIndex,
    ) -> RuleIndex {
        // SAFETY: the caller's.
        unsafe { better_of::<A>(block, matches::<A, N>(block, columns, words), best) }
    }
}

/// Bit `i` of the answer is set when the `i`th rule of the block matches.
///
/// # Safety
/// `block` must point to a whole block of a table with these columns.
// Lanes of several rows side by side, in loops that compilers turn into vectors.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn matches<const A: usize, const N: usize>(
    block: *const Row,
    columns: &Columns,
    words: &Words<N>,
) -> u32 {
    // SAFETY: the caller vouches for a whole block.
    let block = unsafe { std::slice::from_raw_parts(block, columns.rows::<A>()) };
    let ports = ports_row(A);
    let meta = row(block, ports + 2);
    let mut differ = [0u32; LANES];
    for r in 0..2 * A {
        let (unit, values) = (address_unit(words, r), row(block, r));
        for lane in 0..LANES {
            let host = meta[lane] >> if r < A { 0 } else { 8 } & 0xff;
            let shift = host.saturating_sub(after(A, r)).min(32);
            // In 64 bits, a shift by 32 leaves nothing.
            differ[lane] |= (u64::from(unit ^ values[lane]) >> shift) as u32;
        }
    }
    let protocol = half(words, transport(A), false);
    for lane in 0..LANES {
        differ[lane] |= (meta[lane] ^ protocol) >> 24 & meta[lane] >> 16;
    }
    let outside = |unit: u32, low: &[u32; LANES], high: &[u32; LANES], lane: usize| {
        let (a, b) = (unit >> 16, unit & 0xffff);
        let inside = low[lane] >> 16 <= a
            && a <= high[lane] >> 16
            && low[lane] & 0xffff <= b
            && b <= high[lane] & 0xffff;
        u32::from(!inside)
    };
    let unit = half(words, transport(A), true);
    for lane in 0..LANES {
        differ[lane] |= outside(unit, row(block, ports), row(block, ports + 1), lane);
    }
    for (i, (column, word, high)) in columns.iter().enumerate() {
        let unit = half(words, word, high);
        let (first, second) = (row(block, ports + 4 + 2 * i), row(block, ports + 5 + 2 * i));
        for lane in 0..LANES {
            differ[lane] |= match column {
                Column::Bits => (unit ^ first[lane]) & second[lane],
                Column::Ranges => outside(unit, first, second, lane),
            };
        }
    }
    (0..LANES).fold(0, |mask, lane| mask | u32::from(differ[lane] == 0) << lane)
}

/// The first rule of a block whose bit is set in `matches`, or `best` if that is before it.
///
/// # Safety
/// `block` must point to a whole block.
#[inline(always)]
pub(crate) unsafe fn better_of<const A: usize>(
    block: *const Row,
    matches: u32,
    best: RuleIndex,
) -> RuleIndex {
    // SAFETY: the caller's; every block has a row of indices.
    let indices = unsafe { &*block.add(index_row(A)) };
    let index = indices.0[matches.trailing_zeros() as usize % LANES];
    if matches == 0 { best } else { best.min(index) }
}
