//! What the README says of the product, held against the product.

use dataplane::DropReason;

#[test]
fn the_readme_lists_every_drop_reason_with_its_meaning() {
    let readme = include_str!("../../README.md");
    let rows: Vec<&str> =
        readme.lines().skip_while(|line| *line != "| drop reason | meaning |").collect();
    let rows = rows.iter().skip(2).take_while(|line| line.starts_with('|'));
    let written: Vec<&str> = rows.copied().collect();
    let meant: Vec<String> = DropReason::ALL
        .iter()
        .map(|reason| format!("| `{}` | {} |", reason.as_str(), reason.describe()))
        .collect();
    assert_eq!(written, meant);
}

#[test]
fn the_readmes_first_policy_is_valid() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```yaml\n").expect("the README shows a policy");
    let (policy, _) = rest.split_once("```").expect("the block ends");
    let policy = control::policy::Policy::parse("README.md", policy).expect("it is valid");
    assert_eq!(policy.rules().len(), 2);
}
