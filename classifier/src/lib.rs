//! Multi-field packet classification: rules in, immutable compiled table out.
//!
//! `Config -> Builder -> Classifier`. The classifier knows no packets, no files and no clock: it
//! answers which rule, the first in order, matches a [`PacketKey`].
//! [`Linear`] is the reference: every engine answers as it does, on every key.

mod build;
mod fields;
mod key;
mod linear;
mod rule;
mod tuple_space;

pub use build::{BuildError, Builder, Config};
pub use key::{Family, PacketKey, ZoneId};
pub use linear::Linear;
pub use rule::{AddressMatch, PortRange, PrefixError, Rule, RuleIndex, prefix_mask};
pub use tuple_space::Classifier;

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

    /// The largest number of steps (hash probes plus rules compared) that any key can cost.
    fn worst_case(&self) -> usize;
}
