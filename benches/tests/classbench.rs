//! The programs gen-classbench and classbench, as a driver calls them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const GENERATOR: &str = env!("CARGO_BIN_EXE_gen-classbench");
const CLASSBENCH: &str = env!("CARGO_BIN_EXE_classbench");

/// A rule set of 200 rules and a trace of 1000 headers.
struct Files {
    _dir: TempDir,
    rules: PathBuf,
    trace: PathBuf,
}

impl Files {
    fn new(structure: &str, pattern: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (rules, trace) = (dir.path().join("rules"), dir.path().join("trace"));
        let make = |args: &[&str], out: &Path| {
            let output = Command::new(GENERATOR).args(args).arg("--out").arg(out).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        make(&["rules", "--structure", structure, "--rules", "200"], &rules);
        let of = rules.to_str().unwrap();
        make(&["trace", "--rules", of, "--pattern", pattern, "--packets", "1000"], &trace);
        Files { _dir: dir, rules, trace }
    }

    fn classbench(&self) -> Command {
        let mut command = Command::new(CLASSBENCH);
        command.arg("--rules").arg(&self.rules).arg("--trace").arg(&self.trace);
        command
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let output =
            self.classbench().args(args).args(["--repeat", "1", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_engine_reports_the_same_facts_and_no_mismatch() {
    let files = Files::new("acl1", "corners");
    for engine in ["compiled", "linear", "tuple"] {
        let report = files.json(&["--engine", engine, "--check", "5000"]);
        assert_eq!(report["engine"], engine);
        let counts = ["rules", "packets", "checked", "mismatches", "passes", "batch"];
        let counts = counts.map(|field| report[field].as_u64().unwrap());
        assert_eq!(counts, [200, 1000, 1000, 0, 1, 64]);
        assert_eq!(report["matched_share"], 1.0);
        assert!(report["first_mismatch"].is_null());
        for field in ["ns_per_lookup", "median", "p99", "build_ms", "memory_bytes", "worst_case"] {
            assert!(report[field].as_f64().unwrap() >= 0.0, "{field}");
        }
    }
}

#[test]
fn engines_dump_the_same_rules_one_for_each_header() {
    let files = Files::new("fw1", "mixed");
    let dump = |engine| {
        let path = files.rules.with_file_name(engine);
        files.json(&["--engine", engine, "--dump", path.to_str().unwrap()]);
        std::fs::read_to_string(path).unwrap()
    };
    let linear = dump("linear");
    assert_eq!(linear.lines().count(), 1000);
    assert!(linear.lines().all(|line| (-1..200).contains(&line.parse().unwrap())));
    assert_eq!(dump("tuple"), linear);
    assert_eq!(dump("compiled"), linear);
}

#[test]
fn the_search_reports_what_it_found() {
    let files = Files::new("ipc1", "uniform");
    let worst = files.rules.with_file_name("worst");
    let mut generator = Command::new(GENERATOR);
    generator.args(["trace", "--pattern", "worst", "--climbs", "1", "--packets", "10"]);
    let made =
        generator.arg("--rules").arg(&files.rules).arg("--out").arg(&worst).output().unwrap();
    assert!(String::from_utf8_lossy(&made.stdout).contains("the first costs "), "{made:?}");
    assert_eq!(std::fs::read_to_string(worst).unwrap().lines().count(), 10);

    for engine in ["compiled", "linear", "tuple"] {
        let report = files.json(&["--engine", engine, "--worst", "1"]);
        let [found, bound] = ["worst_found", "worst_case"].map(|field| report[field].as_u64());
        assert!(found > Some(0) && found <= bound, "{report}");
        assert!(report["worst_ns_per_lookup"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_driver_gets_one_answer_for_each_line() {
    let files = Files::new("identity", "zipf");
    let dump = files.rules.with_file_name("dump");
    let mut command = Command::new(CLASSBENCH);
    command.arg("--rules").arg(&files.rules).args(["--serve", "--engine", "linear"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let trace = files.trace.display();
    let said = format!("pass\ntrace {trace}\npass\nhurry\ndump {}\nquit\npass\n", dump.display());
    child.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [ready, early, read, pass, error, dumped] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(ready["ready"]["rules"], 200);
    assert_eq!(early["error"], "there are no headers yet: trace FILE");
    assert_eq!(read["packets"], 1000);
    assert!(pass["ns_per_lookup"].as_f64().unwrap() > 0.0);
    assert_eq!(error["error"], "expected: trace FILE, pass, dump FILE or quit");
    assert_eq!(dumped["dumped"], 1000);
    assert_eq!(std::fs::read_to_string(dump).unwrap().lines().count(), 1000);
}

#[test]
fn hidden_rules_are_found_and_named() {
    let files = Files::new("acl1", "uniform");
    let whole = std::fs::read_to_string(&files.rules).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    // What a rule says, and an earlier rule has said.
    let doubled = [&lines[..100], &[lines[50]], &lines[100..]].concat().join("\n");
    std::fs::write(&files.rules, doubled).unwrap();

    let report = files.json(&["--shadowed"]);
    let findings = report["shadowed"]["findings"].as_array().unwrap();
    let doubled = findings.iter().find(|found| found["rule"] == 100).expect("the doubled rule");
    assert_eq!(doubled["by"].as_array().unwrap().len(), 1, "{doubled}");
    let counts = ["hidden", "empty", "undecided"].map(|field| report["shadowed"][field].as_u64());
    assert_eq!(counts, [Some(findings.len() as u64), Some(0), Some(0)]);
    assert!(report["shadowed"]["audit_ms"].as_f64().unwrap() > 0.0);

    let output = files.classbench().args(["--shadowed", "--repeat", "1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(" rules are hidden by earlier ones, 0 match nothing"), "{text}");
    assert!(text.contains("\n    rule "), "{text}");
}

#[test]
fn updates_are_timed_and_checked() {
    let files = Files::new("ipc1", "uniform");
    let report = files.json(&["--update", "3"]);
    assert_eq!(report["update_edits"], 3);
    let [patched, rebuilt] = ["update_patched", "update_rebuilt"].map(|field| &report[field]);
    assert_eq!(patched.as_u64().unwrap() + rebuilt.as_u64().unwrap(), 1, "{report}");
    assert!(report["update_ms"]["median"].as_f64().unwrap() > 0.0);
    assert!(report["update_check"]["checked"].as_u64() >= Some(150), "{report}");
    assert_eq!(report["update_check"]["mismatches"], 0);
    // The check of the table itself keeps its own count.
    assert_eq!(report["checked"], 0);

    let output = files.classbench().args(["--update", "3", "--repeat", "2"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("3 edits in ") && text.contains("; of 2 updates "), "{text}");
}

#[test]
fn what_goes_wrong_is_told_by_exit_code_and_message() {
    let files = Files::new("identity", "uniform");
    let run = |args: &[&str]| files.classbench().args(args).output().unwrap();

    let output = run(&["--engine", "tuple"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("looks at"), "{output:?}");

    let output = run(&["--engine", "linear", "--simd", "avx2"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(run(&["--batch", "0"]).status.code(), Some(2));
    assert_eq!(run(&["--serve", "--json"]).status.code(), Some(2));
    assert_eq!(run(&["--engine", "tuple", "--shadowed"]).status.code(), Some(2));
    assert_eq!(run(&["--engine", "linear", "--update", "1"]).status.code(), Some(2));

    let mut swapped = Command::new(CLASSBENCH);
    swapped.arg("--rules").arg(&files.trace).arg("--trace").arg(&files.rules);
    let output = swapped.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("trace:1: expected @ and a rule"), "{output:?}");
}

#[test]
fn the_same_seed_makes_the_same_files() {
    let made = [0, 1].map(|_| {
        let files = Files::new("acl2", "zipf");
        [&files.rules, &files.trace].map(|path| std::fs::read(path).unwrap())
    });
    assert_eq!(made[0], made[1]);
}
