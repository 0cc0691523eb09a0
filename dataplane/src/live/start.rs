//! Starting the gateway: everything that can be refused is refused before anything changes.

use super::{Gateway, Port, WorkerHandle};
use crate::flows::Flows;
use crate::gateway::{Forward, GatewayConfig, MAX_QUEUES, PortConfig};
use crate::handover::{self, Handover};
use crate::live::interface::Interface;
use crate::live::publish::Publisher;
use crate::live::runner::{Alive, Requests, Runner};
use crate::live::wake::Waker;
use crate::live::xdp::{AttachedProgram, PortProgram, XdpError};
use crate::ports::af_xdp::{SocketError, XdpPorts, umem_bytes};
use crate::table::Table;
use crate::tally::WorkerTally;
use crate::worker::{PortPlan, Worker, WorkerParts};
use crossbeam::queue::ArrayQueue;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Release};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError<E> {
    /// A port's interface does not exist.
    NoInterface {
        /// Name of the port.
        port: String,
        /// Name of its interface.
        interface: String,
    },
    /// A port's interface cannot be asked for its queues.
    Interface {
        /// Name of its interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A wire asks for more queues than its ports have.
    Queues {
        /// Name of the wire.
        wire: String,
        /// Queues asked for.
        wanted: u32,
        /// Queues that both interfaces have, and that one XDP program can serve.
        available: u32,
    },
    /// The process lacks a privilege.
    Privileges {
        /// What was tried.
        action: String,
    },
    /// Another process holds a queue.
    Busy {
        /// What was tried.
        action: String,
    },
    /// A socket could not be opened.
    Socket(SocketError),
    /// An XDP program could not be attached, or is somebody else's.
    Xdp(XdpError),
    /// A thread or an eventfd could not be made.
    Thread(io::Error),
    /// The table could not be made.
    Table(E),
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoInterface { port, interface } => write!(
                f,
                "port {port}: there is no interface {interface} in this network namespace (see: \
                 ip link)"
            ),
            StartError::Interface { interface, source } => {
                write!(f, "cannot ask interface {interface} for its queues: {source}")
            }
            StartError::Queues { wire, wanted, available } => write!(
                f,
                "wire {wire} asks for {wanted} queues, but its ports have {available} in common"
            ),
            StartError::Privileges { action } => write!(
                f,
                "cannot {action}: not permitted; run as root, or with the capabilities \
                 CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK"
            ),
            StartError::Busy { action } => write!(
                f,
                "cannot {action}: another process holds it; is another bulkhead running on this \
                 interface?"
            ),
            StartError::Socket(e) => write!(f, "cannot {}: {}", e.action, e.source),
            StartError::Xdp(e) => e.fmt(f),
            StartError::Thread(e) => write!(f, "cannot start a worker: {e}"),
            StartError::Table(e) => e.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for StartError<E> {}

impl<E> From<SocketError> for StartError<E> {
    fn from(e: SocketError) -> Self {
        match e.source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => StartError::Privileges { action: e.action },
            Some(libc::EBUSY) => StartError::Busy { action: e.action },
            _ => StartError::Socket(e),
        }
    }
}

impl<E> From<XdpError> for StartError<E> {
    fn from(e: XdpError) -> Self {
        match e {
            XdpError::Kernel { action, source }
                if source.kind() == libbpf_rs::ErrorKind::PermissionDenied =>
            {
                StartError::Privileges { action }
            }
            e => StartError::Xdp(e),
        }
    }
}

/// A wire with its queues counted.
struct Wire {
    name: String,
    ports: [usize; 2],
    queues: u32,
}

/// A worker before its thread.
struct Prepared {
    wire: usize,
    queue: u32,
    ports: XdpPorts,
    handover: Option<Handover>,
}

pub(super) fn start<E>(
    config: GatewayConfig,
    table: impl FnOnce(usize) -> Result<Table, E>,
) -> Result<Gateway, StartError<E>> {
    let interfaces =
        config.ports.iter().map(find_interface).collect::<Result<Vec<_>, StartError<E>>>()?;
    let wires = count_queues(&config, &interfaces)?;
    let programs = load_programs(&interfaces)?;
    let prepared = open_sockets(&config, &wires)?;
    let table = table(prepared.len()).map_err(StartError::Table)?;
    for worker in &prepared {
        for (port, fd) in wires[worker.wire].ports.iter().zip(worker.ports.fds()) {
            programs[*port].set_socket(worker.queue, fd.as_fd())?;
        }
    }
    // From here on the machine is changed, and a failure undoes it.
    let attached = attach(&config, &interfaces, programs)?;
    launch(config, interfaces, wires, attached, prepared, Arc::new(table))
}

fn find_interface<E>(port: &PortConfig) -> Result<(Interface, u32), StartError<E>> {
    let interface = Interface::find(&port.interface).map_err(|_| StartError::NoInterface {
        port: port.name.clone(),
        interface: port.interface.clone(),
    })?;
    let queues = interface
        .queues()
        .map_err(|source| StartError::Interface { interface: port.interface.clone(), source })?;
    Ok((interface, queues))
}

fn count_queues<E>(
    config: &GatewayConfig,
    interfaces: &[(Interface, u32)],
) -> Result<Vec<Wire>, StartError<E>> {
    let wires = config.forward.iter().map(|Forward::Wire { name, ports, queues }| {
        let have = ports.map(|port| interfaces[port].1);
        let available = have[0].min(have[1]).min(MAX_QUEUES);
        let queues = queues.unwrap_or(available);
        if queues == 0 || queues > available {
            return Err(StartError::Queues { wire: name.clone(), wanted: queues, available });
        }
        Ok(Wire { name: name.clone(), ports: *ports, queues })
    });
    wires.collect()
}

fn load_programs<E>(interfaces: &[(Interface, u32)]) -> Result<Vec<PortProgram>, StartError<E>> {
    let mut programs = Vec::new();
    for (interface, _) in interfaces {
        let program = PortProgram::load()?;
        program.check(&interface.name, interface.index)?;
        programs.push(program);
    }
    Ok(programs)
}

/// Opens every socket before any program is attached: a queue that a running gateway holds is
/// refused here, and that gateway's program stays untouched.
fn open_sockets<E>(config: &GatewayConfig, wires: &[Wire]) -> Result<Vec<Prepared>, StartError<E>> {
    let mut prepared = Vec::new();
    // One clock for the drops and flows of all.
    let clock = Instant::now();
    for (wire, Wire { ports, queues, .. }) in wires.iter().enumerate() {
        let names = ports.map(|port| config.ports[port].interface.as_str());
        let parts = handover::join(*queues as usize, names.len(), config.rings.frame_size as usize);
        for (queue, handover) in (0..*queues).zip(parts) {
            let (rings, adopts) = (&config.rings, handover.is_some());
            let ports = XdpPorts::open(&names, queue, rings, config.busy_poll, adopts, clock)?;
            prepared.push(Prepared { wire, queue, ports, handover });
        }
    }
    Ok(prepared)
}

fn attach<E>(
    config: &GatewayConfig,
    interfaces: &[(Interface, u32)],
    programs: Vec<PortProgram>,
) -> Result<Vec<AttachedProgram>, StartError<E>> {
    let mut attached: Vec<AttachedProgram> = Vec::new();
    for ((interface, _), program) in interfaces.iter().zip(programs) {
        match program.attach(&interface.name, interface.index, config.xdp_mode) {
            Ok(program) => attached.push(program),
            Err(e) => {
                undo(attached);
                return Err(e.into());
            }
        }
    }
    Ok(attached)
}

fn undo(attached: Vec<AttachedProgram>) {
    for program in attached {
        // The first failure is the one to report; a program that stays is closed.
        let _ = program.undo();
    }
}

fn launch<E>(
    config: GatewayConfig,
    interfaces: Vec<(Interface, u32)>,
    wires: Vec<Wire>,
    attached: Vec<AttachedProgram>,
    prepared: Vec<Prepared>,
    table: Arc<Table>,
) -> Result<Gateway, StartError<E>> {
    let stop = Arc::new(AtomicBool::new(false));
    match spawn_workers(&config, &wires, prepared, &table, &stop) {
        Ok((publisher, workers)) => {
            let wire_of = |port: usize| {
                wires.iter().find(|w| w.ports.contains(&port)).map_or("", |w| w.name.as_str())
            };
            let ports = config.ports.into_iter().zip(interfaces).zip(attached).enumerate();
            let ports = ports.map(|(number, ((port, (interface, queues)), program))| Port {
                name: port.name,
                wire: wire_of(number).to_owned(),
                zone: port.zone,
                interface,
                queues,
                program,
            });
            Ok(Gateway {
                publisher,
                ports: ports.collect(),
                stop,
                on_exit: config.on_exit,
                flow_capacity: u64::from(config.flows.capacity) * workers.len() as u64,
                fragment_capacity: u64::from(config.fragments.max_frames) * workers.len() as u64,
                workers,
            })
        }
        Err(e) => {
            stop.store(true, Release);
            undo(attached);
            Err(StartError::Thread(e))
        }
    }
}

fn spawn_workers(
    config: &GatewayConfig,
    wires: &[Wire],
    prepared: Vec<Prepared>,
    table: &Arc<Table>,
    stop: &Arc<AtomicBool>,
) -> io::Result<(Publisher, Vec<WorkerHandle>)> {
    let count = prepared.len();
    let wakers = (0..count).map(|_| Waker::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
    let (publisher, subscriptions) = Publisher::new(table.clone(), wakers.clone());
    let wire_of: Vec<usize> = prepared.iter().map(|worker| worker.wire).collect();
    let cores = cores(&config.cores);
    let mut workers = Vec::new();
    for ((number, prepared), subscription) in prepared.into_iter().enumerate().zip(subscriptions) {
        let Prepared { wire, queue, ports, handover } = prepared;
        // In the order in which the hand-over numbers them.
        let siblings = (0..count).filter(|&other| other != number && wire_of[other] == wire);
        let sibling_wakers = siblings.map(|n| wakers[n].clone()).collect();
        let gateway_ports = wires[wire].ports;
        let zone = |port: usize| config.ports[port].zone;
        let tally = Arc::new(WorkerTally::new(gateway_ports.len()));
        let requests: Arc<Requests> = Arc::new(ArrayQueue::new(16));
        let sockets = ports.duplicate_fds()?;
        let flows = Flows::new(config.flows);
        let flow_bytes = flows.table.memory_usage() as u64;
        let bytes_per_flow = flows.table.bytes_per_flow();
        let ways_out = (0..gateway_ports.len())
            .map(|port| handover.as_ref().map_or_else(Vec::new, |part| part.ways_out(port)))
            .collect();
        let parts = WorkerParts {
            number,
            plan: vec![
                PortPlan { egress: 1, zone: zone(gateway_ports[0]) },
                PortPlan { egress: 0, zone: zone(gateway_ports[1]) },
            ],
            table: table.clone(),
            flows,
            fragments: config.fragments,
            handover,
            ethertypes: config.ethertypes.clone(),
            parse: config.parse,
            tally: tally.clone(),
        };
        let worker = Worker::new(ports, parts);
        let fragment_bytes = worker.fragment_bytes() as u64;
        let runner = Runner {
            worker,
            wire,
            queue,
            gateway_ports: gateway_ports.to_vec(),
            subscription,
            requests: requests.clone(),
            waker: wakers[number].clone(),
            sibling_wakers,
            tally: tally.clone(),
            poll: config.poll,
            stop: stop.clone(),
        };
        let core = cores.get(number % cores.len().max(1)).copied();
        let (thread, pinned) = spawn(number, core, runner)?;
        workers.push(WorkerHandle {
            wire: wires[wire].name.clone(),
            queue,
            core: pinned,
            umem_bytes: umem_bytes(&config.rings),
            flow_bytes,
            bytes_per_flow,
            fragment_bytes,
            ports: gateway_ports.to_vec(),
            sockets,
            ways_out,
            tally,
            requests,
            waker: wakers[number].clone(),
            thread: Mutex::new(Some(thread)),
        });
    }
    Ok((publisher, workers))
}

/// Starts a worker's thread; the core it could be pinned to.
fn spawn(
    number: usize,
    core: Option<core_affinity::CoreId>,
    runner: Runner,
) -> io::Result<(std::thread::JoinHandle<Runner>, Option<usize>)> {
    let (pinned, answer) = crossbeam::channel::bounded(1);
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let _alive = Alive::new(runner.tally.clone());
        let core = core.filter(|core| core_affinity::set_for_current(*core));
        // The starter waits for it.
        let _ = pinned.send(core.map(|core| core.id));
        runner.run()
    })?;
    Ok((thread, answer.recv().ok().flatten()))
}

/// The cores to pin workers to, in turn.
fn cores(wanted: &[usize]) -> Vec<core_affinity::CoreId> {
    let mut cores = core_affinity::get_core_ids().unwrap_or_default();
    if wanted.is_empty() {
        if cores.len() > 1 {
            cores.retain(|core| core.id != 0);
        }
        cores
    } else {
        wanted.iter().map(|&id| core_affinity::CoreId { id }).collect()
    }
}
