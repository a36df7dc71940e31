//! New projects: written from templates, they pass their test, build and run.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Host, artefacts, cli, events::event};

/// Runs cargo in a project, its build output shared by all of them.
#[track_caller]
fn cargo(project: &Path, arguments: &[&str]) -> Output {
    let target = artefacts::repository().join("target/new-projects");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[track_caller]
fn write(folder: &Path, kind: &str, name: &str) -> std::path::PathBuf {
    let project = folder.join(name);
    let sdk = artefacts::repository().join("guests");
    let arguments = ["new", kind, name, "--path", project.to_str().unwrap(), "--sdk", sdk.to_str().unwrap()];
    let ran = cli::run(&arguments);
    assert!(ran.ok().contains("cargo"), "it says what to do next: {}", ran.stdout);
    let again = cli::run(&arguments);
    assert!(again.code != Some(0) && again.stderr.contains("is there and not empty"), "{}", again.stderr);
    project
}

#[test]
fn a_new_project_of_each_kind_passes_its_test() {
    let folder = TempDir::new().unwrap();
    for (kind, name) in
        [("projection", "sales"), ("handler", "greeter"), ("aggregate", "Basket"), ("upcaster", "older-sales")]
    {
        let project = write(folder.path(), kind, name);
        let output = cargo(&project, &["test"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let passed = |line: &str| line.starts_with("test result: ok") && !line.contains(" 0 passed");
        assert!(said.lines().any(passed), "{said}");
    }
}

#[test]
fn a_new_projection_runs_in_a_host() {
    let folder = TempDir::new().unwrap();
    let project = write(folder.path(), "projection", "takings");
    cargo(&project, &["build", "--release", "--target", "wasm32-wasip2"]);
    let component = artefacts::repository().join("target/new-projects/wasm32-wasip2/release/takings.wasm");
    let host = Host::start();
    host.cli(&["projection", "deploy", "takings", "--module", component.to_str().unwrap()]).ok();
    host.append(&[event(1, "Anything-1", "Happened", json!({}))]);
    assert_eq!(host.wait("takings")["lag"], 0);
}
