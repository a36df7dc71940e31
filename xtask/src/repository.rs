//! The repository: where it and its build output lie, and how cargo is run in it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The workspaces beside the host's: guests and what they stand on, built for Wasm.
pub(crate) const GUEST_WORKSPACES: [&str; 3] = ["guests", "examples", "tests/guests"];

/// The target that modules are built for.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// The repository this program belongs to.
pub(crate) struct Repository {
    /// Its root.
    pub root: PathBuf,
    /// The target directory of the host's workspace.
    pub target: PathBuf,
}

impl Repository {
    /// Finds the root and asks cargo for the target directory, which the user may have moved.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no folder")?.to_path_buf();
        let metadata = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&root)
            .output()
            .context("cargo could not be run")?;
        if !metadata.status.success() {
            bail!("cargo cannot read the workspace:\n{}", String::from_utf8_lossy(&metadata.stderr));
        }
        let metadata: Value = serde_json::from_slice(&metadata.stdout).context("reading cargo's metadata")?;
        let target = metadata["target_directory"].as_str().context("cargo names no target directory")?;
        Ok(Self { root, target: PathBuf::from(target) })
    }

    /// The target directory of guests and examples: apart, so that their lock and profiles are their own.
    pub(crate) fn guest_target(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The component of a guest or an example, by the name of its package.
    pub(crate) fn component(&self, package: &str) -> PathBuf {
        let file = format!("{}.wasm", package.replace('-', "_"));
        self.guest_target().join(WASM_TARGET).join("release").join(file)
    }

    /// The binary `lantern` of the development profile.
    pub(crate) fn lantern(&self) -> PathBuf {
        self.target.join("debug").join(format!("lantern{}", env::consts::EXE_SUFFIX))
    }

    /// Cargo in the host's workspace.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(cargo());
        command.arg(subcommand).current_dir(&self.root);
        // What the cargo that runs this program says about it; some build scripts would take it for a change and build
        // again what is there.
        for (name, _) in env::vars_os().filter(|(name, _)| describes_this_package(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
    }

    /// Cargo in one of the guests' workspaces.
    pub(crate) fn guest_cargo(&self, workspace: &str, subcommand: &str) -> Command {
        let mut command = self.cargo(subcommand);
        command.current_dir(self.root.join(workspace)).env("CARGO_TARGET_DIR", self.guest_target());
        command
    }
}

/// The cargo that runs this program, so that its toolchain is used throughout.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn describes_this_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// Runs a command to its end; its output is the user's to read.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("`{shown}` could not be run"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
