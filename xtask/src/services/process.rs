//! A process by its id and the moment it began, so that another one that later bears the id is never taken for it.

use std::{
    fs,
    path::Path,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A process that was started once. It may have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub id: i32,
    /// When it began, in the kernel's ticks since the machine started.
    begin: u64,
}

impl Process {
    /// The process that has this id now.
    pub(crate) fn of(id: i32) -> Option<Self> {
        let now = Stat::of(id)?;
        (!now.ended).then_some(Self { id, begin: now.begin })
    }

    /// Whether it still runs. One that ended and was not waited for does not.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.id) == Some(self)
    }

    /// Sends it a signal when it still runs; nobody else ever gets it.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let id = Pid::from_raw(self.id).context("0 is no id of a process")?;
        match kill_process(id, signal) {
            Err(error) if self.is_alive() => {
                Err(error).with_context(|| format!("process {} takes no signal from this user", self.id))
            }
            _ => Ok(()),
        }
    }

    /// Waits until it has ended. Answers whether it did within the time.
    pub(crate) fn wait(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// All processes that it started, and those that they started.
    pub(crate) fn descendants(self) -> Vec<Self> {
        let all = all();
        let mut found = vec![self];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(all.iter().filter(|(_, of)| *of == parent.id).map(|(process, _)| *process));
            next += 1;
        }
        found.split_off(1)
    }

    /// Kills it with all it started, and waits until they are gone.
    pub(crate) fn kill_all(self) -> Result<()> {
        let all = [vec![self], self.descendants()].concat();
        for process in &all {
            process.signal(Signal::KILL)?;
        }
        for process in &all {
            ensure!(process.wait(Duration::from_secs(30)), "process {} was killed and is still there", process.id);
        }
        Ok(())
    }

    /// The memory it holds, in bytes, without what it started.
    pub(crate) fn memory(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }
}

/// All processes that work in a folder.
pub(crate) fn working_in(folder: &Path) -> Vec<Process> {
    let Ok(folder) = folder.canonicalize() else { return Vec::new() };
    let works_there =
        |process: &Process| fs::read_link(format!("/proc/{}/cwd", process.id)).is_ok_and(|path| path == folder);
    all().into_iter().map(|(process, _)| process).filter(works_there).collect()
}

/// Every process of the machine with the id of its parent.
fn all() -> Vec<(Process, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|id| Stat::of(id).map(|stat| (Process { id, begin: stat.begin }, stat.parent)))
        .collect()
}

/// The form in which it is written down.
impl std::fmt::Display for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.id, self.begin)
    }
}

impl FromStr for Process {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        match (words.next().map(str::parse), words.next().map(str::parse), words.next()) {
            (Some(Ok(id)), Some(Ok(begin)), None) if id > 0 => Ok(Self { id, begin }),
            _ => bail!("`{text}` names no process: an id and the tick at which it began are expected"),
        }
    }
}

/// What the kernel says about a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ended: bool,
    parent: i32,
    begin: u64,
}

impl Stat {
    fn of(id: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// The name, in parentheses, may hold anything; the last `)` ends it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            begin: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_name_of_the_program() {
        let line = |name, state| format!("12 ({name}) {state} 7 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 998877 1 2 3");
        let expected = Stat { ended: false, parent: 7, begin: 998_877 };
        assert_eq!(Stat::parse(&line("redis-server", "S")), Some(expected));
        assert_eq!(Stat::parse(&line("a) Z 1 (b", "R")).unwrap().parent, 7);
        assert!(Stat::parse(&line("java", "Z")).unwrap().ended);
        assert_eq!(Stat::parse("12 (short) S 7"), None);
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        let process = Process { id: 4711, begin: 123_456 };
        assert_eq!(process.to_string().parse::<Process>().unwrap(), process);
        for wrong in ["", "12", "0 5", "-1 5", "12 5 3", "twelve 5"] {
            assert!(wrong.parse::<Process>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_that_went_to_another_process_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let ours = Process::of(child.id().try_into().unwrap()).unwrap();
        assert!(ours.is_alive());
        let earlier = Process { begin: ours.begin - 1, ..ours };
        assert!(!earlier.is_alive());
        earlier.signal(Signal::KILL).unwrap();
        assert!(ours.is_alive(), "the signal went to a process that only has the same id");
        ours.signal(Signal::KILL).unwrap();
        assert!(ours.wait(Duration::from_secs(10)), "one that was killed and not waited for counts as alive");
        child.wait().unwrap();
        assert!(!ours.is_alive());
    }

    #[test]
    fn what_a_process_started_is_found_and_killed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sh -c 'sleep 60; true'; true";
        let mut child = Command::new("sh").args(["-c", script]).current_dir(folder.path()).spawn().unwrap();
        let shell = Process::of(child.id().try_into().unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while shell.descendants().len() < 2 {
            assert!(Instant::now() < deadline, "{:?}", shell.descendants());
            thread::yield_now();
        }
        assert_eq!(working_in(folder.path()).len(), 3);
        shell.kill_all().unwrap();
        assert_eq!(working_in(folder.path()), []);
        child.wait().unwrap();
    }
}
