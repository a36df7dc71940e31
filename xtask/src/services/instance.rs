//! One server in a folder of its own: its ports, processes, log and data, remembered there from one start to the next.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{account::Account, certificates, process::Process, server::Server};

/// How long a server may take to be ready. They take seconds; a machine that compiles at the same time makes it minutes.
const READY: Duration = Duration::from_secs(180);

/// How long a server may take to end when asked.
const END: Duration = Duration::from_secs(30);

/// How many lines of a server's log an error shows.
const TAIL: usize = 30;

/// A server in a folder.
pub(crate) struct Instance {
    /// Which.
    pub server: &'static dyn Server,
    /// Where it keeps everything.
    pub folder: PathBuf,
    /// What servers share: certificates and jars.
    pub shared: PathBuf,
    /// Whom it runs as.
    pub account: Account,
    ports: BTreeMap<String, u16>,
}

impl Instance {
    /// The server in its folder below `root`, which may not exist yet.
    pub(crate) fn find(server: &'static dyn Server, root: &Path, shared: &Path) -> Self {
        let folder = root.join(server.name());
        let ports = fs::read_to_string(folder.join("ports")).map(|text| parse_ports(&text)).unwrap_or_default();
        Self { server, folder, shared: shared.to_path_buf(), account: Account::Caller, ports }
    }

    /// The port of this name on 127.0.0.1; 0 before the first start.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports.get(name).copied().unwrap_or_default()
    }

    /// The ports with their names.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        self.server.ports().iter().map(|(name, _)| (*name, self.port(name)))
    }

    /// The file with what it says.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The process of the server itself, when it runs.
    pub(crate) fn process(&self) -> Option<Process> {
        self.recorded(self.server.name()).filter(|process| process.is_alive())
    }

    /// Makes the folder and takes a free port for each name: the one it had, else the usual one when `usual` is set, else
    /// any.
    pub(crate) fn settle(&mut self, usual: bool) -> Result<()> {
        self.account = Account::of(self.server.user())?;
        fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755))?;
        self.account.own(&self.folder)?;
        let mut ports = BTreeMap::new();
        for (name, preferred) in self.server.ports() {
            let remembered = self.ports.get(*name).copied();
            let wanted = remembered.into_iter().chain(usual.then_some(*preferred)).find(|port| is_free(*port));
            let port = wanted.or_else(any_free).context("no port of 127.0.0.1 is free")?;
            ports.insert((*name).to_owned(), port);
        }
        self.ports = ports;
        let text: String = self.ports.iter().map(|(name, port)| format!("{name} {port}\n")).collect();
        fs::write(self.folder.join("ports"), text).context("writing the ports")
    }

    /// Makes the data once: what fails or is interrupted leaves none.
    pub(crate) fn make_data(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (data, unfinished) = (self.data(), self.folder.join("data.unfinished"));
        if data.is_dir() {
            return Ok(());
        }
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
        }
        fs::create_dir(&unfinished).with_context(|| format!("making {}", unfinished.display()))?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o700))?;
        self.account.own(&unfinished)?;
        make(&unfinished)?;
        fs::rename(&unfinished, &data).with_context(|| format!("making {}", data.display()))
    }

    /// A copy of the servers' certificate and key that its account may read. Answers the two files.
    pub(crate) fn certificate(&self) -> Result<(PathBuf, PathBuf)> {
        let copy = |name: &str| {
            let from = self.shared.join("certificates").join(name);
            let text = fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
            let to = self.folder.join(name);
            self.account.write(&to, &text).map(|()| to)
        };
        Ok((copy(certificates::CERTIFICATE)?, copy(certificates::KEY)?))
    }

    /// A program that runs as the server's account in its folder.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        self.account.command(program, &self.folder)
    }

    /// Runs a program to its end; what it says goes to the server's log.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = self.open_log()?;
        command.stdout(log.try_clone()?).stderr(log);
        let status = command.status().with_context(|| format!("{program} could not be run"))?;
        ensure!(status.success(), "{program} ended with {status}{}", self.tail());
        Ok(())
    }

    /// Starts it and waits until it answers. What does not come up is ended again.
    pub(crate) fn start(&self) -> Result<Duration> {
        let begin = Instant::now();
        File::create(self.log()).context("making the log")?;
        self.server.prepare(self).context("it could not be prepared")?;
        let started = self.spawn_all().and_then(|()| self.wait_until_ready());
        if started.is_err() {
            self.kill()?;
        }
        started.map(|()| begin.elapsed())
    }

    /// Ends the server as its makers want it, and kills it when it takes too long.
    pub(crate) fn stop(&self) -> Result<()> {
        for name in self.server.processes().iter().rev() {
            let Some(process) = self.recorded(name).filter(|process| process.is_alive()) else { continue };
            process.signal(self.server.end())?;
            if !process.wait(END) {
                eprintln!("{}: {name} did not end within {} s and is killed", self.server.name(), END.as_secs());
                process.kill_all()?;
            }
        }
        Ok(())
    }

    /// Kills the server with all it started, at once, as a power cut would.
    pub(crate) fn kill(&self) -> Result<()> {
        for name in self.server.processes().iter().rev() {
            if let Some(process) = self.recorded(name).filter(|process| process.is_alive()) {
                process.kill_all()?;
            }
        }
        Ok(())
    }

    fn spawn_all(&self) -> Result<()> {
        for (name, mut command) in self.server.commands(self)? {
            self.spawn(name, &mut command)?;
        }
        Ok(())
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Result<()> {
        let log = self.open_log()?;
        // A group of its own: what is typed at the terminal does not reach it.
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} could not be run", command.get_program().display()))?;
        let id = i32::try_from(child.id()).context("an id of a process is too large")?;
        let Some(process) = Process::of(id) else { bail!("{name} ended at once{}", self.tail()) };
        fs::write(self.process_file(name), process.to_string()).context("writing the id of the process")
    }

    /// Waits until the server answers.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY;
        while !self.server.is_ready(self) {
            if self.process().is_none() {
                bail!("it ended before it was ready{}", self.tail());
            }
            if Instant::now() > deadline {
                bail!("it was not ready within {} s{}", READY.as_secs(), self.tail());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The log, to be added to.
    pub(crate) fn open_log(&self) -> Result<File> {
        let path = self.log();
        File::options().append(true).create(true).open(&path).with_context(|| format!("opening {}", path.display()))
    }

    /// The end of the log, as the end of an error.
    fn tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(TAIL)..].join("\n  ");
        format!("; the end of {}:\n  {last}", self.log().display())
    }

    fn process_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.process"))
    }

    fn recorded(&self, name: &str) -> Option<Process> {
        fs::read_to_string(self.process_file(name)).ok()?.parse().ok()
    }
}

fn parse_ports(text: &str) -> BTreeMap<String, u16> {
    let port = |line: &str| line.split_once(' ').and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)));
    text.lines().filter_map(port).collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A port below those that the kernel gives to clients, so that none of them takes it between two starts.
fn any_free() -> Option<u16> {
    std::iter::repeat_with(|| fastrand::u16(18_000..32_000)).take(1_000).find(|port| is_free(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_again_and_what_is_no_port_is_not() {
        let ports = parse_ports("plain 17379\ntls 17380\nbroken\nother 99999\n");
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [("plain".to_owned(), 17_379), ("tls".to_owned(), 17_380)]);
    }

    #[test]
    fn a_port_that_is_taken_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| Ok((it.local_addr()?.port(), it)));
        assert!(taken.is_ok_and(|(port, _listener)| !is_free(port)));
        assert!(any_free().is_some_and(|port| (18_000..32_000).contains(&port)));
    }
}
