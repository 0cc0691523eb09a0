//! The control socket's file: created with the right mode, taken over from the dead, never from
//! the living.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Owner and group may talk to the gateway, nobody else.
const SOCKET_MODE: u32 = 0o660;
/// Mode of a directory made for the socket.
const DIRECTORY_MODE: u32 = 0o755;
/// Longest path that fits `sockaddr_un`, its final NUL left out (unix(7)).
const PATH_MAX: usize = 107;
/// Connections the kernel queues while all of [`Limits`](super::serve::Limits) are in use.
const BACKLOG: u32 = 128;
/// How long another process may hold the directory's lock, or a listener take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no control socket.
#[derive(Debug)]
pub enum BindError {
    /// A living process listens on it.
    InUse {
        /// The socket.
        path: PathBuf,
        /// That process, where the kernel tells.
        pid: Option<i32>,
    },
    /// Something that is not a socket has its name.
    NotASocket(PathBuf),
    /// Longer than a Unix socket's address can be.
    TooLong(PathBuf),
    /// Its directory cannot be made or opened.
    Directory(PathBuf, io::Error),
    /// Another process is in the middle of creating a socket in that directory.
    Busy(PathBuf),
    /// The socket cannot be created.
    Create(PathBuf, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::InUse { path, pid } => {
                write!(f, "control socket {} is in use by another bulkhead", path.display())?;
                if let Some(pid) = pid {
                    write!(f, " (pid {pid})")?;
                }
                write!(f, "; stop that one or give this one another `control: socket:`")
            }
            BindError::NotASocket(path) => write!(
                f,
                "control socket {} cannot be created: a file that is not a socket is there",
                path.display()
            ),
            BindError::TooLong(path) => write!(
                f,
                "control socket {} has a path of {} bytes; the system allows {PATH_MAX}",
                path.display(),
                path.as_os_str().len()
            ),
            BindError::Directory(path, error) => {
                write!(f, "directory {} of the control socket: {error}", path.display())
            }
            BindError::Busy(path) => write!(
                f,
                "directory {} of the control socket is locked by another process",
                path.display()
            ),
            BindError::Create(path, error) => {
                write!(f, "control socket {} cannot be created: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Directory(_, error) | BindError::Create(_, error) => Some(error),
            _ => None,
        }
    }
}

/// The socket's name in the file system; removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a successor's socket of the same name stays.
    identity: (u64, u64),
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            // A file that cannot be removed is a stale socket to the next start, which copes.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates the socket and listens. Must run inside a tokio runtime.
///
/// The directory is locked from the look at an old socket until the new one listens: two gateways
/// that start at once would otherwise each take the other's socket for a dead one.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    if path.as_os_str().len() > PATH_MAX {
        return Err(BindError::TooLong(path.into()));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let _locked = lock_directory(directory).await?;
    remove_stale(path).await?;

    let create = |error| BindError::Create(path.into(), error);
    let socket = UnixSocket::new_stream().map_err(create)?;
    // Before bind, so that the file never exists with a wider mode than this (Linux gives the
    // file the socket's own mode); after it once more for what the umask took away.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE)).map_err(|e| create(e.into()))?;
    socket.bind(path).map_err(create)?;
    let found = fs::symlink_metadata(path).map_err(create)?;
    let file = SocketFile { path: path.into(), identity: (found.dev(), found.ino()) };
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(create)?;
    let listener = socket.listen(BACKLOG).map_err(create)?;
    Ok((listener, file))
}

/// Makes the directory if it is missing and locks it until the returned descriptor is dropped.
async fn lock_directory(directory: &Path) -> Result<std::os::fd::OwnedFd, BindError> {
    let failed = |error| BindError::Directory(directory.into(), error);
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(failed)?;
    let descriptor =
        open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| failed(e.into()))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(descriptor),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(BindError::Busy(directory.into())),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Removes the socket of a process that died; refuses to touch anything else.
async fn remove_stale(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::Create(path.into(), error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.into()));
        }
        Ok(_) => {}
    }
    let in_use = |pid| Err(BindError::InUse { path: path.into(), pid });
    match tokio::time::timeout(PATIENCE, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => in_use(stream.peer_cred().ok().and_then(|peer| peer.pid())),
        // Somebody listens and is too busy to take the connection.
        Err(_elapsed) => in_use(None),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::WouldBlock => in_use(None),
            io::ErrorKind::NotFound => Ok(()),
            io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|error| BindError::Create(path.into(), error))
            }
            _ => Err(BindError::Create(path.into(), error)),
        },
    }
}
