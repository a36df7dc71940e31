//! `cargo xtask services`: real servers for the tests, on ports of their own, from Debian's packages and from Maven.

mod account;
mod certificates;
mod environment;
mod instance;
mod kafka;
mod postgres;
mod process;
mod rabbitmq;
mod redis;
mod server;
mod set;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::repository::Repository;
pub(crate) use account::is_root;
use server::Server;
use set::Set;

const HELP: &str = "\
The servers that tests need: PostgreSQL, Redis, RabbitMQ and Kafka, on 127.0.0.1 and ports of their own.

Usage: cargo xtask services <up|down|kill|status> [NAME ...] [--folder DIR]

  up       starts those that do not run, installs what is missing, waits until they serve, and prints their variables:
           `eval \"$(cargo xtask services up)\"`; the same is in <target>/services/environment
  down     ends them in good order
  kill     kills them with SIGKILL; `up` starts them again on the same data and ports
  status   shows versions, processes, memory, ports and URLs

  NAME     postgres, redis, rabbitmq or kafka; all when none is named
  --folder DIR
           private ones with data, logs and ids of processes in DIR, on any free ports, beside the shared ones

`cargo xtask test` starts them by itself, hands these variables to the tests, and ends what it started. When the caller
has set the first variable of a server to one of its own, that server is used as it is and ours is not started.
";

/// Carries out one of the verbs.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    let request = Request::parse(arguments)?;
    let set = match &request.folder {
        Some(folder) => Set::private(repository, folder)?,
        None => Set::of_workspace(repository),
    };
    match request.verb.as_str() {
        "up" => {
            set.up(&request.servers)?;
            print!("{}", set.environment(&request.servers));
            Ok(())
        }
        "down" => set.down(&request.servers),
        "kill" => set.kill(&request.servers),
        "status" => {
            print!("{}", set.status());
            Ok(())
        }
        "help" => {
            println!("{HELP}\n{}", environment::list().trim_end());
            Ok(())
        }
        verb => bail!("there is no `{verb}`\n\n{HELP}"),
    }
}

/// What was asked for.
struct Request {
    verb: String,
    servers: Vec<&'static dyn Server>,
    folder: Option<PathBuf>,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut arguments = arguments.iter();
        let verb = arguments.next().map_or("help", String::as_str).to_owned();
        let (mut servers, mut folder) = (Vec::new(), None);
        while let Some(argument) = arguments.next() {
            if argument == "--folder" {
                folder = Some(PathBuf::from(arguments.next().context("`--folder` needs a folder")?));
            } else {
                servers.push(server::find(argument).with_context(|| format!("there is no server `{argument}`"))?);
            }
        }
        if servers.is_empty() {
            servers.extend(server::ALL);
        }
        Ok(Self { verb, servers, folder })
    }
}

/// The servers for a run of the tests. Those that ran before, and those of the caller, are left running at its end.
pub(crate) struct ForTests {
    set: Set,
    ours: Vec<&'static dyn Server>,
    started: Vec<&'static dyn Server>,
}

impl ForTests {
    /// Starts the servers that the caller has none of.
    pub(crate) fn start(repository: &Repository) -> Result<Self> {
        let set = Set::of_workspace(repository);
        let ours: Vec<_> = server::ALL.into_iter().filter(|server| !set.is_replaced(*server)).collect();
        let started = ours.iter().copied().filter(|server| !set.runs(*server)).collect();
        let servers = Self { set, ours, started };
        if let Err(error) = servers.set.up(&servers.ours) {
            servers.end()?;
            return Err(error);
        }
        Ok(servers)
    }

    /// The variables that lead to them; those of the caller's servers are inherited.
    pub(crate) fn variables(&self) -> impl IntoIterator<Item = (String, String)> {
        self.set.environment(&self.ours).0
    }

    /// Ends those that were started.
    pub(crate) fn end(&self) -> Result<()> {
        self.set.down(&self.started)
    }
}
