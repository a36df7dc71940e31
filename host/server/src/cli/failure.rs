//! How a command fails: what is told, to people or programs, and the exit code.

use std::fmt;

use serde_json::{Map, Value, json};

/// The exit codes, as `--help` tells them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed or refused
  2  the command line is wrong
  3  no host answers
  4  what is asked for is not there
  5  a conflict: another version, already there, busy, or in the wrong state
  6  the time is over
  7  an aggregate rejected the command";

/// An exit code other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Failed or refused.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No host answers.
    Unreachable = 3,
    /// What is asked for is not there.
    NotFound = 4,
    /// A conflict.
    Conflict = 5,
    /// The time is over.
    Timeout = 6,
    /// An aggregate rejected the command.
    Rejected = 7,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// Problem details, as the API gives them or made here in the same form.
    problem: Map<String, Value>,
}

impl Failure {
    /// A failure of a type, met on this side.
    pub(crate) fn new(exit: Exit, slug: &str, detail: impl fmt::Display) -> Self {
        let mut problem = Map::new();
        problem.insert("type".into(), slug.into());
        problem.insert("detail".into(), detail.to_string().into());
        Self { exit, problem }
    }

    /// Something on this side failed.
    pub(crate) fn failed(detail: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, "failed", detail)
    }

    /// The command line is wrong in a way that only shows when it is carried out.
    pub(crate) fn usage(detail: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", detail)
    }

    /// No host answers at a URL.
    pub(crate) fn unreachable(url: &str, reason: impl fmt::Display) -> Self {
        let detail = format!(
            "no host answers at {url} ({reason}): start one with `lantern serve`, or name another with --host or \
             LANTERN_URL"
        );
        Self::new(Exit::Unreachable, "unreachable", detail).with("url", url)
    }

    /// What a host answered instead of what was asked for.
    pub(crate) fn answered(status: u16, body: &str) -> Self {
        let exit = match status {
            404 => Exit::NotFound,
            409 => Exit::Conflict,
            504 => Exit::Timeout,
            _ => Exit::Failed,
        };
        match serde_json::from_str::<Value>(body) {
            Ok(Value::Object(problem)) if problem.contains_key("detail") => {
                let is_rejection = problem.get("type").is_some_and(|slug| slug == "rejected");
                Self { exit: if is_rejection { Exit::Rejected } else { exit }, problem }
            }
            // Whoever answered is no host of ours: perhaps a proxy, perhaps something else on that port.
            _ => {
                let beginning: String = body.chars().take(200).collect();
                Self::new(exit, "unexpected-answer", format!("the answer was {status}: {beginning}"))
            }
        }
    }

    /// Adds a member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.problem.insert(name.into(), value.into());
        self
    }

    /// A member of the problem.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.problem.get(name)
    }

    /// What happened, in words.
    pub(crate) fn detail(&self) -> &str {
        self.member("detail").and_then(Value::as_str).unwrap_or("no reason was given")
    }

    /// The failure for programs.
    pub(crate) fn to_json(&self) -> Value {
        json!(self.problem)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_the_answer() {
        let exit = |status| Failure::answered(status, r#"{"type":"t","detail":"d"}"#).exit;
        assert_eq!(exit(404), Exit::NotFound);
        assert_eq!(exit(409), Exit::Conflict);
        assert_eq!(exit(504), Exit::Timeout);
        assert_eq!(exit(422), Exit::Failed);
        assert_eq!(exit(503), Exit::Failed);
        assert_eq!(Failure::answered(422, r#"{"type":"rejected","detail":"d"}"#).exit, Exit::Rejected);
    }

    #[test]
    fn a_problem_is_handed_on_whole() {
        let failure = Failure::answered(409, r#"{"type":"wrong-expected-version","detail":"d","actual":3}"#);
        assert_eq!(failure.to_string(), "d");
        assert_eq!(failure.to_json()["actual"], 3);
        let stranger = Failure::answered(502, "<html>");
        assert!(stranger.to_string().contains("502: <html>"), "{stranger}");
    }

    #[test]
    fn every_exit_code_is_told() {
        for exit in [
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Timeout,
            Exit::Rejected,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit as u8)));
        }
    }
}
