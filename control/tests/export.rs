//! `bulkhead export`, as a user runs it. That nft accepts what it writes is for the tests crate.

use std::path::Path;
use std::process::{Command, Output};

fn export(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.args(["export", "nft"]).args(words).output().unwrap()
}

fn example() -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    examples.join("policy-two-zones.yaml").display().to_string()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn it_writes_the_same_to_a_file_as_to_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out.nft");
    let (policy, file) = (example(), file.to_str().unwrap());
    let zones = ["--zone", "clients=eth0", "--zone", "servers=eth1", "--zone", "servers=eth2"];
    let mut words = vec![policy.as_str(), "--hardened"];
    words.extend(zones);
    let printed = export(&words);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    words.extend(["--out", file]);
    let written = export(&words);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    assert!(written.stdout.is_empty());
    let printed = text(&printed.stdout);
    assert_eq!(std::fs::read_to_string(file).unwrap(), printed);
    for line in ["define zone_servers = { \"eth1\", \"eth2\" }", "        ct state invalid counter"]
    {
        assert!(printed.lines().any(|found| found.starts_with(line)), "{line} in {printed}");
    }
}

#[test]
fn wrong_use_an_invalid_policy_and_a_failure_have_their_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let invalid = directory.path().join("invalid.yaml");
    std::fs::write(&invalid, "version: 1\nrules: [{ id: a }]\n").unwrap();
    let (invalid, example) = (invalid.display().to_string(), example());
    let cases: [(&[&str], i32, &str); 8] = [
        (&[], 2, "POLICY"),
        (&[&example, "--zone", "clients"], 2, "NAME=IFACE"),
        (&[&example, "--zone", "client=eth0"], 2, "did you mean `clients`"),
        (&[&example, "--zone", "clients=a b"], 2, "not the name of an interface"),
        (&[&example, "--zone", "clients=an-interface-of-16"], 2, "not the name of an interface"),
        (&[&invalid], 3, "lacks"),
        (&["/nonexistent.yaml"], 1, "nonexistent"),
        (&[&example, "--out", "/nonexistent/out.nft"], 1, "cannot write"),
    ];
    for (words, code, said) in cases {
        let output = export(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{words:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}
