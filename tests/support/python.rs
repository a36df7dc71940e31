//! The scripts in `tests/python`: other makers' clients, run by the Python that `cargo xtask test` equips.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use super::artefacts;

/// A script that runs. Dropping it ends it.
pub struct Script {
    name: String,
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a script.
    #[track_caller]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let python = env::var_os("LANTERN_TEST_PYTHON").expect(
            "LANTERN_TEST_PYTHON is not set: run the tests with `cargo xtask test`, or name a Python that has what \
             `tests/python/requirements.txt` lists",
        );
        let mut command = Command::new(python);
        command.arg("-B").arg(artefacts::repository().join("tests/python").join(name)).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { name: name.to_owned(), child, output }
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn ready(mut self) -> Self {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "`{}` is not", self.name);
        self
    }

    /// Hands it events and waits for its end.
    #[track_caller]
    pub fn feed(mut self, events: &[Value]) {
        let mut input = self.child.stdin.take().unwrap();
        input.write_all(super::events::lines(events).as_bytes()).unwrap();
        drop(input);
        self.end();
    }

    /// The events it prints until its end.
    #[track_caller]
    pub fn events(mut self) -> Vec<Value> {
        let lines = (&mut self.output).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let events = lines.collect();
        self.end();
        events
    }

    #[track_caller]
    fn end(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "`{}` ended with {status}", self.name);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
