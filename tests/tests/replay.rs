//! `bulkhead replay` over the captures of `pcaps/`, against what Wireshark's tools count.

use lab::capture::{self, big_endian, packets};
use lab::gateway::{binary, bulkhead, list, number, workspace};
use lab::policies::{TWO_ZONES, unknown_service};
use lab::process::{self, Output};
use lab::{Error, Result, need};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

fn pcap(name: &str) -> PathBuf {
    workspace().join("pcaps").join(name)
}

fn example() -> PathBuf {
    workspace().join("control/examples/policy-two-zones.yaml")
}

/// Every capture of `pcaps/`.
fn all() -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(workspace().join("pcaps"))?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    files.sort();
    assert!(files.len() >= 12, "{files:?}");
    Ok(files)
}

fn replay_output(dir: &Path, policy: &Path, files: &[&Path], more: &[&str]) -> Result<Output> {
    let policy = policy.display().to_string();
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut argv = vec!["replay", "--policy", &policy];
    argv.extend(files.iter().flat_map(|file| ["--pcap", file]));
    argv.extend(more);
    bulkhead(dir, &argv, LIMIT)
}

fn replay(policy: &Path, files: &[&Path], more: &[&str]) -> Result<Value> {
    let mut arguments = vec!["--json"];
    arguments.extend(more);
    let output =
        replay_output(&std::env::temp_dir(), policy, files, &arguments)?.expect_success()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    let (forwarded, dropped) = (number(&report, "forwarded")?, number(&report, "dropped")?);
    assert_eq!(number(&report, "packets")?, forwarded + dropped, "{report}");
    let reasons = report["drops"].as_object().into_iter().flatten();
    let by_reason: u64 = reasons.filter_map(|(_, count)| count.as_u64()).sum();
    assert_eq!(by_reason, dropped, "{report}");
    Ok(report)
}

fn hits(report: &Value, id: &str) -> Result<u64> {
    list(&report["rules"])
        .iter()
        .find(|rule| rule["id"] == id)
        .map(|rule| number(rule, "hits"))
        .ok_or_else(|| Error::new(format!("no rule {id} in {report}")))?
}

fn dropped_for(report: &Value, reason: &str) -> u64 {
    report["drops"][reason].as_u64().unwrap_or_default()
}

/// What two replays must agree on: everything but the time they took.
fn verdicts(report: &Value) -> [&Value; 7] {
    ["packets", "bytes", "forwarded", "dropped", "drops", "rules", "flows"].map(|key| &report[key])
}

#[test]
fn every_capture_counts_as_capinfos_counts_it_and_only_telnet_is_denied() -> Result<()> {
    need!(Need::Program("capinfos"), Need::Program("tshark"));
    for file in all()? {
        let name = file.display();
        let report = replay(&example(), &[&file], &[])?;
        let (packets, bytes) = capture::totals(&file)?;
        assert_eq!(number(&report, "packets")?, packets, "{name}");
        assert_eq!(number(&report, "bytes")?, bytes, "{name}");
        let telnet = capture::count(&file, "tcp.port == 23")?;
        assert_eq!(number(&report, "dropped")?, telnet, "{name}: {report}");
        assert_eq!(dropped_for(&report, "policy_deny"), telnet, "{name}: {report}");
        assert_eq!(hits(&report, "no-telnet")?, telnet, "{name}: {report}");
    }
    Ok(())
}

#[test]
fn denied_telnet_is_denied_whole_by_its_rule() -> Result<()> {
    need!(Need::Program("tshark"));
    let file = pcap("denied-telnet.pcap");
    let report = replay(&example(), &[&file], &[])?;
    let packets = capture::count(&file, "")?;
    assert!(packets > 0);
    assert_eq!(hits(&report, "no-telnet")?, packets);
    assert_eq!(number(&report, "forwarded")?, 0);
    assert_eq!(number(&report, "flows")?, 0);
    Ok(())
}

#[test]
fn hits_and_reasons_of_the_mixed_capture_are_what_tshark_counts() -> Result<()> {
    need!(Need::Program("tshark"));
    let dir = TempDir::new()?;
    let policy = dir.path().join("policy.yaml");
    fs::write(&policy, TWO_ZONES)?;
    let file = pcap("mixed.pcap");
    let report = replay(&policy, &[&file], &[])?;
    let neighbours = "icmpv6.type == 135 || icmpv6.type == 136";
    // Every packet is in exactly one of these.
    let rules = [
        ("no-telnet", "tcp.port == 23"),
        ("web", "tcp.port == 80 || tcp.port == 443"),
        ("database", "tcp.port == 5432"),
        ("ssh", "tcp.port == 22"),
        ("dns", "udp.port == 53"),
        ("iperf", "tcp.port == 5201"),
        ("ping", "icmp || icmpv6.type == 128 || icmpv6.type == 129"),
    ];
    let mut sum = 0;
    for (rule, filter) in rules {
        let expected = capture::count(&file, filter)?;
        assert!(expected > 0, "{rule}");
        assert_eq!(hits(&report, rule)?, expected, "{rule}: {report}");
        sum += expected;
    }
    // TWO_ZONES allows no DNS over TCP, and what follows a SYN that was dropped belongs to nothing.
    let default = capture::count(&file, "tcp.port == 53")?;
    let asks = capture::count(&file, "tcp.port == 53 && tcp.flags.syn == 1 && tcp.flags.ack == 0")?;
    assert_eq!(dropped_for(&report, "policy_default"), asks, "{report}");
    assert_eq!(dropped_for(&report, "tcp_not_open"), default - asks, "{report}");
    let telnet = capture::count(&file, "tcp.port == 23")?;
    assert_eq!(dropped_for(&report, "policy_deny"), telnet, "{report}");
    assert_eq!(number(&report, "dropped")?, default + telnet, "{report}");
    let unjudged = capture::count(&file, &format!("arp || {neighbours}"))?;
    assert_eq!(number(&report, "packets")?, sum + default + unjudged);
    Ok(())
}

#[test]
fn allowed_and_denied_partition_the_input_in_order() -> Result<()> {
    need!(Need::Program("capinfos"), Need::Program("tshark"));
    let dir = TempDir::new()?;
    let file = pcap("mixed.pcap");
    let (allowed, denied) = (dir.path().join("allowed.pcap"), dir.path().join("denied.pcap"));
    let (allowed_name, denied_name) = (allowed.display().to_string(), denied.display().to_string());
    let more = ["--write-allowed", &allowed_name, "--write-denied", &denied_name];
    let report = replay(&example(), &[&file], &more)?;
    assert_eq!(capture::totals(&allowed)?.0, number(&report, "forwarded")?);
    assert_eq!(capture::totals(&denied)?.0, number(&report, "dropped")?);
    assert_eq!(capture::count(&denied, "tcp.dstport == 23")?, number(&report, "dropped")?);
    assert_eq!(capture::count(&allowed, "tcp.port == 23")?, 0);
    // Frame by frame, with time stamps, as tshark prints them: each in one of the two, in order.
    let frames = |path: &Path| -> Result<Vec<String>> {
        let file = path.display().to_string();
        let argv = [
            "tshark",
            "-n",
            "-r",
            &file,
            "-T",
            "fields",
            "-e",
            "frame.time_epoch",
            "-e",
            "frame.len",
            "-e",
            "eth.src",
            "-e",
            "ip.id",
            "-e",
            "tcp.seq_raw",
        ];
        let output = process::run(dir.path(), &argv, LIMIT)?.expect_success()?;
        Ok(output.stdout.lines().map(str::to_owned).collect())
    };
    let (allowed, denied) = (frames(&allowed)?, frames(&denied)?);
    let (mut allowed, mut denied) = (allowed.iter().peekable(), denied.iter().peekable());
    for frame in frames(&file)? {
        let taken = allowed.next_if_eq(&&frame).or_else(|| denied.next_if_eq(&&frame));
        assert!(taken.is_some(), "{frame} is in neither");
    }
    assert!(allowed.next().is_none() && denied.next().is_none(), "frames that were not there");
    Ok(())
}

#[test]
fn what_was_allowed_is_allowed_again_and_what_was_denied_denied_again() -> Result<()> {
    let dir = TempDir::new()?;
    let (allowed, denied) = (dir.path().join("allowed.pcap"), dir.path().join("denied.pcap"));
    let (allowed_name, denied_name) = (allowed.display().to_string(), denied.display().to_string());
    let more = ["--write-allowed", &allowed_name, "--write-denied", &denied_name];
    let first = replay(&example(), &[&pcap("mixed.pcap")], &more)?;
    let again = replay(&example(), &[&allowed], &[])?;
    assert_eq!(again["dropped"], 0);
    assert_eq!(again["packets"], first["forwarded"]);
    let again = replay(&example(), &[&denied], &[])?;
    assert_eq!(again["forwarded"], 0);
    assert_eq!(again["packets"], first["dropped"]);
    Ok(())
}

#[test]
fn every_format_of_a_capture_gets_the_same_verdicts() -> Result<()> {
    let dir = TempDir::new()?;
    let original = replay(&example(), &[&pcap("http.pcap")], &[])?;
    let made = |name: &str, from: &Path| -> Result<PathBuf> {
        let path = dir.path().join(name);
        fs::write(&path, big_endian(&fs::read(from)?)?)?;
        Ok(path)
    };
    let (micro, nano) = (pcap("http.pcap"), pcap("http-nanosecond.pcap"));
    let variants = [
        pcap("http.pcapng"),
        nano.clone(),
        pcap("http-snap96.pcap"),
        made("big-endian.pcap", &micro)?,
        made("big-endian-nanosecond.pcap", &nano)?,
    ];
    for variant in variants {
        let report = replay(&example(), &[&variant], &[])?;
        assert_eq!(verdicts(&report), verdicts(&original), "{}", variant.display());
    }
    Ok(())
}

#[test]
fn packets_cut_within_their_headers_are_dropped_as_such() -> Result<()> {
    need!(Need::Program("editcap"), Need::Program("tshark"));
    let dir = TempDir::new()?;
    let cut = dir.path().join("cut.pcap");
    let file = pcap("mixed.pcap");
    // Ethernet and IPv4 headers and six bytes: too short for every transport header here, and for
    // ARP.
    capture::edit(&["-s", "40"], &file, &cut)?;
    let report = replay(&example(), &[&cut], &[])?;
    let all = capture::count(&file, "ip || ipv6 || arp")?;
    assert_eq!(dropped_for(&report, "capture_cut"), all, "{report}");
    assert_eq!(number(&report, "forwarded")?, 0, "{report}");
    Ok(())
}

#[test]
fn several_captures_are_one_input() -> Result<()> {
    let (one, other) = (pcap("http.pcap"), pcap("denied-telnet.pcap"));
    let report = replay(&example(), &[&one, &other], &[])?;
    let (first, second) = (replay(&example(), &[&one], &[])?, replay(&example(), &[&other], &[])?);
    for key in ["packets", "bytes", "forwarded", "dropped", "flows"] {
        assert_eq!(number(&report, key)?, number(&first, key)? + number(&second, key)?, "{key}");
    }
    Ok(())
}

#[test]
fn repeating_judges_each_packet_again_and_alike() -> Result<()> {
    let file = pcap("mixed.pcap");
    let (once, often) =
        (replay(&example(), &[&file], &[])?, replay(&example(), &[&file], &["--repeat", "5"])?);
    for key in ["packets", "bytes", "forwarded", "dropped"] {
        assert_eq!(number(&often, key)?, 5 * number(&once, key)?, "{key}: {often}");
    }
    Ok(())
}

#[test]
fn a_capture_that_ends_within_a_packet_is_named_and_judged_up_to_there() -> Result<()> {
    let whole = replay(&example(), &[&pcap("http.pcap")], &[])?;
    let dir = TempDir::new()?;
    let cut = dir.path().join("cut.pcap");
    let bytes = fs::read(pcap("http.pcap"))?;
    fs::write(&cut, &bytes[..bytes.len() - 1])?;
    let report = replay(&example(), &[&cut], &[])?;
    assert_eq!(report["cut_short"], serde_json::json!([cut.display().to_string()]));
    assert_eq!(number(&report, "packets")?, number(&whole, "packets")? - 1);
    assert_eq!(whole["cut_short"], serde_json::json!([]));
    Ok(())
}

#[test]
fn nobody_in_particular_may_replay() -> Result<()> {
    need!(Need::Program("setpriv"));
    let dir = TempDir::new()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    // Where the workspace is may be closed to others.
    let files =
        [(binary(), "bulkhead"), (example(), "policy.yaml"), (pcap("mixed.pcap"), "a.pcap")];
    for (from, to) in files {
        fs::copy(from, dir.path().join(to))?;
    }
    let program = dir.path().join("bulkhead").display().to_string();
    let arguments = [&program, "replay", "--policy", "policy.yaml", "--pcap", "a.pcap", "--json"];
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut argv = if root { nobody.to_vec() } else { Vec::new() };
    argv.extend(arguments);
    let output = process::run(dir.path(), &argv, LIMIT)?.expect_success()?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    let as_root = replay(&example(), &[&pcap("mixed.pcap")], &[])?;
    assert_eq!(verdicts(&report), verdicts(&as_root));
    Ok(())
}

#[test]
fn wrong_input_is_named_and_ends_with_its_exit_code() -> Result<()> {
    let dir = TempDir::new()?;
    let (policy, line) = unknown_service();
    fs::write(dir.path().join("bad.yaml"), policy)?;
    fs::write(dir.path().join("text.pcap"), "this is no capture, however it is called\n")?;
    let http = fs::read(pcap("http.pcap"))?;
    assert!(packets(&http)?.len() > 3);
    let text = dir.path().join("text.pcap");
    let bad = dir.path().join("bad.yaml");
    let missing = dir.path().join("missing.pcap");
    let place = format!("bad.yaml:{line}:");
    let cases: [(&Path, &Path, i32, &str); 3] = [
        (&bad, &pcap("http.pcap"), 3, &place),
        (&example(), &text, 1, "text.pcap"),
        (&example(), &missing, 1, "missing.pcap"),
    ];
    for (policy, file, code, word) in cases {
        let output = replay_output(dir.path(), policy, &[file], &[])?;
        assert_eq!(output.code, Some(code), "{}", output.describe());
        assert!(output.stderr.contains(word), "{}", output.describe());
    }
    Ok(())
}
