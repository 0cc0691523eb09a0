//! One listener on one thread of its own: bounded connections, bounded waits, a clean stop.

use axum::serve::Listener;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};

/// Threads for work that would hold up other connections: compiling, walking tables.
const BLOCKING_THREADS: usize = 8;
/// How long a stop waits for connections to end.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long it then waits for work that cannot be broken off, such as compiling a large policy:
/// whoever stops the server may rely on nobody using the gateway afterwards.
const WORK_PATIENCE: Duration = Duration::from_secs(60);

/// What one listener grants its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// For a request's headers to arrive, and for an idle connection to say something.
    pub header: Duration,
    /// After which a connection is closed behind the request under way.
    pub lifetime: Duration,
    /// For that request to end.
    pub grace: Duration,
}

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A local process, as the kernel knows it (`SO_PEERCRED`).
    Process {
        /// Its user.
        uid: u32,
        /// Its id, where it has one in our namespace.
        pid: Option<i32>,
    },
    /// Unknown.
    Unknown,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Peer::Process { uid, pid: Some(pid) } => write!(f, "uid {uid} pid {pid}"),
            Peer::Process { uid, pid: None } => write!(f, "uid {uid}"),
            Peer::Unknown => write!(f, "an unknown peer"),
        }
    }
}

/// A connection that may know its peer.
pub(crate) trait HasPeer {
    fn peer(&self) -> Peer;
}

impl HasPeer for UnixStream {
    fn peer(&self) -> Peer {
        match self.peer_cred() {
            Ok(peer) => Peer::Process { uid: peer.uid(), pid: peer.pid() },
            Err(_) => Peer::Unknown,
        }
    }
}

impl HasPeer for TcpStream {
    fn peer(&self) -> Peer {
        Peer::Unknown
    }
}

/// A runtime whose only thread is the one that calls `block_on`.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()
}

/// A listener being served. Stops when dropped.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Takes no more connections, gives those that are open two seconds, and returns when the
    /// listener is closed and no work for a request is under way.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Nobody listens when the thread has already ended.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Serves `router` on a new thread named `name`, away from `worker_cores` where there are others.
///
/// `keep` lives as long as the listener does.
pub(crate) fn spawn<L, K>(
    name: &str,
    runtime: Runtime,
    listener: L,
    keep: K,
    router: Router,
    limits: Limits,
    worker_cores: &[usize],
) -> io::Result<Serving>
where
    L: Listener,
    L::Io: HasPeer,
    K: Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let worker_cores = worker_cores.to_vec();
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        leave_cores(&worker_cores);
        runtime.block_on(accept(listener, router, limits, stopped));
        drop(keep);
        runtime.shutdown_timeout(WORK_PATIENCE);
    })?;
    Ok(Serving { stop, thread: Some(thread) })
}

/// Restricts this thread, and those it starts, to the cores that no worker is pinned to. A thread
/// that shares its core with a busy-polling worker takes packets from it.
fn leave_cores(worker_cores: &[usize]) {
    let Ok(mut cores) = sched_getaffinity(None) else { return };
    for &core in worker_cores.iter().filter(|&&core| core < CpuSet::MAX_CPU) {
        cores.unset(core);
    }
    if cores.count() > 0 {
        // Where it is not allowed, the scheduler decides.
        let _ = sched_setaffinity(None, &cores);
    }
}

async fn accept<L>(
    mut listener: L,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) where
    L: Listener,
    L::Io: HasPeer,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await.0)
        };
        let (permit, io) = tokio::select! {
            next = next => next,
            _ = stopped.changed() => break,
        };
        let router = router.clone().layer(Extension(io.peer()));
        let connection = serve_connection(io, router, limits, stopped.clone());
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(STOP_PATIENCE, permits.acquire_many(all)).await;
}

/// Serves one connection until it closes, its lifetime passes, or the gateway stops. How it ends
/// is the client's affair: there is nobody to report an error to.
async fn serve_connection<I>(
    io: I,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(limits.lifetime) => {}
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.grace, connection).await;
}
