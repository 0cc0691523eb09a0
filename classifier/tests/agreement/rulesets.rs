//! The rule sets of the field: ClassBench's, and the same widened to IPv6, each compared with a
//! linear scan on the headers of the traces that belong to it.

use crate::check::{assert_answers, compile, count_distinct};
use crate::classbench::{headers, rules};
use crate::corners::{Draw, keys};
use crate::scan::Scan;
use classifier::{Family, FlagsMatch, PacketKey, Rule};
use fastrand::Rng;
use lab::need::{Need, missing, shared, skip};

/// Headers of each trace.
const HEADERS: usize = 100_000;

/// Compares the set `path` on the traces `traces`, or, where it has none of its own, on headers
/// around its corners; IPv4 sets on random headers too.
fn check(path: &str, traces: &[&str]) {
    let Some(dir) = shared("rulesets") else { return };
    if let Some(why) = missing(&[Need::Program("xz")]) {
        return skip(path, &why);
    }
    let rules = rules(&dir.join(path));
    assert!(rules.len() > 700, "{path} has {} rules", rules.len());
    let trace = |name: &str| headers(&dir.join(format!("traces/{name}.xz")), HEADERS);
    let mut of_set: Vec<PacketKey> = traces.iter().flat_map(|name| trace(name)).collect();
    if traces.is_empty() {
        of_set = around_corners(&rules);
    }
    let distinct = compare(path, &rules, &of_set);
    // The headers must have reached the rules, or agreeing says nothing.
    assert!(distinct * 2 > rules.len(), "{path}: found {distinct} of {} rules", rules.len());
    if of_set[0].family() == Family::V4 {
        compare(path, &rules, &trace("rand_trace"));
    }
}

/// As ClassBench's flags and as the literature has it, without: how many rules were found.
fn compare(path: &str, rules: &[Rule], headers: &[PacketKey]) -> usize {
    let without: Vec<_> =
        rules.iter().map(|rule| Rule { tcp_flags: FlagsMatch::ANY, ..rule.clone() }).collect();
    let mut distinct = 0;
    for rules in [rules, &without] {
        let expected = match headers[0].family() {
            Family::V4 => Scan::<3>::new(rules).first(headers),
            Family::V6 => Scan::<9>::new(rules).first(headers),
        };
        assert_answers(&compile(rules), headers, &expected);
        distinct = distinct.max(count_distinct(&expected));
    }
    eprintln!("{path}: {} headers found {distinct} of {} rules", headers.len(), rules.len());
    distinct
}

/// Headers around the corners of `rules`, all of their family.
fn around_corners(rules: &[Rule]) -> Vec<PacketKey> {
    let draw = Draw { accepted: rules.len(), corners: 800, mixed: 40, near: 8 };
    let mut keys = keys(rules, draw, &mut Rng::with_seed(1));
    let family = if rules[0].src.ranges(Family::V4).is_empty() { Family::V6 } else { Family::V4 };
    keys.retain(|key| key.family() == family);
    keys.truncate(HEADERS);
    keys
}

macro_rules! sets {
    ($($name:ident: $path:literal, $traces:expr;)+) => {
        $(
            #[test]
            fn $name() {
                check($path, &$traces);
            }
        )+
    };
}

sets! {
    acl1_1k: "v4/acl1_1k", ["acl1_1k_trace"];
    acl1_10k: "v4/acl1_10k", ["acl1_10k_trace", "acl1_10k_xtrace"];
    acl1_100k: "v4/acl1_100k.xz", ["acl1_100k_trace"];
    acl2_1k: "v4/acl2_1k", [];
    acl2_10k: "v4/acl2_10k", [];
    fw1_1k: "v4/fw1_1k", ["fw1_1k_trace"];
    fw1_10k: "v4/fw1_10k", ["fw1_10k_trace", "fw1_10k_xtrace"];
    fw1_100k: "v4/fw1_100k.xz", [];
    fw2_1k: "v4/fw2_1k", [];
    fw2_10k: "v4/fw2_10k", [];
    ipc1_1k: "v4/ipc1_1k", ["ipc1_1k_trace"];
    ipc1_10k: "v4/ipc1_10k", ["ipc1_10k_trace", "ipc1_10k_xtrace"];
    acl1_v4in6_1k: "v6/acl1_v4in6_1k", [];
    acl1_v4in6_10k: "v6/acl1_v4in6_10k", ["acl1_v4in6_10k_trace"];
    fw1_v4in6_1k: "v6/fw1_v4in6_1k", [];
    fw1_v4in6_10k: "v6/fw1_v4in6_10k", [];
    ipc1_v4in6_1k: "v6/ipc1_v4in6_1k", [];
    ipc1_v4in6_10k: "v6/ipc1_v4in6_10k", [];
}
