//! Lookups with AVX-512.

use crate::RuleIndex;
use crate::block::{Column, Columns, NONE, Row, address_unit, after, half, index_row, ports_row};
use crate::burst::{Ahead, BURST, Burst, List, Numbers, Step, Steps};
use crate::isa::Isa;
use crate::roots::Root;
use crate::tree::Target;
use crate::words::{MULTIPLIERS, Words, transport};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Isa for Avx512 {
    #[inline(always)]
    unsafe fn better<const A: usize, const N: usize>(
        block: *const Row,
        columns: &Columns,
        words: &Words<N>,
        best: RuleIndex,
    ) -> RuleIndex {
        // SAFETY: the caller's.
        unsafe { better::<A, N>(block, columns, words, best) }
    }

    #[inline(always)]
    unsafe fn asking(good: RuleIndex, best: &[RuleIndex; BURST], len: usize, list: &mut Numbers) {
        // SAFETY: the caller's.
        unsafe { asking(good, best, len, list) };
    }

    #[inline(always)]
    unsafe fn lead<const N: usize>(
        root: &Root<N>,
        passed: &Steps,
        best: &[RuleIndex; BURST],
        ahead: &mut Ahead,
    ) {
        // SAFETY: the caller's.
        unsafe { lead(root, passed, best, ahead) };
    }

    const PROBES: bool = true;

    #[inline(always)]
    unsafe fn probe<const N: usize>(
        root: &Root<N>,
        burst: &Burst<N>,
        best: &[RuleIndex; BURST],
        passed: &mut Steps,
    ) {
        // SAFETY: the caller's.
        unsafe { probe(root, burst, best, passed) };
    }
}

/// A row of a block.
///
/// # Safety
/// The block must have that row.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(block: *const Row, row: usize) -> __m512i {
    // SAFETY: a row is 64 bytes, aligned to 64; the row is there.
    unsafe { _mm512_load_si512(block.add(row).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(unit: u32) -> __m512i {
    _mm512_set1_epi32(unit as i32)
}

/// `a | b | c` and `a | b & c`, for `vpternlogd`.
const OR_OR: i32 = 0xfe;
const OR_AND: i32 = 0xf8;

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn matches<const A: usize, const N: usize>(
    block: *const Row,
    columns: &Columns,
    words: &Words<N>,
) -> __mmask16 {
    // SAFETY: the caller vouches for every row of a block with these columns.
    let load = |row| unsafe { load(block, row) };
    let ports = ports_row(A);
    let meta = load(ports + 2);
    let byte = _mm512_set1_epi32(0xff);
    let dst_host = _mm512_and_si512(_mm512_srli_epi32::<8>(meta), byte);
    let host = [_mm512_and_si512(meta, byte), dst_host];
    let unit = broadcast(half(words, transport(A), true));
    let low = _mm512_subs_epu16(load(ports), unit);
    let high = _mm512_subs_epu16(unit, load(ports + 1));
    let protocol = broadcast(half(words, transport(A), false));
    let protocol = _mm512_srli_epi32::<24>(_mm512_xor_si512(meta, protocol));
    let asked = _mm512_srli_epi32::<16>(meta);
    let mut differ = _mm512_or_si512(low, high);
    differ = _mm512_ternarylogic_epi32::<OR_AND>(differ, protocol, asked);
    for part in 0..A {
        let bits = |row: usize| {
            let host = _mm512_subs_epu16(host[row / A], _mm512_set1_epi32(after(A, row) as i32));
            let bits = _mm512_xor_si512(load(row), broadcast(address_unit(words, row)));
            _mm512_srlv_epi32(bits, host)
        };
        differ = _mm512_ternarylogic_epi32::<OR_OR>(differ, bits(part), bits(A + part));
    }
    for (i, (column, word, high)) in columns.iter().enumerate() {
        let unit = broadcast(half(words, word, high));
        let (first, second) = (load(ports + 4 + 2 * i), load(ports + 5 + 2 * i));
        differ = match column {
            Column::Bits => {
                let bits = _mm512_xor_si512(unit, first);
                _mm512_ternarylogic_epi32::<OR_AND>(differ, bits, second)
            }
            Column::Ranges => {
                let low = _mm512_subs_epu16(first, unit);
                let high = _mm512_subs_epu16(unit, second);
                _mm512_ternarylogic_epi32::<OR_OR>(differ, low, high)
            }
        };
    }
    _mm512_testn_epi32_mask(differ, differ)
}

/// Without leaving the vectors: a compiler makes a branch of the minimum of two numbers, and which
/// is less is for traffic to tell.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn better<const A: usize, const N: usize>(
    block: *const Row,
    columns: &Columns,
    words: &Words<N>,
    best: RuleIndex,
) -> RuleIndex {
    // SAFETY: the caller's; a block has its row of indices.
    let (matches, indices) =
        unsafe { (matches::<A, N>(block, columns, words), load(block, index_row(A))) };
    let first = _mm512_mask_compress_epi32(_mm512_set1_epi32(NONE as i32), matches, indices);
    let best = _mm_min_epu32(_mm512_castsi512_si128(first), _mm_cvtsi32_si128(best as i32));
    _mm_cvtsi128_si32(best) as RuleIndex
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
unsafe fn asking(good: RuleIndex, best: &[RuleIndex; BURST], len: usize, asking: &mut Numbers) {
    let good = _mm512_set1_epi32(good as i32);
    let mut number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut first = 0;
    while first < len {
        // SAFETY: the length of a burst is a multiple of sixteen.
        let best = unsafe { _mm512_loadu_si512(best.as_ptr().add(first).cast()) };
        let mut better = _mm512_cmpgt_epu32_mask(best, good);
        let left = len - first;
        if left < 16 {
            better &= (1 << left) - 1;
        }
        let keys = _mm512_maskz_compress_epi32(better, number);
        // SAFETY: the list has room for a vector beyond a burst.
        unsafe {
            _mm512_storeu_si512(asking.end().cast(), keys);
            asking.grow(better.count_ones() as usize);
        }
        number = _mm512_add_epi32(number, _mm512_set1_epi32(16));
        first += 16;
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
unsafe fn probe<const N: usize>(
    root: &Root<N>,
    burst: &Burst<N>,
    best: &[RuleIndex; BURST],
    passed: &mut Steps,
) {
    let filter_shift = _mm_cvtsi32_si128(root.filter_shift as i32);
    let slot_shift = _mm_cvtsi32_si128(root.slot_shift as i32);
    let root_best = _mm256_set1_epi32(root.best as i32);
    let n = N as i64;
    let strides = _mm512_setr_epi64(0, n, 2 * n, 3 * n, 4 * n, 5 * n, 6 * n, 7 * n);
    let mut number = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    let mut first = 0;
    while first < burst.len() {
        // SAFETY: arrays of a burst have a multiple of eight elements.
        let asking = unsafe {
            let best = _mm256_loadu_si256(best.as_ptr().add(first).cast());
            _mm256_cmpgt_epu32_mask(best, root_best)
        };
        let left = burst.len() - first;
        let asking = if left < 8 { asking & ((1 << left) - 1) } else { asking };
        let mut hash = _mm512_setzero_si512();
        for ((i, mask), multiplier) in (0..).zip(root.mask).zip(MULTIPLIERS) {
            // Most roots look at a few words.
            if mask == 0 {
                continue;
            }
            // SAFETY: as above; eight keys have that many words.
            let word = unsafe {
                let words = burst.as_ptr().add(first).cast::<i64>();
                if N == 2 {
                    let pairs = words.cast::<__m512i>();
                    let (a, b) = (_mm512_loadu_si512(pairs), _mm512_loadu_si512(pairs.add(1)));
                    let pick = _mm512_add_epi64(strides, _mm512_set1_epi64(i));
                    _mm512_permutex2var_epi64(a, pick, b)
                } else {
                    _mm512_i64gather_epi64::<8>(strides, words.add(i as usize))
                }
            };
            let word = _mm512_and_si512(word, _mm512_set1_epi64(mask as i64));
            let word = _mm512_mullo_epi64(word, _mm512_set1_epi64(multiplier as i64));
            hash = _mm512_add_epi64(hash, word);
        }
        let bit = _mm512_srl_epi64(hash, filter_shift);
        // SAFETY: there are as many bits as the shift leaves numbers.
        let filter = unsafe {
            let word = _mm512_srli_epi64::<6>(bit);
            _mm512_i64gather_epi64::<8>(word, root.filter.as_ptr().cast())
        };
        let bit =
            _mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_and_si512(bit, _mm512_set1_epi64(63)));
        let passes = _mm512_mask_test_epi64_mask(asking, filter, bit);
        let slot = _mm512_slli_epi64::<32>(_mm512_srl_epi64(hash, slot_shift));
        let steps = _mm512_or_si512(slot, number);
        // SAFETY: the list has room for a vector beyond a burst.
        unsafe { append(passed, passes, steps) };
        number = _mm512_add_epi64(number, _mm512_set1_epi64(8));
        first += 8;
    }
}

/// Eight steps at a time.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
unsafe fn lead<const N: usize>(
    root: &Root<N>,
    passed: &Steps,
    best: &[RuleIndex; BURST],
    ahead: &mut Ahead,
) {
    let low = _mm512_set1_epi64(u32::MAX.into());
    let one = _mm512_set1_epi64(1);
    for steps in passed.as_slice().chunks(8) {
        let all = u8::MAX >> (8 - steps.len());
        // SAFETY: as many steps as are loaded are there; they are to slots of the root, of eight
        // bytes each, and their keys have a rule in `best`.
        let (keys, slots, rules) = unsafe {
            let steps = _mm512_maskz_loadu_epi64(all, steps.as_ptr().cast());
            let (keys, places) = (_mm512_and_si512(steps, low), _mm512_srli_epi64::<32>(steps));
            let none = _mm512_setzero_si512();
            let slots = root.slots.as_ptr().cast();
            let slots = _mm512_mask_i64gather_epi64::<8>(none, all, places, slots);
            let none = _mm256_setzero_si256();
            let rules = _mm512_mask_i64gather_epi32::<4>(none, all, keys, best.as_ptr().cast());
            (keys, slots, _mm512_cvtepu32_epi64(rules))
        };
        let target = _mm512_and_si512(slots, low);
        let wanted = _mm512_mask_cmpgt_epu64_mask(all, rules, _mm512_srli_epi64::<32>(slots));
        let node = _mm512_set1_epi64(Target::NODE.into());
        let inside = _mm512_mask_test_epi64_mask(wanted, target, node);
        let leaf = wanted & !inside;
        let count = _mm512_and_si512(target, _mm512_set1_epi64(Target::MANY as i64));
        let first = _mm512_srli_epi64::<6>(target);
        let at = |place| _mm512_or_si512(_mm512_slli_epi64::<32>(place), keys);
        // SAFETY: the lists have room for at most one, for blocks two, for each key, and for a
        // vector beyond that.
        unsafe {
            append(&mut ahead.inner, inside, at(target));
            append(
                &mut ahead.blocks,
                _mm512_mask_cmpgt_epu64_mask(leaf, count, _mm512_setzero_si512()),
                at(first),
            );
            let more = _mm512_mask_cmpgt_epu64_mask(leaf, count, one);
            append(&mut ahead.blocks, more, at(_mm512_add_epi64(first, one)));
            let many = _mm512_mask_cmpgt_epu64_mask(leaf, count, _mm512_set1_epi64(2));
            append(&mut ahead.long, many, at(target));
        }
    }
}

/// Appends those of eight steps that are `wanted`.
///
/// # Safety
/// The list must have room for a vector.
#[inline]
#[target_feature(enable = "avx512f,popcnt")]
unsafe fn append<const CAPACITY: usize>(
    list: &mut List<Step, CAPACITY>,
    wanted: __mmask8,
    steps: __m512i,
) {
    // SAFETY: the caller's.
    unsafe {
        _mm512_storeu_si512(list.end().cast(), _mm512_maskz_compress_epi64(wanted, steps));
        list.grow(wanted.count_ones() as usize);
    }
}
