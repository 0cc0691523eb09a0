//! Fragments as an input describes them, and the receiver that puts them together.

use arbitrary::{Result, Unstructured};
use classifier::Family;
use dataplane::fuzzing::fragments::DatagramKey;
use dataplane::fuzzing::parse::Fragment;

const DST: u128 = 0x0a00_0002;

/// What the fragments of a datagram have in common.
#[derive(Clone, Debug)]
pub struct Datagram {
    family: Family,
    src: u128,
    id: u32,
    vlan: u32,
    /// IPv4 protocol, and usual next header.
    next: u8,
    /// Its first bytes; a pattern follows.
    start: Vec<u8>,
}

impl Datagram {
    pub fn read(nth: u32, bytes: &mut Unstructured<'_>) -> Result<Self> {
        let what: u8 = bytes.arbitrary()?;
        let family = if what & 1 == 0 { Family::V4 } else { Family::V6 };
        let host = u128::from(what >> 1 & 3);
        let src = match family {
            Family::V4 => 0x0a00_0100 + host,
            // Two /64, with two hosts each.
            Family::V6 => (0x2001_0db8 << 96) | (host >> 1) << 64 | ((host & 1) + 1),
        };
        // Sometimes the one before, but for what else is in the key.
        let id = if what & 8 == 0 { nth } else { nth.saturating_sub(1) };
        let len = bytes.int_in_range(0..=24)?;
        let start = bytes.bytes(len)?.to_vec();
        let next = *bytes.choose(&[17, 6, 60, 50, 1, 58, 132, 43, 44, 0])?;
        Ok(Datagram { family, src, id, vlan: u32::from(what >> 4 & 1), next, start })
    }

    fn byte(&self, at: usize) -> u8 {
        self.start.get(at).copied().unwrap_or((at * 7 + at / 256) as u8)
    }
}

/// One fragment.
#[derive(Clone, Debug)]
pub struct Spec {
    of: Datagram,
    pub offset: usize,
    more: bool,
    pub next: u8,
    data: Vec<u8>,
    /// Bytes of IPv4 options, or of an IPv6 hop-by-hop header.
    options: usize,
    ecn: u8,
    /// The frame ends before the fragment does.
    pub cut: bool,
}

impl Spec {
    pub fn read(of: &Datagram, bytes: &mut Unstructured<'_>) -> Result<Self> {
        let [place, size, how] = bytes.arbitrary::<[u8; 3]>()?;
        // Mostly the first few eights, so that fragments meet; else as far out as there is.
        let offset = match place {
            0..=239 => 8 * usize::from(place % 16),
            _ => 65_528 - 8 * (usize::from(place) - 240) * usize::from(size),
        };
        let len = match size {
            0..=199 => 8 * usize::from(size % 9),
            200..=239 => usize::from(size) - 200,
            240..=250 => 1_480,
            _ => 65_000,
        };
        let rare = |bit: u8| how >> 4 == bit;
        let mut data: Vec<u8> = (offset..offset + len).map(|at| of.byte(at)).collect();
        if rare(1)
            && let Some(last) = data.last_mut()
        {
            *last ^= 1;
        }
        let next = if rare(2) && of.family == Family::V6 { 17 } else { of.next };
        Ok(Spec {
            of: of.clone(),
            offset: offset & 0xfff8,
            more: how & 1 == 1,
            next,
            options: if rare(3) { 8 } else { 0 },
            ecn: if rare(4) { how & 3 } else { 0 },
            cut: rare(5) && !data.is_empty(),
            data,
        })
    }

    /// All of its datagram.
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }

    fn end(&self) -> usize {
        self.offset + self.data.len()
    }

    /// A copy of it, as far as a receiver can tell.
    pub fn same_as(&self, other: &Spec) -> bool {
        !self.data.is_empty()
            && (self.offset, self.more, &self.data) == (other.offset, other.more, &other.data)
            && (self.offset > 0 || self.next == other.next)
    }

    /// Whether some byte is in both.
    pub fn touches(&self, other: &Spec) -> bool {
        self.offset.max(other.offset) < self.end().min(other.end())
    }

    /// Bytes of the headers that the length of the reassembled packet counts.
    pub fn packet_header(&self) -> usize {
        match self.of.family {
            Family::V4 => 20 + self.options,
            Family::V6 => 40 + self.options,
        }
    }

    fn header(&self) -> usize {
        self.packet_header() + if self.of.family == Family::V6 { 8 } else { 0 }
    }

    pub fn fragment(&self) -> Fragment {
        let start = if self.of.vlan == 0 { 14 } else { 18 };
        Fragment {
            id: self.of.id,
            offset: self.offset as u16,
            more: self.more,
            next: self.next,
            header_len: self.header() as u16,
            payload_offset: (start + self.header()) as u16,
            payload_len: self.data.len() as u16,
        }
    }

    pub fn key(&self) -> DatagramKey {
        let Datagram { family, src, vlan, .. } = self.of;
        DatagramKey::new(family, src, DST, &self.fragment(), vlan, 0)
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2; 12];
        if self.of.vlan != 0 {
            frame.extend([0x81, 0, 0, self.of.vlan as u8]);
        }
        let place = self.offset as u16;
        match self.of.family {
            Family::V4 => {
                let total = (self.header() + self.data.len()) as u16;
                frame.extend([0x08, 0x00, 0x45 + self.options as u8 / 4, self.ecn]);
                frame.extend(total.to_be_bytes());
                frame.extend((self.of.id as u16).to_be_bytes());
                frame.extend(((place / 8) | (u16::from(self.more) << 13)).to_be_bytes());
                frame.extend([64, self.next, 0, 0]);
                frame.extend((self.of.src as u32).to_be_bytes());
                frame.extend((DST as u32).to_be_bytes());
                frame.extend(std::iter::repeat_n(1, self.options));
            }
            Family::V6 => {
                let payload = (8 + self.options + self.data.len()) as u16;
                frame.extend([0x86, 0xdd, 0x60, self.ecn << 4, 0, 0]);
                frame.extend(payload.to_be_bytes());
                frame.extend([if self.options > 0 { 0 } else { 44 }, 64]);
                frame.extend(self.of.src.to_be_bytes());
                frame.extend(DST.to_be_bytes());
                if self.options > 0 {
                    frame.extend([44, 0, 1, 4, 0, 0, 0, 0]);
                }
                frame.extend([self.next, 0]);
                frame.extend((place | u16::from(self.more)).to_be_bytes());
                frame.extend(self.of.id.to_be_bytes());
            }
        }
        frame.extend(&self.data);
        frame.truncate(frame.len() - usize::from(self.cut));
        frame
    }

    /// Protocol and place of the transport header in `bytes`, which begin with the first fragment's
    /// (RFC 8200, 4).
    pub fn transport(&self, bytes: &[u8]) -> Option<(u8, usize)> {
        let (mut next, mut at) = (self.next, 0);
        while self.of.family == Family::V6 && matches!(next, 43 | 60 | 135 | 139 | 140) {
            next = *bytes.get(at)?;
            at += 8 + 8 * usize::from(*bytes.get(at + 1)?);
        }
        (at <= bytes.len()).then_some((next, at))
    }
}

/// Whom a datagram counts for: an IPv4 address or an IPv6 /64, on one VLAN.
pub fn source(key: &DatagramKey) -> (bool, u128, u32) {
    match key.family {
        Family::V4 => (false, key.src, key.vlan),
        Family::V6 => (true, key.src >> 64, key.vlan),
    }
}

/// What a receiver makes of fragments when it takes nothing but exact tilings: each begins where the
/// one before ended, the first at 0, and only the last says that it is.
pub fn reassemble<'a>(fragments: impl Iterator<Item = &'a Spec>) -> Option<Vec<u8>> {
    let mut fragments: Vec<&Spec> = fragments.collect();
    fragments.sort_by_key(|spec| spec.offset);
    let mut bytes = Vec::new();
    let (last, others) = fragments.split_last()?;
    for spec in &fragments {
        if spec.offset != bytes.len() || spec.data.is_empty() {
            return None;
        }
        bytes.extend(&spec.data);
    }
    (!last.more && others.iter().all(|spec| spec.more)).then_some(bytes)
}
