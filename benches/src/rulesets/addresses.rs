//! Prefixes that nest and crowd.

use super::nesting::Nesting;
use super::pick;
use classifier::{AddressMatch, Family, prefix_mask};
use fastrand::Rng;

/// How the children of a node come about: a Pólya urn. A draw repeats one of the draws before it,
/// each with the same chance, so that what was drawn often is drawn more often; or it brings
/// something new.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urn {
    /// How many draws the chance for something new weighs as much as: n draws bring about
    /// `variety * ln(1 + n / variety)` children.
    pub variety: f64,
    /// The share of draws that are new in any case.
    pub fresh: f64,
}

/// One urn for the nodes of each level.
pub(super) type Crowding = [Urn; LEVELS];

const LEVELS: usize = 4;

/// The level below a node ends with this many bits of the address.
fn ends(family: Family) -> [u8; LEVELS] {
    match family {
        Family::V4 => [8, 16, 24, 32],
        // Bits that tell apart the networks of one registry, its members, sites and hosts.
        Family::V6 => [24, 32, 48, 128],
    }
}

/// The bits that all IPv6 addresses begin with, and how many: one block of a regional registry.
const V6_BASE: (u128, u8) = (0x2a00 << 112, 16);

/// The shortest length, on the scale of IPv4, that counts as nesting: a prefix that holds a
/// sixteenth of all addresses is a wildcard of sorts.
const NESTS_FROM: u8 = 4;

/// The addresses of one side of the rules.
pub(super) struct Tree {
    family: Family,
    crowding: Crowding,
    nodes: Vec<Node>,
    nesting: Nesting,
    /// The prefixes of each length, on the scale of IPv4.
    drawn: [Vec<u128>; 33],
}

struct Node {
    /// The bits down to here, as high as in an address.
    value: u128,
    /// The child of each draw so far, by its place among the nodes.
    draws: Vec<u32>,
}

impl Tree {
    /// No prefix in as many others as `nesting`, as far as the crowding leaves room.
    pub fn new(family: Family, crowding: Crowding, nesting: u8) -> Self {
        let value = if family == Family::V6 { V6_BASE.0 } else { 0 };
        let lens = (NESTS_FROM..=32).map(|len| scaled(family, len)).collect();
        Tree {
            family,
            crowding,
            nodes: vec![Node { value, draws: Vec::new() }],
            nesting: Nesting::new(family, nesting, lens),
            drawn: std::array::from_fn(|_| Vec::new()),
        }
    }

    /// A prefix whose length is `len` on the scale of IPv4.
    pub fn prefix(&mut self, len: u8, rng: &mut Rng) -> AddressMatch {
        /// Where so many draws leave no room, there is next to none.
        const TRIES: usize = 16;
        let scale = len;
        let len = scaled(self.family, scale);
        let value = (0..TRIES).find_map(|_| {
            let value = self.draw(len, rng);
            let fits = scale < NESTS_FROM
                || self.nesting.holds(value, len)
                || self.nesting.has_room(value, len);
            fits.then_some(value)
        });
        let drawn = &self.drawn[usize::from(scale)];
        let value = match value {
            Some(value) => value,
            None if drawn.is_empty() => self.draw(len, rng),
            None => drawn[rng.usize(..drawn.len())],
        };
        if scale >= NESTS_FROM && !self.nesting.holds(value, len) {
            self.nesting.insert(value, len);
            self.drawn[usize::from(scale)].push(value);
        }
        AddressMatch::Prefix { family: self.family, value, len }
    }

    fn draw(&mut self, len: u8, rng: &mut Rng) -> u128 {
        let mut node = 0;
        let mut begin = if self.family == Family::V6 { V6_BASE.1 } else { 0 };
        for (level, end) in ends(self.family).into_iter().enumerate() {
            if begin >= len {
                break;
            }
            node = self.child(node, level, begin..end, rng);
            begin = end;
        }
        self.nodes[node].value & prefix_mask(self.family, len)
    }

    fn child(
        &mut self,
        node: usize,
        level: usize,
        bits: std::ops::Range<u8>,
        rng: &mut Rng,
    ) -> usize {
        let Urn { variety, fresh } = self.crowding[level];
        let Node { value, ref draws } = self.nodes[node];
        let so_far = draws.len() as f64;
        let is_new = rng.f64() < fresh + (1.0 - fresh) * variety / (variety + so_far);
        let child = if is_new || draws.is_empty() {
            let below = prefix_mask(self.family, bits.end) & !prefix_mask(self.family, bits.start);
            let value = value | (segment(level, rng) & below);
            self.nodes.push(Node { value, draws: Vec::new() });
            self.nodes.len() - 1
        } else {
            draws[rng.usize(..draws.len())] as usize
        };
        self.nodes[node].draws.push(child as u32);
        child
    }
}

/// Random bits. Half of the IPv6 hosts have a small interface identifier, as servers do.
fn segment(level: usize, rng: &mut Rng) -> u128 {
    let random = rng.u128(..);
    if level == LEVELS - 1 && rng.bool() {
        // Clears bits 16 to 63, of which an IPv4 address has none at this level.
        random & !(0xffff_ffff_ffff << 16)
    } else {
        random
    }
}

/// A prefix length near `mode`, both on the scale of IPv4: real sets show the lengths of hosts, of
/// networks and of everything, and fewer of those beside them.
pub(super) fn length(mode: u8, rng: &mut Rng) -> u8 {
    const AT_AN_END: [(u32, u8); 3] = [(62, 0), (30, 1), (8, 2)];
    const AMID: [(u32, i8); 5] = [(6, -2), (22, -1), (42, 0), (24, 1), (6, 2)];
    match mode {
        0 => pick(&AT_AN_END, rng),
        32 => 32 - pick(&AT_AN_END, rng),
        _ => mode.saturating_add_signed(pick(&AMID, rng)).min(32),
    }
}

/// The length in `family` of the prefix that plays the part of an IPv4 one: in IPv6 the members of
/// a registry, sites, subnets, hosts.
fn scaled(family: Family, len: u8) -> u8 {
    match (family, len) {
        (Family::V4, _) | (_, 0) => len,
        (_, 1..=16) => 16 + len,
        (_, 17..=24) => 2 * len,
        (_, 25..=30) => 48 + 2 * (len - 24),
        (_, 31) => 64,
        _ => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_stay_within_the_family_and_crowd_at_their_mode() {
        let mut rng = Rng::with_seed(1);
        for mode in 0..=32 {
            let lengths: Vec<_> = (0..500).map(|_| length(mode, &mut rng)).collect();
            assert!(lengths.iter().all(|len| len.abs_diff(mode) <= 2 && *len <= 32));
            let exact = lengths.iter().filter(|len| **len == mode).count();
            assert!(exact > 150, "{exact} of mode {mode}");
        }
    }

    #[test]
    fn wider_prefixes_stay_wider_in_ipv6() {
        let lengths: Vec<_> = (0..=32).map(|len| scaled(Family::V6, len)).collect();
        assert!(lengths.is_sorted_by(|a, b| a < b), "{lengths:?}");
        assert_eq!((lengths[0], lengths[24], lengths[32]), (0, 48, 128));
    }

    #[test]
    fn little_variety_repeats_and_fresh_draws_do_not() {
        let distinct = |variety, fresh| {
            let mut tree = Tree::new(Family::V4, [Urn { variety, fresh }; LEVELS], 9);
            let mut rng = Rng::with_seed(2);
            let drawn: std::collections::HashSet<_> =
                (0..2000).map(|_| tree.prefix(24, &mut rng)).collect();
            drawn.len()
        };
        assert!(distinct(0.3, 0.0) < 30);
        assert!(distinct(0.3, 1.0) > 1900);
    }

    #[test]
    fn prefixes_have_no_bits_below_their_length() {
        for family in [Family::V4, Family::V6] {
            let mut tree = Tree::new(family, [Urn { variety: 5.0, fresh: 0.1 }; LEVELS], 3);
            let mut rng = Rng::with_seed(3);
            for len in (0..=32).cycle().take(2000) {
                let drawn = tree.prefix(len, &mut rng);
                let AddressMatch::Prefix { value, len, .. } = drawn else { panic!("{drawn:?}") };
                assert_eq!(AddressMatch::prefix(family.ip_addr(value), len), Ok(drawn));
            }
        }
    }
}
