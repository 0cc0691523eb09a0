//! What a test needs of the machine, and how it is counted when that is not there.

use crate::gateway::binary;
use crate::gateway::workspace;
use crate::services::{Service, postgresql_program};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// One thing a test needs.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// What every laboratory needs: root, a kernel that lets it make network namespaces, `ip` and
    /// `ethtool`.
    Lab,
    /// A laboratory, and a gateway that was built with `run`.
    Gateway,
    /// A program in `PATH`, by an absolute path, or among PostgreSQL's.
    Program(&'static str),
    /// The programs of a service.
    Service(Service),
}

impl Need {
    /// Why the need is not met; `None` if it is.
    pub fn missing(self) -> Option<String> {
        match self {
            Need::Lab => missing(&[Need::Program("ip"), Need::Program("ethtool")])
                .or_else(namespaces_missing),
            Need::Gateway => Need::Lab.missing().or_else(run_missing),
            Need::Program(name) => (!installed(name)).then(|| format!("{name} is not installed")),
            Need::Service(Service::Ssh) if root_is_locked() => {
                Some("the root account is locked, so sshd lets nobody in as root".to_owned())
            }
            Need::Service(service) => {
                service.programs().iter().find_map(|name| Need::Program(name).missing())
            }
        }
    }
}

/// The first of `needs` that is not met, as text for a person.
pub fn missing(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| need.missing())
}

/// Says that `test` is skipped, and appends a line to the file that the environment variable
/// `BULKHEAD_SKIPS` names, so that skips are counted by whoever runs the tests.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    // Not eprint!, which the test harness keeps to itself when the test passes.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("BULKHEAD_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        // In one piece: other tests append to the same file.
        if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            eprintln!("cannot write to {}: {error}", path.display());
        }
    }
}

/// The folder of that name in `shared/`, beside the repository. Where it is not, the test that asks
/// is skipped, and has nothing to do.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let path = workspace().join("../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    let thread = std::thread::current();
    skip(thread.name().unwrap_or("a test"), &format!("there is no shared/{folder}"));
    None
}

/// Returns `Ok(())` from the test, counted as skipped, unless every [`Need`] is met.
#[macro_export]
macro_rules! need {
    ($($need:expr),+ $(,)?) => {{
        use $crate::need::Need;
        let thread = std::thread::current();
        let test = format!("{}::{}", module_path!(), thread.name().unwrap_or("a test"));
        let needs = [$($need),+];
        if let Some(why) = $crate::need::missing(&needs) {
            $crate::need::skip(&test, &why);
            return Ok(());
        }
    }};
}

fn installed(name: &str) -> bool {
    if name.contains('/') {
        return Path::new(name).exists();
    }
    let in_path =
        |dirs: &std::ffi::OsStr| std::env::split_paths(dirs).any(|d| d.join(name).exists());
    std::env::var_os("PATH").is_some_and(|path| in_path(&path))
        || postgresql_program(name).is_some()
}

/// Tried once: root can be without the right to make namespaces, as in most containers.
fn namespaces_missing() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING
        .get_or_init(|| {
            // SAFETY: geteuid takes nothing and cannot fail.
            if unsafe { libc::geteuid() } != 0 {
                return Some("not root: network namespaces cannot be made".to_owned());
            }
            // A veth pair as well: a sandbox can have namespaces without it.
            let script = "ip link add name left type veth peer name right";
            let tried = Command::new("unshare")
                .args(["--net", "--mount", "sh", "-c", script])
                .stdin(Stdio::null())
                .output();
            match tried {
                Ok(output) if output.status.success() => None,
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    Some(format!("network namespaces cannot be made: {said}"))
                }
                Err(error) => Some(format!("unshare: {error}")),
            }
        })
        .clone()
}

/// Where clang is missing, the program is built without the live gateway. A program that was not
/// built at all is not a reason to skip: the test fails and says so.
fn run_missing() -> Option<String> {
    static MISSING: OnceLock<bool> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        let tried = Command::new(binary()).args(["run", "--help"]).stdin(Stdio::null()).output();
        tried.is_ok_and(|output| !output.status.success())
    });
    missing.then(|| "bulkhead was built without the live gateway (clang is missing)".to_owned())
}

/// sshd without PAM refuses an account whose password field starts with `!`.
fn root_is_locked() -> bool {
    std::fs::read_to_string("/etc/shadow")
        .unwrap_or_default()
        .lines()
        .any(|line| line.starts_with("root:!"))
}
