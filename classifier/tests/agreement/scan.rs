//! A linear scan for rule sets so large that [`Linear`](classifier::Linear) takes too long.
//!
//! It is the same loop over the rules. Only the conditions stand in arrays of their own, each word
//! of each rule as a value and a mask, so that one comparison serves many rules.

use classifier::{AddressMatch, Family, PacketKey, Rule, RuleIndex, prefix_mask};

/// Rules whose conditions are compared in one go: few enough for the first-level cache.
const STRIP: usize = 256;

/// Headers that go through the strips together, so that a strip is loaded once for all of them.
const HEADERS: usize = 512;

/// Rules of one family that ask for prefixes, ports, protocol and flags. `W` 32-bit words are
/// compared under masks: 3 for IPv4, 9 for IPv6.
pub struct Scan<const W: usize> {
    strips: Vec<Strip<W>>,
}

struct Strip<const W: usize> {
    values: [[u32; STRIP]; W],
    masks: [[u32; STRIP]; W],
    /// Source and destination ports.
    low: [[u16; STRIP]; 2],
    high: [[u16; STRIP]; 2],
}

impl<const W: usize> Scan<W> {
    const FAMILY: Family = if W == 3 { Family::V4 } else { Family::V6 };

    /// # Panics
    /// If a rule asks for something else, or is of another family.
    pub fn new(rules: &[Rule]) -> Self {
        Scan { strips: rules.chunks(STRIP).map(Strip::new).collect() }
    }

    /// The first rule that matches each of `headers`.
    pub fn first(&self, headers: &[PacketKey]) -> Vec<Option<RuleIndex>> {
        let mut found = vec![None; headers.len()];
        let some = headers.chunks(HEADERS).zip(found.chunks_mut(HEADERS));
        for (headers, found) in some {
            let words: Vec<_> = headers.iter().map(words_of_key).collect();
            let mut unfound: Vec<usize> = (0..headers.len()).collect();
            for (number, strip) in self.strips.iter().enumerate() {
                unfound.retain(|&header| {
                    let place = strip.first(&words[header], &headers[header]);
                    found[header] = place.map(|place| (number * STRIP + place) as RuleIndex);
                    place.is_none()
                });
            }
        }
        found
    }
}

impl<const W: usize> Strip<W> {
    fn new(rules: &[Rule]) -> Self {
        // Places without a rule keep the ends of their ports exchanged, which matches nothing.
        let mut strip = Strip {
            values: [[0; STRIP]; W],
            masks: [[0; STRIP]; W],
            low: [[1; STRIP]; 2],
            high: [[0; STRIP]; 2],
        };
        for (place, rule) in rules.iter().enumerate() {
            let plain = Rule {
                src: rule.src.clone(),
                dst: rule.dst.clone(),
                protocol: rule.protocol,
                src_ports: rule.src_ports,
                dst_ports: rule.dst_ports,
                tcp_flags: rule.tcp_flags,
                ..Rule::ANY
            };
            assert_eq!(*rule, plain, "a field that this scan does not know");
            let (src, src_mask) = prefix::<W>(&rule.src);
            let (dst, dst_mask) = prefix::<W>(&rule.dst);
            let protocol_mask = if rule.protocol.is_some() { 0xff } else { 0 };
            let flags = rule.tcp_flags;
            let values: [u32; W] = words(src, dst, rule.protocol.unwrap_or(0), flags.value);
            let masks: [u32; W] = words(src_mask, dst_mask, protocol_mask, flags.mask);
            for word in 0..W {
                strip.values[word][place] = values[word];
                strip.masks[word][place] = masks[word];
            }
            for (end, ports) in [rule.src_ports, rule.dst_ports].into_iter().enumerate() {
                strip.low[end][place] = ports.low;
                strip.high[end][place] = ports.high;
            }
        }
        strip
    }

    /// The place of the first rule that matches.
    fn first(&self, words: &[u32; W], header: &PacketKey) -> Option<usize> {
        let mut wrong = [0; STRIP];
        #[cfg(target_arch = "x86_64")]
        let some = if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            unsafe { self.compare_avx2(words, &mut wrong) }
        } else {
            self.compare(words, &mut wrong)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let some = self.compare(words, &mut wrong);
        if !some {
            return None;
        }
        let ports = [header.src_port, header.dst_port];
        (0..STRIP).find(|&place| {
            wrong[place] == 0
                && (0..2).all(|end| {
                    self.low[end][place] <= ports[end] && ports[end] <= self.high[end][place]
                })
        })
    }

    /// The bits of `words` that are not as each rule wants them, and whether some rule has none.
    #[inline(always)]
    fn compare(&self, words: &[u32; W], wrong: &mut [u32; STRIP]) -> bool {
        let mut some = false;
        for (place, wrong) in wrong.iter_mut().enumerate() {
            for (word, (values, masks)) in words.iter().zip(self.values.iter().zip(&self.masks)) {
                *wrong |= word & masks[place] ^ values[place];
            }
            some |= *wrong == 0;
        }
        some
    }

    /// [`compare`](Strip::compare), compiled for wider vectors.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn compare_avx2(&self, words: &[u32; W], wrong: &mut [u32; STRIP]) -> bool {
        self.compare(words, wrong)
    }
}

fn prefix<const W: usize>(addresses: &AddressMatch) -> (u128, u128) {
    match *addresses {
        AddressMatch::Prefix { family, value, len } if family == Scan::<W>::FAMILY => {
            (value, prefix_mask(family, len))
        }
        _ => panic!("not a prefix of {:?}: {addresses:?}", Scan::<W>::FAMILY),
    }
}

fn words_of_key<const W: usize>(key: &PacketKey) -> [u32; W] {
    assert_eq!(key.family(), Scan::<W>::FAMILY);
    words(key.src, key.dst, key.protocol, key.tcp_flags)
}

/// Source, destination, then protocol and flags.
fn words<const W: usize>(src: u128, dst: u128, protocol: u8, flags: u16) -> [u32; W] {
    let units = W / 2;
    std::array::from_fn(|word| match word {
        word if word < units => (src >> (32 * word)) as u32,
        word if word < 2 * units => (dst >> (32 * (word - units))) as u32,
        _ => u32::from(protocol) << 16 | u32::from(flags),
    })
}

mod tests {
    use super::*;
    use crate::corners::{Draw, keys};
    use classifier::{FlagsMatch, Linear, Lookup, PortRange};
    use fastrand::Rng;

    fn scan_agrees_with_linear<const W: usize>() {
        let mut rng = Rng::with_seed(2);
        let family = Scan::<W>::FAMILY;
        let prefix = |rng: &mut Rng| {
            // Three values in each unit, so that prefixes nest, and differ in one unit only.
            let unit = |rng: &mut Rng| u128::from([0, 1, u32::MAX][rng.usize(..3)]);
            let address = (0..4).fold(0, |address, _| address << 32 | unit(rng));
            let len = rng.u8(0..=family.bits());
            AddressMatch::Prefix { family, value: address & prefix_mask(family, len), len }
        };
        let ports = |rng: &mut Rng| {
            let (low, high) = (rng.u16(..), rng.u16(..));
            if rng.bool() { PortRange::ANY } else { PortRange { low: low.min(high), high } }
        };
        // Several strips, the last one not full.
        let rules: Vec<_> = (0..3 * STRIP + 100)
            .map(|_| Rule {
                src: prefix(&mut rng),
                dst: prefix(&mut rng),
                protocol: [None, Some(6), Some(7)][rng.usize(..3)],
                src_ports: ports(&mut rng),
                dst_ports: ports(&mut rng),
                tcp_flags: FlagsMatch { value: rng.u16(0..4), mask: rng.u16(0..4) },
                ..Rule::ANY
            })
            .collect();
        let draw = Draw { accepted: rules.len(), corners: 100, mixed: 40, near: 200 };
        let mut keys = keys(&rules, draw, &mut rng);
        keys.retain(|key| key.family() == family);
        let linear = Linear::new(&rules[..]);
        let expected: Vec<_> = keys.iter().map(|key| linear.lookup(key)).collect();
        let in_last = expected.iter().flatten().filter(|rule| **rule as usize >= 3 * STRIP);
        assert!(expected.iter().any(Option::is_none) && in_last.count() > 10);
        assert_eq!(Scan::<W>::new(&rules).first(&keys), expected);
        // Compiled for the other processors as well.
        let strips = Scan::<W>::new(&rules).strips;
        for key in keys.iter().take(2000) {
            let (words, mut narrow) = (words_of_key(key), [0; STRIP]);
            for (strip, rules) in strips.iter().zip(rules.chunks(STRIP)) {
                narrow.fill(0);
                let some = strip.compare(&words, &mut narrow);
                assert_eq!(some, narrow.contains(&0));
                let anywhere = |rule: &Rule| Rule {
                    src_ports: PortRange::ANY,
                    dst_ports: PortRange::ANY,
                    ..rule.clone()
                };
                for (rule, wrong) in rules.iter().zip(narrow) {
                    assert_eq!(anywhere(rule).matches(key), wrong == 0);
                }
            }
        }
    }

    #[test]
    fn the_fast_scan_answers_as_linear_does() {
        scan_agrees_with_linear::<3>();
        scan_agrees_with_linear::<9>();
    }
}
