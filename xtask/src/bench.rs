//! `cargo xtask bench`: the benchmark, built for speed.

use anyhow::Result;

use crate::{
    guests, packages,
    repository::{self, Repository},
};

/// Builds the guests, then the benchmark, and runs it.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    packages::install_for_builds()?;
    guests::build(repository)?;
    let mut command = repository.cargo("run");
    command.args(["--release", "--package", "lantern-bench", "--"]).args(arguments);
    repository::run(&mut command)
}
