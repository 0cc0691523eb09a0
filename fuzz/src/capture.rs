//! The reader of captures over bytes of any kind, and what it read through the packet path.

use classifier::{Builder, Classifier, Config, Range16, Rule, ZoneId};
use dataplane::capture::Capture;
use dataplane::{Action, Established, FlowConfig, ParseOptions, SideMap, Table, TableRule, replay};
use std::sync::{Arc, LazyLock};

/// Most passes of a capture through the packet path.
const PASSES: u8 = 2;

/// Reads the capture in `data`, all but its first byte, and replays it as that byte says.
///
/// # Panics
/// When there is more in the capture than in the file, or a packet gets lost on its way.
pub fn run(data: &[u8]) -> bool {
    let Some((&how, file)) = data.split_first() else { return false };
    let mut capture = Capture::default();
    // A damaged file counts as far as it goes.
    let _ = capture.read_bytes(file);
    let mut bytes = 0;
    for record in capture.records() {
        let view = capture.view(record);
        assert_eq!(record.cut(), view.bytes.len() < view.wire_len as usize);
        assert!(view.bytes.len() <= view.wire_len as usize, "more than was on the wire");
        bytes += view.bytes.len();
    }
    assert!(bytes <= file.len(), "{bytes} bytes out of a file of {}", file.len());
    // No format has a record without a header of its own.
    assert!(8 * capture.records().len() <= file.len());
    if how & 1 != 0 {
        capture.sort();
        assert!(capture.records().is_sorted_by_key(|record| record.time));
    }
    assert_conserved(&capture, how);
    true
}

/// What goes into the packet path comes out of it, forwarded or dropped for a reason.
fn assert_conserved(capture: &Capture, how: u8) {
    let passes = 1 + u32::from(how >> 1 & 1) * u32::from(PASSES - 1);
    let flows = FlowConfig {
        capacity: 4,
        capacity_v6: 2,
        quota: u32::from(how >> 2 & 3),
        ..FlowConfig::default()
    };
    let pair = if how & 0x10 != 0 { Some([ZoneId(0), ZoneId(1)]) } else { None };
    let sides = SideMap { networks: Vec::new(), files: vec![Some(ZoneId(0))], pair };
    let packets = capture.records().len() as u64;
    let options = ParseOptions::default();
    let report = replay(capture, &sides, table(), flows, options, passes, |_| {})
        .expect("two zones are one pair");
    let dropped: u64 = report.drops.iter().sum();
    assert_eq!(report.packets, packets * u64::from(passes));
    assert_eq!(report.packets, report.forwarded + dropped, "a packet was lost");
    assert_eq!(report.forwarded, report.passed.iter().sum::<u64>());
    assert_eq!(report.forwarded_records.len() as u64, packets);
    let forwarded = report.forwarded_records.iter().filter(|forwarded| **forwarded).count() as u64;
    assert_eq!(report.forwarded, forwarded * u64::from(passes), "a pass differs from another");
    assert!(report.hits.iter().sum::<u64>() <= report.packets);
}

/// What goes to a port below 1024 passes, and the rest of TCP is denied by name.
fn table() -> Table {
    static CLASSIFIER: LazyLock<Arc<Classifier>> = LazyLock::new(|| {
        let mut builder = Builder::new(Config::default());
        builder.push(Rule { dst_ports: Range16 { low: 1, high: 1023 }, ..Rule::ANY });
        builder.push(Rule { protocol: Some(6), ..Rule::ANY });
        Arc::new(builder.build().expect("two rules are within every limit"))
    });
    let rule =
        |id: &str, action| TableRule { id: id.into(), action, established: Established::default() };
    let rules = vec![rule("services", Action::Allow), rule("tcp", Action::Deny)];
    Table::new(1, CLASSIFIER.clone(), vec![0, 1], rules, 1)
}
