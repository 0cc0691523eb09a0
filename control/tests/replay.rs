//! `bulkhead replay` over captures made here.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const POLICY: &str = "version: 1
zones: { a: {}, b: {} }
rules:
  - { id: all, from: any, to: any, service: any, action: allow }
";

/// The ones' complement sum (RFC 1071) of `bytes`, not inverted.
fn sum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What a UDP checksum is: right, as the kernel leaves it for a network card, or wrong.
#[derive(Clone, Copy)]
enum Checksum {
    Right,
    Partial,
    Wrong,
}

/// A UDP datagram from 10.0.0.1 to 10.0.0.2.
fn frame(checksum: Checksum) -> Vec<u8> {
    let (addresses, data) = ([10, 0, 0, 1, 10, 0, 0, 2], *b"checksum");
    let length = 8 + data.len() as u8;
    let mut udp = vec![0x9c, 0x40, 0, 53, 0, length, 0, 0];
    udp.extend(data);
    let pseudo = [&addresses[..], &[0, 17, 0, length]].concat();
    let right = !sum(&[&pseudo[..], &udp].concat());
    let value = match checksum {
        Checksum::Right => right,
        Checksum::Partial => sum(&pseudo),
        Checksum::Wrong => right ^ 0x5555,
    };
    udp[6..8].copy_from_slice(&value.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 20 + length, 0, 1, 0, 0, 64, 17, 0, 0];
    ip.extend(addresses);
    let header = !sum(&ip);
    ip[10..12].copy_from_slice(&header.to_be_bytes());
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    [&ethernet[..], &ip, &udp].concat()
}

/// A pcap file of `frames`, a second apart.
fn capture(path: &Path, frames: &[Vec<u8>]) {
    let word = |n: usize| (n as u32).to_le_bytes();
    let mut file = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1].map(word).concat();
    for (second, frame) in frames.iter().enumerate() {
        file.extend([second, 0, frame.len(), frame.len()].map(word).concat());
        file.extend(frame);
    }
    std::fs::write(path, file).unwrap();
}

fn replay(more: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let (policy, pcap) = (directory.path().join("p.yaml"), directory.path().join("c.pcap"));
    std::fs::write(&policy, POLICY).unwrap();
    capture(&pcap, &[Checksum::Right, Checksum::Partial, Checksum::Wrong].map(frame));
    Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["replay", "--json", "--map", "a=10.0.0.1", "--map", "b=10.0.0.2"])
        .arg("--policy")
        .arg(policy)
        .arg("--pcap")
        .arg(pcap)
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn checksums_are_verified_unless_the_capture_is_said_to_lack_them() {
    for (more, dropped) in [
        (&[][..], 2),
        (&["--checksums", "verify"], 2),
        (&["--checksums", "accept-partial"], 1),
        (&["--checksums", "accept_partial"], 1),
        (&["--checksums", "off"], 0),
    ] {
        let output = replay(more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["packets"], &summary["dropped"]), (&3.into(), &dropped.into()));
        let by_reason = summary["drops"].get("udp_checksum").and_then(Value::as_u64);
        assert_eq!(by_reason.unwrap_or(0), dropped, "{more:?} {summary}");
    }
    let wrong = replay(&["--checksums", "maybe"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("accept-partial"));
}
