//! The command line `lantern` as a test runs it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::artefacts;

/// How a run of `lantern` ended.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `lantern`, without any setting of the environment the tests run in.
pub fn lantern() -> Command {
    let mut command = Command::new(artefacts::lantern());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_uppercase();
        if text.starts_with("OTEL_") || text.starts_with("LANTERN_") || text.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `lantern` to its end with something on its standard input.
#[track_caller]
pub fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = lantern();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A thread of its own, so that a child that writes before it has read all does not block both.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that refuses its input closes the pipe before it has read all.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    });
    Ran {
        command: format!("lantern {}", arguments.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `lantern` to its end.
#[track_caller]
pub fn run(arguments: &[&str]) -> Ran {
    run_with_input(arguments, &[])
}

impl Ran {
    /// Standard output of a run that went well.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        &self.stdout
    }

    /// Standard output of a run that went well, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok())
            .unwrap_or_else(|error| panic!("{} printed no JSON ({error}):\n{}", self.command, self.stdout))
    }

    /// Standard error of a run that ended with this exit code.
    #[track_caller]
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        assert!(!self.stderr.trim().is_empty(), "{} failed without a word", self.command);
        &self.stderr
    }
}
