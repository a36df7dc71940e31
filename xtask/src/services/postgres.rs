//! PostgreSQL from Debian: passwords by SCRAM, TLS on, a database and a user of its own.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::{
    instance::Instance,
    process::working_in,
    server::{PASSWORD, Server, USER},
};

/// The server.
pub(crate) struct Postgres;

impl Server for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn missing(&self) -> BTreeSet<&'static str> {
        if newest().is_some() { BTreeSet::new() } else { BTreeSet::from(["postgresql"]) }
    }

    fn version(&self) -> Option<String> {
        let output = Command::new(program("postgres").ok()?).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).split_whitespace().nth(2)?.to_owned())
    }

    fn user(&self) -> Option<&'static str> {
        Some("postgres")
    }

    fn ports(&self) -> &'static [(&'static str, u16)] {
        &[("plain", 17_432)]
    }

    fn processes(&self) -> &'static [&'static str] {
        &["postgres"]
    }

    fn prepare(&self, instance: &Instance) -> Result<()> {
        instance.make_data(|data| initialise(instance, data))?;
        clear(instance)?;
        let (certificate, key) = instance.certificate()?;
        let settings = settings(instance.port("plain"), &certificate, &key);
        instance.account.write(&instance.data().join("postgresql.conf"), &settings)
    }

    fn commands(&self, instance: &Instance) -> Result<Vec<(&'static str, Command)>> {
        let mut command = instance.command(program("postgres")?);
        command.arg("-D").arg(instance.data());
        Ok(vec![("postgres", command)])
    }

    fn is_ready(&self, instance: &Instance) -> bool {
        let Ok(psql) = program("psql") else { return false };
        let port = instance.port("plain").to_string();
        let mut command = instance.command(psql);
        command.args(["--host", "127.0.0.1", "--port", &port, "--username", USER, "--command", "select 1", USER]);
        command.env("PGPASSWORD", PASSWORD).env("PGCONNECT_TIMEOUT", "5").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Its fast shutdown: clients are cut off, nothing is lost.
    fn end(&self) -> Signal {
        Signal::INT
    }

    fn variables(&self, instance: &Instance) -> Vec<(&'static str, String)> {
        let port = instance.port("plain");
        vec![("LANTERN_TEST_POSTGRES_URL", format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{USER}"))]
    }
}

/// The folder of the newest version's programs.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = versions.filter_map(|entry| Some((number(&entry.path())?, entry.path().join("bin"))));
    Some(versions.filter(|(_, bin)| bin.join("initdb").is_file()).max()?.1)
}

fn program(name: &str) -> Result<PathBuf> {
    Ok(newest().context("there is no PostgreSQL below /usr/lib/postgresql")?.join(name))
}

/// Makes an empty cluster, then the user and the database in it while nothing else can reach it.
fn initialise(instance: &Instance, data: &Path) -> Result<()> {
    let password = instance.folder.join("password");
    instance.account.write(&password, PASSWORD)?;
    let mut initdb = instance.command(program("initdb")?);
    initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
    initdb.arg("--pgdata").arg(data).arg("--pwfile").arg(&password);
    instance.run(&mut initdb)?;
    fs::remove_file(&password)?;

    let mut single = instance.command(program("postgres")?);
    single.arg("--single").arg("-D").arg(data).arg("postgres").stdin(Stdio::piped());
    single.stdout(Stdio::null()).stderr(instance.open_log()?);
    let mut child = single.spawn().context("postgres could not be run")?;
    let statements = format!(
        "create role {USER} login createdb createrole password '{PASSWORD}'\ncreate database {USER} owner {USER}\n"
    );
    child.stdin.take().context("postgres reads nothing")?.write_all(statements.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "making the database ended with {status}");
    Ok(())
}

/// Removes what a server leaves that was killed: processes amid a query, which hold its memory, and a file with its id.
/// PostgreSQL takes whatever has that id now for it, be it another process or one that nobody has waited for.
fn clear(instance: &Instance) -> Result<()> {
    for process in working_in(&instance.data()) {
        process.kill_all()?;
    }
    let lock = instance.data().join("postmaster.pid");
    match fs::remove_file(&lock) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", lock.display()))
        }
        _ => Ok(()),
    }
}

/// Whatever is not named here is as PostgreSQL has it; `fsync` in particular is on.
fn settings(port: u16, certificate: &Path, key: &Path) -> String {
    format!(
        "listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = '128MB'
ssl = on
ssl_cert_file = '{}'
ssl_key_file = '{}'
log_line_prefix = '%m [%p] %u '
",
        certificate.display(),
        key.display()
    )
}
