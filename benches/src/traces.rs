//! Traces for a rule set.

use crate::classbench::Header;
use crate::draw::{Point, Space, family_of};
use classifier::{Family, PacketKey, Rule, RuleIndex};
use fastrand::Rng;

/// What the headers of a trace are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// A point of a rule, both uniform: no locality.
    Uniform,
    /// A corner of a rule, as ClassBench's generator draws them.
    Corners,
    /// Flows, each a point of a rule, whose shares follow Zipf's law: the n-th most frequent has
    /// a share like `n^-exponent`. Packets of a flow come in trains.
    Zipf {
        /// Steeper the higher; about 1 on the links of networks.
        exponent: f64,
        /// Different flows for each hundred packets.
        flows_percent: u8,
        /// Mean length of a train, at least 1.
        train: f64,
    },
    /// Source, destination, and ports with protocol, from points of three rules: headers whose
    /// every field is in the set and which few rules match.
    Mixed,
    /// Random fields of the families of the rules: almost no rule matches.
    Random,
}

impl Pattern {
    /// A busy link: one flow for ten packets, trains of three.
    pub const ZIPF: Pattern = Pattern::Zipf { exponent: 1.0, flows_percent: 10, train: 3.0 };
}

/// A trace of `packets` headers; the same for the same rules and seed.
///
/// Headers that are drawn from no rule alone name none.
///
/// # Panics
/// If no rule matches anything, or the lengths of a [`Pattern::Zipf`] are not in their bounds.
pub fn generate(rules: &[Rule], pattern: Pattern, packets: usize, seed: u64) -> Vec<Header> {
    let mut rng = Rng::with_seed(seed);
    let source = Source { rules, space: Space::of(rules) };
    let rng = &mut rng;
    match pattern {
        Pattern::Uniform => (0..packets).map(|_| source.header(Point::Uniform, rng)).collect(),
        Pattern::Corners => (0..packets).map(|_| source.header(Point::Corner, rng)).collect(),
        Pattern::Mixed => (0..packets).map(|_| source.mixed(rng).into()).collect(),
        Pattern::Random => (0..packets).map(|_| source.random(rng).into()).collect(),
        Pattern::Zipf { exponent, flows_percent, train } => {
            let flows = (packets * usize::from(flows_percent)).div_ceil(100).max(1);
            let flows: Vec<Header> =
                (0..flows).map(|_| source.header(Point::Uniform, rng)).collect();
            zipf(&flows, exponent, train, packets, rng)
        }
    }
}

impl From<PacketKey> for Header {
    fn from(key: PacketKey) -> Self {
        Header { key, rule: None }
    }
}

/// Where headers are drawn from.
struct Source<'a> {
    rules: &'a [Rule],
    space: Space,
}

impl Source<'_> {
    /// A point of a rule that has points.
    fn header(&self, point: Point, rng: &mut Rng) -> Header {
        /// A set in which so many draws in a row find a rule without points has none with some.
        const TRIES: usize = 10_000;
        let draw = |_| {
            let rule = rng.usize(..self.rules.len());
            let key = self.space.point(&self.rules[rule], point, rng)?;
            Some(Header { key, rule: Some(rule as RuleIndex) })
        };
        (0..TRIES).find_map(draw).expect("some rule matches something")
    }

    fn mixed(&self, rng: &mut Rng) -> PacketKey {
        let key = self.header(Point::Uniform, rng).key;
        // Of the same family, or of the same header where none is found soon.
        let mut other = || {
            let mut drawn = (0..100).map(|_| self.header(Point::Uniform, rng).key);
            drawn.find(|other| other.family() == key.family()).unwrap_or(key)
        };
        let (of_src, of_dst) = (other(), other());
        PacketKey {
            src: of_src.src,
            from_zone: of_src.from_zone,
            src_identity: of_src.src_identity,
            dst: of_dst.dst,
            to_zone: of_dst.to_zone,
            dst_identity: of_dst.dst_identity,
            ..key
        }
    }

    fn random(&self, rng: &mut Rng) -> PacketKey {
        let rule = &self.rules[rng.usize(..self.rules.len())];
        let family = family_of(&rule.src).or(family_of(&rule.dst)).unwrap_or(Family::V4);
        self.space.anywhere(family, rng)
    }
}

/// `packets` of the `flows`, the first most often.
fn zipf(flows: &[Header], exponent: f64, train: f64, packets: usize, rng: &mut Rng) -> Vec<Header> {
    assert!(train >= 1.0 && exponent.is_finite());
    let mut sum = 0.0;
    let shares = (1..=flows.len()).map(|n| (n as f64).powf(-exponent));
    let upto: Vec<f64> = shares
        .map(|share| {
            sum += share;
            sum
        })
        .collect();
    let mut trace = Vec::with_capacity(packets);
    while trace.len() < packets {
        let place = rng.f64() * sum;
        let flow = upto.partition_point(|upto| *upto <= place).min(flows.len() - 1);
        trace.push(flows[flow]);
        // A train goes on with the same chance after each packet: its length is geometric.
        while trace.len() < packets && rng.f64() < 1.0 - 1.0 / train {
            trace.push(flows[flow]);
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Scan;
    use crate::rulesets::{self, SetConfig, Structure};
    use classifier::Lookup;
    use std::collections::HashMap;

    fn rules(structure: Structure) -> Vec<Rule> {
        let config = SetConfig { v6_percent: 30, ..SetConfig::new(structure, 300, 5) };
        rulesets::generate(config)
    }

    const PATTERNS: [Pattern; 5] =
        [Pattern::Uniform, Pattern::Corners, Pattern::ZIPF, Pattern::Mixed, Pattern::Random];

    #[test]
    fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
        let rules = rules(Structure::Fw1);
        for pattern in PATTERNS {
            let trace = generate(&rules, pattern, 500, 1);
            assert_eq!(trace.len(), 500);
            assert_eq!(trace, generate(&rules, pattern, 500, 1));
            assert_ne!(trace, generate(&rules, pattern, 500, 2));
        }
    }

    #[test]
    fn headers_that_name_a_rule_match_it() {
        for structure in [Structure::Acl2, Structure::Identity] {
            let rules = rules(structure);
            for pattern in [Pattern::Uniform, Pattern::Corners, Pattern::ZIPF] {
                for Header { key, rule } in generate(&rules, pattern, 1000, 3) {
                    let rule = &rules[rule.expect("drawn from a rule") as usize];
                    assert!(rule.matches(&key), "{rule:?} {key:?}");
                }
            }
        }
    }

    #[test]
    fn uniform_headers_come_from_most_rules() {
        let rules = rules(Structure::Ipc1);
        let trace = generate(&rules, Pattern::Uniform, 3000, 1);
        let from: std::collections::HashSet<_> = trace.iter().map(|header| header.rule).collect();
        assert!(from.len() > 290, "{}", from.len());
    }

    #[test]
    fn the_most_frequent_flows_have_their_share_and_packets_come_in_trains() {
        let rules = rules(Structure::Acl1);
        let trace = generate(&rules, Pattern::ZIPF, 20_000, 1);
        let mut counts = HashMap::new();
        for header in &trace {
            *counts.entry(header.key).or_insert(0u32) += 1;
        }
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // Of 2000 flows the first has 1 / H(2000) = 12%, the first hundred 63%.
        let share = |flows: usize| f64::from(counts[..flows].iter().sum::<u32>()) / 20_000.0;
        assert!((0.08..0.17).contains(&share(1)), "{}", share(1));
        assert!((0.56..0.70).contains(&share(100)), "{}", share(100));
        let repeats = trace.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((0.62..0.78).contains(&(repeats as f64 / 20_000.0)), "{repeats}");
    }

    #[test]
    fn mixed_headers_have_fields_of_the_rules_and_random_ones_match_next_to_nothing() {
        let rules = rules(Structure::Acl1);
        let scan = Scan::new(&rules[..]);
        let matched = |pattern| {
            let trace = generate(&rules, pattern, 1000, 1);
            let matched = trace.iter().filter(|header| scan.lookup(&header.key).is_some());
            (matched.count(), trace)
        };
        let (mixed_matches, mixed) = matched(Pattern::Mixed);
        let (random_matches, _) = matched(Pattern::Random);
        assert!(mixed_matches < 500 && random_matches < 100, "{mixed_matches} {random_matches}");
        for Header { key, rule } in mixed {
            assert_eq!(rule, None);
            assert!(rules.iter().any(|rule| rule.src.contains(key.family(), key.src)));
            assert!(rules.iter().any(|rule| rule.dst.contains(key.family(), key.dst)));
        }
    }
}
