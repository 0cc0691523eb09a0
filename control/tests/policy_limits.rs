//! Hostile and huge policies: bounded, and refused with a reason.

use control::policy::{MAX_ENTRIES, MAX_ZONES, Policy, ZoneMap};
use std::fmt::Write;
use std::time::{Duration, Instant};

fn errors(policy: &str) -> String {
    Policy::parse("p.yaml", policy).expect_err("the policy is too much").to_string()
}

/// `count` addresses of a host called `name`, in YAML.
fn host(name: &str, count: u32) -> String {
    let mut list = String::new();
    for n in 0..count {
        write!(list, "{}, ", std::net::Ipv4Addr::from_bits(0x0a00_0000 + n)).unwrap();
    }
    format!("  {name}: {{ addresses: [{list}] }}\n")
}

#[test]
fn a_million_combinations_are_lowered_and_one_more_is_refused() {
    let policy = |extra: &str| {
        let hosts = host("thousand", 1_000);
        format!(
            "version: 1\nhosts:\n{hosts}rules:\n  - {{ id: all, from: thousand, to: thousand, \
             service: any, action: allow }}\n{extra}"
        )
    };
    let whole = Policy::parse("p.yaml", &policy("")).unwrap();
    let lowered = whole.lower(&ZoneMap::of(&whole)).unwrap();
    assert_eq!(lowered.rules.len(), MAX_ENTRIES);
    let one = "  - { id: last, from: any, to: any, service: any, action: deny }\n";
    let found = errors(&policy(one));
    assert!(found.starts_with("p.yaml:6:5: rule `last` takes the policy to 1000001"), "{found}");
}

#[test]
fn a_product_beyond_all_numbers_is_refused_before_it_is_made() {
    let many = host("many", 100_000);
    let started = Instant::now();
    let found = errors(&format!(
        "version: 1\nhosts:\n{many}rules:\n  - {{ id: huge, from: many, to: many, service: any, \
         action: allow }}\n"
    ));
    assert!(found.contains("rule `huge` takes the policy to 10000000000"), "{found}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn zones_are_limited() {
    let policy = |count: usize| {
        let mut text = "version: 1\nzones:\n".to_owned();
        for n in 0..count {
            writeln!(text, "  z{n}:").unwrap();
        }
        text + "rules: []\n"
    };
    let most = Policy::parse("p.yaml", &policy(MAX_ZONES)).unwrap();
    assert_eq!(ZoneMap::of(&most).names().len(), MAX_ZONES);
    let found = errors(&policy(MAX_ZONES + 1));
    assert!(found.starts_with("p.yaml:65003:3: there are more than 65000 zones"), "{found}");
}

#[test]
fn deep_nesting_is_refused() {
    let found = errors(&format!("version: 1\nzones: {}\n", "[".repeat(100_000)));
    assert!(found.starts_with("p.yaml:2:"), "{found}");
    let deep: String = (0..10_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let found = errors(&format!("version: 1\nhosts:\n  web:\n    addresses:\n      - {deep}"));
    assert!(found.starts_with("p.yaml:"), "{found}");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "version: 1\nhosts:\n  h0: { addresses: &a0 [10.0.0.1, 10.0.0.2] }\n".to_owned();
    let ten = |n: usize| vec![format!("*a{n}"); 10].join(", ");
    for n in 1..10 {
        writeln!(text, "  h{n}: {{ addresses: &a{n} [{}] }}", ten(n - 1)).unwrap();
    }
    let started = Instant::now();
    assert!(errors(&(text + "rules: []\n")).starts_with("p.yaml:4:"));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let host = format!("  h0: {{ addresses: &a [{}] }}\n", "10.0.0.1, ".repeat(1_000));
    let uses: String = (1..5_000).map(|n| format!("  h{n}: {{ addresses: *a }}\n")).collect();
    let found = errors(&format!("version: 1\nhosts:\n{host}{uses}rules: []\n"));
    assert!(found.contains("too large") || found.contains("limit"), "{found}");
}

#[test]
fn an_alias_may_stand_for_a_list_used_twice() {
    let text = "version: 1\nhosts:\n  a: { addresses: &both [10.0.0.1, 10.0.0.2] }\n  b: { \
                addresses: *both }\nrules:\n  - { id: r, from: a, to: b, service: any, action: \
                allow }\n";
    let policy = Policy::parse("p.yaml", text).unwrap();
    assert_eq!(policy.lower(&ZoneMap::of(&policy)).unwrap().rules.len(), 4);
}

#[test]
fn a_file_over_the_limit_is_refused_unread() {
    let found = errors(&" ".repeat((64 << 20) + 1));
    assert_eq!(found, "p.yaml: the file is larger than the limit of 64 MiB");
}

#[test]
fn errors_beyond_a_hundred_are_counted_not_listed() {
    let mut text = "version: 1\nrules:\n".to_owned();
    for n in 0..2_000 {
        let rule = "from: nobody, to: any, service: any, action: allow";
        writeln!(text, "  - {{ id: r{n}, {rule} }}").unwrap();
    }
    let found = errors(&text);
    assert_eq!(found.lines().count(), 101);
    assert!(found.ends_with("more errors are not shown"), "{found}");
}

#[test]
fn comments_and_byte_order_marks_and_carriage_returns_do_no_harm() {
    let comments = "# comment\r\n".repeat(500);
    let text = format!(
        "\u{feff}{comments}version: 1\r\nzones:\r\n{comments}  a:\r\n{comments}  b: {{}}\r\nrules: \
         []\r\n"
    );
    let policy = Policy::parse("p.yaml", &text).unwrap();
    let names: Vec<_> = policy.zones().iter().map(|zone| zone.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}
