//! Rule sets and traces in the files of ClassBench (Taylor and Turner, INFOCOM 2005).
//!
//! A rule is a line, the first line has the highest priority:
//!
//! ```text
//! @SRC/LEN DST/LEN LOW : HIGH LOW : HIGH PROTOCOL/MASK FLAGS/MASK
//! ```
//!
//! with source ports, destination ports, and numbers after `0x` in base 16. The mask of the
//! protocol is 0x00 or 0xFF. A header of a trace is a line, too:
//!
//! ```text
//! SRC DST SRC-PORT DST-PORT PROTOCOL FLAGS RULE
//! ```
//!
//! with the index of the rule that it was drawn from, which need not be the first that matches it;
//! -1 for none. IPv4 addresses stand there as numbers in host order, or dotted; IPv6 addresses as
//! text. The flags are the high half of a number of 32 bits; in the low half the generator of
//! ClassBench leaves the rule's mask, which is not read. Fields are separated by tabs or blanks, and
//! flags may be missing.
//!
//! Fields that ClassBench does not have follow as words: in rules `from=ZONE`, `to=ZONE`, `vlan=N`,
//! `src-id=LOW-HIGH`, `dst-id=LOW-HIGH`, `dscp=N`, `fragment=yes` or `no`, `src-mac=MAC/MASK`,
//! `dst-mac=MAC/MASK`, `length=LOW-HIGH`; in traces the same with one value each. `any` in place of a prefix is every address of both families.
//!
//! Files whose name ends in `.xz` are read through the program `xz`.

mod error;
mod line;
mod rules;
#[cfg(test)]
mod tests;
mod trace;

pub use error::Error;
pub use rules::{read_rules, write_rules};
pub use trace::{Header, read_trace, write_trace};

/// The fields of words, in a message.
const FIELDS: &str = "from, to, vlan, src-id, dst-id, dscp, fragment, src-mac, dst-mac or length";

/// What is done with the flags of rules and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Left out: rules match any flags, keys carry none. What remains is the five-tuple.
    Ignored,
    /// Rules match them and keys carry them.
    Read,
}
