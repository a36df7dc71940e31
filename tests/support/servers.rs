//! A server of a test's own, for those that kill it: PostgreSQL, Redis, RabbitMQ or Kafka on free ports in a temporary
//! folder.

use std::{
    collections::BTreeMap,
    env,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A private server. Dropping it kills it.
pub struct Server {
    name: &'static str,
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Server {
    /// Starts a server with no data and waits until it serves. The names are those of `cargo xtask services`.
    #[track_caller]
    pub fn start(name: &'static str) -> Self {
        let mut server = Self { name, folder: TempDir::new().unwrap(), variables: BTreeMap::new() };
        server.start_again();
        server
    }

    /// What leads to it, under the name that `cargo xtask services help` lists: `LANTERN_TEST_REDIS_URL` and the like.
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("{} gives no {name}: {:?}", self.name, self.variables))
    }

    /// Kills it with SIGKILL, and all its processes.
    #[track_caller]
    pub fn kill(&self) {
        self.run("kill");
    }

    /// Ends it in good order.
    #[track_caller]
    pub fn stop(&self) {
        self.run("down");
    }

    /// Starts it on the data it left, on the same ports.
    #[track_caller]
    pub fn start_again(&mut self) {
        let exports = self.run("up");
        let variables = exports.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('\'').to_owned()))
        });
        self.variables = variables.collect();
    }

    #[track_caller]
    fn run(&self, verb: &str) -> String {
        let output = self.command(verb).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`services {verb} {}` ended with {}: {said}", self.name, output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, verb: &str) -> Command {
        let program = env::var_os("LANTERN_TEST_XTASK").expect(
            "LANTERN_TEST_XTASK is not set: run the tests with `cargo xtask test`, or start the servers with \
             `cargo xtask services up` and set what it prints",
        );
        let mut command = Command::new(program);
        command.args(["services", verb, self.name, "--folder"]).arg(self.folder.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may run no more, and a test that failed is not to fail twice.
        let _ = self.command("kill").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
