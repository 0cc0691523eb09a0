//! The kinds of fragmentation that are drawn.

/// What is done to the fragments of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// In order, each once.
    InOrder,
    /// In any order, each once.
    Shuffled,
    /// Copies of some, the same in every byte.
    Duplicate,
    /// A copy of one that has other bytes.
    DuplicateOther,
    /// One that lies across others, inside one or around one, with the same bytes or others.
    Overlap,
    /// A second first fragment that names a port that is allowed where the first one named one that
    /// is denied, or the other way round.
    Rewritten,
    /// One is missing.
    Gap,
    /// Two that both say they are the last, with different ends.
    TwoEnds,
    /// A first fragment without the whole transport header.
    Tiny,
    /// One that ends beyond the longest packet.
    Oversize,
    /// One in the middle whose length is no multiple of 8.
    OddLength,
    /// One without data.
    Empty,
    /// Whole, but the checksum is wrong.
    BadChecksum,
    /// One whose bytes are another datagram's.
    Mixture,
    /// Several datagrams of the same hosts at once: with other identifications, another protocol, or
    /// nothing that tells them apart.
    Interleaved,
    /// All fragments twice: the same datagram, or another of the same identification.
    Twice,
    /// About as many fragments as a datagram may have.
    Many,
    /// Codepoints of ECN that do or do not go together.
    Ecn,
    /// IPv6 with extension headers before and behind the fragment header.
    Extensions,
    /// IPv6 datagrams in one fragment, alone and amid another's fragments of the same
    /// identification.
    Atomic,
    /// IPv6 fragments whose next headers differ.
    NextHeader,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 21] = [
        Class::InOrder,
        Class::Shuffled,
        Class::Duplicate,
        Class::DuplicateOther,
        Class::Overlap,
        Class::Rewritten,
        Class::Gap,
        Class::TwoEnds,
        Class::Tiny,
        Class::Oversize,
        Class::OddLength,
        Class::Empty,
        Class::BadChecksum,
        Class::Mixture,
        Class::Interleaved,
        Class::Twice,
        Class::Many,
        Class::Ecn,
        Class::Extensions,
        Class::Atomic,
        Class::NextHeader,
    ];

    /// The word for it in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::InOrder => "in order",
            Class::Shuffled => "shuffled",
            Class::Duplicate => "duplicate",
            Class::DuplicateOther => "duplicate with other bytes",
            Class::Overlap => "overlap",
            Class::Rewritten => "first rewritten",
            Class::Gap => "gap",
            Class::TwoEnds => "two ends",
            Class::Tiny => "tiny first",
            Class::Oversize => "oversize",
            Class::OddLength => "odd length",
            Class::Empty => "empty",
            Class::BadChecksum => "bad checksum",
            Class::Mixture => "mixture",
            Class::Interleaved => "interleaved",
            Class::Twice => "twice",
            Class::Many => "many",
            Class::Ecn => "ecn",
            Class::Extensions => "extension headers",
            Class::Atomic => "atomic",
            Class::NextHeader => "next header",
        }
    }

    /// Whether only IPv6 has it.
    pub(super) const fn is_v6_only(self) -> bool {
        matches!(self, Class::Extensions | Class::Atomic | Class::NextHeader)
    }
}
