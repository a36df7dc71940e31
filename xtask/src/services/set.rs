//! Servers that lie in one folder: started at the same time, ended, killed and shown.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    account::is_root,
    certificates,
    environment::Environment,
    instance::Instance,
    server::{self, Server},
};
use crate::{packages, repository::Repository};

/// What a person can do who may not install packages.
const OTHERWISE: &str = "name servers that run already in LANTERN_TEST_… variables (see `cargo xtask services help`), or \
                         use compose.yaml";

/// Servers in a folder.
pub(crate) struct Set {
    /// The folder, in which each server has one.
    pub root: PathBuf,
    /// Where certificates and jars are.
    shared: PathBuf,
}

impl Set {
    /// Those of the workspace, which have the usual ports when these are free.
    pub(crate) fn of_workspace(repository: &Repository) -> Self {
        let root = reachable(repository.target.join("services"));
        Self { shared: root.clone(), root }
    }

    /// Those in a folder that the caller names, on any free ports.
    pub(crate) fn private(repository: &Repository, folder: &Path) -> Result<Self> {
        let root = std::path::absolute(folder).with_context(|| format!("finding {}", folder.display()))?;
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        if is_root() {
            // Servers run as users of their own, and a temporary folder is its maker's alone.
            let mode = fs::metadata(&root)?.permissions().mode();
            fs::set_permissions(&root, fs::Permissions::from_mode(mode | 0o011))?;
            if let Some(closed) = closed(&root) {
                bail!(
                    "{} lets no other user pass, and the servers run as users of their own: choose another folder",
                    closed.display()
                );
            }
        }
        Ok(Self { root, shared: Self::of_workspace(repository).root })
    }

    /// Starts those that do not run, all at the same time, and waits until all serve.
    pub(crate) fn up(&self, servers: &[&'static dyn Server]) -> Result<()> {
        fs::create_dir_all(&self.shared).with_context(|| format!("making {}", self.shared.display()))?;
        let _lock = lock(&self.root.join("lock"))?;
        let mut absent = Vec::new();
        for server in servers {
            let instance = self.instance(*server);
            if !serves(&instance).with_context(|| server.name())? {
                absent.push(instance);
            }
        }
        let missing = absent.iter().flat_map(|instance| instance.server.missing()).collect();
        packages::install(&missing, OTHERWISE)?;
        {
            let _lock = lock(&self.shared.join("certificates.lock"))?;
            certificates::make(&self.shared.join("certificates")).context("making the certificates")?;
        }
        let usual = self.root == self.shared;
        for instance in &mut absent {
            // What is left of one that was killed would hold its ports.
            instance.kill().and_then(|()| instance.settle(usual)).with_context(|| instance.server.name())?;
        }
        let started = each(&absent, start);
        self.environment(&server::ALL).write(&self.environment_file())?;
        started
    }

    /// Ends servers in good order, all at the same time.
    pub(crate) fn down(&self, servers: &[&'static dyn Server]) -> Result<()> {
        self.end(servers, "ended", Instance::stop)
    }

    /// Kills servers and all their processes. Data and ports stay for the next start.
    pub(crate) fn kill(&self, servers: &[&'static dyn Server]) -> Result<()> {
        self.end(servers, "killed", Instance::kill)
    }

    fn end(&self, servers: &[&'static dyn Server], how: &str, end: fn(&Instance) -> Result<()>) -> Result<()> {
        if !self.root.is_dir() {
            return Ok(());
        }
        let _lock = lock(&self.root.join("lock"))?;
        let instances: Vec<_> = servers.iter().map(|server| self.instance(*server)).collect();
        let ended = each(&instances, |instance| {
            let ran = instance.process();
            end(instance)?;
            match ran {
                Some(process) => eprintln!("{}: {how}, process {}", instance.server.name(), process.id),
                None => eprintln!("{}: did not run", instance.server.name()),
            }
            Ok(())
        });
        self.environment(&server::ALL).write(&self.environment_file())?;
        ended
    }

    /// Whether a server runs.
    pub(crate) fn runs(&self, server: &'static dyn Server) -> bool {
        self.instance(server).process().is_some()
    }

    /// Whether the caller's variable names another server in place of this one.
    pub(crate) fn is_replaced(&self, server: &'static dyn Server) -> bool {
        let variables = server.variables(&self.instance(server));
        variables.first().is_some_and(|(name, ours)| env::var(name).is_ok_and(|given| given != *ours))
    }

    /// The variables of those that run.
    pub(crate) fn environment(&self, servers: &[&'static dyn Server]) -> Environment {
        let mut environment = Environment::default();
        for instance in servers.iter().map(|server| self.instance(*server)) {
            if instance.process().is_some() {
                environment.add(instance.server.variables(&instance));
            }
        }
        if !environment.0.is_empty() {
            let authority = self.shared.join("certificates").join(certificates::AUTHORITY);
            environment.add(vec![("LANTERN_TEST_CA", authority.display().to_string())]);
            let program = env::current_exe().map(|path| path.display().to_string());
            environment.add(program.map(|path| vec![("LANTERN_TEST_XTASK", path)]).unwrap_or_default());
        }
        environment
    }

    /// The file with the variables of all that run.
    fn environment_file(&self) -> PathBuf {
        self.root.join("environment")
    }

    /// A line for each server.
    pub(crate) fn status(&self) -> String {
        let mut rows = vec![["SERVER", "VERSION", "PROCESS", "MEMORY", "PORTS", "URL"].map(str::to_owned)];
        for instance in server::ALL.into_iter().map(|server| self.instance(server)) {
            let process = instance.process();
            let memory = process.and_then(|process| {
                let all = [vec![process], process.descendants()].concat();
                all.into_iter().map(|process| process.memory()).sum::<Option<u64>>()
            });
            let ports = instance.ports().filter(|(_, port)| *port > 0).map(|(name, port)| format!("{name} {port}"));
            let ports = ports.collect::<Vec<_>>().join(", ");
            let url = instance.server.variables(&instance).into_iter().next().map(|(_, url)| url);
            rows.push([
                instance.server.name().to_owned(),
                instance.server.version().unwrap_or_else(|| "not installed".to_owned()),
                process.map_or_else(|| "-".to_owned(), |process| process.id.to_string()),
                memory.map_or_else(|| "-".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000)),
                if ports.is_empty() { "-".to_owned() } else { ports },
                url.filter(|_| process.is_some()).unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        table(&rows)
    }

    fn instance(&self, server: &'static dyn Server) -> Instance {
        Instance::find(server, &self.root, &self.shared)
    }
}

/// Does the same to servers at the same time. The error tells of each that failed.
fn each(instances: &[Instance], act: impl Fn(&Instance) -> Result<()> + Sync) -> Result<()> {
    let failures: Vec<String> = thread::scope(|scope| {
        let acts: Vec<_> = instances.iter().map(|instance| (instance, scope.spawn(|| act(instance)))).collect();
        let failures = acts.into_iter().filter_map(|(instance, act)| {
            let result = act.join().unwrap_or_else(|_| Err(anyhow!("its thread panicked")));
            result.err().map(|error| format!("{}: {error:#}", instance.server.name()))
        });
        failures.collect()
    });
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// Whether a server runs. One that was started a moment ago is waited for, and one that was killed a moment ago is not.
fn serves(instance: &Instance) -> Result<bool> {
    let Some(process) = instance.process() else { return Ok(false) };
    match instance.wait_until_ready() {
        Ok(()) => {
            eprintln!("{}: runs already, process {}", instance.server.name(), process.id);
            Ok(true)
        }
        Err(error) if process.is_alive() => Err(error),
        Err(_) => Ok(false),
    }
}

fn start(instance: &Instance) -> Result<()> {
    let name = instance.server.name();
    let ports = instance.ports().map(|(name, port)| format!("{name} {port}")).collect::<Vec<_>>().join(", ");
    eprintln!("{name}: starts on 127.0.0.1, ports {ports}; data and log are in {}", instance.folder.display());
    let took = instance.start()?;
    let id = instance.process().map_or_else(String::new, |process| format!(", process {}", process.id));
    eprintln!("{name}: serves after {:.1} s{id}", took.as_secs_f64());
    Ok(())
}

/// Holds a lock between processes for as long as the answer lives.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// The folder itself, or one in its place when root runs this and other users cannot get there.
fn reachable(folder: PathBuf) -> PathBuf {
    if !is_root() || closed(&folder).is_none() {
        return folder;
    }
    let name: Vec<_> = folder.iter().skip(1).map(|part| part.to_string_lossy()).collect();
    Path::new("/var/tmp/lantern-services").join(name.join("-"))
}

/// The first folder on the way that lets no other user pass.
fn closed(folder: &Path) -> Option<&Path> {
    let is_closed = |path: &Path| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o001 == 0);
    folder.ancestors().filter(|path| is_closed(path)).last()
}

/// Columns as wide as their widest cell.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_closed_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(folder.path(), 0o755);
        assert_eq!(closed(&inner), None);
        assert_eq!(closed(&inner.join("not/there/yet")), None);
        set(&inner, 0o700);
        assert_eq!(closed(&inner.join("c")), Some(&*inner));
        set(folder.path(), 0o700);
        assert_eq!(closed(&inner), Some(folder.path()));
    }
}
