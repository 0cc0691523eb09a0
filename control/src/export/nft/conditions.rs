//! What rules ask for besides ends and services, in nftables' words.

use super::Part;
use crate::policy::{Conditions, TCP_FLAGS, mac_text};
use classifier::{Family, FlagsMatch, LengthRange, MacMatch};

/// For each condition the parts of which a packet must match one.
pub(super) fn parts(conditions: &Conditions) -> Vec<Vec<Part>> {
    let Conditions { src_macs, dst_macs, lengths, tcp_flags, dscps, fragment } = conditions;
    let lists = [
        macs("saddr", src_macs),
        macs("daddr", dst_macs),
        length(lengths),
        tcp_flags.iter().map(flags).collect(),
        code_points(dscps),
        fragment.map_or_else(Vec::new, fragments),
    ];
    lists.into_iter().filter(|list| !list.is_empty()).collect()
}

fn any(words: String) -> Part {
    Part { words, family: None }
}

/// Whole addresses together, and one part for each with a mask.
fn macs(side: &str, macs: &[MacMatch]) -> Vec<Part> {
    let (whole, masked): (Vec<&MacMatch>, Vec<_>) =
        macs.iter().partition(|mac| mac.mask == [u8::MAX; 6]);
    let mut parts = Vec::new();
    if !whole.is_empty() {
        let whole = whole.iter().map(|mac| mac_text(mac.value));
        parts.push(any(format!("ether {side} {} ", set(whole.collect()))));
    }
    parts.extend(masked.iter().map(|mac| {
        let (mask, value) = (mac_text(mac.mask), mac_text(mac.value));
        any(format!("ether {side} & {mask} == {value} "))
    }));
    parts
}

/// In the forward chain `meta length` is the length of the IP packet: the kernel has taken the
/// Ethernet header off and trimmed the padding (`ip_rcv_core`, `ip6_rcv_core`).
fn length(lengths: &[LengthRange]) -> Vec<Part> {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable_by_key(|range| range.low);
    let mut merged: Vec<LengthRange> = Vec::new();
    for range in lengths {
        match merged.last_mut() {
            // nftables refuses intervals that overlap or touch.
            Some(last) if u32::from(range.low) <= u32::from(last.high) + 1 => {
                last.high = last.high.max(range.high);
            }
            _ => merged.push(range),
        }
    }
    let intervals = merged.iter().map(|range| match range.low == range.high {
        true => range.low.to_string(),
        false => format!("{}-{}", range.low, range.high),
    });
    let intervals: Vec<_> = intervals.collect();
    if intervals.is_empty() {
        return Vec::new();
    }
    vec![any(format!("meta length {} ", set(intervals)))]
}

fn flags(flags: &FlagsMatch) -> Part {
    let names = |bits: u16| {
        let set = TCP_FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
        // nftables has a name of its own for the flag that RFC 9293 calls ECE.
        let nft = |name: &'static str| if name == "ece" { "ecn" } else { name };
        let names: Vec<_> = set.map(|(_, name)| nft(name)).collect();
        if names.is_empty() { "0".to_owned() } else { format!("({})", names.join("|")) }
    };
    any(format!("tcp flags & {} == {} ", names(flags.mask), names(flags.value)))
}

fn code_points(points: &[u8]) -> Vec<Part> {
    if points.is_empty() {
        return Vec::new();
    }
    let points = set(points.iter().map(u8::to_string).collect());
    [("ip", Family::V4), ("ip6", Family::V6)]
        .map(|(ip, family)| Part { words: format!("{ip} dscp {points} "), family: Some(family) })
        .into()
}

/// Connection tracking has reassembled whatever it could before this chain. An IPv6 packet with a
/// fragment header that says nothing (RFC 6946) is no fragment.
fn fragments(fragment: bool) -> Vec<Part> {
    let v4 = if fragment { "!=" } else { "==" };
    let v6: &[&str] = match fragment {
        true => &["frag frag-off != 0 ", "frag frag-off 0 frag more-fragments 1 "],
        false => &["exthdr frag missing ", "frag frag-off 0 frag more-fragments 0 "],
    };
    let mut parts =
        vec![Part { words: format!("ip frag-off & 0x3fff {v4} 0 "), family: Some(Family::V4) }];
    parts.extend(v6.iter().map(|words| Part {
        words: format!("meta nfproto ipv6 {words}"),
        family: Some(Family::V6),
    }));
    parts
}

/// One element as it is, several as an anonymous set.
fn set(elements: Vec<String>) -> String {
    match &elements[..] {
        [one] => one.clone(),
        several => format!("{{ {} }}", several.join(", ")),
    }
}
