//! Real services in the server namespace, each an own process with an own configuration.

use crate::process::{self, Running};
use crate::{Error, Lab, Result, Side, wait};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

/// Time for a service to listen, and for the commands that prepare it.
const START: Duration = Duration::from_secs(30);

/// The large file that the web server offers as `/large`: 32 MB in which every place is different.
pub fn large_file() -> Vec<u8> {
    (0..4_000_000_u64).flat_map(u64::to_be_bytes).collect()
}

/// A service that a laboratory can offer, on both addresses and both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// nginx: HTTP on 80, HTTPS on 443 with a certificate of its own, HTTP on 23 in telnet's place.
    Web,
    /// PostgreSQL on 5432; user `postgres` needs no password.
    Postgresql,
    /// OpenSSH on 22; root logs in with the key [`ssh_key`].
    Ssh,
    /// dnsmasq on 53, UDP and TCP; answers `server.lab.test`.
    Dns,
    /// iperf3 on 5201.
    Iperf,
}

impl Service {
    /// The programs it needs: names for `PATH`, or absolute paths.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Service::Web => &["nginx", "openssl"],
            Service::Postgresql => &["postgres", "initdb", "setpriv"],
            Service::Ssh => &["/usr/sbin/sshd", "ssh-keygen"],
            Service::Dns => &["dnsmasq"],
            Service::Iperf => &["iperf3"],
        }
    }

    fn ports(self) -> &'static [u16] {
        match self {
            Service::Web => &[80, 443, 23],
            Service::Postgresql => &[5432],
            Service::Ssh => &[22],
            Service::Dns => &[53],
            Service::Iperf => &[5201],
        }
    }
}

/// The key that [`Service::Ssh`] lets root in with.
pub fn ssh_key(lab: &Lab) -> PathBuf {
    lab.dir().join("ssh/id")
}

/// Where a PostgreSQL server program is: Debian keeps them out of `PATH`, by version.
pub fn postgresql_program(name: &str) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|e| e.path().join("bin").join(name)).collect())
        .unwrap_or_default();
    versions.retain(|path| path.exists());
    versions.sort();
    versions.pop()
}

impl Lab {
    /// Starts `service`, unless it runs already, and waits until it listens.
    ///
    /// # Errors
    /// If it cannot be configured or started, with what it said.
    pub fn start(&self, service: Service) -> Result<()> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.iter().any(|(s, _)| *s == service) {
            return Ok(());
        }
        let mut running = match service {
            Service::Web => web(self)?,
            Service::Postgresql => postgresql(self)?,
            Service::Ssh => ssh(self)?,
            Service::Dns => dns(self)?,
            Service::Iperf => self.spawn(Side::Server, &["iperf3", "--server"])?,
        };
        let ready = wait::until(&format!("{service:?} to listen"), START, || {
            let all = service.ports().iter().all(|&port| reachable(running.pid(), port));
            (all || running.ended().is_some()).then_some(())
        });
        if ready.is_err() || running.ended().is_some() {
            let output = running.stop_and_read();
            return Err(Error::new(format!("{service:?} did not start: {}", output.describe())));
        }
        services.push((service, running));
        Ok(())
    }
}

/// Whether somebody in the namespace of process `pid` listens on TCP port `port`.
pub fn listens(pid: u32, port: u16) -> bool {
    bound(pid, "tcp", port) || bound(pid, "tcp6", port)
}

/// Whether the service on `port` can be reached over both families. iperf3 listens once, on an
/// IPv6 socket that takes IPv4 as well.
fn reachable(pid: u32, port: u16) -> bool {
    bound(pid, "tcp6", port) && (bound(pid, "tcp", port) || port == 5201)
}

/// Whether a table of `/proc/<pid>/net` has a listening socket on `port`.
fn bound(pid: u32, table: &str, port: u16) -> bool {
    // Columns: slot, local address:port, remote address:port, state (0A is LISTEN).
    let rows = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    rows.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().unwrap_or_default();
        let state = columns.nth(1).unwrap_or_default();
        state == "0A" && local.ends_with(&format!(":{port:04X}"))
    })
}

fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let path = lab.dir().join(name);
    fs::DirBuilder::new().mode(0o755).create(&path)?;
    Ok(path)
}

fn prepare(lab: &Lab, argv: &[&str]) -> Result<()> {
    process::run(lab.dir(), argv, START)?.expect_success().map(drop)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn web(lab: &Lab) -> Result<Running> {
    let dir = text(&directory(lab, "web")?);
    fs::create_dir(format!("{dir}/html"))?;
    fs::write(format!("{dir}/html/index.html"), "<h1>Bulkhead test page</h1>\n".repeat(64))?;
    fs::write(format!("{dir}/html/large"), large_file())?;
    let (key, certificate) = (format!("{dir}/key.pem"), format!("{dir}/cert.pem"));
    prepare(
        lab,
        &[
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=server.lab.test",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
    )?;
    let config = format!(
        "daemon off; master_process off; user root; pid {dir}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; default_type text/html;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {{
        listen 80; listen [::]:80 ipv6only=on;
        listen 23; listen [::]:23 ipv6only=on;
        listen 443 ssl; listen [::]:443 ssl ipv6only=on;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        root {dir}/html;
    }}
}}
"
    );
    let file = lab.write("web/nginx.conf", &config)?;
    lab.spawn(Side::Server, &["nginx", "-p", &dir, "-c", &file])
}

fn postgresql(lab: &Lab) -> Result<Running> {
    let program = |name: &str| {
        postgresql_program(name)
            .map(|p| text(&p))
            .ok_or_else(|| Error::new(format!("{name} is not installed")))
    };
    let dir = text(&directory(lab, "postgresql")?);
    prepare(lab, &["chown", "postgres:postgres", &dir])?;
    // PostgreSQL refuses to run as root.
    let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let data = format!("{dir}/data");
    let initdb = program("initdb")?;
    let mut argv = user.to_vec();
    argv.extend([
        initdb.as_str(),
        "--no-sync",
        "--locale=C",
        "-U",
        "postgres",
        "-A",
        "trust",
        &data,
    ]);
    prepare(lab, &argv)?;
    let access = "host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n";
    fs::write(format!("{data}/pg_hba.conf"), access)?;
    let postgres = program("postgres")?;
    let mut argv = user.to_vec();
    // Changing the user clears what the parent asked for.
    argv.extend(["--pdeathsig", "TERM", &postgres, "-D", &data]);
    for setting in ["listen_addresses=*", "unix_socket_directories=", "fsync=off"] {
        argv.extend(["-c", setting]);
    }
    lab.spawn(Side::Server, &argv)
}

fn ssh(lab: &Lab) -> Result<Running> {
    // sshd's privilege separation directory; its unit makes it where sshd runs as a service.
    fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/sshd")?;
    let dir = text(&directory(lab, "ssh")?);
    let (host, key) = (format!("{dir}/host"), text(&ssh_key(lab)));
    for file in [&host, &key] {
        prepare(lab, &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file])?;
    }
    fs::copy(format!("{key}.pub"), format!("{dir}/authorized"))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let config = format!(
        "Port 22\nHostKey {host}\nAuthorizedKeysFile {dir}/authorized\nPidFile {dir}/pid\n\
         UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nUseDNS no\nMaxStartups 100\n"
    );
    let file = lab.write("ssh/sshd_config", &config)?;
    lab.spawn(Side::Server, &["/usr/sbin/sshd", "-D", "-e", "-f", &file])
}

fn dns(lab: &Lab) -> Result<Running> {
    directory(lab, "dns")?;
    let config = "no-resolv\nno-hosts\nlocal=/lab.test/\nport=53\n\
                  host-record=server.lab.test,10.77.1.130,fd77::2:10\n\
                  txt-record=about.lab.test,\"a name server of the test laboratory\"\n";
    let file = lab.write("dns/dnsmasq.conf", config)?;
    // Its other way to stay in the foreground changes credentials, and would outlive its parent.
    lab.spawn(Side::Server, &["dnsmasq", "--no-daemon", &format!("--conf-file={file}")])
}
