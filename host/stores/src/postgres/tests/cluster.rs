//! A server of a test's own, which it may kill.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::time;
use uuid::Uuid;

/// A server of a test's own. It ends with this value.
pub(super) struct Cluster {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Cluster {
    /// Makes and starts one.
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        give_away(folder.path());
        let data = folder.path().join("data");
        let made = program("initdb")
            .arg("--pgdata")
            .arg(&data)
            .args(["--username=lantern", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut cluster = Self { folder, port: free_port(), process: None };
        cluster.resume().await;
        cluster
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("postgres://lantern@127.0.0.1:{}/postgres", self.port)
    }

    /// Kills the server with all its processes: what it had not handed to the system is gone.
    pub(super) fn kill(&mut self) {
        let Some(mut server) = self.process.take() else { return };
        let id = server.id();
        // It starts no further process while those it has are looked up.
        signal("-STOP", &[id.to_string()]);
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let all: Vec<_> = children.split_whitespace().map(String::from).chain([id.to_string()]).collect();
        signal("-KILL", &all);
        server.wait().unwrap();
    }

    /// Starts the server again and waits until it has recovered.
    pub(super) async fn resume(&mut self) {
        let ready = async {
            while PgConnection::connect(&self.url()).await.is_err() {
                // It refuses to start while a process of the one before is still about to end.
                if self.process.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some()) {
                    self.process = Some(self.spawn());
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(Duration::from_secs(60), ready).await.expect("the server does not start");
    }

    fn spawn(&self) -> Child {
        program("postgres")
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.folder.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nothing listens at, and that the system gives to no client: a client that tries to reach a server which is
/// not there could be given its port otherwise, and reach itself.
fn free_port() -> u16 {
    let mut ports = Uuid::new_v4().into_bytes().into_iter().zip(Uuid::new_v4().into_bytes());
    let port = ports.find_map(|(high, low)| {
        let port = 20_000 + u16::from_be_bytes([high, low]) % 10_000;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    });
    port.expect("no port is free")
}

fn signal(signal: &str, processes: &[String]) {
    assert!(Command::new("kill").arg(signal).args(processes).status().unwrap().success());
}

/// A program of the newest PostgreSQL, run as a user that it accepts.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let path = paths.pop().unwrap_or_else(|| panic!("`{name}` is not there: install the Debian package `postgresql`"));
    let mut command = Command::new(path);
    command.current_dir("/");
    if let Some((user, group)) = account() {
        command.uid(user).gid(group);
    }
    command
}

/// The user and group of the server's package, when the test runs as root, whom the server refuses.
fn account() -> Option<(u32, u32)> {
    let id = Command::new("id").arg("--user").output().unwrap();
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"))?;
    let mut fields = user.split(':').skip(1).map(|field| field.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}

fn give_away(folder: &Path) {
    if let Some((user, group)) = account() {
        chown(folder, Some(user), Some(group)).unwrap();
    }
}
