//! The Internet checksum's sum (RFC 1071).

/// Ones' complement sum of the big-endian 16-bit words of `bytes`, not inverted. A last odd byte
/// counts as the high half of a word.
pub(super) fn ones_complement_sum(bytes: &[u8]) -> u16 {
    // In any byte order, and in words of any length: carries are folded at the end, and the sum's
    // bytes then stand in the order in which they were read (RFC 1071, 2).
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let sum = words.fold(u64::from(u32::from_ne_bytes(last)), |sum, word| {
        sum + u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
    });
    u16::from_be(fold(sum))
}

/// Adds the carries of a sum of 16-bit words until there are none.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
