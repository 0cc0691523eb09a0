//! The commands that talk to a gateway, and `check`, as a user runs them.

mod server_fake;

use control::policy::Compiler;
use server_fake::{Gateway, POLICY, REORDERED, SHADOWED};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn bulkhead() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.env_remove("BULKHEAD_SOCKET");
    command
}

impl Gateway {
    /// Runs `bulkhead` with `words`, against this gateway.
    fn run(&self, words: &[&str]) -> Output {
        bulkhead().args(words).env("BULKHEAD_SOCKET", &self.socket).output().unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("ended by itself")
}

#[test]
fn status_prints_the_gateway_and_its_ports() {
    let gateway = Gateway::start();
    gateway.fake.state().workers[0].core = None;
    let output = gateway.run(&["status"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    for expected in [
        "policy    first.yaml, generation 1, since 2",
        "          3 rules, 4 entries, compiled in 3.0ms",
        "table     rebuilt; a lookup touches at most ",
        "flows     5 open of 1000, 9 opened, 4 closed, 1 of them evicted",
        "          2 established, 0 half-open, 2 one-sided, 1 closing",
        "fragments 7 held of 4096, 3 datagrams incomplete",
        "memory    table ",
        "frames    balanced: received = transmitted + dropped + held",
        "warning   worker 0 is not pinned to a core",
    ] {
        assert!(text.lines().any(|line| line.starts_with(expected)), "{expected:?} in\n{text}");
    }
    let left = text.lines().find(|line| line.starts_with("left ")).unwrap();
    let cells: Vec<_> = left.split_whitespace().collect();
    let expected = "left bh0 clients uplink up native all 100 6000 20 1200 9 1";
    assert_eq!(cells, expected.split(' ').collect::<Vec<_>>(), "{text}");
}

#[test]
fn flows_and_drops_print_endpoints_and_rules() {
    let gateway = Gateway::start();
    let text = out(&gateway.run(&["flows"]));
    let flow = text.lines().find(|line| line.starts_with("uplink")).unwrap();
    let cells: Vec<_> = flow.split_whitespace().take(8).collect();
    let expected = "uplink tcp clients 10.77.1.10:40000 servers 10.77.1.20:80 web established";
    assert_eq!(cells, expected.split(' ').collect::<Vec<_>>());
    let text = out(&gateway.run(&["drops"]));
    assert!(text.starts_with("9 dropped\n"), "{text}");
    assert!(text.contains("10.77.1.20:22"), "{text}");
    let (_, suspects) = text.split_once("\nsuspect, and only counted").expect("there are some");
    let row = suspects.lines().nth(2).unwrap();
    assert_eq!(
        row.split_whitespace().take(3).collect::<Vec<_>>(),
        ["left", "source_not_in_zone", "4"]
    );
    gateway.fake.state().ports[0].queues[0].suspects = [0; dataplane::DropReason::COUNT];
    assert!(!out(&gateway.run(&["drops"])).contains("suspect"));
    let text = out(&gateway.run(&["drops", "--limit", "0"]));
    assert!(!text.contains("10.77.1.20:22"), "{text}");
}

#[test]
fn status_prints_what_memory_is_for() {
    let gateway = Gateway::start();
    let text = out(&gateway.run(&["status"]));
    let memory = text.lines().find(|line| line.starts_with("memory")).unwrap();
    let (_, memory) = memory.split_once(", ").unwrap();
    assert_eq!(
        memory,
        "flows 62.5 KiB (129 B each, IPv6 161 B), fragments 32.0 KiB, umem 32.0 MiB, hand-over 8.0 \
         MiB"
    );
}

#[test]
fn flows_are_counted_by_source_and_by_rule() {
    let gateway = Gateway::start();
    let output = gateway.run(&["flows", "--top", "sources"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        "5 open of 1000, 2 listed\nSOURCE       FLOWS\n10.77.1.10       3\nfd77:1::/64      2\n"
    );
    let rules = ["flows", "--top", "rules", "--limit", "1"];
    let expected =
        "5 open of 1000, 1 listed\n1 not judged by generation 1 yet\nRULE  FLOWS\nback      3\n";
    assert_eq!(out(&gateway.run(&rules)), expected);
    gateway.fake.state().top_rules.others = 0;
    assert_eq!(
        out(&gateway.run(&rules)),
        expected.replace("1 not judged by generation 1 yet\n", "")
    );
    for (what, by) in [("sources", "source"), ("rules", "rule")] {
        let output = gateway.run(&["flows", "--top", what, "--json"]);
        let printed: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        assert_eq!(printed, gateway.request("GET", &format!("/v1/flows/top?by={by}")).1);
    }
}

#[test]
fn rules_print_what_becomes_of_their_established_flows() {
    let gateway = Gateway::start();
    let policy = POLICY.replace("    description: the shop\n", "    established: keep\n");
    assert_eq!(gateway.apply("", policy.as_bytes()).0, 200);
    let text = out(&gateway.run(&["rules"]));
    let of = |id: &str| {
        let line = text.lines().find(|line| line.starts_with(id)).unwrap();
        line.split_whitespace().nth(2).unwrap()
    };
    assert_eq!([of("web"), of("no-ssh"), of("back")], ["keep", "-", "recheck"], "{text}");
}

#[test]
fn json_is_the_document_of_the_socket() {
    let gateway = Gateway::start();
    for command in ["rules", "flows", "drops"] {
        let output = gateway.run(&[command, "--json"]);
        let printed: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        let (_, served) = gateway.request("GET", &format!("/v1/{command}"));
        assert_eq!(printed, served);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let gateway = Gateway::start();
    let rule =
        |i| format!("  - {{ id: r{i}, from: clients, to: servers, service: any, action: deny }}\n");
    let rules: String = (0..20_000).map(rule).collect();
    let policy = format!("version: 1\nzones: {{ clients: , servers: }}\nrules:\n{rules}");
    let (status, answer) = gateway.apply("", policy.as_bytes());
    assert_eq!(status, 200, "{answer}");
    let mut child = bulkhead()
        .args(["rules", "--socket"])
        .arg(&gateway.socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(err(&output), "");
    assert_eq!(code(&output), 0);
}

#[test]
fn apply_tells_both_generations_and_the_times() {
    let gateway = Gateway::start();
    let policy = gateway.file("second.yaml", REORDERED);
    let output = gateway.run(&["apply", policy.to_str().unwrap(), "--if-generation", "1"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    assert!(text.starts_with("generation 1 -> 2: 2 rules, 2 entries, compiled in "), "{text}");
    assert!(text.contains(" (patched), swapped in "), "{text}");
    assert_eq!(err(&output), "", "nothing to warn of");
    assert_eq!(gateway.client().status().unwrap().policy.file, policy.display().to_string());
}

#[test]
fn apply_of_an_invalid_policy_shows_the_line_and_exits_with_3() {
    let gateway = Gateway::start();
    let policy = gateway.file("broken.yaml", &POLICY.replace("to: web", "to: wbe"));
    let output = gateway.run(&["apply", policy.to_str().unwrap()]);
    assert_eq!(code(&output), 3);
    let text = err(&output);
    assert!(text.starts_with(&format!("{}:", policy.display())), "{text}");
    assert!(text.contains("|     to: wbe\n"), "{text}");
    assert!(text.ends_with("invalid: 1 error; nothing was changed\n"), "{text}");
    let output = gateway.run(&["apply", policy.to_str().unwrap(), "--json"]);
    assert_eq!(code(&output), 3);
    let document: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(document["diagnostics"].as_array().unwrap().len(), 1);
}

#[test]
fn apply_on_another_generation_exits_with_4_and_changes_nothing() {
    let gateway = Gateway::start();
    let policy = gateway.file("second.yaml", REORDERED);
    let output = gateway.run(&["apply", policy.to_str().unwrap(), "--if-generation", "7"]);
    assert_eq!(code(&output), 4);
    assert!(err(&output).starts_with("bulkhead: generation 1 is in force, not 7"));
    assert!(gateway.fake.state().published.is_empty());
}

#[test]
fn without_a_gateway_the_user_is_told_what_to_do() {
    let output = bulkhead().args(["status", "--socket", "/nonexistent/s.sock"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!(
        err(&output),
        "bulkhead: no gateway is listening on /nonexistent/s.sock; start one with `bulkhead run \
         --config gateway.yaml` or name its socket with --socket\n"
    );
}

#[test]
fn wrong_use_exits_with_2() {
    for words in [
        &[][..],
        &["flows", "--limit", "x"],
        &["flows", "--limit", "100001"],
        &["flows", "--top"],
        &["flows", "--top", "ports"],
        &["appply"],
    ] {
        assert_eq!(code(&bulkhead().args(words).output().unwrap()), 2, "{words:?}");
    }
}

#[test]
fn check_sums_up_a_valid_policy() {
    let gateway = Gateway::start();
    let policy = gateway.file("policy.yaml", POLICY);
    let output = bulkhead().arg("check").arg(&policy).output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    let expected = format!("{} is valid: 2 zones, 3 rules, 4 entries; the table", policy.display());
    assert!(out(&output).starts_with(&expected), "{}", out(&output));
    let output = bulkhead().arg("check").arg(&policy).arg("--json").output().unwrap();
    let checked: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&checked["valid"], &checked["rules"]), (&true.into(), &3.into()));
}

#[test]
fn check_shows_all_errors_and_exits_with_3() {
    let gateway = Gateway::start();
    let broken = POLICY.replace("to: web", "to: wbe").replace("action: deny", "action: dney");
    let policy = gateway.file("broken.yaml", &broken);
    let output = bulkhead().arg("check").arg(&policy).output().unwrap();
    assert_eq!(code(&output), 3);
    let text = err(&output);
    assert!(text.contains("to: wbe") && text.contains("action: dney"), "{text}");
    assert!(text.ends_with("broken.yaml is invalid: 2 errors\n"), "{text}");
    let output = bulkhead().arg("check").arg(&policy).arg("--json").output().unwrap();
    assert_eq!(code(&output), 3);
    let checked: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(checked["diagnostics"].as_array().unwrap().len(), 2);
}

/// What is said of [`SHADOWED`] as the file `policy`.
fn warnings(policy: &std::path::Path) -> String {
    let place = policy.display();
    format!(
        "{place}:9:5: warning: rule `web` is shadowed: all that it would allow is decided by `nothing` \
         (line 8, deny); move it above `nothing` to let it decide, or leave it out\n 9 |   - {{ id: web, \
         from: clients, to: web, service: any, action: allow }}\n   |     ^\n{place}:11:5: warning: \
         rule `again` is redundant: `back` (line 10) allows all that it allows; leave it out\n 11 |   - \
         {{ id: again, from: servers, to: clients, service: any, action: allow }}\n    |     ^\n"
    )
}

#[test]
fn check_warns_of_rules_that_could_be_left_out_and_exits_with_0() {
    let gateway = Gateway::start();
    let policy = gateway.file("policy.yaml", SHADOWED);
    let output = bulkhead().arg("check").arg(&policy).output().unwrap();
    assert_eq!(code(&output), 0);
    assert_eq!(err(&output), warnings(&policy));
    assert!(out(&output).contains(" is valid: 2 zones, 4 rules, 4 entries; "), "{}", out(&output));
    assert!(out(&output).contains(", 2 warnings\n"), "{}", out(&output));
    let output = bulkhead().arg("check").arg(&policy).arg("--json").output().unwrap();
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let checked: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(checked["valid"], true);
    let warning = |code, rule, by, line, action| {
        let shown = warnings(&policy);
        let start = format!("warning: rule `{rule}`");
        let shown = shown.lines().find(|shown| shown.contains(&start)).unwrap().to_owned();
        let (place, message) = shown.split_once(": warning: ").unwrap();
        let place: Vec<u64> = place.rsplitn(3, ':').take(2).map(|n| n.parse().unwrap()).collect();
        serde_json::json!({
            "code": code,
            "rule": rule,
            "hidden_by": [{ "rule": by, "line": line, "action": action }],
            "hidden_by_total": 1,
            "file": policy.display().to_string(),
            "line": place[1],
            "column": place[0],
            "message": message,
        })
    };
    let expected = serde_json::json!({
        "warnings": [
            warning("shadowed", "web", "nothing", 8, "deny"),
            warning("redundant", "again", "back", 10, "allow"),
        ],
        "warnings_total": 2,
        "undecided": 0,
    });
    assert_eq!(checked["audit"], expected);
}

#[test]
fn check_tells_how_much_it_does_not_show_and_could_not_find_out() {
    let gateway = Gateway::start();
    let rule = |n| format!("  - {{ id: r{n}, from: any, to: any, service: any, action: allow }}\n");
    let rules: String = (0..200).map(rule).collect();
    let policy = gateway.file("alike.yaml", &format!("version: 1\nrules:\n{rules}"));
    let output = bulkhead().arg("check").arg(&policy).output().unwrap();
    assert_eq!(code(&output), 0);
    assert_eq!(err(&output).matches("warning: rule `r").count(), 100);
    assert!(err(&output).ends_with("\nbulkhead: 99 more warnings are not shown\n"));
    assert!(out(&output).ends_with(", 199 warnings\n"), "{}", out(&output));

    // Of 1,024 addresses the first 600 are decided one by one: too many to take out in turn.
    let hosts: String = (0..600)
        .map(|n| format!("  h{n}: {{ addresses: [10.0.{}.{}] }}\n", n / 256, n % 256))
        .collect();
    let rule =
        |n| format!("  - {{ id: r{n}, from: h{n}, to: any, service: any, action: allow }}\n");
    let rules: String = (0..600).map(rule).collect();
    let policy = gateway.file(
        "overlapped.yaml",
        &format!(
            "version: 1\nhosts:\n{hosts}networks: {{ lan: {{ networks: [10.0.0.0/22] }} }}\n\
             rules:\n{rules}  - {{ id: lan, from: lan, to: any, service: any, action: deny }}\n"
        ),
    );
    let output = bulkhead().arg("check").arg(&policy).output().unwrap();
    assert_eq!(code(&output), 0);
    assert_eq!(
        err(&output),
        "bulkhead: 1 rule overlaps too many others to tell whether all it matches is decided by \
         those\n"
    );
}

#[test]
fn apply_warns_as_check_does_and_status_counts() {
    let gateway = Gateway::start();
    let policy = gateway.file("policy.yaml", SHADOWED);
    let output = gateway.run(&["apply", policy.to_str().unwrap()]);
    assert_eq!(code(&output), 0);
    assert_eq!(err(&output), warnings(&policy));
    assert!(
        out(&output).starts_with("generation 1 -> 2: 4 rules, 4 entries, "),
        "{}",
        out(&output)
    );
    let status = out(&gateway.run(&["status"]));
    assert!(status.contains("          4 rules, 4 entries, 2 warnings, compiled in "), "{status}");
    assert!(status.contains("\ntable     patched; a lookup touches at most "), "{status}");
    let applied = gateway.run(&["apply", policy.to_str().unwrap(), "--json"]);
    assert_eq!(err(&applied), "");
    let applied: serde_json::Value = serde_json::from_str(&out(&applied)).unwrap();
    let checked = bulkhead().arg("check").arg(&policy).arg("--json").output().unwrap();
    let checked: serde_json::Value = serde_json::from_str(&out(&checked)).unwrap();
    assert_eq!(applied["audit"], checked["audit"]);
    assert_eq!(applied["table_made"], "patched");
}

#[test]
fn apply_of_a_policy_that_passes_a_limit_names_its_rules_and_changes_nothing() {
    let limits = classifier::Config { max_rules: 4, ..classifier::Config::default() };
    let gateway = Gateway::with(Compiler::new(limits), POLICY);
    let large = format!(
        "{POLICY}  - {{ id: more, from: servers, to: web, service: http, action: deny }}\n"
    );
    let policy = gateway.file("large.yaml", &large);
    let output = gateway.run(&["apply", policy.to_str().unwrap()]);
    assert_eq!(code(&output), 3);
    let line = large.lines().count();
    let text = err(&output);
    assert!(text.contains(&format!("large.yaml:{line}:5: the policy becomes 6 ")), "{text}");
    assert!(text.contains(&format!("`more` (line {line})")), "{text}");
    assert!(text.contains(&format!(" {line} |   - {{ id: more, ")), "{text}");
    assert!(gateway.fake.state().published.is_empty());
    // What is in force is still what the next policy is compared with.
    let policy = gateway.file("small.yaml", SHADOWED);
    let output = gateway.run(&["apply", policy.to_str().unwrap()]);
    assert!(out(&output).contains(" (patched), "), "{}{}", out(&output), err(&output));
}

#[test]
fn check_of_a_file_that_is_not_there_exits_with_1() {
    let output = bulkhead().args(["check", "/nonexistent/policy.yaml"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("/nonexistent/policy.yaml"));
}
