//! What the instruction sets do differently in a lookup.

use crate::RuleIndex;
use crate::block::{Columns, Row};
use crate::burst::{Ahead, BURST, Burst, Numbers, Steps};
use crate::roots::Root;
use crate::words::Words;

/// The instruction sets that lookups can use. Every one gives the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// None beyond those that every processor of the target has.
    Portable,
    /// AVX2, for x86-64-v3 processors.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, for x86-64-v4 processors.
    Avx512,
}

impl Simd {
    /// Every path that this processor can run, the best last.
    pub fn supported() -> impl Iterator<Item = Simd> {
        [Simd::Portable, Simd::Avx2, Simd::Avx512].into_iter().filter(|simd| simd.is_supported())
    }

    /// The best path that this processor can run.
    pub fn best() -> Simd {
        Simd::supported().last().unwrap_or(Simd::Portable)
    }

    /// Whether this processor has the instructions.
    pub fn is_supported(self) -> bool {
        match self {
            Simd::Portable => true,
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Simd::Avx2 => v3(),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Simd::Avx512 => {
                v3() && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(all(target_arch = "x86_64", not(miri))))]
            Simd::Avx2 | Simd::Avx512 => false,
        }
    }
}

/// AVX2 and the bit manipulation that came with it.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn v3() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// The steps of a lookup that vectors make faster. Each implementation does the same with another
/// instruction set.
///
/// # Safety
/// Of all functions: the processor must have the instruction set of the implementation.
pub(crate) trait Isa: Copy {
    /// The first rule of a block that matches a key, or `best` if that is before it.
    ///
    /// # Safety
    /// `block` must point to a whole block of a table with these columns.
    unsafe fn better<const A: usize, const N: usize>(
        block: *const Row,
        columns: &Columns,
        words: &Words<N>,
        best: RuleIndex,
    ) -> RuleIndex;

    /// Adds to `asking`, which is empty, those of the first `len` keys that have no rule as good as
    /// `good`.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn asking(good: RuleIndex, best: &[RuleIndex; BURST], len: usize, asking: &mut Numbers) {
        for (key, best) in (0..).zip(&best[..len]) {
            // SAFETY: at most one for each key.
            unsafe { asking.push(key, *best > good) };
        }
    }

    /// Whether there is a [`probe`](Isa::probe).
    const PROBES: bool = false;

    /// Adds to `passed`, which is empty, the keys that have no rule as good as the root's best and
    /// that its filter lets pass; each with the number of its slot.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn probe<const N: usize>(
        _root: &Root<N>,
        _burst: &Burst<N>,
        _best: &[RuleIndex; BURST],
        _passed: &mut Steps,
    ) {
        unreachable!("PROBES is false");
    }

    /// Sends the keys of `passed` where the slots of `root` lead, each if it has no rule as good as
    /// its slot's best. `ahead` is empty.
    ///
    /// # Safety
    /// The steps of `passed` must be to slots of `root`, with keys less than [`BURST`].
    #[inline(always)]
    unsafe fn lead<const N: usize>(
        root: &Root<N>,
        passed: &Steps,
        best: &[RuleIndex; BURST],
        ahead: &mut Ahead,
    ) {
        for step in passed.as_slice() {
            let slot = root.lead(step.place());
            let wanted = best[step.key() % BURST] > slot.best;
            // SAFETY: at most one, for blocks two, for each key in all together.
            unsafe { ahead.sort(step.to(slot.target), wanted) };
        }
    }
}
