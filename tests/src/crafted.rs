//! Crafted packets: tables that scapy builds (`tests/crafted`), put on the wire and compared with
//! what comes out of the gateway and with its drop counters.

use crate::capture::{Recording, packets};
use crate::gateway::{Gateway, list, number, workspace};
use crate::process;
use crate::{Error, Lab, Result, Side, frames, wait};
use std::collections::BTreeMap;
use std::time::Duration;

/// The interpreter that Debian's scapy is installed for, and where that is.
pub const PYTHON: &str = "/usr/bin/python3";
/// A file of Debian's scapy.
pub const SCAPY: &str = "/usr/lib/python3/dist-packages/scapy/__init__.py";

/// Time for scapy to build a table.
const BUILD: Duration = Duration::from_secs(60);
/// Time for the gateway to take in what was sent.
const RECEIVED: Duration = Duration::from_secs(5);
/// Time for it to count what became of that.
const COUNTED: Duration = Duration::from_secs(2);
/// Time for datagrams that never get whole to be given up (5 s), and a burst to notice.
const TIMED_OUT: Duration = Duration::from_secs(12);

/// The fate of what leaves the gateway unchanged; every other one is a drop reason.
const PASS: &str = "pass";
const TIMEOUT: &str = "fragment_timeout";

/// One frame, who sends it, and what is to become of it.
#[derive(Clone, Debug)]
pub struct Step {
    from: Side,
    frame: Vec<u8>,
    /// `pass`, or drop reasons of which any is right, joined by `|`.
    fate: String,
}

/// Frames that belong together.
#[derive(Clone, Debug)]
pub struct Case {
    name: String,
    steps: Vec<Step>,
}

/// Frames dropped so far, by reason.
type Drops = BTreeMap<String, u64>;

/// Has scapy build the table in `tests/crafted/<name>.py`, for the hosts of `lab`.
///
/// # Errors
/// If it cannot, with what it said.
pub fn table(lab: &Lab, name: &str) -> Result<Vec<Case>> {
    let mac = |side| -> Result<String> {
        Ok(lab.link(side, "eth0")?["address"].as_str().unwrap_or_default().to_owned())
    };
    let script = workspace().join("tests/crafted").join(name).with_extension("py");
    let (script, client, server) =
        (script.display().to_string(), mac(Side::Client)?, mac(Side::Server)?);
    let output = process::run(lab.dir(), &[PYTHON, &script, &client, &server], BUILD)?;
    let table: serde_json::Value = serde_json::from_str(&output.expect_success()?.stdout)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let step = |step: &serde_json::Value| {
        let from = match step["from"].as_str() {
            Some("client") => Side::Client,
            Some("server") => Side::Server,
            _ => return Err(Error::new(format!("nobody sends {step}"))),
        };
        Ok(Step { from, frame: from_hex(&text(&step["frame"]))?, fate: text(&step["fate"]) })
    };
    let case = |case: &serde_json::Value| {
        let steps = list(&case["steps"]).iter().map(step).collect::<Result<Vec<_>>>()?;
        Ok(Case { name: text(&case["name"]), steps })
    };
    list(&table).iter().map(case).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let wrong = |_| Error::new(format!("not hexadecimal: {text}"));
    let digits = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16);
    (0..text.len()).step_by(2).map(digits).collect::<std::result::Result<_, _>>().map_err(wrong)
}

/// Sends the frames of every case, one case after the other, and compares what came of them: the
/// drop counters after each, and at the end every frame that arrived on either side. Both ends must
/// be silent ([`Lab::silence`]).
///
/// # Errors
/// One line for each difference.
pub fn expect_all(lab: &Lab, gateway: &Gateway<'_>, cases: &[Case]) -> Result<()> {
    let record = |side, name: &str| {
        Recording::start(lab, (side, "eth0"), lab.dir().join(name), &["-Q", "in"], "")
    };
    let recordings = [
        (Side::Client, record(Side::Client, "client.pcap")?),
        (Side::Server, record(Side::Server, "server.pcap")?),
    ];
    let mut differences = Vec::new();
    let mut so_far = SoFar { received: received(gateway)?, drops: drops(gateway)? };
    for case in cases {
        if let Some(difference) = run(lab, gateway, case, &mut so_far)? {
            differences.push(format!("{}: {difference}", case.name));
        }
    }
    for (side, recording) in recordings {
        let capture = std::fs::read(recording.finish()?)?;
        differences.extend(compare(cases, side, &capture)?);
    }
    if differences.is_empty() {
        return Ok(());
    }
    let (wrong, all) = (differences.len(), cases.len());
    Err(Error::new(format!("{wrong} differences in {all} cases:\n{}", differences.join("\n"))))
}

/// What the gateway counted up to the last case.
struct SoFar {
    received: u64,
    drops: Drops,
}

/// Sends the frames of a case. How its drops differ from what is expected.
fn run(
    lab: &Lab,
    gateway: &Gateway<'_>,
    case: &Case,
    so_far: &mut SoFar,
) -> Result<Option<String>> {
    // Frames of one side go out at once; those of the other wait until these are judged.
    for group in case.steps.chunk_by(|a, b| a.from == b.from) {
        let sent: Vec<_> = group.iter().map(|step| step.frame.clone()).collect();
        frames::send(lab, group[0].from, "eth0", &sent)?;
        so_far.received += sent.len() as u64;
        let what = format!("the gateway to receive the frames of {}", case.name);
        wait::until_ok(&what, RECEIVED, || match received(gateway)? {
            now if now == so_far.received => Ok(()),
            now => Err(Error::new(format!("{now} received, not {}", so_far.received))),
        })?;
    }
    let fates: Vec<_> = case.steps.iter().map(|step| step.fate.as_str()).collect();
    let limit = if fates.contains(&TIMEOUT) { TIMED_OUT } else { COUNTED };
    let before = std::mem::take(&mut so_far.drops);
    let mut found = Drops::new();
    let right = wait::until_ok("drops", limit, || {
        so_far.drops = drops(gateway)?;
        found = so_far.drops.clone();
        for (reason, count) in &before {
            *found.entry(reason.clone()).or_default() -= count;
        }
        found.retain(|_, count| *count > 0);
        if explains(&found, &fates) { Ok(()) } else { Err(Error::new("other drops")) }
    });
    let mut expected = Drops::new();
    for fate in fates.iter().filter(|fate| **fate != PASS) {
        *expected.entry((*fate).to_owned()).or_default() += 1;
    }
    Ok(right.err().map(|_| format!("dropped {found:?}, not {expected:?}")))
}

/// Whether `found` are the drops that `fates` say, no more and no fewer.
fn explains(found: &Drops, fates: &[&str]) -> bool {
    let mut left = found.clone();
    let take = |fate: &str| {
        let reason = fate.split('|').find(|reason| left.get(*reason).is_some_and(|n| *n > 0));
        reason.and_then(|reason| left.get_mut(reason)).map(|count| *count -= 1).is_some()
    };
    // Those that leave no choice come first.
    let (open, plain): (Vec<_>, Vec<_>) =
        fates.iter().filter(|fate| **fate != PASS).partition(|fate| fate.contains('|'));
    plain.into_iter().chain(open).all(take) && left.values().all(|count| *count == 0)
}

fn drops(gateway: &Gateway<'_>) -> Result<Drops> {
    let mut drops = Drops::new();
    for total in list(&gateway.drops()?["totals"]) {
        let reason = total["reason"].as_str().unwrap_or_default().to_owned();
        *drops.entry(reason).or_default() += number(total, "packets")?;
    }
    Ok(drops)
}

/// Frames that both ports received.
fn received(gateway: &Gateway<'_>) -> Result<u64> {
    list(&gateway.status()?["ports"]).iter().map(|port| number(&port["rx"], "packets")).sum()
}

/// Compares the frames that arrived on `side` with those that were to.
fn compare(cases: &[Case], side: Side, capture: &[u8]) -> Result<Vec<String>> {
    let mut arrived: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (_, frame) in packets(capture)? {
        *arrived.entry(frame).or_default() += 1;
    }
    let mut differences = Vec::new();
    let sent = || {
        let all = cases.iter().flat_map(|case| case.steps.iter().map(move |step| (case, step)));
        all.filter(|(_, step)| step.from != side)
    };
    for (case, step) in sent().filter(|(_, step)| step.fate == PASS) {
        match arrived.get_mut(&step.frame[..]) {
            Some(count) if *count > 0 => *count -= 1,
            _ => differences.push(format!("{}: did not arrive at {side:?}", case.name)),
        }
    }
    for (frame, count) in arrived.into_iter().filter(|(_, count)| *count > 0) {
        let case = sent().find(|(_, step)| step.frame == frame);
        let name = case.map_or("nobody's frame", |(case, _)| &case.name);
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        differences.push(format!("{name}: arrived at {side:?}, {count} times too often: {hex}"));
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(counts: &[(&str, u64)]) -> Drops {
        counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    }

    #[test]
    fn drops_are_explained_one_by_one() {
        let fates = ["pass", "land", "land", "land|port_zero"];
        assert!(explains(&drops(&[("land", 3)]), &fates));
        assert!(explains(&drops(&[("land", 2), ("port_zero", 1)]), &fates));
        assert!(!explains(&drops(&[("land", 2)]), &fates));
        assert!(!explains(&drops(&[("land", 4)]), &fates));
        assert!(!explains(&drops(&[("land", 2), ("port_zero", 1), ("no_worker", 1)]), &fates));
    }

    #[test]
    fn arrivals_are_compared_frame_by_frame() {
        let step =
            |from, byte, fate: &str| Step { from, frame: vec![byte; 2], fate: fate.to_owned() };
        let cases = [Case {
            name: "two".to_owned(),
            steps: vec![
                step(Side::Client, 1, PASS),
                step(Side::Client, 2, "land"),
                step(Side::Server, 3, PASS),
            ],
        }];
        let capture = |bytes: &[u8]| {
            let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1];
            capture.extend([0; 20]);
            for byte in bytes {
                capture.extend([0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, *byte, *byte]);
            }
            capture
        };
        let wrong = |bytes: &[u8]| compare(&cases, Side::Server, &capture(bytes)).unwrap().len();
        assert_eq!(
            [wrong(&[1]), wrong(&[]), wrong(&[1, 1]), wrong(&[1, 2]), wrong(&[3])],
            [0, 1, 1, 1, 2]
        );
    }
}
