//! The control socket: HTTP/1.1 with JSON over a Unix socket.
//!
//! [`Server::bind`] takes the socket, before anything else of a gateway is touched; [`Server::serve`]
//! answers on it, on a thread of its own, once there is a gateway to speak for.

mod app;
mod apply;
mod documents;
mod refusal;
mod routes;
pub(crate) mod serve;
mod socket;

pub use app::{App, Revision, RuleText};
pub(crate) use documents::{drops_by_reason, suspects_by_reason};
pub use routes::description;
pub use serve::Serving;
pub use socket::BindError;

use self::serve::Limits;
use self::socket::SocketFile;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

const LIMITS: Limits = Limits {
    connections: 64,
    header: Duration::from_secs(10),
    lifetime: Duration::from_secs(600),
    // A policy of a million entries takes a while to compile.
    grace: Duration::from_secs(120),
};

/// A control socket that listens; connections wait until it is served.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: UnixListener,
    file: SocketFile,
}

impl Server {
    /// Creates the socket at `path`, mode 0660, and listens. Its directory is made if it is
    /// missing; the socket of a process that died is replaced. The file is removed when the
    /// server, or what serves it, is dropped.
    ///
    /// # Errors
    /// [`BindError`], which names the path and what to do.
    pub fn bind(path: &Path) -> Result<Server, BindError> {
        let runtime = serve::runtime().map_err(|error| BindError::Create(path.into(), error))?;
        let (listener, file) = runtime.block_on(socket::bind(path))?;
        Ok(Server { runtime, listener, file })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Answers for `app` on a new thread, away from the workers' cores where there are others,
    /// until the returned [`Serving`] is stopped or dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn serve(self, app: Arc<App>) -> io::Result<Serving> {
        let cores = app.worker_cores();
        let router = routes::router(app);
        let Server { runtime, listener, file } = self;
        serve::spawn("control", runtime, listener, file, router, LIMITS, &cores)
    }
}

/// One line on standard error. A gateway whose standard error is closed goes on.
fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
