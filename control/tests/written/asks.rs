//! What rules ask for besides ends and services, and what packets have of it.

use classifier::{IpBits, PacketKey};
use proptest::sample::Index;

/// Alternatives of each kind; none stands for anything.
#[derive(Clone, Debug, Default)]
pub struct Asks {
    /// Into [`MACS`].
    pub src_macs: Vec<usize>,
    pub dst_macs: Vec<usize>,
    pub lengths: Vec<(u16, u16)>,
    /// Into [`FLAGS`].
    pub flags: Vec<usize>,
    /// Into [`CODE_POINTS`].
    pub dscps: Vec<usize>,
    pub fragment: Option<bool>,
}

/// What a packet has.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub src_mac: [u8; 6],
    pub dst_mac: [u8; 6],
    pub length: u16,
    pub flags: u8,
    pub dscp: u8,
    pub fragment: bool,
}

/// As written, and which of [`ADDRESSES`] are meant.
const MACS: [(&str, [bool; 4]); 5] = [
    ("02:00:5e:00:00:01", [true, false, false, false]),
    ("02:00:5E:00:00:02", [false, true, false, false]),
    ("02:00:5e:00:00:00/ff:ff:ff:00:00:00", [true, true, false, false]),
    ("00:00:00:00:00:01/00:00:00:00:00:01", [true, false, true, false]),
    ("06:00:00:00:00:00/06:00:00:00:00:00", [false, false, true, false]),
];
const ADDRESSES: [[u8; 6]; 4] = [
    [2, 0, 0x5e, 0, 0, 1],
    [2, 0, 0x5e, 0, 0, 2],
    [0x46, 0x10, 0x5e, 0, 0, 1],
    [0x82, 0, 0, 0, 0, 2],
];

/// Names of flags that are set and that are clear, and their bits.
const FLAGS: [(&str, &str, u8, u8); 4] = [
    ("syn", "", 2, 0),
    ("syn", "[ack, rst]", 2, 0x14),
    ("[ack, fin]", "", 0x11, 0),
    ("", "syn", 0, 2),
];
const SEGMENTS: [u8; 6] = [0x02, 0x12, 0x10, 0x11, 0x14, 0x19];

const CODE_POINTS: [(&str, u8); 4] = [("ef", 46), ("0", 0), ("af11", 10), ("63", 63)];
const LENGTHS: [(u16, u16); 5] = [(40, 40), (0, 100), (101, 1500), (65_535, 65_535), (60, 120)];
const SIZES: [u16; 8] = [39, 40, 41, 100, 101, 1500, 1501, 65_535];

/// Numbers that have nothing to do with what else is made of the picks.
struct Digits(u64);

impl Digits {
    fn of(picks: &[Index], salt: u64) -> Self {
        let fold = |all: u64, pick: &Index| {
            (all ^ pick.index(1 << 40) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        };
        Digits(picks.iter().fold(salt, fold))
    }

    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) as usize % below
    }

    /// Nothing mostly, or one or two numbers.
    fn some(&mut self, below: usize) -> Vec<usize> {
        let (first, second) = (self.next(below), self.next(below));
        match self.next(8) {
            0 => vec![first],
            1 if first != second => vec![first, second],
            _ => Vec::new(),
        }
    }
}

impl Asks {
    /// Nothing for rules with few picks, so that a failure shrinks to them.
    pub fn drawn(picks: &[Index]) -> Self {
        if picks.len() < 3 {
            return Asks::default();
        }
        let mut digits = Digits::of(picks, 1);
        Asks {
            src_macs: digits.some(MACS.len()),
            dst_macs: digits.some(MACS.len()),
            lengths: digits.some(LENGTHS.len()).into_iter().map(|n| LENGTHS[n]).collect(),
            flags: digits.some(FLAGS.len()),
            dscps: digits.some(CODE_POINTS.len()),
            fragment: [None, None, None, None, Some(true), Some(false)][digits.next(6)],
        }
    }

    pub fn met_by(&self, protocol: u8, link: &Link) -> bool {
        fn one_of<T: Copy>(alternatives: &[T], meets: impl Fn(T) -> bool) -> bool {
            alternatives.is_empty() || alternatives.iter().any(|one| meets(*one))
        }
        let is =
            |of: usize, address: [u8; 6]| (0..4).any(|n| MACS[of].1[n] && ADDRESSES[n] == address);
        one_of(&self.src_macs, |mac| is(mac, link.src_mac))
            && one_of(&self.dst_macs, |mac| is(mac, link.dst_mac))
            && one_of(&self.lengths, |(low, high)| (low..=high).contains(&link.length))
            && one_of(&self.flags, |n| {
                let (_, _, set, clear) = FLAGS[n];
                protocol == 6 && link.flags & set == set && link.flags & clear == 0
            })
            && one_of(&self.dscps, |n| CODE_POINTS[n].1 == link.dscp)
            && self.fragment.is_none_or(|fragment| fragment == link.fragment)
    }

    /// Keys of a rule, each after a comma.
    pub fn yaml(&self) -> String {
        let mut out = String::new();
        let mut key = |name: &str, values: Vec<String>| match &values[..] {
            [] => {}
            [one] => out += &format!(", {name}: {one}"),
            many => out += &format!(", {name}: [{}]", many.join(", ")),
        };
        let macs = |of: &[usize]| of.iter().map(|n| format!("\"{}\"", MACS[*n].0)).collect();
        key("src_mac", macs(&self.src_macs));
        key("dst_mac", macs(&self.dst_macs));
        let length = |(low, high): &(u16, u16)| match low == high {
            true => low.to_string(),
            false => format!("{low}-{high}"),
        };
        key("length", self.lengths.iter().map(length).collect());
        let flags = |n: &usize| {
            let of = |name: &str, flags: &str| match flags {
                "" => None,
                flags => Some(format!("{name}: {flags}")),
            };
            let (set, clear, ..) = FLAGS[*n];
            let keys: Vec<_> = [of("set", set), of("clear", clear)].into_iter().flatten().collect();
            format!("{{ {} }}", keys.join(", "))
        };
        key("tcp_flags", self.flags.iter().map(flags).collect());
        key("dscp", self.dscps.iter().map(|n| CODE_POINTS[*n].0.to_owned()).collect());
        key("fragment", self.fragment.iter().map(bool::to_string).collect());
        out
    }
}

impl Link {
    pub fn drawn(picks: &[Index], protocol: u8) -> Self {
        let mut digits = Digits::of(picks, 2);
        Link {
            src_mac: ADDRESSES[digits.next(4)],
            dst_mac: ADDRESSES[digits.next(4)],
            length: SIZES[digits.next(SIZES.len())],
            flags: if protocol == 6 { SEGMENTS[digits.next(SEGMENTS.len())] } else { 0 },
            dscp: [0, 10, 46, 62, 63][digits.next(5)],
            fragment: digits.next(2) == 1,
        }
    }

    /// `key` with these fields.
    pub fn put(&self, key: PacketKey) -> PacketKey {
        PacketKey {
            src_mac: self.src_mac,
            dst_mac: self.dst_mac,
            length: self.length,
            tcp_flags: self.flags.into(),
            ip: IpBits::new(key.family()).with_dscp(self.dscp).with_fragment(self.fragment),
            ..key
        }
    }
}
