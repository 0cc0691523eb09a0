//! Search for the headers that a table answers most slowly.

use crate::draw::{Point, Space};
use classifier::{Family, PacketKey, Rule};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// How long and for what to search.
#[derive(Clone, Copy, Debug)]
pub struct SearchConfig {
    /// Keys wanted, the costliest ones.
    pub keys: usize,
    /// Climbs, each from a start of its own.
    pub climbs: usize,
    /// Keys tried in a climb.
    pub steps: usize,
    /// Same seed, rules and cost, same keys.
    pub seed: u64,
}

impl Default for SearchConfig {
    /// 1024 keys from 64 climbs of 4096 steps.
    fn default() -> Self {
        SearchConfig { keys: 1024, climbs: 64, steps: 4096, seed: 1 }
    }
}

/// A key and what looking it up costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: PacketKey,
    /// In the unit of the cost function.
    pub cost: usize,
}

/// The costliest keys that hill climbing finds, the costliest first and no two the same. At most
/// as many as asked for, fewer if fewer were tried.
///
/// A climb begins at the costliest of some points of rules and goes on to any neighbour that costs
/// at least as much. A neighbour has one or a few fields of a point of another rule, of the best
/// key of the climbs before, or differs in a bit or by one.
///
/// # Panics
/// If there are no rules.
pub fn worst(
    rules: &[Rule],
    cost: &dyn Fn(&PacketKey) -> usize,
    config: SearchConfig,
) -> Vec<Found> {
    assert!(!rules.is_empty(), "no rules to draw headers from");
    let mut rng = Rng::with_seed(config.seed);
    let space = Space::of(rules);
    let mut best = Best { limit: config.keys, heap: BinaryHeap::new(), keys: HashSet::new() };
    for _ in 0..config.climbs {
        let starts = (0..STARTS.min(config.steps.max(1)))
            .map(|_| measured(point(rules, &space, &mut rng), cost))
            .inspect(|found| best.offer(*found));
        let Some(mut at) = starts.max_by_key(|found| found.cost) else { break };
        for _ in STARTS..config.steps {
            let next = measured(neighbour(at.key, rules, &space, &best, &mut rng), cost);
            best.offer(next);
            if next.cost >= at.cost {
                at = next;
            }
        }
    }
    best.into_sorted()
}

/// Points of rules that a climb begins with.
const STARTS: usize = 64;

fn measured(key: PacketKey, cost: &dyn Fn(&PacketKey) -> usize) -> Found {
    Found { key, cost: cost(&key) }
}

/// A point of a rule; a random header if the rule drawn has none.
fn point(rules: &[Rule], space: &Space, rng: &mut Rng) -> PacketKey {
    let at = if rng.bool() { Point::Uniform } else { Point::Corner };
    let drawn = space.point(&rules[rng.usize(..rules.len())], at, rng);
    drawn.unwrap_or_else(|| space.anywhere(Family::V4, rng))
}

fn neighbour(
    key: PacketKey,
    rules: &[Rule],
    space: &Space,
    best: &Best,
    rng: &mut Rng,
) -> PacketKey {
    match rng.u8(..100) {
        0..60 => with_fields_of(key, point(rules, space, rng), rng),
        60..75 => match best.heap.peek() {
            // The least of the best: the others are near where a climb already is.
            Some(Reverse(least)) => with_fields_of(key, least.0.key, rng),
            None => key,
        },
        _ => nudged(key, rng),
    }
}

/// `key` with few or with many fields of `other`, taken at random; with all if the families differ.
fn with_fields_of(key: PacketKey, other: PacketKey, rng: &mut Rng) -> PacketKey {
    if key.family() != other.family() {
        return other;
    }
    let one_in = if rng.bool() { 3 } else { 8 };
    let mut take = || rng.u8(..one_in) == 0;
    PacketKey {
        src: if take() { other.src } else { key.src },
        dst: if take() { other.dst } else { key.dst },
        protocol: if take() { other.protocol } else { key.protocol },
        src_port: if take() { other.src_port } else { key.src_port },
        dst_port: if take() { other.dst_port } else { key.dst_port },
        from_zone: if take() { other.from_zone } else { key.from_zone },
        to_zone: if take() { other.to_zone } else { key.to_zone },
        vlan: if take() { other.vlan } else { key.vlan },
        tcp_flags: if take() { other.tcp_flags } else { key.tcp_flags },
        ip: key
            .ip
            .with_dscp(if take() { other.dscp() } else { key.dscp() })
            .with_fragment(if take() { other.fragment() } else { key.fragment() }),
        src_identity: if take() { other.src_identity } else { key.src_identity },
        dst_identity: if take() { other.dst_identity } else { key.dst_identity },
        length: if take() { other.length } else { key.length },
        src_mac: if take() { other.src_mac } else { key.src_mac },
        dst_mac: if take() { other.dst_mac } else { key.dst_mac },
    }
}

/// `key` with one bit of an address turned, or one number one higher or lower.
fn nudged(mut key: PacketKey, rng: &mut Rng) -> PacketKey {
    let bit = 1 << rng.u8(..key.family().bits());
    let by = if rng.bool() { 1 } else { u16::MAX };
    match rng.u8(..7) {
        0 => key.src ^= bit,
        1 => key.dst ^= bit,
        2 => key.src_port = key.src_port.wrapping_add(by),
        3 => key.dst_port = key.dst_port.wrapping_add(by),
        4 => key.protocol = key.protocol.wrapping_add(by as u8),
        5 => key.src_identity = key.src_identity.wrapping_add(by),
        _ => key.dst_identity = key.dst_identity.wrapping_add(by),
    }
    key
}

/// The costliest keys so far.
struct Best {
    limit: usize,
    /// The least at the top.
    heap: BinaryHeap<Reverse<ByCost>>,
    keys: HashSet<PacketKey>,
}

impl Best {
    fn offer(&mut self, found: Found) {
        let full = self.heap.len() >= self.limit;
        let least = self.heap.peek().map_or(0, |Reverse(least)| least.0.cost);
        if (full && found.cost <= least) || !self.keys.insert(found.key) {
            return;
        }
        self.heap.push(Reverse(ByCost(found)));
        if full && let Some(Reverse(dropped)) = self.heap.pop() {
            self.keys.remove(&dropped.0.key);
        }
    }

    fn into_sorted(self) -> Vec<Found> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(found)| found.0).collect()
    }
}

/// Ordered by cost alone.
struct ByCost(Found);

impl PartialEq for ByCost {
    fn eq(&self, other: &Self) -> bool {
        self.0.cost == other.0.cost
    }
}

impl Eq for ByCost {}

impl PartialOrd for ByCost {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByCost {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cost.cmp(&other.0.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulesets::{self, SetConfig, Structure};
    use classifier::PortRange;

    const CONFIG: SearchConfig = SearchConfig { keys: 20, climbs: 8, steps: 2000, seed: 1 };

    /// More for each field that is in one of five different rules: no rule alone leads there.
    fn planted(rules: &[Rule]) -> impl Fn(&PacketKey) -> usize {
        let exact = |rule: &&Rule| rule.dst_ports == PortRange::one(rule.dst_ports.low);
        let dst_ports = rules.iter().rfind(exact).expect("some rule has one port").dst_ports;
        let (src, dst, src_ports) =
            (rules[3].src.clone(), rules[90].dst.clone(), rules[40].src_ports);
        move |key| {
            let fields = [
                src.contains(key.family(), key.src),
                dst.contains(key.family(), key.dst),
                src_ports.contains(key.src_port),
                dst_ports.contains(key.dst_port),
                key.protocol == 17,
            ];
            10 * fields.into_iter().filter(|right| *right).count()
        }
    }

    #[test]
    fn it_finds_a_planted_worst_key() {
        let rules = rulesets::generate(SetConfig::new(Structure::Ipc1, 100, 1));
        let cost = planted(&rules);
        let found = worst(&rules, &cost, CONFIG);
        assert_eq!(found[0].cost, 50);
        assert_eq!(cost(&found[0].key), 50);
    }

    #[test]
    fn keys_come_by_cost_none_twice_and_the_same_each_time() {
        let rules = rulesets::generate(SetConfig::new(Structure::Fw1, 100, 1));
        let cost = planted(&rules);
        let found = worst(&rules, &cost, CONFIG);
        assert_eq!(found.len(), CONFIG.keys);
        assert!(found.is_sorted_by(|a, b| a.cost >= b.cost));
        let distinct: HashSet<_> = found.iter().map(|found| found.key).collect();
        assert_eq!(distinct.len(), found.len());
        assert_eq!(worst(&rules, &cost, CONFIG), found);
    }

    #[test]
    fn fewer_steps_than_keys_give_fewer_keys() {
        let rules = [Rule::ANY];
        let config = SearchConfig { keys: 100, climbs: 1, steps: 10, seed: 1 };
        let found = worst(&rules, &|_| 1, config);
        assert!((1..=10).contains(&found.len()), "{}", found.len());
    }
}
