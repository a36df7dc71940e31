//! The demo's host: `lantern serve` in a temporary folder, and the command line that talks to it.

use std::{
    fs::{self, File},
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

/// How long the host may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running host. It is killed, and its folder removed, when it is dropped.
pub(super) struct Host {
    lantern: PathBuf,
    process: Child,
    url: String,
    folder: TempDir,
}

impl Host {
    /// Starts a host on a free port.
    pub(super) fn start(lantern: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lantern-demo-").tempdir()?;
        let log = File::create(folder.path().join("host.log"))?;
        let process = Command::new(lantern)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", lantern.display()))?;
        let mut host = Self { lantern: lantern.to_path_buf(), process, url: String::new(), folder };
        host.url = host.await_url()?;
        Ok(host)
    }

    fn await_url(&mut self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(url) = log.lines().find_map(url_in) {
                return Ok(url);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the host ended while it started ({status}):\n{log}");
            }
            if Instant::now() > deadline {
                bail!("the host did not say within {PATIENCE:?} where it serves:\n{log}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The folder of the demo, removed with the host.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What the host has logged; a log that is not there yet is empty.
    fn log(&self) -> String {
        fs::read_to_string(self.folder().join("host.log")).unwrap_or_default()
    }

    /// Runs `lantern` against this host; answers what it printed, in colour where the demo's own output can show it.
    pub(super) fn cli(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`lantern {}` ended with {}: {}", arguments.join(" "), output.status, said.trim());
        }
        String::from_utf8(output.stdout).context("`lantern` printed what is no text")
    }

    /// Runs `lantern` with what the host is to refuse; answers what it said.
    pub(super) fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        if output.status.success() {
            bail!("`lantern {}` was to be refused", arguments.join(" "));
        }
        String::from_utf8(output.stderr).context("`lantern` printed what is no text")
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.lantern);
        if stdout().is_terminal() {
            command.env("CLICOLOR_FORCE", "1");
        }
        Ok(command.args(["--host", &self.url]).args(arguments).output()?)
    }

    /// Runs `lantern --json` against this host.
    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = self.cli(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&printed).with_context(|| format!("`lantern {}` printed no JSON", arguments.join(" ")))
    }

    /// Asks the host to end in good order and waits for it.
    pub(super) fn stop(mut self) -> Result<()> {
        let id = self.process.id();
        // Every shell has `kill` built in.
        let sent = Command::new("sh").args(["-c", &format!("kill -s TERM {id}")]).status()?;
        if !sent.success() {
            bail!("the host could not be told to end: {sent}");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the host ended with {status}:\n{}", self.log()),
                None if Instant::now() > deadline => bail!("the host did not end within {PATIENCE:?}"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn url_in(line: &str) -> Option<String> {
    let line = line.split_once("serving on ")?.1;
    let end = line.find(|c: char| c.is_whitespace() || c.is_control()).unwrap_or(line.len());
    line.starts_with("http://").then(|| line[..end].to_owned())
}
