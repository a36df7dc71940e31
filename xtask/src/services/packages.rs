//! The Debian packages that servers come from, installed when they are missing.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, stdin},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::account::is_root;
use crate::repository::run;

/// Installs packages, as root or through sudo.
///
/// # Errors
/// When it may not, or cannot: the text says what to install.
pub(crate) fn install(packages: &BTreeSet<&str>) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = packages.iter().copied().collect();
    let by_hand = format!(
        "these Debian packages are missing: install them with `apt-get install {}`, name servers that run already in \
         LANTERN_TEST_… variables (see `cargo xtask services help`), or use compose.yaml",
        names.join(" ")
    );
    if !is_there("apt-get") {
        bail!("there is no apt-get, and {by_hand}");
    }
    if !is_root() && !may_become_root() {
        bail!("this user may not install packages, and {by_hand}");
    }
    eprintln!("services: installing the Debian packages {}", names.join(", "));
    apt_get(&["update"]).and_then(|()| apt_get(&[&["install", "--yes"], &names[..]].concat())).context(by_hand)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = if is_root() { Command::new("env") } else { Command::new("sudo") };
    // Standard output belongs to the variables; a person reads the rest.
    let output = command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]).args(arguments);
    run(output.stdin(Stdio::null()).stdout(std::io::stderr()))
}

/// Through sudo: at once, or with a password when there is somebody to ask.
fn may_become_root() -> bool {
    let mut sudo = Command::new("sudo");
    if stdin().is_terminal() {
        sudo.arg("--validate");
    } else {
        sudo.args(["--non-interactive", "true"]).stdin(Stdio::null()).stderr(Stdio::null());
    }
    sudo.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Whether a program is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
