//! What the README says of the product, held against the product.

use dataplane::{DropReason, Timeouts};

#[test]
fn the_readme_lists_every_drop_reason_with_its_meaning() {
    let meant: Vec<String> = DropReason::ALL
        .iter()
        .map(|reason| format!("| `{}` | {} |", reason.as_str(), reason.describe()))
        .collect();
    assert_eq!(rows("| drop reason | meaning |"), meant);
}

#[test]
fn the_readme_lists_every_timeout_with_its_default_and_meaning() {
    let mut timeouts = Timeouts::default();
    let mut row = |name: &str, text: &str| {
        let seconds = timeouts.by_name(name).expect("it is listed").as_secs();
        format!("| `{name}` | {seconds} | {text} |")
    };
    let meant: Vec<String> = Timeouts::NAMES.iter().map(|(name, text)| row(name, text)).collect();
    assert_eq!(rows("| timeout | seconds | of flows of |"), meant);
}

/// The rows of the README's table with this heading.
fn rows(heading: &str) -> Vec<&'static str> {
    let lines = include_str!("../../README.md").lines().skip_while(|line| *line != heading);
    lines.skip(2).take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_readmes_first_policy_is_valid() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```yaml\n").expect("the README shows a policy");
    let (policy, _) = rest.split_once("```").expect("the block ends");
    let policy = control::policy::Policy::parse("README.md", policy).expect("it is valid");
    assert_eq!(policy.rules().len(), 2);
}
