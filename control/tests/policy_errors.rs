//! Wrong policies: each is refused, and everything wrong in it is said, at its place.

use control::diagnostic::Diagnostics;
use control::policy::{Policy, ZoneMap};

/// A case of `policy_errors.txt`.
struct Case {
    title: &'static str,
    policy: String,
    /// `line:column` (or `-:-`) and part of the message.
    expected: Vec<(&'static str, &'static str)>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("policy_errors.txt").lines() {
        if let Some(title) = line.strip_prefix("### ") {
            cases.push(Case { title, policy: String::new(), expected: Vec::new() });
        } else if let (Some(expected), Some(case)) = (line.strip_prefix(">>> "), cases.last_mut()) {
            case.expected.push(expected.split_once(' ').unwrap());
        } else if let Some(case) = cases.last_mut()
            && case.expected.is_empty()
        {
            case.policy += line;
            case.policy += "\n";
        }
    }
    cases
}

fn errors(policy: &str) -> Diagnostics {
    Policy::parse("p.yaml", policy).expect_err("the policy is wrong")
}

#[test]
fn all_errors_of_wrong_policies_are_reported_where_they_are() {
    let cases = cases();
    assert!(cases.len() >= 45, "only {} cases were read", cases.len());
    let mut failures = String::new();
    for case in cases {
        assert!(!case.expected.is_empty(), "{}", case.title);
        let Diagnostics(found) = match Policy::parse("p.yaml", &case.policy) {
            Err(found) => found,
            Ok(_) => Diagnostics(Vec::new()),
        };
        let right = found.len() == case.expected.len()
            && found.iter().zip(&case.expected).all(|(found, (place, part))| {
                let (line, column) = place.split_once(':').unwrap();
                found.line == line.parse().ok()
                    && found.column == column.parse().ok()
                    && found.message.contains(part)
            });
        if !right {
            failures += &format!("\n{}:\n{}\n", case.title, Diagnostics(found));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn messages_are_one_line_and_hold_no_control_characters() {
    for case in cases() {
        for diagnostic in errors(&case.policy).0 {
            let text = diagnostic.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            let shown = format!("{diagnostic:#}");
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

#[test]
fn carets_stand_under_the_value() {
    let policy = "version: 1\nzones: { clients: {} }\nrules:\n  - id: a\n    from: client\n    to: \
                  any\n    service: any\n    action: deny\n";
    let Diagnostics(found) = errors(policy);
    let shown = format!("{:#}", found[0]);
    let lines: Vec<_> = shown.lines().collect();
    let [_, source, caret] = lines[..] else { panic!("{shown}") };
    assert_eq!(source.find("client"), caret.find('^'));
}

#[test]
fn the_line_that_is_shown_is_the_one_that_yaml_counts() {
    for newline in ["\n", "\r\n", "\r"] {
        let policy =
            ["version: 1", "", "zones: { a: {} }", "rules: []", "hosts: wrong"].join(newline);
        let Diagnostics(found) = errors(&policy);
        assert_eq!(found[0].line, Some(5), "{newline:?}");
        assert!(format!("{:#}", found[0]).contains("\n 5 | hosts: wrong\n"), "{newline:?}");
    }
}

#[test]
fn a_zone_of_a_port_that_the_policy_lacks_is_an_error() {
    let policy =
        Policy::parse("p.yaml", "version: 1\nzones: { servers: {}, clients: {} }\nrules: []\n");
    let policy = policy.unwrap();
    let gateway = ZoneMap::from_names(["client", "servers", "guests"]);
    let Diagnostics(found) = policy.lower(&gateway).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    let lacks = "p.yaml: the policy lacks zone";
    let belongs = "to which a port of the gateway belongs";
    assert_eq!(
        found,
        [
            format!("{lacks} `client`, {belongs}; did you mean `clients`?"),
            format!("{lacks} `guests`, {belongs}"),
        ]
    );
}

#[test]
fn loading_tells_a_missing_file_from_a_wrong_one() {
    use control::diagnostic::LoadError;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    assert!(matches!(Policy::load(&path), Err(LoadError::Io { .. })));
    std::fs::write(&path, "version: 1\n").unwrap();
    let error = Policy::load(&path).unwrap_err();
    assert!(matches!(error, LoadError::Invalid(_)));
    assert!(error.to_string().starts_with(&format!("{}: `rules`", path.display())), "{error}");
    std::fs::write(&path, "version: 1\nrules: []\n").unwrap();
    assert!(Policy::load(&path).unwrap().rules().is_empty());
    std::fs::write(&path, b"version: 1\nrules: []\n# \xff\n").unwrap();
    assert!(matches!(Policy::load(&path), Err(LoadError::Io { .. })));
}
