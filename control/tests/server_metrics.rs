//! The Prometheus endpoint, and what Prometheus' own tool says of it.

mod server_fake;

use control::metrics::{self, Metrics};
use dataplane::{DropReason, Link};
use server_fake::{Fake, Gateway, REORDERED, app};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

fn fake() -> (Arc<Fake>, Metrics) {
    let (fake, app) = app();
    (fake, Metrics::new(app).unwrap())
}

/// The value of the sample written exactly so.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(s, _)| s == sample));
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn promtool_has_nothing_to_say() {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        lab::need::skip("promtool_has_nothing_to_say", "promtool is not installed");
        return;
    };
    let (fake, metrics) = fake();
    fake.state().ports[0].name = "odd \"name\" with \\ and\nline".into();
    let text = metrics.text().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "", "{text}");
    assert!(output.status.success());
}

#[test]
fn the_families_are_these() {
    let gateway = Gateway::start();
    assert_eq!(gateway.apply("", REORDERED.as_bytes()).0, 200);
    let text = Metrics::new(gateway.app.clone()).unwrap().text().unwrap();
    let families: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE bulkhead_")).collect();
    let expected = [
        "build_info gauge",
        "datagrams_incomplete gauge",
        "dropped_packets_total counter",
        "flow_bytes gauge",
        "flows gauge",
        "flows_capacity gauge",
        "flows_closed_total counter",
        "flows_evicted_total counter",
        "flows_opened_total counter",
        "forwarded_packets_total counter",
        "fragments_capacity gauge",
        "fragments_held gauge",
        "memory_bytes gauge",
        "port_handed_out_packets_total counter",
        "port_held_frames gauge",
        "port_rx_bytes_total counter",
        "port_rx_packets_total counter",
        "port_suspect_packets_total counter",
        "port_tx_bytes_total counter",
        "port_tx_packets_total counter",
        "port_up gauge",
        "rule_hits_total counter",
        "socket_rx_dropped_total counter",
        "socket_rx_fill_ring_empty_total counter",
        "socket_rx_invalid_descriptors_total counter",
        "socket_rx_ring_full_total counter",
        "socket_tx_invalid_descriptors_total counter",
        "socket_tx_ring_empty_total counter",
        "table_compile_seconds gauge",
        "table_entries gauge",
        "table_generation gauge",
        "table_rules gauge",
        "table_swap_seconds gauge",
        "table_worst_case_cache_lines gauge",
        "worker_up gauge",
    ];
    assert_eq!(families, BTreeSet::from(expected));
}

#[test]
fn samples_say_what_the_counters_say() {
    let (fake, metrics) = fake();
    fake.state().ports[1].link = Link::Down;
    fake.state().ports[0].queues[1].rx.packets = 7;
    let text = metrics.text().unwrap();
    let samples = [
        (r#"bulkhead_port_rx_packets_total{port="left",queue="0"}"#, 100.0),
        (r#"bulkhead_port_rx_packets_total{port="left",queue="1"}"#, 7.0),
        (r#"bulkhead_port_rx_bytes_total{port="left",queue="0"}"#, 6000.0),
        (r#"bulkhead_port_tx_packets_total{port="left",queue="0"}"#, 20.0),
        (r#"bulkhead_port_tx_bytes_total{port="right",queue="0"}"#, 5400.0),
        (r#"bulkhead_port_held_frames{port="left",queue="0"}"#, 1.0),
        (r#"bulkhead_port_handed_out_packets_total{port="left",queue="0"}"#, 40.0),
        (r#"bulkhead_dropped_packets_total{port="left",reason="policy_deny"}"#, 6.0),
        (r#"bulkhead_dropped_packets_total{port="left",reason="no_worker"}"#, 0.0),
        (r#"bulkhead_port_suspect_packets_total{port="left",reason="source_not_in_zone"}"#, 4.0),
        (r#"bulkhead_port_suspect_packets_total{port="right",reason="dhcp_server"}"#, 0.0),
        (r#"bulkhead_forwarded_packets_total{port="right",reason="flow"}"#, 20.0),
        (r#"bulkhead_rule_hits_total{rule="web",action="allow"}"#, 91.0),
        (r#"bulkhead_rule_hits_total{rule="no-ssh",action="deny"}"#, 6.0),
        (r#"bulkhead_flows{class="half_open"}"#, 0.0),
        (r#"bulkhead_flows{class="one_sided"}"#, 2.0),
        (r#"bulkhead_flows{class="established"}"#, 2.0),
        (r#"bulkhead_flows{class="closing"}"#, 1.0),
        ("bulkhead_flows_capacity", 1000.0),
        ("bulkhead_flows_opened_total", 9.0),
        ("bulkhead_flows_closed_total", 4.0),
        ("bulkhead_flows_evicted_total", 1.0),
        (r#"bulkhead_flow_bytes{family="ipv4"}"#, 129.0),
        (r#"bulkhead_flow_bytes{family="ipv6"}"#, 161.0),
        ("bulkhead_fragments_held", 7.0),
        ("bulkhead_fragments_capacity", 4096.0),
        ("bulkhead_datagrams_incomplete", 3.0),
        ("bulkhead_table_generation", 1.0),
        ("bulkhead_table_rules", 3.0),
        ("bulkhead_table_compile_seconds", 0.003),
        ("bulkhead_table_worst_case_cache_lines", fake.state().table.worst_case() as f64),
        (r#"bulkhead_memory_bytes{kind="flows"}"#, 64_000.0),
        (r#"bulkhead_memory_bytes{kind="fragments"}"#, 32_768.0),
        (r#"bulkhead_memory_bytes{kind="umem"}"#, 33_554_432.0),
        (r#"bulkhead_memory_bytes{kind="handover"}"#, 8_388_608.0),
        (r#"bulkhead_socket_rx_ring_full_total{port="left",queue="0"}"#, 5.0),
        (r#"bulkhead_port_up{port="left"}"#, 1.0),
        (r#"bulkhead_port_up{port="right"}"#, 0.0),
    ];
    for (sample, expected) in samples {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
    // A queue without a worker has no socket to count for.
    assert!(!text.contains(r#"bulkhead_socket_rx_ring_full_total{port="left",queue="1"}"#));
    // The first table was never swapped in.
    assert!(!text.contains("bulkhead_table_swap_seconds"));
}

#[test]
fn suspects_have_the_reasons_of_the_guard_and_what_else_happened() {
    let (fake, metrics) = fake();
    let reasons = || -> Vec<String> {
        let text = metrics.text().unwrap();
        let start = r#"bulkhead_port_suspect_packets_total{port="right",reason=""#;
        let found = text.lines().filter_map(|line| line.strip_prefix(start));
        found.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let mut expected = vec![
        "arp_address",
        "arp_mac",
        "arp_other_zone",
        "bogon_destination",
        "bogon_source",
        "dhcp_server",
        "group_source",
        "link_local_source",
        "neighbour_address",
        "neighbour_fragment",
        "neighbour_invalid",
        "neighbour_mac",
        "neighbour_other_zone",
        "not_global_source",
        "redirect",
        "router_advertisement",
        "source_not_in_zone",
        "source_other_zone",
        "unspecified_source",
    ];
    assert_eq!(reasons(), expected);
    fake.state().ports[1].queues[0].suspects[DropReason::CaptureCut as usize] = 1;
    expected.insert(5, "capture_cut");
    assert_eq!(reasons(), expected);
}

#[test]
fn every_frame_is_in_one_sum_of_the_metrics() {
    let (_, metrics) = fake();
    let text = metrics.text().unwrap();
    let sum = |start: &str| -> f64 {
        let samples = text.lines().filter(|line| line.starts_with(start));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    let received = sum("bulkhead_port_rx_packets_total{port=\"left\"");
    let transmitted = sum("bulkhead_port_tx_packets_total{port=\"right\"");
    let dropped = sum("bulkhead_dropped_packets_total{port=\"left\"");
    let held = sum("bulkhead_port_held_frames{port=\"left\"");
    assert_eq!(received, transmitted + dropped + held);
}

#[test]
fn hits_of_a_rule_go_on_across_swaps_while_its_id_stays() {
    let gateway = Gateway::start();
    let metrics = Metrics::new(gateway.app.clone()).unwrap();
    let web = r#"bulkhead_rule_hits_total{rule="web",action="allow"}"#;
    let mut last = value(&metrics.text().unwrap(), web);
    for generation in 2..6 {
        assert_eq!(gateway.apply("", REORDERED.as_bytes()).0, 200);
        *gateway.fake.state().hits.get_mut("web").unwrap() += 10;
        let text = metrics.text().unwrap();
        assert_eq!(value(&text, "bulkhead_table_generation"), f64::from(generation));
        assert_eq!(value(&text, web), last + 10.0);
        last = value(&text, web);
        assert!(value(&text, "bulkhead_table_swap_seconds") >= 0.005);
        assert!(!text.contains("no-ssh"), "a rule that has gone is still shown");
    }
}

#[test]
fn metrics_are_served_over_tcp_and_nothing_else_is() {
    let (_, app) = app();
    let exporter = metrics::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = exporter.address();
    let serving = exporter.serve(app).unwrap();
    let get = |target: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = get("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert_eq!(value(&answer, "bulkhead_table_generation"), 1.0);
    assert!(get("/v1/status").starts_with("HTTP/1.1 404 "));
    serving.stop();
    assert!(TcpStream::connect(address).is_err(), "still listening after stop");
}

#[test]
fn an_address_in_use_is_told() {
    let exporter = metrics::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let message = metrics::bind(exporter.address()).unwrap_err().to_string();
    let expected = format!("metrics cannot be served on {}", exporter.address());
    assert!(message.starts_with(&expected), "{message}");
}
