//! What programs find, compared.

use super::{Error, Result};
use crate::classbench::write_rules;
use classifier::{PacketKey, Rule, RuleIndex};
use std::fs;
use std::path::Path;

/// The rules in a dump, one for each header; `None` where there is -1.
///
/// # Errors
/// If the file cannot be read, a line is no rule's index, or there are not `headers` lines.
pub fn read(path: &Path, headers: usize) -> Result<Vec<Option<RuleIndex>>> {
    let failed = |why: &dyn std::fmt::Display| Error::new(format!("{}{why}", path.display()));
    let text = fs::read_to_string(path).map_err(|why| failed(&format!(": {why}")))?;
    let found: Vec<Option<RuleIndex>> = text
        .lines()
        .zip(1..)
        .map(|(line, number)| match line {
            "-1" => Ok(None),
            _ => line.parse().map(Some).map_err(|_| {
                failed(&format!(":{number}: expected a rule's index or -1, found {line:?}"))
            }),
        })
        .collect::<Result<_>>()?;
    if found.len() != headers {
        return Err(failed(&format!(": {} lines for {headers} headers", found.len())));
    }
    Ok(found)
}

/// One program's name and what it finds for each header.
pub type Dump<'a> = (&'a str, &'a [Option<RuleIndex>]);

/// Compares two dumps for the same `keys`.
///
/// # Errors
/// [`Error::Mismatch`] with the first header that they differ on, and the rules they name.
pub fn compare(rules: &[Rule], keys: &[PacketKey], one: Dump<'_>, other: Dump<'_>) -> Result<()> {
    let differ = one.1.iter().zip(other.1).position(|(one, other)| one != other);
    let Some(header) = differ else { return Ok(()) };
    let total = one.1.iter().zip(other.1).filter(|(one, other)| one != other).count();
    let side = |(name, found): Dump<'_>| match found[header] {
        Some(rule) => format!("{name} finds rule {rule}: {}", text(rules, rule)),
        None => format!("{name} finds none"),
    };
    Err(Error::Mismatch(format!(
        "header {header} (from 0; of {total} that differ): {:?}\n    {}\n    {}",
        keys[header],
        side(one),
        side(other)
    )))
}

/// A rule as its line in a file.
fn text(rules: &[Rule], index: RuleIndex) -> String {
    let Some(rule) = rules.get(index as usize) else {
        return format!("there are only {} rules", rules.len());
    };
    let mut line = Vec::new();
    match write_rules(&mut line, std::slice::from_ref(rule)) {
        Ok(()) => String::from_utf8_lossy(&line).trim().to_owned(),
        Err(_) => format!("{rule:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::{AddressMatch, Family, PortRange};

    fn dump(text: &str, headers: usize) -> Result<Vec<Option<RuleIndex>>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump");
        fs::write(&path, text).unwrap();
        read(&path, headers)
    }

    #[test]
    fn a_dump_has_a_line_for_each_header() {
        assert_eq!(dump("3\n-1\n0\n", 3).unwrap(), [Some(3), None, Some(0)]);
        let short = dump("3\n", 2).unwrap_err().to_string();
        assert!(short.ends_with("dump: 1 lines for 2 headers"), "{short}");
        let odd = dump("3\n-2\n", 2).unwrap_err().to_string();
        assert!(odd.ends_with("dump:2: expected a rule's index or -1, found \"-2\""), "{odd}");
    }

    #[test]
    fn a_mismatch_names_the_header_and_both_rules() {
        let src = AddressMatch::prefix([10, 0, 0, 0].into(), 8).unwrap();
        let rules = [
            Rule { src, dst_ports: PortRange::one(80), protocol: Some(6), ..Rule::ANY },
            Rule::ANY,
        ];
        let keys = [PacketKey::empty(Family::V4); 4];
        let ours = [Some(1), Some(0), None, None];
        assert!(compare(&rules, &keys, ("ours", &ours), ("theirs", &ours)).is_ok());

        let theirs = [Some(1), Some(1), Some(7), None];
        let error = compare(&rules, &keys, ("ours", &ours), ("theirs", &theirs)).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)));
        let said = error.to_string();
        assert!(said.starts_with("header 1 (from 0; of 2 that differ): PacketKey {"), "{said}");
        assert!(said.contains("ours finds rule 0: @10.0.0.0/8\t0.0.0.0/0\t0 : 65535\t80 : 80"));
        assert!(said.contains("theirs finds rule 1: @any"), "{said}");

        let theirs = [Some(1), Some(0), Some(7), None];
        let said = compare(&rules, &keys, ("a", &ours), ("b", &theirs)).unwrap_err().to_string();
        assert!(said.contains("a finds none"), "{said}");
        assert!(said.contains("b finds rule 7: there are only 2 rules"), "{said}");
    }
}
