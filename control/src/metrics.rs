//! Prometheus metrics over TCP.
//!
//! Nothing is counted here: each scrape reads one [`Snapshot`], and so costs the workers nothing.

use crate::server::serve::{self, Limits};
use crate::server::{App, Serving, drops_by_reason, suspects_by_reason};
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dataplane::{
    DropReason, FlowClass, Link, PassReason, PortSnapshot, QueueSnapshot, Snapshot,
    SocketStatistics,
};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

const LIMITS: Limits = Limits {
    connections: 16,
    header: Duration::from_secs(30),
    lifetime: Duration::from_secs(600),
    grace: Duration::from_secs(10),
};

/// The metrics address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { address, error } = self;
        write!(f, "metrics cannot be served on {address} (`metrics: listen:`): {error}")
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A metrics endpoint that listens; scrapes wait until it is served.
#[derive(Debug)]
pub struct Exporter {
    runtime: Runtime,
    listener: tokio::net::TcpListener,
    address: SocketAddr,
}

/// Listens on `address`; port 0 takes any free one.
///
/// # Errors
/// [`BindError`], most often because another process listens there.
pub fn bind(address: SocketAddr) -> Result<Exporter, BindError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let runtime = serve::runtime()?;
        let entered = runtime.enter();
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(entered);
        Ok(Exporter { runtime, listener, address })
    };
    listen().map_err(|error| BindError { address, error })
}

impl Exporter {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers scrapes of `/metrics` on a new thread, away from the workers' cores where there
    /// are others, until the returned [`Serving`] is stopped or dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn serve(self, app: Arc<App>) -> io::Result<Serving> {
        let cores = app.worker_cores();
        let metrics = Arc::new(Metrics::new(app).map_err(io::Error::other)?);
        let router =
            Router::new().route("/metrics", get(scrape)).fallback(not_found).with_state(metrics);
        serve::spawn("metrics", self.runtime, self.listener, (), router, LIMITS, &cores)
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    // Beside the runtime: a hundred thousand rules take a while to print.
    match tokio::task::spawn_blocking(move || metrics.text()).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, TextEncoder::new().format_type())], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(_panicked) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("there is no {}; metrics are at /metrics\n", uri.path());
    (StatusCode::NOT_FOUND, message).into_response()
}

/// The metrics of one gateway.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Those of `app`.
    ///
    /// # Errors
    /// If the library refuses a name: none that a gateway's counters can provoke.
    pub fn new(app: Arc<App>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(GatewayCollector::new(app)?))?;
        Ok(Metrics { registry })
    }

    /// All of them now, in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// Those of the encoder: none that a gateway's counters can provoke.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Turns one snapshot into metric families.
struct GatewayCollector {
    app: Arc<App>,
    descriptors: Vec<Desc>,
}

impl GatewayCollector {
    fn new(app: Arc<App>) -> prometheus::Result<Self> {
        let describe = |family: &Family| {
            let labels = family.labels.iter().map(|&label| label.into()).collect();
            Desc::new(family.name.into(), family.help.into(), labels, HashMap::new())
        };
        let descriptors = families(&app).iter().map(describe).collect::<Result<_, _>>()?;
        Ok(GatewayCollector { app, descriptors })
    }
}

impl Collector for GatewayCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.app).into_iter().map(Family::into_proto).collect()
    }
}

/// A metric with its samples.
struct Family {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Vec<(Vec<String>, f64)>,
}

impl Family {
    fn new(
        kind: MetricType,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Family { kind, name, help, labels, samples: Vec::new() }
    }

    fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Family::new(MetricType::COUNTER, name, help, labels)
    }

    fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Family::new(MetricType::GAUGE, name, help, labels)
    }

    /// Adds a sample; `values` stand for the labels in their order.
    fn with(mut self, values: &[&str], value: f64) -> Self {
        self.push(values, value);
        self
    }

    fn push(&mut self, values: &[&str], value: f64) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        self.samples.push((values.iter().map(|&value| value.into()).collect(), value));
    }

    fn into_proto(self) -> MetricFamily {
        let metric = |(values, value): (Vec<String>, f64)| {
            let pair = |(&name, value): (&&str, String)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.into());
                pair.set_value(value);
                pair
            };
            let labels = self.labels.iter().zip(values).map(pair).collect();
            let mut metric = Metric::from_label(labels);
            if self.kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(self.kind);
        family.set_metric(self.samples.into_iter().map(metric).collect());
        family
    }
}

/// Every family, of one look at the counters.
fn families(app: &App) -> Vec<Family> {
    let snapshot = app.snapshot();
    let mut families = queue_families(&snapshot.ports);
    families.extend(socket_families(&snapshot.ports));
    families.extend(verdict_families(&snapshot));
    families.extend(table_families(app, &snapshot));
    families.extend(state_families(&snapshot));
    families.extend(flow_families(&snapshot));
    families
}

fn queue_families(ports: &[PortSnapshot]) -> Vec<Family> {
    let labels = &["port", "queue"];
    let family = |mut family: Family, of: fn(&QueueSnapshot) -> u64| {
        for (port, queue) in queues(ports) {
            family.push(&[&port.name, &queue.queue.to_string()], of(queue) as f64);
        }
        family
    };
    vec![
        family(
            Family::counter("bulkhead_port_rx_packets_total", "Frames received.", labels),
            |q| q.rx.packets,
        ),
        family(Family::counter("bulkhead_port_rx_bytes_total", "Bytes received.", labels), |q| {
            q.rx.bytes
        }),
        family(
            Family::counter("bulkhead_port_tx_packets_total", "Frames transmitted.", labels),
            |q| q.tx.packets,
        ),
        family(
            Family::counter("bulkhead_port_tx_bytes_total", "Bytes transmitted.", labels),
            |q| q.tx.bytes,
        ),
        family(
            Family::gauge(
                "bulkhead_port_held_frames",
                "Frames on their way to another worker, and frames forwarded by this queue's worker \
                 that the kernel has not transmitted.",
                labels,
            ),
            |q| q.held,
        ),
        family(
            Family::counter(
                "bulkhead_port_handed_out_packets_total",
                "Frames received that another worker of the wire owns, handed over to it.",
                labels,
            ),
            |q| q.handed_out,
        ),
    ]
}

fn socket_families(ports: &[PortSnapshot]) -> Vec<Family> {
    let family = |name, help, of: fn(&SocketStatistics) -> u64| {
        let mut family = Family::counter(name, help, &["port", "queue"]);
        for (port, queue) in queues(ports) {
            if let Some(socket) = &queue.socket {
                family.push(&[&port.name, &queue.queue.to_string()], of(socket) as f64);
            }
        }
        family
    };
    vec![
        family(
            "bulkhead_socket_rx_dropped_total",
            "Frames the kernel dropped before the socket, such as those too long for a frame.",
            |s| s.rx_dropped,
        ),
        family(
            "bulkhead_socket_rx_ring_full_total",
            "Frames the kernel dropped because the receive ring was full.",
            |s| s.rx_ring_full,
        ),
        family(
            "bulkhead_socket_rx_fill_ring_empty_total",
            "Times the kernel found the fill ring empty.",
            |s| s.rx_fill_ring_empty,
        ),
        family(
            "bulkhead_socket_rx_invalid_descriptors_total",
            "Frames dropped for an invalid descriptor in the fill ring.",
            |s| s.rx_invalid_descriptors,
        ),
        family(
            "bulkhead_socket_tx_invalid_descriptors_total",
            "Frames not sent for an invalid descriptor in the transmit ring.",
            |s| s.tx_invalid_descriptors,
        ),
        family(
            "bulkhead_socket_tx_ring_empty_total",
            "Times the kernel found the transmit ring empty.",
            |s| s.tx_ring_empty,
        ),
    ]
}

/// The reasons of a guard, which stand together.
const GUARD: RangeInclusive<DropReason> = DropReason::SourceOtherZone..=DropReason::DhcpServer;

fn verdict_families(snapshot: &Snapshot) -> Vec<Family> {
    let mut dropped = Family::counter(
        "bulkhead_dropped_packets_total",
        "Frames received on the port and dropped, by reason.",
        &["port", "reason"],
    );
    let mut forwarded = Family::counter(
        "bulkhead_forwarded_packets_total",
        "Frames received on the port and forwarded, by reason.",
        &["port", "reason"],
    );
    let mut suspect = Family::counter(
        "bulkhead_port_suspect_packets_total",
        "Frames received on the port that the guard of its zone found to lie about addresses and \
         only counted, by the reason to drop them that it gave.",
        &["port", "reason"],
    );
    for port in &snapshot.ports {
        // Reasons that have not happened are exported as 0: a rate needs a sample before the first.
        for (reason, packets) in drops_by_reason(port) {
            dropped.push(&[&port.name, reason.as_str()], packets as f64);
        }
        for (reason, packets) in suspects_by_reason(port) {
            if packets > 0 || GUARD.contains(&reason) {
                suspect.push(&[&port.name, reason.as_str()], packets as f64);
            }
        }
        for &reason in PassReason::ALL {
            let packets: u64 = port.queues.iter().map(|q| q.passed[reason as usize]).sum();
            forwarded.push(&[&port.name, reason.as_str()], packets as f64);
        }
    }
    let mut hits = Family::counter(
        "bulkhead_rule_hits_total",
        "Packets judged by the rule, those of flows it allowed included.",
        &["rule", "action"],
    );
    for rule in &snapshot.rules {
        hits.push(&[&rule.id, rule.action.as_str()], rule.hits as f64);
    }
    vec![dropped, suspect, forwarded, hits]
}

fn table_families(app: &App, snapshot: &Snapshot) -> Vec<Family> {
    let revision = app.current();
    let mut swap = Family::gauge(
        "bulkhead_table_swap_seconds",
        "From the last publication until the last worker took the table.",
        &[],
    );
    if let Some(duration) = revision.swap() {
        swap.push(&[], duration.as_secs_f64());
    }
    vec![
        Family::gauge("bulkhead_table_generation", "Generation of the table in force.", &[])
            .with(&[], snapshot.generation as f64),
        Family::gauge("bulkhead_table_rules", "Rules of the policy in force.", &[])
            .with(&[], snapshot.rules.len() as f64),
        Family::gauge(
            "bulkhead_table_entries",
            "Entries of the compiled table: what the rules were lowered to.",
            &[],
        )
        .with(&[], snapshot.entries as f64),
        Family::gauge(
            "bulkhead_table_worst_case_cache_lines",
            "The most cache lines that a lookup in the compiled table touches.",
            &[],
        )
        .with(&[], revision.worst_case() as f64),
        Family::gauge(
            "bulkhead_table_compile_seconds",
            "Time from the policy's text to the table in force.",
            &[],
        )
        .with(&[], revision.compile().as_secs_f64()),
        swap,
    ]
}

fn state_families(snapshot: &Snapshot) -> Vec<Family> {
    let mut up = Family::gauge("bulkhead_port_up", "Whether the port has a link.", &["port"]);
    for port in &snapshot.ports {
        up.push(&[&port.name], f64::from(port.link == Link::Up));
    }
    let mut alive = Family::gauge(
        "bulkhead_worker_up",
        "Whether the worker runs; its queue forwards nothing when it does not.",
        &["worker", "wire", "queue"],
    );
    for worker in &snapshot.workers {
        let (number, queue) = (worker.worker.to_string(), worker.queue.to_string());
        alive.push(&[&number, &worker.wire, &queue], f64::from(worker.alive));
    }
    vec![
        up,
        alive,
        Family::gauge("bulkhead_memory_bytes", "Memory held by the data path.", &["kind"])
            .with(&["table"], snapshot.table_bytes as f64)
            .with(&["flows"], snapshot.flow_bytes as f64)
            .with(&["fragments"], snapshot.fragment_bytes as f64)
            .with(&["umem"], snapshot.umem_bytes() as f64)
            .with(&["handover"], snapshot.handover_bytes() as f64),
        Family::gauge("bulkhead_build_info", "The running program; always 1.", &["version"])
            .with(&[env!("CARGO_PKG_VERSION")], 1.0),
    ]
}

fn flow_families(snapshot: &Snapshot) -> Vec<Family> {
    let mut flows = Family::gauge("bulkhead_flows", "Flows open, by how far they are.", &["class"]);
    for class in FlowClass::ALL {
        flows.push(&[class.as_str()], snapshot.flows_of(class) as f64);
    }
    vec![
        flows,
        Family::gauge("bulkhead_flows_capacity", "Most flows that can be open.", &[])
            .with(&[], snapshot.flow_capacity as f64),
        Family::counter("bulkhead_flows_opened_total", "Flows opened.", &[])
            .with(&[], snapshot.flows_opened as f64),
        Family::counter("bulkhead_flows_closed_total", "Flows closed, for any cause.", &[])
            .with(&[], snapshot.flows_closed as f64),
        Family::counter(
            "bulkhead_flows_evicted_total",
            "Flows closed because a table was full and they gave way to newcomers.",
            &[],
        )
        .with(&[], snapshot.flows_evicted as f64),
        Family::gauge(
            "bulkhead_flow_bytes",
            "Memory that one flow takes when the tables are full.",
            &["family"],
        )
        .with(&["ipv4"], snapshot.bytes_per_flow_v4 as f64)
        .with(&["ipv6"], snapshot.bytes_per_flow_v6 as f64),
        Family::gauge(
            "bulkhead_fragments_held",
            "Fragments held until their datagrams are whole.",
            &[],
        )
        .with(&[], snapshot.fragments_held() as f64),
        Family::gauge("bulkhead_fragments_capacity", "Most fragments that can be held.", &[])
            .with(&[], snapshot.fragment_capacity as f64),
        Family::gauge(
            "bulkhead_datagrams_incomplete",
            "Datagrams of which some fragments are held.",
            &[],
        )
        .with(&[], snapshot.datagrams_incomplete() as f64),
    ]
}

fn queues(ports: &[PortSnapshot]) -> impl Iterator<Item = (&PortSnapshot, &QueueSnapshot)> {
    ports.iter().flat_map(|port| port.queues.iter().map(move |queue| (port, queue)))
}
