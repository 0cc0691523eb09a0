//! `--map`: which capture or address side is which zone.

use crate::policy::{Policy, ZoneMap};
use classifier::{AddressMatch, ZoneId};
use dataplane::SideMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The sides that the policy and the `--map` arguments tell.
///
/// # Errors
/// A message that names the argument.
pub(super) fn read(
    maps: &[String],
    captures: &[PathBuf],
    policy: &Policy,
    zones: &ZoneMap,
) -> Result<SideMap, String> {
    let mut sides = SideMap {
        networks: Vec::new(),
        files: vec![None; captures.len()],
        pair: match policy.zones() {
            [_, _] => Some([ZoneId(0), ZoneId(1)]),
            _ => None,
        },
    };
    for map in maps {
        let wrong = |why: String| format!("--map {map}: {why}");
        let (name, value) = map
            .split_once('=')
            .ok_or_else(|| wrong("say ZONE=PREFIX[,PREFIX...] or ZONE=FILE".into()))?;
        let zone = zones.id(name).ok_or_else(|| {
            wrong(format!("the policy has no zone {name}; it has {}", zones.names().join(", ")))
        })?;
        if let Some(file) = capture_number(value, captures) {
            sides.files[file] = Some(zone);
            continue;
        }
        for text in value.split(',') {
            let network = prefix(text).ok_or_else(|| {
                wrong(format!("{text} is neither a prefix, such as 10.1.0.0/24, nor a --pcap file"))
            })?;
            sides.networks.push((network, zone));
        }
    }
    // What --map says of an address comes before what the policy says: of two equal prefixes the
    // first one counts.
    for (network, zone) in policy.located() {
        sides.networks.push((network, zones.id(&zone.name).unwrap_or(ZoneId::UNKNOWN)));
    }
    Ok(sides)
}

/// The capture that `value` names, by its path as given or by its file name.
fn capture_number(value: &str, captures: &[PathBuf]) -> Option<usize> {
    let path = Path::new(value);
    captures
        .iter()
        .position(|capture| capture == path)
        .or_else(|| captures.iter().position(|c| c.file_name() == Some(path.as_os_str())))
}

fn prefix(text: &str) -> Option<AddressMatch> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.trim().parse().ok()?;
    match len {
        Some(len) => AddressMatch::prefix(address, len).ok(),
        None => Some(AddressMatch::host(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "version: 1
zones: {a: {networks: [10.0.0.0/8]}, b: {}}
hosts: {h: {zone: b, addresses: [10.1.1.1]}, nowhere: {addresses: [10.1.1.2]}}
rules: []
";

    fn map(maps: &[&str]) -> Result<SideMap, String> {
        let policy = Policy::parse("p", POLICY).expect("the policy is valid");
        let maps: Vec<String> = maps.iter().map(|m| m.to_string()).collect();
        let captures = [PathBuf::from("dir/left.pcap"), PathBuf::from("right.pcap")];
        read(&maps, &captures, &policy, &ZoneMap::of(&policy))
    }

    #[test]
    fn addresses_and_captures_are_told_apart() {
        let sides = map(&["b=192.0.2.1,2001:db8::/32", "a=left.pcap", "b=right.pcap"]).unwrap();
        assert_eq!(sides.files, [Some(ZoneId(0)), Some(ZoneId(1))]);
        let zones: Vec<_> = sides.networks.iter().map(|(_, zone)| zone.0).collect();
        assert_eq!(zones, [1, 1, 0, 1], "two of --map, the policy's zone, its host with a zone");
        assert_eq!(sides.pair, Some([ZoneId(0), ZoneId(1)]));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (argument, part) in [
            ("a", "ZONE=PREFIX"),
            ("c=10.0.0.0/8", "no zone c"),
            ("a=10.0.0.0/33", "10.0.0.0/33 is neither"),
            ("a=elsewhere.pcap", "elsewhere.pcap is neither"),
        ] {
            let error = map(&[argument]).unwrap_err();
            assert!(error.contains(part) && error.contains(argument), "{error}");
        }
    }
}
