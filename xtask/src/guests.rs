//! `cargo xtask guests`: the Wasm target, the guests of the tests and the examples.

use std::{
    env,
    io::ErrorKind,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::repository::{Repository, WASM_TARGET, run};

/// Builds all guests and examples.
pub(crate) fn build(repository: &Repository) -> Result<()> {
    add_target()?;
    for workspace in ["tests/guests", "examples"] {
        build_packages(repository, workspace, &[])?;
    }
    Ok(())
}

/// Builds some packages of a workspace as components; all when none is named.
pub(crate) fn build_packages(repository: &Repository, workspace: &str, packages: &[&str]) -> Result<()> {
    let mut command = repository.guest_cargo(workspace, "build");
    command.args(["--release", "--target", WASM_TARGET]);
    for package in packages {
        command.args(["--package", package]);
    }
    run(&mut command)
}

/// Runs the tests that guests and examples have of their own, without a host.
pub(crate) fn test(repository: &Repository) -> Result<()> {
    for workspace in ["guests", "examples"] {
        run(&mut repository.guest_cargo(workspace, "test"))?;
    }
    Ok(())
}

/// Makes sure that the compiler can build modules.
///
/// # Errors
/// When the target is missing and cannot be added; the message says what to install.
pub(crate) fn add_target() -> Result<()> {
    if has_target()? {
        return Ok(());
    }
    println!("Adding the Rust target {WASM_TARGET}");
    match Command::new("rustup").args(["target", "add", WASM_TARGET]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`rustup target add {WASM_TARGET}` ended with {status}"),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the Rust target {WASM_TARGET} is missing, and rustup is not there to add it: install Rust with rustup \
             (https://rustup.rs), or install the target's standard library with what your Rust came from"
        ),
        Err(error) => Err(error).context("rustup could not be run"),
    }
}

/// The folder that would hold the target's standard library is there exactly when it is installed.
fn has_target() -> Result<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .stderr(Stdio::null())
        .output()
        .context("rustc could not be run: install Rust with rustup (https://rustup.rs)")?;
    Ok(output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
