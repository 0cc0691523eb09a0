//! A gateway in memory behind a real control socket: what the HTTP tests talk to.
#![allow(dead_code)] // Each test binary uses a part of it.

use classifier::{Family, PacketKey, ZoneId};
use control::client::Client;
use control::policy::{Compiler, Policy, ZoneMap};
use control::server::{App, Revision, Server, Serving};
use dataplane::{
    AttachMode, Count, DropReason, DropRecord, FlowClass, FlowRecord, GatewayHandle, Link,
    PassReason, PortSnapshot, PublishError, Published, QueueSnapshot, RuleFlows, RuleHits,
    Snapshot, SocketStatistics, SourceFlows, Table, WorkerSnapshot,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Two zones, three rules.
pub const POLICY: &str = "\
version: 1
zones:
  clients: {}
  servers: {}
hosts:
  web: { zone: servers, addresses: [10.77.1.20, \"fd77:1::20\"] }
services:
  http: { protocol: tcp, ports: [80] }
  ssh: { protocol: tcp, ports: [22] }
rules:
  - id: web
    from: clients
    to: web
    service: http
    action: allow
    description: the shop
  - id: no-ssh
    from: clients
    to: servers
    service: ssh
    action: deny
  - id: back
    from: servers
    to: clients
    service: any
    action: allow
";

/// The same zones; the rules `back` and `web` have changed places.
pub const REORDERED: &str = "\
version: 1
zones:
  clients: {}
  servers: {}
rules:
  - { id: back, from: servers, to: clients, service: any, action: allow }
  - { id: web, from: clients, to: servers, service: any, action: allow }
";

/// The same zones; the rule `web` is an exception written too late, and `back` is there twice.
pub const SHADOWED: &str = "\
version: 1
zones:
  clients: {}
  servers: {}
hosts:
  web: { zone: servers, addresses: [10.77.1.20] }
rules:
  - { id: nothing, from: clients, to: servers, service: any, action: deny }
  - { id: web, from: clients, to: web, service: any, action: allow }
  - { id: back, from: servers, to: clients, service: any, action: allow }
  - { id: again, from: servers, to: clients, service: any, action: allow }
";

/// What the fake data path was told and is to answer.
pub struct State {
    pub table: Table,
    pub hits: HashMap<String, u64>,
    pub published: Vec<u64>,
    pub ports: Vec<PortSnapshot>,
    pub workers: Vec<WorkerSnapshot>,
    pub flows: Vec<FlowRecord>,
    pub top_sources: Vec<SourceFlows>,
    pub top_rules: RuleFlows,
    pub drops: Vec<DropRecord>,
    /// How long a publication takes.
    pub swap: Duration,
    /// Worker that does not take the next table.
    pub stubborn: Option<usize>,
}

/// The data path in memory.
pub struct Fake {
    state: Mutex<State>,
    publishing: AtomicBool,
    /// Two publications were under way at once.
    pub overlapped: AtomicBool,
}

impl Fake {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl GatewayHandle for Fake {
    fn workers(&self) -> usize {
        2
    }

    fn publish(&self, table: Table) -> Result<Published, PublishError> {
        if self.publishing.swap(true, SeqCst) {
            self.overlapped.store(true, SeqCst);
        }
        let started = Instant::now();
        let swap = self.state().swap;
        std::thread::sleep(swap);
        let generation = table.generation();
        let mut state = self.state();
        state.published.push(generation);
        assert_eq!(table.workers(), 2);
        state.table = table;
        let stubborn = state.stubborn.take();
        for worker in &mut state.workers {
            if Some(worker.worker) != stubborn {
                worker.generation = generation;
            }
        }
        self.publishing.store(false, SeqCst);
        match stubborn {
            Some(worker) => Err(PublishError { generation, workers: vec![worker] }),
            None => Ok(Published { generation, swap: started.elapsed() }),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let hits = |id: &str| state.hits.get(id).copied().unwrap_or(0);
        Snapshot {
            generation: state.table.generation(),
            entries: state.table.entries(),
            table_bytes: state.table.memory_usage(),
            ports: state.ports.clone(),
            workers: state.workers.clone(),
            rules: state
                .table
                .rules()
                .iter()
                .map(|r| RuleHits { id: r.id.clone(), action: r.action, hits: hits(&r.id) })
                .collect(),
            flow_capacity: 1000,
            flow_bytes: 64_000,
            bytes_per_flow_v4: 129,
            bytes_per_flow_v6: 161,
            flows_opened: 9,
            flows_closed: 4,
            flows_evicted: 1,
            fragment_capacity: 4096,
            fragment_bytes: 32_768,
        }
    }

    fn flows(&self, limit: usize) -> Vec<FlowRecord> {
        self.state().flows.iter().copied().take(limit).collect()
    }

    fn top_sources(&self, limit: usize) -> Vec<SourceFlows> {
        self.state().top_sources.iter().copied().take(limit).collect()
    }

    fn top_rules(&self, limit: usize) -> RuleFlows {
        let mut top = self.state().top_rules.clone();
        top.rules.truncate(limit);
        top
    }

    fn recent_drops(&self, limit: usize) -> Vec<DropRecord> {
        self.state().drops.iter().copied().take(limit).collect()
    }
}

/// A served control socket, its fake gateway and a directory of its own.
pub struct Gateway {
    pub fake: Arc<Fake>,
    pub app: Arc<App>,
    pub socket: PathBuf,
    pub directory: TempDir,
    pub serving: Serving,
}

impl Gateway {
    /// Runs [`POLICY`] as generation 1.
    pub fn start() -> Gateway {
        Gateway::with(Compiler::default(), POLICY)
    }

    /// Runs `policy`, which `compiler` compiles, as generation 1.
    pub fn with(compiler: Compiler, policy: &str) -> Gateway {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let (fake, app) = app_with(compiler, policy);
        let server = Server::bind(&socket).unwrap();
        let serving = server.serve(app.clone()).unwrap();
        Gateway { fake, app, socket, directory, serving }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.socket).unwrap()
    }

    /// Sends `request` as it is and reads until the other end closes: status code and body.
    pub fn raw(&self, request: &[u8]) -> (u16, serde_json::Value) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body:?}")))
    }

    /// One request without a body.
    pub fn request(&self, method: &str, target: &str) -> (u16, serde_json::Value) {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.raw(request.as_bytes())
    }

    /// Applies `body` with a query such as `?if_generation=1`.
    pub fn apply(&self, query: &str, body: &[u8]) -> (u16, serde_json::Value) {
        let head = format!(
            "POST /v1/apply{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }
}

/// A fake gateway that runs [`POLICY`], and the state of its control socket.
pub fn app() -> (Arc<Fake>, Arc<App>) {
    app_with(Compiler::default(), POLICY)
}

fn app_with(mut compiler: Compiler, policy: &str) -> (Arc<Fake>, Arc<App>) {
    let policy = Policy::parse("first.yaml", policy).unwrap();
    let zones = ZoneMap::of(&policy);
    let (table, made) = compiler.compile(&policy, &zones, 1, 2).unwrap();
    let revision = Revision::new(&policy, &table, made, Duration::from_millis(3));
    let revision = revision.audited(&compiler.audit(&policy));
    let worker = |worker: usize| WorkerSnapshot {
        worker,
        wire: "uplink".into(),
        queue: worker as u32,
        core: Some(0),
        generation: 1,
        bursts: 70,
        sleeps: 3,
        // Half-open, one-sided, established, closing: 2 of the first worker, 3 of the second.
        flows: [0, 1, 1, worker as u64],
        fragments_held: 3 + worker as u64,
        datagrams_incomplete: 1 + worker as u64,
        umem_bytes: 1 << 24,
        handover_bytes: 1 << 22,
        alive: true,
    };
    // Left: 100 received, 90 passed, 6 denied, 3 by default, 1 held. Right: the same backwards,
    // 20 received and all passed. Four that passed on the left were suspect.
    let mut left = queue(100, 20);
    left.held = 1;
    left.handed_out = 40;
    left.drops[DropReason::PolicyDeny as usize] = 6;
    left.drops[DropReason::PolicyDefault as usize] = 3;
    left.suspects[DropReason::SourceNotInZone as usize] = 4;
    left.passed[PassReason::Rule as usize] = 91;
    let mut right = queue(20, 90);
    right.passed[PassReason::Flow as usize] = 20;
    let state = State {
        table,
        hits: HashMap::from([("web".into(), 91), ("no-ssh".into(), 6), ("back".into(), 20)]),
        published: Vec::new(),
        ports: vec![port("left", "bh0", 0, left), port("right", "bh1", 1, right)],
        workers: vec![worker(0), worker(1)],
        flows: vec![FlowRecord {
            wire: 0,
            key: key(6, 40_000, 80),
            rule: Some(0),
            generation: 1,
            class: FlowClass::Established,
            idle: Duration::from_secs(2),
            expires_in: Duration::from_secs(7438),
        }],
        top_sources: vec![
            SourceFlows { address: [10, 77, 1, 10].into(), flows: 3 },
            SourceFlows { address: "fd77:1::".parse().unwrap(), flows: 2 },
        ],
        top_rules: RuleFlows { generation: 1, rules: vec![(2, 3), (0, 1)], others: 1 },
        drops: vec![
            DropRecord {
                age: Duration::from_millis(1500),
                port: 0,
                queue: 0,
                reason: DropReason::PolicyDeny,
                key: Some(key(6, 40_001, 22)),
                rule: Some(1),
                generation: 1,
                length: 74,
            },
            DropRecord {
                age: Duration::from_secs(3),
                port: 1,
                queue: 1,
                reason: DropReason::EthernetHeader,
                key: None,
                rule: None,
                generation: 1,
                length: 11,
            },
        ],
        swap: Duration::from_millis(5),
        stubborn: None,
    };
    let fake = Arc::new(Fake {
        state: Mutex::new(state),
        publishing: AtomicBool::new(false),
        overlapped: AtomicBool::new(false),
    });
    let wires = vec!["uplink".into()];
    let app = App::new(fake.clone(), zones, wires, compiler, revision);
    (fake, Arc::new(app))
}

pub fn queue(rx: u64, tx: u64) -> QueueSnapshot {
    let count = |packets| Count { packets, bytes: 60 * packets };
    QueueSnapshot {
        queue: 0,
        rx: count(rx),
        tx: count(tx),
        held: 0,
        handed_out: 0,
        drops: [0; DropReason::COUNT],
        suspects: [0; DropReason::COUNT],
        passed: [0; PassReason::COUNT],
        socket: Some(SocketStatistics { rx_ring_full: 5, ..Default::default() }),
    }
}

/// A port of two queues; the second has no worker and no traffic.
fn port(name: &str, interface: &str, zone: u16, first: QueueSnapshot) -> PortSnapshot {
    PortSnapshot {
        name: name.into(),
        interface: interface.into(),
        wire: "uplink".into(),
        zone: ZoneId(zone),
        mode: AttachMode::Native,
        link: Link::Up,
        queues: vec![first, QueueSnapshot { queue: 1, socket: None, ..queue(0, 0) }],
    }
}

pub fn key(protocol: u8, src_port: u16, dst_port: u16) -> PacketKey {
    PacketKey {
        src: 0x0a4d_010a,
        dst: 0x0a4d_0114,
        protocol,
        src_port,
        dst_port,
        from_zone: ZoneId(0),
        to_zone: ZoneId(1),
        ..PacketKey::empty(Family::V4)
    }
}
