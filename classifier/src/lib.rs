//! Multi-field packet classification: rules in, immutable compiled table out.
//!
//! `Config -> Builder -> Classifier`. The classifier knows no packets, no files and no clock: it
//! answers which rule, the first in order, matches a [`PacketKey`].
//! [`Linear`] is the reference: every engine answers as it does, on every key.

mod address;
mod audit;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod build;
mod burst;
mod cell;
mod classifier;
mod entry;
mod graft;
mod isa;
mod key;
mod linear;
mod patch;
mod plan;
mod roots;
mod rule;
mod split;
mod table;
mod tree;
mod update;
mod words;

pub use address::{AddressMatch, AddressSet, PrefixError, prefix_mask};
pub use audit::{Audit, Finding, FindingKind, audit};
pub use build::{BuildError, Builder, Config};
pub use classifier::Classifier;
pub use isa::Simd;
pub use key::{Family, IpBits, PacketKey, ZoneId};
pub use linear::Linear;
pub use rule::{
    FlagsMatch, IdentityRange, LengthRange, MacMatch, PortRange, Range16, Rule, RuleIndex,
};
pub use update::{Applied, Edit, EditError, Updater};

/// Highest-priority match over a fixed list of rules.
pub trait Lookup {
    /// The index of the first rule that matches `key`, if any does.
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex>;

    /// [`lookup`](Lookup::lookup) for each of `keys`, into the same place of `out`.
    ///
    /// # Panics
    /// If `out` is shorter than `keys`.
    fn lookup_batch(&self, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        for (key, out) in keys.iter().zip(&mut out[..keys.len()]) {
            *out = self.lookup(key);
        }
    }

    /// Bytes held by the table.
    fn memory_usage(&self) -> usize;

    /// The largest number of cache lines that looking up any key can touch.
    fn worst_case(&self) -> usize;
}
