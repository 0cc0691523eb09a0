//! A linear scan fast enough to check a hundred thousand answers.

use super::lines;
use classifier::{
    AddressMatch, Family, Lookup, PacketKey, Range16, Rule, RuleIndex, ZoneId, prefix_mask,
};

/// The rules in priority order, each with a summary that can be compared in a few operations.
///
/// A rule whose summary differs from the key's cannot match; one whose summary agrees is asked
/// ([`Rule::matches`]). So the answer is that of [`classifier::Linear`], many times faster: the
/// summaries of a block of rules lie next to each other and are compared together.
#[derive(Clone, Debug)]
pub struct Scan {
    rules: Box<[Rule]>,
    v4: Summaries<V4_WORDS>,
    v6: Summaries<V6_WORDS>,
}

/// Source, destination, ports; protocol and zones.
const V4_WORDS: usize = 4;
/// The same with the first 64 bits of each address.
const V6_WORDS: usize = 6;
/// Rules compared together.
const BLOCK: usize = 32;

/// A bit of a word counts where the mask has a one.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    mask: u32,
    value: u32,
}

#[derive(Clone, Debug)]
struct Summaries<const WORDS: usize>(Box<[Block<WORDS>]>);

#[derive(Clone, Debug)]
struct Block<const WORDS: usize> {
    mask: [[u32; BLOCK]; WORDS],
    value: [[u32; BLOCK]; WORDS],
    /// Where the block's first rule stands; the others follow.
    first: usize,
}

impl Scan {
    /// The rules in priority order, first wins.
    pub fn new(rules: impl Into<Box<[Rule]>>) -> Self {
        let rules = rules.into();
        let v4 = Summaries::new(&rules, |rule| {
            let [.., src] = address(&rule.src, Family::V4);
            let [.., dst] = address(&rule.dst, Family::V4);
            let [ports, protocol_zones] = others(rule);
            [src, dst, ports, protocol_zones]
        });
        let v6 = Summaries::new(&rules, |rule| {
            let [src_0, src_1, ..] = address(&rule.src, Family::V6);
            let [dst_0, dst_1, ..] = address(&rule.dst, Family::V6);
            let [ports, protocol_zones] = others(rule);
            [src_0, src_1, dst_0, dst_1, ports, protocol_zones]
        });
        Scan { rules, v4, v6 }
    }
}

impl Lookup for Scan {
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex> {
        let ports = pack_ports(key.src_port, key.dst_port);
        let protocol_zones = pack_protocol_zones(key.protocol, key.from_zone.0, key.to_zone.0);
        let ([src_0, src_1, _, src_3], [dst_0, dst_1, _, dst_3]) = (words(key.src), words(key.dst));
        let matches = |at: &usize| self.rules.get(*at).is_some_and(|rule| rule.matches(key));
        let found = match key.family() {
            Family::V4 => self.v4.agreeing([src_3, dst_3, ports, protocol_zones]).find(matches),
            Family::V6 => {
                let summary = [src_0, src_1, dst_0, dst_1, ports, protocol_zones];
                self.v6.agreeing(summary).find(matches)
            }
        };
        found.map(|at| at as RuleIndex)
    }

    fn memory_usage(&self) -> usize {
        size_of_val(&*self.rules) + size_of_val(&*self.v4.0) + size_of_val(&*self.v6.0)
    }

    /// Every summary of the family, and every rule.
    fn worst_case(&self) -> usize {
        let v4 = lines::<Block<V4_WORDS>>(self.v4.0.len());
        let v6 = lines::<Block<V6_WORDS>>(self.v6.0.len());
        v4.max(v6) + lines::<Rule>(self.rules.len())
    }
}

impl<const WORDS: usize> Summaries<WORDS> {
    fn new(rules: &[Rule], summary: impl Fn(&Rule) -> [Word; WORDS]) -> Self {
        let blocks = (0..).step_by(BLOCK).zip(rules.chunks(BLOCK)).map(|(first, rules)| {
            // Places past the last rule agree with every key, and are no rules.
            let none = [[0; BLOCK]; WORDS];
            let mut block = Block { mask: none, value: none, first };
            for (lane, rule) in rules.iter().enumerate() {
                for (at, Word { mask, value }) in summary(rule).into_iter().enumerate() {
                    block.mask[at][lane] = mask;
                    block.value[at][lane] = value;
                }
            }
            block
        });
        Summaries(blocks.collect())
    }

    /// The places, in order, whose summaries agree with a key's.
    fn agreeing(&self, key: [u32; WORDS]) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(move |block| {
            let mut differ = [0; BLOCK];
            for (key, (mask, value)) in key.into_iter().zip(block.mask.iter().zip(&block.value)) {
                for lane in 0..BLOCK {
                    differ[lane] |= (key ^ value[lane]) & mask[lane];
                }
            }
            let some = differ.iter().fold(false, |some, differ| some | (*differ == 0));
            let agree = if some { zeros(&differ) } else { 0 };
            ones(agree).map(|lane| block.first + lane)
        })
    }
}

/// The set of the places that are zero.
fn zeros(differ: &[u32; BLOCK]) -> u32 {
    (0..BLOCK).fold(0, |set, lane| set | u32::from(differ[lane] == 0) << lane)
}

/// The places of the ones in `set`, lowest first.
fn ones(mut set: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

/// Ports; protocol and zones. A range of ports is left to [`Rule::matches`].
fn others(rule: &Rule) -> [Word; 2] {
    let port = |range: Range16| match range {
        Range16 { low, high } if low == high => (u16::MAX, low),
        _ => (0, 0),
    };
    let zone = |zone: Option<ZoneId>| zone.map_or((0, 0), |zone| (u16::MAX, zone.0));
    let (src_mask, src) = port(rule.src_ports);
    let (dst_mask, dst) = port(rule.dst_ports);
    let (protocol_mask, protocol) = rule.protocol.map_or((0, 0), |protocol| (u8::MAX, protocol));
    let (from_mask, from) = zone(rule.from_zone);
    let (to_mask, to) = zone(rule.to_zone);
    [
        Word { mask: pack_ports(src_mask, dst_mask), value: pack_ports(src, dst) },
        Word {
            mask: pack_protocol_zones(protocol_mask, from_mask, to_mask),
            value: pack_protocol_zones(protocol, from, to),
        },
    ]
}

fn pack_ports(src: u16, dst: u16) -> u32 {
    u32::from(src) << 16 | u32::from(dst)
}

/// The low 12 bits of each zone: enough for a summary.
fn pack_protocol_zones(protocol: u8, from: u16, to: u16) -> u32 {
    u32::from(protocol) << 24 | u32::from(from & 0xfff) << 12 | u32::from(to & 0xfff)
}

/// Four words of an address; those of anything but a prefix of `family` agree with every key.
fn address(addresses: &AddressMatch, family: Family) -> [Word; 4] {
    match *addresses {
        AddressMatch::Prefix { family: f, value, len } if f == family => {
            let (masks, values) = (words(prefix_mask(family, len)), words(value));
            std::array::from_fn(|at| Word { mask: masks[at], value: values[at] & masks[at] })
        }
        _ => [Word::default(); 4],
    }
}

/// The words of an address, highest first.
fn words(address: u128) -> [u32; 4] {
    std::array::from_fn(|at| (address >> (96 - 32 * at)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Point, Space};
    use crate::rulesets::{self, SetConfig, Structure};
    use crate::traces::{self, Pattern};
    use classifier::{FlagsMatch, Linear, MacMatch};
    use fastrand::Rng;

    fn assert_as_linear(rules: &[Rule], keys: impl IntoIterator<Item = PacketKey>) -> usize {
        let (scan, linear) = (Scan::new(rules), Linear::new(rules));
        let matched = keys.into_iter().filter(|key| {
            let answer = scan.lookup(key);
            assert_eq!(answer, linear.lookup(key), "{key:?}");
            answer.is_some()
        });
        matched.count()
    }

    #[test]
    fn it_answers_as_the_linear_scan_on_generated_sets() {
        for structure in [Structure::Acl1, Structure::Fw1, Structure::Identity] {
            // No multiple of a block.
            let config = SetConfig::new(structure, 333, 1);
            let rules = rulesets::generate(SetConfig { v6_percent: 40, zones: 3, ..config });
            for pattern in [Pattern::Uniform, Pattern::Corners, Pattern::Mixed, Pattern::Random] {
                let trace = traces::generate(&rules, pattern, 500, 2);
                assert_as_linear(&rules, trace.into_iter().map(|header| header.key));
            }
        }
    }

    #[test]
    fn fields_without_a_summary_are_compared_too() {
        let mut rng = Rng::with_seed(3);
        let pick = |rng: &mut Rng, bound| rng.u16(..bound);
        let rules: Vec<Rule> = (0..300)
            .map(|_| {
                let low = rng.u128(..64);
                let range = AddressMatch::Range { family: Family::V4, low, high: low + 40 };
                let port = pick(&mut rng, 30);
                Rule {
                    vlan: rng.bool().then(|| pick(&mut rng, 2)),
                    src: if rng.bool() { range } else { AddressMatch::set([range]) },
                    src_ports: Range16 { low: port, high: port + 9 },
                    src_identities: Range16 { low: 0, high: pick(&mut rng, 3) },
                    tcp_flags: FlagsMatch { value: pick(&mut rng, 2), mask: 1 },
                    dscp: rng.bool().then(|| rng.u8(..2)),
                    fragment: rng.bool().then(|| rng.bool()),
                    src_mac: MacMatch {
                        value: [0, pick(&mut rng, 2) as u8, 0, 0, 0, 0],
                        mask: [1; 6],
                    },
                    lengths: Range16 { low: pick(&mut rng, 3), high: u16::MAX },
                    from_zone: rng.bool().then(|| ZoneId(4096 * pick(&mut rng, 2))),
                    ..Rule::ANY
                }
            })
            .collect();
        let space = Space::of(&rules);
        let keys: Vec<_> = (0..2000)
            .filter_map(|n| {
                let at = if n % 2 == 0 { Point::Uniform } else { Point::Corner };
                space.point(&rules[n % rules.len()], at, &mut rng)
            })
            .collect();
        let count = keys.len();
        assert_eq!(assert_as_linear(&rules, keys), count);
    }

    #[test]
    fn no_rules_match_nothing() {
        for family in [Family::V4, Family::V6] {
            assert_eq!(Scan::new([]).lookup(&PacketKey::empty(family)), None);
        }
    }
}
