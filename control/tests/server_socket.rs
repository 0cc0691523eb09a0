//! The control socket's file and its peers.

mod server_fake;

use control::client::{Client, ClientError};
use control::server::{BindError, Server};
use server_fake::{Gateway, REORDERED, app};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_socket_is_for_owner_and_group_in_a_directory_that_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/bulkhead/control.sock");
    let server = Server::bind(&path).unwrap();
    assert_eq!(server.path(), path);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
}

#[test]
fn the_socket_of_a_dead_process_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    // The standard library leaves the file behind, as a killed process does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_, app) = app();
    let _serving = Server::bind(&path).unwrap().serve(app).unwrap();
    assert_eq!(Client::new(&path).unwrap().status().unwrap().generation, 1);
}

#[test]
fn the_socket_of_a_living_process_is_left_alone() {
    let gateway = Gateway::start();
    let error = Server::bind(&gateway.socket).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    let message = error.to_string();
    let expected = format!(
        "control socket {} is in use by another bulkhead (pid {})",
        gateway.socket.display(),
        std::process::id()
    );
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(gateway.client().status().unwrap().generation, 1);
}

#[test]
fn a_socket_that_listens_and_is_not_yet_served_is_in_use_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let _first = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path), Err(BindError::InUse { .. })));
}

#[test]
fn of_gateways_that_start_at_once_over_a_dead_socket_one_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = directory.path().join(format!("{round}.sock"));
        drop(UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(4);
        let bound: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                Server::bind(&path)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(bound.iter().filter(|server| server.is_ok()).count(), 1, "{bound:?}");
    }
}

#[test]
fn a_start_waits_for_another_in_the_same_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let other = fs::File::open(directory.path()).unwrap();
    // Shared, so that only an exclusive lock waits for it.
    other.lock_shared().unwrap();
    std::thread::scope(|scope| {
        let bound = scope.spawn(|| Server::bind(&path));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!path.exists(), "created while another start had the directory");
        other.unlock().unwrap();
        bound.join().unwrap().unwrap();
    });
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    fs::write(&path, "data").unwrap();
    let error = Server::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn a_path_longer_than_a_socket_address_is_refused_with_both_lengths() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x".repeat(120));
    let message = Server::bind(&path).unwrap_err().to_string();
    let length = path.as_os_str().len();
    assert!(message.ends_with(&format!("a path of {length} bytes; the system allows 107")));
}

#[test]
fn stopping_removes_the_socket_but_not_a_successors() {
    let gateway = Gateway::start();
    let path = gateway.socket.clone();
    // Somebody removed the file, and another gateway made its own.
    fs::remove_file(&path).unwrap();
    let successor = Server::bind(&path).unwrap();
    gateway.serving.stop();
    assert!(path.exists());
    drop(successor);
    assert!(!path.exists());
}

/// The cores that the thread called `name` may run on, as the kernel lists them.
fn cores_of(name: &str) -> Option<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let mut named =
        tasks.filter(|t| fs::read_to_string(t.join("comm")).is_ok_and(|c| c.trim() == name));
    let status = fs::read_to_string(named.next()?.join("status")).ok()?;
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(cores.trim().to_owned())
}

#[test]
fn the_socket_is_served_away_from_the_workers_cores() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        let test = "the_socket_is_served_away_from_the_workers_cores";
        lab::need::skip(test, "one core is all there is");
        return;
    }
    let gateway = Gateway::start();
    assert!(gateway.client().status().unwrap().workers.iter().all(|w| w.core == Some(0)));
    // Other tests' sockets have threads of that name too, and one may just have started.
    let away = || {
        let cores = cores_of("control").expect("a thread of that name");
        !cores.split([',', '-']).any(|core| core == "0")
    };
    let settled = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        away()
    });
    assert!(settled, "still on core 0");
}

#[test]
fn stopping_waits_for_an_apply_under_way() {
    let gateway = Gateway::start();
    // Longer than open connections are given.
    gateway.fake.state().swap = Duration::from_secs(3);
    let client = gateway.client();
    let applying = std::thread::spawn(move || client.apply("p", REORDERED.into(), None));
    std::thread::sleep(Duration::from_millis(500));
    let (fake, app) = (gateway.fake.clone(), gateway.app.clone());
    gateway.serving.stop();
    assert_eq!(fake.state().published, [2]);
    drop((gateway.fake, gateway.app));
    assert!(std::sync::Arc::into_inner(app).is_some(), "somebody still uses the gateway");
    let _ = applying.join().unwrap();
}

#[test]
fn a_client_without_a_gateway_is_told_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let absent = Client::new(&path).unwrap().status().unwrap_err();
    drop(UnixListener::bind(&path).unwrap());
    let dead = Client::new(&path).unwrap().status().unwrap_err();
    for error in [absent, dead] {
        assert!(matches!(error, ClientError::NoGateway(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!(
                "no gateway is listening on {}; start one with `bulkhead run --config \
                 gateway.yaml` or name its socket with --socket",
                path.display()
            )
        );
    }
}

/// Set in the process that [`every_attempt_to_change_is_logged_with_the_peer`] starts.
const CHILD: &str = "BULKHEAD_TEST_LOG_CHILD";

#[test]
fn every_attempt_to_change_is_logged_with_the_peer() {
    if std::env::var_os(CHILD).is_some() {
        let gateway = Gateway::start();
        assert_eq!(gateway.apply("?file=second.yaml", REORDERED.as_bytes()).0, 200);
        assert_eq!(gateway.apply("?file=x%0Aapply:%20forged", b"version: 2").0, 422);
        assert_eq!(gateway.apply("?if_generation=9", REORDERED.as_bytes()).0, 409);
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_attempt_to_change_is_logged_with_the_peer", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let lines: Vec<_> = log.lines().filter(|line| line.starts_with("apply: ")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    let applied = format!(
        "apply: generation 2 by uid {uid} pid {pid}: 2 rules from \"second.yaml\", compiled"
    );
    assert!(lines[0].starts_with(&applied), "{log}");
    assert!(lines[0].contains(", swapped in "), "{log}");
    let invalid = format!("apply: \"x\\napply: forged\" by uid {uid} pid {pid}: 422 ");
    assert!(lines[1].starts_with(&invalid), "{log}");
    assert!(lines[2].contains(": 409 generation 2 is in force, not 9"), "{log}");
}
