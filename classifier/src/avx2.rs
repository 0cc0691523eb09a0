//! Lookups with AVX2.

use crate::RuleIndex;
use crate::block::{Column, Columns, LANES, Row, address_unit, after, better_of, half, ports_row};
use crate::isa::Isa;
use crate::words::{Words, transport};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Isa for Avx2 {
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

/// Half of a row of a block.
///
/// # Safety
/// The block must have that row.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_half(block: *const Row, row: usize, half: usize) -> __m256i {
    // SAFETY: a row is two halves of 32 bytes, aligned to 64; the row is there.
    unsafe { _mm256_load_si256(block.add(row).cast::<__m256i>().add(half)) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(unit: u32) -> __m256i {
    _mm256_set1_epi32(unit as i32)
}

/// Not zero in the lanes where a half of `unit` is below `low` or above `high`.
#[inline]
#[target_feature(enable = "avx2")]
fn outside(unit: __m256i, low: __m256i, high: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_subs_epu16(low, unit), _mm256_subs_epu16(unit, high))
}

/// Bit `i` of the answer is set when the `i`th rule of the block matches.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn matches<const A: usize, const N: usize>(
    block: *const Row,
    columns: &Columns,
    words: &Words<N>,
) -> u32 {
    let mut matches = 0;
    for part in 0..2 {
        // SAFETY: the caller vouches for every row of a block with these columns.
        let load = |row| unsafe { load_half(block, row, part) };
        let ports = ports_row(A);
        let meta = load(ports + 2);
        let byte = _mm256_set1_epi32(0xff);
        let dst_host = _mm256_and_si256(_mm256_srli_epi32::<8>(meta), byte);
        let host = [_mm256_and_si256(meta, byte), dst_host];
        let unit = broadcast(half(words, transport(A), true));
        let mut differ = outside(unit, load(ports), load(ports + 1));
        for row in 0..2 * A {
            let host = _mm256_subs_epu16(host[row / A], _mm256_set1_epi32(after(A, row) as i32));
            let bits = _mm256_xor_si256(load(row), broadcast(address_unit(words, row)));
            differ = _mm256_or_si256(differ, _mm256_srlv_epi32(bits, host));
        }
        let protocol = broadcast(half(words, transport(A), false));
        let protocol = _mm256_srli_epi32::<24>(_mm256_xor_si256(meta, protocol));
        let protocol = _mm256_and_si256(protocol, _mm256_srli_epi32::<16>(meta));
        differ = _mm256_or_si256(differ, protocol);
        for (i, (column, word, high)) in columns.iter().enumerate() {
            let unit = broadcast(half(words, word, high));
            let (first, second) = (load(ports + 4 + 2 * i), load(ports + 5 + 2 * i));
            let bits = match column {
                Column::Bits => _mm256_and_si256(_mm256_xor_si256(unit, first), second),
                Column::Ranges => outside(unit, first, second),
            };
            differ = _mm256_or_si256(differ, bits);
        }
        let zero = _mm256_cmpeq_epi32(differ, _mm256_setzero_si256());
        let lanes = _mm256_movemask_ps(_mm256_castsi256_ps(zero)) as u32;
        matches |= lanes << (part * LANES / 2);
    }
    matches
}
