//! The hash of flows and sources: SipHash-1-3, keyed.
//!
//! A sender who could predict it would fill two buckets and shut chosen flows out. SipHash is made
//! for that (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012); the variant with 1
//! and 3 rounds is what the kernel takes for its hash tables (`hsiphash` on 64-bit machines,
//! Documentation/security/siphash.rst).

use std::hash::{BuildHasher, RandomState};

/// The secret of a hash. Part of the table, as flows cannot be found without it; each worker has
/// one of its own.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HashKey(pub(super) [u64; 2]);

impl HashKey {
    /// A key from the operating system's randomness, by way of the standard library's.
    pub fn random() -> Self {
        let state = RandomState::new();
        HashKey([state.hash_one(0u8), state.hash_one(1u8)])
    }

    /// A key that is no secret: what a fuzzer found must happen again.
    #[cfg(fuzzing)]
    pub const fn known(words: [u64; 2]) -> Self {
        HashKey(words)
    }

    /// The hash of `words` and of `tail`: the bytes of the last, incomplete word, with the number of
    /// all bytes modulo 256 in its highest byte.
    #[inline]
    pub(super) fn hash(self, words: &[u64], tail: u64) -> u64 {
        siphash::<1, 3>(self.0, words, tail)
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

#[inline(always)]
fn round([a, b, c, d]: [u64; 4]) -> [u64; 4] {
    let a = a.wrapping_add(b);
    let b = b.rotate_left(13) ^ a;
    let a = a.rotate_left(32);
    let c = c.wrapping_add(d);
    let d = d.rotate_left(16) ^ c;
    let a = a.wrapping_add(d);
    let d = d.rotate_left(21) ^ a;
    let c = c.wrapping_add(b);
    let b = b.rotate_left(17) ^ c;
    [a, b, c.rotate_left(32), d]
}

#[inline(always)]
fn compress<const C: usize>(mut v: [u64; 4], word: u64) -> [u64; 4] {
    v[3] ^= word;
    for _ in 0..C {
        v = round(v);
    }
    v[0] ^= word;
    v
}

/// SipHash with `C` compression and `D` finalization rounds.
#[inline(always)]
pub(super) fn siphash<const C: usize, const D: usize>(
    key: [u64; 2],
    words: &[u64],
    tail: u64,
) -> u64 {
    // "somepseudorandomlygeneratedbytes", as the paper has it.
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for &word in words {
        v = compress::<C>(v, word);
    }
    v = compress::<C>(v, tail);
    v[2] ^= 0xff;
    for _ in 0..D {
        v = round(v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}
