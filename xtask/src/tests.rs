//! `cargo xtask test`: everything that tests need, then every test.

use anyhow::Result;

use crate::{
    guests,
    repository::{self, Repository},
};

/// Builds guests and host and runs the tests; arguments go to `cargo test`.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    println!("Building the guests and the examples");
    guests::build(repository)?;
    println!("Testing the guest SDK and the examples");
    guests::test(repository)?;
    println!("Building the host and its tests");
    build(repository)?;
    println!("Testing the host");
    repository::run(repository.cargo("test").arg("--workspace").args(arguments))
}

/// Builds the binary and all tests in one go: asked for apart, cargo would build dependencies twice, with the features
/// of each.
pub(crate) fn build(repository: &Repository) -> Result<()> {
    repository::run(repository.cargo("build").args(["--workspace", "--exclude", "xtask", "--bins", "--tests"]))
}
