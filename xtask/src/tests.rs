//! `cargo xtask test`: everything that tests need, then every test.

use anyhow::Result;

use crate::{
    guests, packages, python,
    repository::{self, Repository},
    services::ForTests,
};

/// Builds guests and host and runs the tests; arguments go to `cargo test`.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    packages::install_for_builds()?;
    println!("Building the guests and the examples");
    guests::build(repository)?;
    println!("Testing the guest SDK and the examples");
    guests::test(repository)?;
    println!("Building the host and its tests");
    build(repository)?;
    let python = python::equip(repository)?;
    println!("Starting the servers that tests need");
    let services = ForTests::start(repository)?;
    println!("Testing the host");
    let mut command = repository.cargo("test");
    command.arg("--workspace").args(arguments).envs(services.variables()).env(python::VARIABLE, python);
    let tested = repository::run(&mut command);
    let ended = services.end();
    tested.and(ended)
}

/// Builds the binary and all tests in one go: asked for apart, cargo would build dependencies twice, with the features
/// of each.
pub(crate) fn build(repository: &Repository) -> Result<()> {
    repository::run(repository.cargo("build").args(["--workspace", "--exclude", "xtask", "--bins", "--tests"]))
}
