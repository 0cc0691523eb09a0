//! From counters and records to the documents of the control socket.

use super::app::{App, Revision};
use crate::api;
use crate::policy::{TCP_FLAGS, established_word, mac_text};
use crate::protocol;
use classifier::PacketKey;
use dataplane::{
    Action, Count, DropReason, FlowClass, FlowRecord, PortSnapshot, QueueSnapshot, RuleFlows,
    Snapshot,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Time given to counters to settle before conservation is judged.
const SETTLE: Duration = Duration::from_millis(5);
/// How often.
const SETTLE_TRIES: usize = 3;

impl From<Count> for api::Traffic {
    fn from(count: Count) -> Self {
        api::Traffic { packets: count.packets, bytes: count.bytes }
    }
}

impl App {
    /// The gateway as a whole. Takes some milliseconds: conservation is judged over two looks at
    /// the counters.
    pub fn status(&self) -> api::Status {
        let (snapshot, conservation) = self.settled();
        // The revision of the snapshot's table, which is not the newest while a swap is under way.
        let revision = self.revision(snapshot.generation).unwrap_or_else(|| self.current());
        api::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: self.uptime().as_secs_f64(),
            generation: snapshot.generation,
            policy: policy_status(&revision),
            warnings: self.warnings(&snapshot),
            ports: snapshot.ports.iter().map(|port| self.port(port)).collect(),
            workers: workers(&snapshot),
            flows: flow_totals(&snapshot),
            fragments: api::FragmentTotals {
                held: snapshot.fragments_held(),
                incomplete: snapshot.datagrams_incomplete(),
                capacity: snapshot.fragment_capacity,
            },
            conservation,
            memory: api::Memory {
                table_bytes: snapshot.table_bytes as u64,
                flow_bytes: snapshot.flow_bytes,
                fragment_bytes: snapshot.fragment_bytes,
                umem_bytes: snapshot.umem_bytes(),
                handover_bytes: snapshot.handover_bytes(),
            },
        }
    }

    /// The rules in force with their hits.
    pub fn rules(&self) -> api::Rules {
        let snapshot = self.snapshot();
        let revision = self.revision(snapshot.generation).unwrap_or_else(|| self.current());
        let rules = snapshot.rules.iter().enumerate().map(|(i, hits)| {
            let text = revision.rules().get(i).filter(|text| *text.id == *hits.id);
            api::Rule {
                id: hits.id.to_string(),
                action: hits.action.as_str().into(),
                established: text
                    .filter(|_| hits.action == Action::Allow)
                    .map(|text| established_word(text.established).into()),
                hits: hits.hits,
                description: text.and_then(|text| text.description.clone()),
                line: text.map(|text| text.line),
            }
        });
        api::Rules {
            generation: snapshot.generation,
            file: revision.file().into(),
            rules: rules.collect(),
        }
    }

    /// Up to `limit` open flows.
    pub fn flows(&self, limit: usize) -> api::Flows {
        let snapshot = self.snapshot();
        let records = self.handle.flows(limit);
        let flow = |record: &FlowRecord| api::Flow {
            wire: self.wire_name(record.wire),
            headers: self.headers(&record.key),
            rule: record.rule.and_then(|rule| self.rule_id(record.generation, rule)),
            generation: record.generation,
            class: record.class.as_str().into(),
            idle_seconds: record.idle.as_secs_f64(),
            expires_in_seconds: record.expires_in.as_secs_f64(),
        };
        api::Flows {
            open: snapshot.flows(),
            capacity: snapshot.flow_capacity,
            flows: records.iter().take(limit).map(flow).collect(),
        }
    }

    /// Up to `limit` of the sources or rules with most open flows.
    pub fn top_flows(&self, by: api::TopBy, limit: usize) -> api::TopFlows {
        let snapshot = self.snapshot();
        let (generation, others, top) = match by {
            api::TopBy::Source => {
                let sources = self.handle.top_sources(limit).into_iter();
                let count = |source: dataplane::SourceFlows| api::FlowCount {
                    source: Some(source_name(source.address)),
                    rule: None,
                    flows: source.flows,
                };
                (None, None, sources.map(count).collect())
            }
            api::TopBy::Rule => {
                let RuleFlows { generation, rules, others } = self.handle.top_rules(limit);
                let count = |(rule, flows)| api::FlowCount {
                    source: None,
                    rule: self.rule_id(generation, rule),
                    flows,
                };
                (Some(generation), Some(others), rules.into_iter().map(count).collect())
            }
        };
        api::TopFlows {
            open: snapshot.flows(),
            capacity: snapshot.flow_capacity,
            generation,
            others,
            top,
        }
    }

    /// What was dropped, and up to `limit` of the last packets.
    pub fn drops(&self, limit: usize) -> api::Drops {
        let snapshot = self.snapshot();
        let dropped = totals(&snapshot, |queue| &queue.drops);
        let recent = self.handle.recent_drops(limit).into_iter().take(limit).map(|record| {
            let port = snapshot.ports.get(record.port);
            api::Drop {
                age_seconds: record.age.as_secs_f64(),
                port: port.map_or_else(|| record.port.to_string(), |port| port.name.clone()),
                queue: record.queue,
                reason: record.reason.as_str().into(),
                headers: record.key.map(|key| self.headers(&key)),
                rule: record.rule.and_then(|rule| self.rule_id(record.generation, rule)),
                generation: record.generation,
                length: record.length,
            }
        });
        api::Drops {
            dropped: dropped.iter().map(|total| total.packets).sum(),
            recent: recent.collect(),
            totals: dropped,
            suspects: totals(&snapshot, |queue| &queue.suspects),
        }
    }

    /// A snapshot and its balance, at a quiet moment if one comes soon.
    fn settled(&self) -> (Snapshot, api::Conservation) {
        let mut before = self.snapshot();
        let mut tries = 0;
        loop {
            std::thread::sleep(SETTLE);
            let after = self.snapshot();
            let quiet = before.ports == after.ports;
            let difference = imbalance(&after);
            let balanced = difference == 0;
            tries += 1;
            if balanced || tries == SETTLE_TRIES {
                return (after, api::Conservation { balanced, quiet, difference });
            }
            before = after;
        }
    }

    fn port(&self, port: &PortSnapshot) -> api::PortStatus {
        let queues: Vec<_> = port.queues.iter().map(queue_status).collect();
        let sum = |of: fn(&api::QueueStatus) -> u64| queues.iter().map(of).sum();
        api::PortStatus {
            name: port.name.clone(),
            interface: port.interface.clone(),
            zone: self.zone_name(port.zone),
            wire: port.wire.clone(),
            mode: port.mode.as_str().into(),
            link: port.link.as_str().into(),
            rx: api::Traffic { packets: sum(|q| q.rx.packets), bytes: sum(|q| q.rx.bytes) },
            tx: api::Traffic { packets: sum(|q| q.tx.packets), bytes: sum(|q| q.tx.bytes) },
            held: sum(|q| q.held),
            forwarded: sum(|q| q.forwarded),
            drops: sum(|q| q.drops),
            suspects: sum(|q| q.suspects),
            queues,
        }
    }

    fn headers(&self, key: &PacketKey) -> api::Headers {
        let ports = protocol::has_ports(key.protocol);
        let icmp = protocol::is_icmp(key.protocol);
        api::Headers {
            from: self.zone_name(key.from_zone),
            to: self.zone_name(key.to_zone),
            protocol: protocol::name(key.protocol),
            source: key.family().ip_addr(key.src).to_string(),
            source_port: ports.then_some(key.src_port),
            destination: key.family().ip_addr(key.dst).to_string(),
            destination_port: ports.then_some(key.dst_port),
            icmp_type: icmp.then_some(key.src_port),
            icmp_code: icmp.then_some(key.dst_port),
            source_mac: known_mac(key.src_mac),
            destination_mac: known_mac(key.dst_mac),
            length: Some(key.length).filter(|length| *length > 0),
            tcp_flags: (key.protocol == protocol::TCP && key.tcp_flags > 0)
                .then(|| tcp_flags(key.tcp_flags)),
            dscp: Some(key.dscp()).filter(|dscp| *dscp > 0),
            vlan: Some(key.vlan).filter(|vlan| *vlan > 0),
            fragment: key.fragment(),
        }
    }

    fn rule_id(&self, generation: u64, rule: u32) -> Option<String> {
        let revision = self.revision(generation)?;
        Some(revision.rules().get(rule as usize)?.id.clone())
    }
}

/// A flow's key has no hardware addresses.
fn known_mac(mac: [u8; 6]) -> Option<String> {
    (mac != [0; 6]).then(|| mac_text(mac))
}

/// The names of the flags that are set, lowest first.
fn tcp_flags(bits: u16) -> Vec<String> {
    let set = TCP_FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

/// Drops of a port over its queues, by reason.
pub(crate) fn drops_by_reason(port: &PortSnapshot) -> impl Iterator<Item = (DropReason, u64)> {
    by_reason(port, |queue| &queue.drops)
}

/// Packets of a port that the guard of its zone found to lie and only counts, by reason.
pub(crate) fn suspects_by_reason(port: &PortSnapshot) -> impl Iterator<Item = (DropReason, u64)> {
    by_reason(port, |queue| &queue.suspects)
}

fn by_reason(
    port: &PortSnapshot,
    of: fn(&QueueSnapshot) -> &[u64; DropReason::COUNT],
) -> impl Iterator<Item = (DropReason, u64)> {
    DropReason::ALL
        .iter()
        .map(move |&reason| (reason, port.queues.iter().map(|q| of(q)[reason as usize]).sum()))
}

/// The packets of all ports by reason, where there are any.
fn totals(
    snapshot: &Snapshot,
    of: fn(&QueueSnapshot) -> &[u64; DropReason::COUNT],
) -> Vec<api::ReasonTotal> {
    let mut totals = Vec::new();
    for port in &snapshot.ports {
        for (reason, packets) in by_reason(port, of).filter(|(_, packets)| *packets > 0) {
            totals.push(api::ReasonTotal {
                port: port.name.clone(),
                reason: reason.as_str().into(),
                description: reason.describe().into(),
                packets,
            });
        }
    }
    totals
}

fn policy_status(revision: &Arc<Revision>) -> api::PolicyStatus {
    api::PolicyStatus {
        file: revision.file().into(),
        applied_at: humantime::format_rfc3339_millis(revision.applied_at()).to_string(),
        rules: revision.rules().len(),
        entries: revision.entries(),
        warnings: revision.warnings(),
        table_made: revision.made(),
        worst_case_cache_lines: revision.worst_case(),
        compile_seconds: revision.compile().as_secs_f64(),
        swap_seconds: revision.swap().map(|swap| swap.as_secs_f64()),
    }
}

fn flow_totals(snapshot: &Snapshot) -> api::FlowTotals {
    api::FlowTotals {
        open: snapshot.flows(),
        classes: api::FlowClasses {
            half_open: snapshot.flows_of(FlowClass::HalfOpen),
            one_sided: snapshot.flows_of(FlowClass::OneSided),
            established: snapshot.flows_of(FlowClass::Established),
            closing: snapshot.flows_of(FlowClass::Closing),
        },
        capacity: snapshot.flow_capacity,
        opened: snapshot.flows_opened,
        closed: snapshot.flows_closed,
        evicted: snapshot.flows_evicted,
        bytes_per_flow_v4: snapshot.bytes_per_flow_v4,
        bytes_per_flow_v6: snapshot.bytes_per_flow_v6,
    }
}

/// What counts as one source: an IPv4 address, or the IPv6 /64 that begins with `address`.
fn source_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(prefix) => format!("{prefix}/64"),
    }
}

fn workers(snapshot: &Snapshot) -> Vec<api::WorkerStatus> {
    let status = |worker: &dataplane::WorkerSnapshot| api::WorkerStatus {
        worker: worker.worker,
        wire: worker.wire.clone(),
        queue: worker.queue,
        core: worker.core,
        generation: worker.generation,
        alive: worker.alive,
        bursts: worker.bursts,
        sleeps: worker.sleeps,
        flows: worker.open_flows(),
        fragments_held: worker.fragments_held,
        datagrams_incomplete: worker.datagrams_incomplete,
    };
    snapshot.workers.iter().map(status).collect()
}

fn queue_status(queue: &QueueSnapshot) -> api::QueueStatus {
    api::QueueStatus {
        queue: queue.queue,
        served: queue.socket.is_some(),
        rx: queue.rx.into(),
        tx: queue.tx.into(),
        held: queue.held,
        handed_out: queue.handed_out,
        forwarded: queue.passed.iter().sum(),
        drops: queue.drops.iter().sum(),
        suspects: queue.suspects.iter().sum(),
    }
}

/// Frames unaccounted for: over both directions of every wire, the difference between what came
/// in by one port and what left by the other, was dropped or is held.
fn imbalance(snapshot: &Snapshot) -> u64 {
    let total = |port: &PortSnapshot, of: fn(&QueueSnapshot) -> u64| -> u64 {
        port.queues.iter().map(of).sum()
    };
    let mut difference = 0;
    for (i, port) in snapshot.ports.iter().enumerate() {
        let others = snapshot.ports.iter().enumerate();
        let out: u64 = others
            .filter(|(j, other)| *j != i && other.wire == port.wire)
            .map(|(_, other)| total(other, |q| q.tx.packets))
            .sum();
        let kept = total(port, |q| q.drops.iter().sum::<u64>() + q.held);
        difference += total(port, |q| q.rx.packets).abs_diff(out + kept);
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::ZoneId;
    use dataplane::{AttachMode, Link, PassReason};

    fn queue(rx: u64, tx: u64, held: u64, denied: u64) -> QueueSnapshot {
        let count = |packets| Count { packets, bytes: 60 * packets };
        let mut drops = [0; DropReason::COUNT];
        drops[DropReason::PolicyDeny as usize] = denied;
        let passed = [0; PassReason::COUNT];
        QueueSnapshot {
            queue: 0,
            rx: count(rx),
            tx: count(tx),
            held,
            handed_out: 0,
            drops,
            suspects: [0; DropReason::COUNT],
            passed,
            socket: None,
        }
    }

    fn snapshot(left: Vec<QueueSnapshot>, right: Vec<QueueSnapshot>) -> Snapshot {
        let port = |name: &str, queues| PortSnapshot {
            name: name.into(),
            interface: name.into(),
            wire: "w".into(),
            zone: ZoneId(0),
            mode: AttachMode::Native,
            link: Link::Up,
            queues,
        };
        Snapshot {
            generation: 1,
            entries: 0,
            table_bytes: 0,
            ports: vec![port("left", left), port("right", right)],
            workers: Vec::new(),
            rules: Vec::new(),
            flow_capacity: 0,
            flow_bytes: 0,
            bytes_per_flow_v4: 0,
            bytes_per_flow_v6: 0,
            flows_opened: 0,
            flows_closed: 0,
            flows_evicted: 0,
            fragment_capacity: 0,
            fragment_bytes: 0,
        }
    }

    #[test]
    fn flags_and_hardware_addresses_are_told_as_policies_write_them() {
        assert_eq!(tcp_flags(0x92), ["syn", "ack", "cwr"]);
        assert_eq!(known_mac([2, 0, 0x5e, 0, 0xab, 1]).as_deref(), Some("02:00:5e:00:ab:01"));
        assert_eq!(known_mac([0; 6]), None);
    }

    #[test]
    fn a_frame_may_leave_by_another_queue_than_it_came() {
        let left = vec![queue(10, 0, 1, 4), queue(0, 0, 0, 0)];
        let right = vec![queue(0, 0, 0, 0), queue(0, 5, 0, 0)];
        assert_eq!(imbalance(&snapshot(left, right)), 0);
    }

    #[test]
    fn a_lost_frame_shows_in_its_own_direction() {
        // Left to right lacks a frame, right to left has one too many: they do not cancel out.
        let left = vec![queue(10, 3, 0, 0)];
        let right = vec![queue(2, 9, 0, 0)];
        assert_eq!(imbalance(&snapshot(left, right)), 2);
    }
}
