//! What a target starts from: frames of recorded captures, the captures themselves, the policies
//! that come with the product. Made anew for each run; what is kept in `corpus` was found from them.

use crate::parse::{HEAD, REPAIRED};
use dataplane::capture::Capture;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Names the directory that [`write`] writes to.
pub const DIRECTORY: &str = "BULKHEAD_SEEDS";
/// Most bytes of a frame that is a seed: headers, and some data.
const FRAME: usize = 160;
/// Most bytes of a capture that is a seed.
const CAPTURE: usize = 4096;

/// Writes the seeds of `target` to the directory that the environment names, if it does: libFuzzer
/// reads its corpus after a target's start.
///
/// # Panics
/// When a seed cannot be written.
pub fn write(target: &str) {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let seeds = match target {
        "parse" => frames(),
        // The byte before the file says how it is replayed.
        "capture" => captures().iter().map(|path| [vec![0], start_of(path)].concat()).collect(),
        "policy" => policies(),
        _ => Vec::new(),
    };
    fs::create_dir_all(&directory).expect("the directory of the seeds can be made");
    for (nth, seed) in seeds.iter().enumerate() {
        let path = directory.join(format!("seed-{nth}"));
        fs::write(path, seed).expect("a seed can be written");
    }
}

/// One frame of each shape in the captures: those whose headers differ in a protocol, a flag or a
/// length of options.
fn frames() -> Vec<Vec<u8>> {
    let mut shapes = HashSet::new();
    let mut seeds = Vec::new();
    for path in captures() {
        let mut capture = Capture::default();
        // A damaged one serves as far as it goes.
        let _ = capture.read(&path, |_| {});
        for record in capture.records() {
            let bytes = capture.view(record).bytes;
            let bytes = &bytes[..bytes.len().min(FRAME)];
            if shapes.insert(shape(bytes)) {
                seeds.push([&REPAIRED[..HEAD], bytes].concat());
            }
        }
    }
    seeds
}

/// The bytes of headers that are alike in frames that are read alike.
fn shape(bytes: &[u8]) -> Vec<Option<u8>> {
    let end = bytes.len() / 64;
    // EtherTypes, first bytes and protocols, fragment fields, TCP's data offset and flags.
    [12, 13, 14, 16, 17, 20, 23, 34, 38, 46, 47, 54]
        .iter()
        .map(|&at: &usize| bytes.get(at).copied())
        .chain([Some(end as u8)])
        .collect()
}

fn start_of(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap_or_default();
    bytes.truncate(CAPTURE);
    bytes
}

/// The policies of the examples, the cases of the tests, which policies in YAML and what is wrong
/// with them are, and one in JSON.
fn policies() -> Vec<Vec<u8>> {
    const JSON: &str = r#"{"version": 1, "zones": {"a": {"networks": ["10.0.0.0/8"]}, "b": null},
        "hosts": {"web": {"zone": "b", "addresses": ["10.1.2.3", "fd00::1"]}},
        "networks": {"all": {"networks": ["0.0.0.0/0", "10.0.0.1-10.0.0.9"]}},
        "services": {"http": {"protocol": "tcp", "ports": [80, "8080-8090"]},
            "ping": [{"protocol": "icmp", "type": 8, "code": 0}, {"protocol": "icmpv6", "type": 128}]},
        "rules": [{"id": "r1", "from": "a", "to": ["web", "all"], "service": "http", "action": "allow"},
            {"id": "r2", "from": "any", "to": "any", "service": ["ping"], "action": "deny"}]}"#;
    let mut policies = vec![JSON.as_bytes().to_vec()];
    for path in files(&["../control/examples", "../control/tests"], &["yaml", "txt"]) {
        let text = fs::read_to_string(path).unwrap_or_default();
        for case in text.split("\n### ") {
            // Behind the line that says what the case shows, up to what is expected.
            let policy = case.split("\n>>> ").next().unwrap_or_default();
            let start = policy.find("version:").unwrap_or_default();
            policies.push(policy.as_bytes()[start..].to_vec());
        }
    }
    policies
}

/// The captures of this repository, and those that lie beside it where there are some.
fn captures() -> Vec<PathBuf> {
    files(&["../pcaps", "../../shared/pcaps"], &["pcap", "pcapng"])
}

fn files(directories: &[&str], extensions: &[&str]) -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> = directories
        .iter()
        .filter_map(|directory| fs::read_dir(here.join(directory)).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .filter(|path| {
            let extension = path.extension().and_then(|e| e.to_str());
            extension.is_some_and(|e| extensions.contains(&e))
        })
        .collect();
    found.sort();
    found
}
