//! The program bench-classifier, with a peer made of the linear scan.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A program that takes acl-bench's arguments and lines, and answers as it does. What it builds its
/// table from is what `rules` makes of the rule file `$1`.
fn peer(dir: &TempDir, rules: &str) -> PathBuf {
    let path = dir.path().join("peer");
    let script = format!(
        r#"#!/bin/sh
        while [ $# -gt 0 ]; do
            case $1 in
            --rules) rules=$2; shift ;;
            --max-size) size=$2; shift ;;
            --batch) batch=$2; shift ;;
            esac
            shift
        done
        [ "$size" != 0 ] || echo "a warning, only" >&2
        change() {{ {rules}; }}
        change "$rules" >"{dir}/rules.$size" || exit 1
        sed -u 's/^pass .*/pass/' |
            {classbench} --engine linear --rules "{dir}/rules.$size" --serve --batch "$batch" |
            sed -u 's/"engine"/"version":"fake 1","pages":"4k","variants":["default","a","b"],&/'
        "#,
        dir = dir.path().display(),
        classbench = env!("CARGO_BIN_EXE_classbench"),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(peer: Option<&Path>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-classifier"));
    command.args(["--rules", "150", "--packets", "400", "--passes", "4", "--core", "0"]);
    if let Some(peer) = peer {
        command.arg("--acl").arg(peer);
    }
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn sets_are_measured_beside_the_peer_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report");
    let output = run(
        Some(&peer(&dir, r#"cat "$1""#)),
        &["--sets", "acl1_150_v6,identity_150", "--json", json.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let markdown = text(&output.stdout);
    assert!(markdown.contains("rte_acl is of fake 1"), "{markdown}");
    let rows = markdown.lines().filter(|line| line.starts_with("| generated/acl1_150_v6 "));
    // Five traces among the lookups, a table, and five traces of other engines.
    assert_eq!(rows.count(), 5 + 1 + 5, "{markdown}");
    assert!(text(&output.stderr).contains("[1/3] generated/acl1_150_v6"), "{output:?}");

    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let [acl1, identity, _] = &report["sets"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(acl1["peer"][1]["setting"], 1 << 30);
    let uniform = &acl1["lookups"][0];
    assert_eq!((&uniform["trace"], &uniform["matched_share"]), (&"uniform".into(), &1.0.into()));
    assert_eq!(uniform["checked_with"], "rte_acl");
    // Two settings of two variants each: the default is one of them.
    assert_eq!(uniform["peer"].as_array().unwrap().len(), 4);
    assert_eq!(uniform["references"].as_array().unwrap().len(), 2);
    assert_eq!(uniform["goals"].as_array().unwrap().len(), 1);
    assert_eq!(acl1["goals"].as_array().unwrap().len(), 2);
    // The peer knows no label sets.
    assert!(identity["peer"].as_array().unwrap().is_empty());
    assert_eq!(identity["lookups"][0]["checked_with"], "a linear scan of a sample");
    assert_eq!(identity["lookups"][0]["references"].as_array().unwrap().len(), 1);
}

#[test]
fn a_peer_that_finds_other_rules_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(Some(&peer(&dir, r#"tac "$1""#)), &["--sets", "fw1_150", "--quick"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("generated/fw1_150: uniform: header 0 (from 0; of "), "{said}");
    assert!(said.contains("Bulkhead finds rule "), "{said}");
    assert!(said.contains("rte_acl, max_size 0, finds rule "), "{said}");
}

#[test]
fn a_peer_that_cannot_build_is_left_out_loudly() {
    let dir = tempfile::tempdir().unwrap();
    let full = r#"[ "$size" = 0 ] && cat "$1" || { echo "does not fit" >&2; false; }"#;
    let output = run(Some(&peer(&dir, full)), &["--sets", "ipc1_150_v6", "--quick"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("NOT measured: rte_acl, max_size 1 GiB: does not fit"));
    let markdown = text(&output.stdout);
    let line = "- generated/ipc1_150_v6: rte_acl, max_size 1 GiB: does not fit";
    assert!(markdown.ends_with(&format!("Not measured:\n\n{line}\n")), "{markdown}");
}

#[test]
fn without_the_peer_the_run_goes_on_and_says_so() {
    let output = run(None, &["--sets", "acl2_150_v6", "--quick"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("rte_acl is NOT measured"), "{output:?}");
    assert!(text(&output.stdout).contains("**rte_acl was not measured**"), "{output:?}");
}

#[test]
fn wrong_use_is_told() {
    let output = run(None, &["--sets", "acl9"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no rule set's name contains acl9"), "{output:?}");
    assert_eq!(run(None, &["--batch", "7"]).status.code(), Some(2));
    let output = run(None, &["--sets", "acl1_150", "--quick", "--shared", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/no/such/folder/v4: No such file"), "{output:?}");
}
