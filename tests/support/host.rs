//! A running host: `lantern serve` in a folder of its own on a free port.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Answer,
    cli::{self, Ran},
    client::Client,
    output::Output,
    wait,
};

/// How a host is started.
#[derive(Default)]
pub struct HostOptions {
    /// More arguments of `serve`.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// A host and its data folder. Dropping it kills it; the log is printed when the test failed.
pub struct Host {
    process: Process,
    options: HostOptions,
    folder: TempDir,
}

struct Process {
    child: Child,
    url: String,
    client: Client,
    output: Output,
    followers: Vec<JoinHandle<()>>,
}

impl HostOptions {
    /// Adds an argument of `serve`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets a variable of the host's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, data: &Path) -> Command {
        let mut command = cli::lantern();
        command.arg("serve").args(["--listen", "127.0.0.1:0"]).arg("--data").arg(data).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Host {
    /// Starts a host with the defaults and an empty data folder.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(HostOptions::default())
    }

    /// Starts a host with an empty data folder.
    #[track_caller]
    pub fn start_with(options: HostOptions) -> Self {
        let folder = TempDir::new().unwrap();
        let process = Process::start(&options, &folder.path().join("data"));
        Self { process, options, folder }
    }

    /// Starts the host again on the data it left.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.end();
        self.process = Process::start(&self.options, &self.data());
    }

    /// Ends the host at once, as a crash would (`kill -9`).
    pub fn kill(&mut self) {
        self.process.end();
    }

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, signal: &str) {
        signal_to(self.process.child.id(), signal);
    }

    /// Asks the host to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until the host has ended by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.process.child;
        let status = wait::until("the host to end", || child.try_wait().unwrap());
        self.process.followers.drain(..).for_each(|follower| follower.join().unwrap());
        status
    }

    pub fn url(&self) -> &str {
        &self.process.url
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for files of the test, gone with the host.
    pub fn scratch(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// What the host wrote since it was started last.
    pub fn output(&self) -> &Output {
        &self.process.output
    }

    /// A client for other threads.
    pub fn client(&self) -> Client {
        self.process.client.clone()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], &[])
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        match self.process.client.send(method, path, headers, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path} got no answer: {error}"),
        }
    }

    /// Runs `lantern` against this host.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Ran {
        self.cli_with_input(arguments, &[])
    }

    /// Runs `lantern` against this host with something on its standard input.
    #[track_caller]
    pub fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        cli::run_with_input(&[&["--host", self.url()], arguments].concat(), input)
    }

    /// Runs `lantern --json` against this host and takes what it printed.
    #[track_caller]
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        self.cli(&[&["--json"], arguments].concat()).json()
    }
}

impl Process {
    #[track_caller]
    fn start(options: &HostOptions, data: &Path) -> Self {
        let mut command = options.command(data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Output::default();
        let followers = vec![output.follow(child.stdout.take().unwrap()), output.follow(child.stderr.take().unwrap())];
        let url = wait::until("the host to say where it serves", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the host did not start ({status}):\n{}", output.tail());
            }
            output.line_with("serving on http://").and_then(|line| url_in(&line))
        });
        let process = Self { child, client: Client::new(&url), url, output, followers };
        process.await_readiness();
        process
    }

    #[track_caller]
    fn await_readiness(&self) {
        wait::until("the host to be ready", || {
            let answer = self.client.send("GET", "/health/ready", &[], &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    fn end(&mut self) {
        // The host may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.followers.drain(..).for_each(|follower| follower.join().unwrap());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- the end of the log of the host at {} ---\n{}", self.url, self.output.tail());
        }
    }
}

fn url_in(line: &str) -> Option<String> {
    let url = &line[line.find("http://")?..];
    let end = url.find(|c: char| c.is_whitespace() || c.is_control()).unwrap_or(url.len());
    Some(url[..end].to_owned())
}

/// Every shell has `kill` built in, so nothing else needs to be there.
fn signal_to(process: u32, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -s {signal} {process}")]).status().unwrap();
    assert!(status.success(), "could not send {signal}: {status}");
}
