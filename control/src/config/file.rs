//! `gateway.yaml` as it is written: the YAML's shape and nothing more.

use crate::yaml::{Entries, Text};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    pub(super) version: Option<Text>,
    pub(super) policy: Text,
    pub(super) ports: Entries<PortFile>,
    pub(super) forward: Spanned<Vec<ForwardFile>>,
    pub(super) xdp_mode: Option<Text>,
    pub(super) on_exit: Option<Text>,
    pub(super) ethertypes: Option<Vec<Text>>,
    pub(super) workers: Option<WorkersFile>,
    pub(super) rings: Option<RingsFile>,
    pub(super) flows: Option<FlowsFile>,
    pub(super) fragments: Option<FragmentsFile>,
    pub(super) packets: Option<PacketsFile>,
    pub(super) control: Option<ControlFile>,
    pub(super) metrics: Option<MetricsFile>,
}

/// `left: { interface: bh0, zone: clients }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PortFile {
    pub(super) interface: Text,
    pub(super) zone: Text,
}

/// An entry of `forward`: one key, which says the kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ForwardFile {
    Wire(WireFile),
}

/// `wire: { name: uplink, ports: [left, right], queues: 2 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireFile {
    pub(super) name: Option<Text>,
    pub(super) ports: Spanned<Vec<Text>>,
    pub(super) queues: Option<Text>,
}

/// `workers: { cores: [1], poll: adaptive, busy_poll: {...} }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkersFile {
    pub(super) cores: Option<Vec<Text>>,
    pub(super) poll: Option<Text>,
    pub(super) busy_poll: Option<BusyPollFile>,
}

/// `busy_poll: { micros: 20, budget: 64 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusyPollFile {
    pub(super) micros: Option<Text>,
    pub(super) budget: Option<Text>,
}

/// `rings: { rx: 2048, ... }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RingsFile {
    pub(super) rx: Option<Text>,
    pub(super) tx: Option<Text>,
    pub(super) fill: Option<Text>,
    pub(super) completion: Option<Text>,
    pub(super) frames: Option<Text>,
    pub(super) frame_size: Option<Text>,
}

/// `flows: { capacity: 262144, timeouts: {...}, ... }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowsFile {
    pub(super) capacity: Option<Text>,
    pub(super) capacity_v6: Option<Text>,
    pub(super) quota: Option<Text>,
    /// Seconds by the names of [`Timeouts`](dataplane::Timeouts).
    pub(super) timeouts: Option<Entries<Text>>,
    pub(super) pick_up: Option<Text>,
    pub(super) tcp_reset: Option<Text>,
    pub(super) refresh: Option<Text>,
    pub(super) icmp_errors: Option<IcmpErrorsFile>,
    pub(super) challenges: Option<ChallengesFile>,
}

/// `icmp_errors: { per_second: 1000, burst: 1000, min_mtu_v4: 552, min_mtu_v6: 1280 }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IcmpErrorsFile {
    pub(super) per_second: Option<Text>,
    pub(super) burst: Option<Text>,
    pub(super) min_mtu_v4: Option<Text>,
    pub(super) min_mtu_v6: Option<Text>,
}

/// `challenges: { per_second: 1000, burst: 1000 }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChallengesFile {
    pub(super) per_second: Option<Text>,
    pub(super) burst: Option<Text>,
}

/// `fragments: { max_frames: 2048, timeout: 5, ... }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FragmentsFile {
    pub(super) max_frames: Option<Text>,
    pub(super) max_bytes: Option<Text>,
    pub(super) max_datagrams: Option<Text>,
    pub(super) max_fragments: Option<Text>,
    pub(super) max_per_source: Option<Text>,
    pub(super) timeout: Option<Text>,
}

/// `packets: { checksums: verify, ipv4_options: [router_alert], ... }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PacketsFile {
    pub(super) max_frame: Option<Text>,
    pub(super) checksums: Option<Text>,
    pub(super) ipv4_options: Option<Vec<Text>>,
    pub(super) ipv6_hop_by_hop_options: Option<Text>,
    pub(super) ipv6_source_routes: Option<Text>,
    pub(super) ipv6_unknown_headers: Option<Text>,
}

/// `control: { socket: /run/bulkhead/control.sock }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlFile {
    pub(super) socket: Option<Text>,
}

/// `metrics: { listen: 127.0.0.1:9464 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsFile {
    pub(super) listen: Text,
}
