//! Child processes: bounded in time, output in files, never left behind.

use crate::{Error, Result, wait};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a process may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// What a finished process left.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; `None` if a signal ended it or it ran out of time.
    pub code: Option<i32>,
    /// Whether it was killed because its time was over.
    pub timed_out: bool,
    /// Everything written to standard output.
    pub stdout: String,
    /// Everything written to standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Itself, if it succeeded.
    ///
    /// # Errors
    /// The command, its end and what it said on standard error, if it did not.
    pub fn expect_success(self) -> Result<Output> {
        if self.success() { Ok(self) } else { Err(Error::new(self.describe())) }
    }

    /// The command, its end and its output in a few lines.
    pub fn describe(&self) -> String {
        let end = match (self.timed_out, self.code) {
            (true, _) => "ran out of time".to_owned(),
            (false, Some(code)) => format!("exit code {code}"),
            (false, None) => "ended by a signal".to_owned(),
        };
        format!("`{}`: {end}\n{}{}", self.command, self.stdout, self.stderr)
    }
}

/// A running child. Dropped, it is stopped: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    stdout: File,
    stderr: File,
    ended: Option<ExitStatus>,
}

/// Starts `argv` in the directory `dir`, with its output going to files without a name: a pipe
/// would have to be read while the process runs.
///
/// The child gets SIGTERM should the thread that started it end first, so that nothing outlives an
/// interrupted test run.
///
/// # Errors
/// If the files or the process cannot be made.
pub fn spawn(dir: &Path, argv: &[&str]) -> Result<Running> {
    let command = argv.join(" ");
    let (program, arguments) =
        argv.split_first().ok_or_else(|| Error::new("no program to start"))?;
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut builder = Command::new(program);
    builder
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .current_dir(dir)
        // What programs say is read here, so they are to say it in one language.
        .env("LC_ALL", "C")
        // No .curlrc, .digrc or Wireshark profile of whoever runs this has a say.
        .env("HOME", dir)
        .env_remove("XDG_CONFIG_HOME");
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        builder.env_remove(proxy);
    }
    // SAFETY: prctl with PR_SET_PDEATHSIG is a bare system call: async-signal-safe, no memory.
    unsafe {
        builder.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child =
        builder.spawn().map_err(|e| Error::new(format!("cannot start `{command}`: {e}")))?;
    Ok(Running { child, command, stdout, stderr, ended: None })
}

/// Runs `argv` to its end, for at most `limit`; then it is killed.
///
/// # Errors
/// If the process cannot be started.
pub fn run(dir: &Path, argv: &[&str], limit: Duration) -> Result<Output> {
    spawn(dir, argv)?.finish(limit)
}

impl Running {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The command line.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            // SAFETY: kill takes two integers. The child has not been reaped (`ended` is None), so
            // its id cannot have been given to another process.
            unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        }
    }

    /// Waits for its end for at most `limit`.
    ///
    /// # Errors
    /// If it still runs then.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of `{}`", self.command);
        wait::until(&what, limit, || self.ended())
    }

    /// SIGTERM, then SIGKILL where that does not help; how it ended.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.signal(libc::SIGTERM);
        if self.wait(GRACE).is_err() {
            self.signal(libc::SIGKILL);
            // A killed process ends; the error would only say that the kernel is slow.
            let _ = self.wait(GRACE);
        }
        self.ended()
    }

    /// Waits for its end for at most `limit`, kills it where it takes longer, and reads its output.
    ///
    /// # Errors
    /// If even SIGKILL does not end it.
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let timed_out = self.wait(limit).is_err();
        if timed_out {
            self.signal(libc::SIGKILL);
            self.wait(GRACE)?;
        }
        Ok(self.output(timed_out))
    }

    /// SIGTERM (SIGKILL where that does not help), then the output.
    pub fn stop_and_read(mut self) -> Output {
        self.stop();
        self.output(false)
    }

    fn output(&mut self, timed_out: bool) -> Output {
        let code = self.ended().filter(|s| s.signal().is_none()).and_then(|s| s.code());
        Output {
            command: self.command.clone(),
            code,
            timed_out,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// All that is in `file`, without moving the position at which the child writes.
fn read_lossy(file: &File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; length as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(cannot be read: {error})"),
    }
}
