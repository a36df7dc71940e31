//! Debian's packages: what the build and the servers need of them, installed when it is missing.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, stdin},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{repository::run, services::is_root};

/// Installs what the compiler needs beside Rust: a C compiler, and OpenSSL's headers for the client of Kafka.
///
/// # Errors
/// As those of [`install`].
pub(crate) fn install_for_builds() -> Result<()> {
    let mut missing = BTreeSet::new();
    if !is_there("cc") || !is_there("c++") || !is_there("make") {
        missing.insert("build-essential");
    }
    if !is_there("pkg-config") {
        missing.insert("pkg-config");
    }
    if !has_openssl() {
        missing.insert("libssl-dev");
    }
    install(&missing, "or, on another system, the packages of the same content")
}

/// A folder that the caller names to the build counts, too.
fn has_openssl() -> bool {
    let asked = Command::new("pkg-config").args(["--exists", "openssl"]).status();
    std::env::var_os("OPENSSL_DIR").is_some() || asked.is_ok_and(|status| status.success())
}

/// Installs packages, as root or through sudo. `otherwise` says what else a person can do.
///
/// # Errors
/// When it may not, or cannot: the text says what to install.
pub(crate) fn install(packages: &BTreeSet<&str>, otherwise: &str) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.iter().copied().collect::<Vec<_>>().join(" ");
    let by_hand =
        format!("these Debian packages are missing: install them with `apt-get install {names}`, {otherwise}");
    if !is_there("apt-get") {
        bail!("there is no apt-get, and {by_hand}");
    }
    if !is_root() && !may_become_root() {
        bail!("this user may not install packages, and {by_hand}");
    }
    eprintln!("Installing the Debian packages {names}");
    let packages: Vec<&str> = packages.iter().copied().collect();
    apt_get(&["update"]).and_then(|()| apt_get(&[&["install", "--yes"], &packages[..]].concat())).context(by_hand)
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
