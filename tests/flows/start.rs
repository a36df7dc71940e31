//! Starting a host: what is said, what is refused, and what stays refused.

use std::fs;

use tempfile::TempDir;

use crate::support::{Host, HostOptions, cli, events::amounts, guests};

/// Starts a host that must refuse; answers what it said.
#[track_caller]
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut command = cli::lantern();
    command.arg("serve").arg("--data").arg(&data).args(arguments).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    said
}

fn config_file(folder: &TempDir, content: &str) -> String {
    let path = folder.path().join("lantern.toml");
    fs::write(&path, content).unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn a_second_host_on_the_same_folder_is_refused() {
    let host = Host::start();
    host.append(&amounts(0, 10, 1));
    let data = host.data();
    let output = cli::lantern().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(data.to_str().unwrap()), "the folder is not named: {said}");
    assert!(said.contains(&host.pid().to_string()), "the other process is not named: {said}");
    assert_eq!(host.head(), 10, "the first host was hurt");
}

#[test]
fn a_lock_left_by_a_crash_holds_nobody_up() {
    let mut host = Host::start();
    host.append(&amounts(0, 10, 1));
    host.kill();
    host.restart();
    assert_eq!(host.head(), 10);
}

#[test]
fn an_unknown_key_is_refused_and_named() {
    let folder = TempDir::new().unwrap();
    let file = config_file(&folder, "datta = \"x\"\n");
    let said = refused(&["--listen", "127.0.0.1:0", "--config", &file], &[]);
    assert!(said.contains("datta") && said.contains("lantern.toml"), "{said}");
    let file = config_file(&folder, "this is no TOML\n");
    let said = refused(&["--listen", "127.0.0.1:0", "--config", &file], &[]);
    assert!(said.contains("lantern.toml"), "{said}");
    let said = refused(&["--listen", "127.0.0.1:0", "--config", "no/such/lantern.toml"], &[]);
    assert!(said.contains("no/such/lantern.toml"), "{said}");
}

#[test]
fn settings_come_from_file_environment_and_options_in_this_order() {
    let folder = TempDir::new().unwrap();
    let file = config_file(&folder, "[storage]\nstore = \"memory\"\n");
    let store = |options: HostOptions| {
        let host = Host::start_with(options.argument("--config").argument(&file));
        let line = host.output().line_with("serving on").unwrap();
        ["sqlite", "memory"].into_iter().find(|store| line.contains(&format!("store {store}"))).unwrap()
    };
    assert_eq!(store(HostOptions::default()), "memory");
    let environment = || HostOptions::default().variable("LANTERN_STORAGE_STORE", "sqlite");
    assert_eq!(store(environment()), "sqlite");
    assert_eq!(store(environment().argument("--store").argument("memory")), "memory");
}

#[test]
fn the_configuration_that_is_printed_is_accepted() {
    let folder = TempDir::new().unwrap();
    let file = config_file(&folder, cli::run(&["serve", "--print-config"]).ok());
    let host = Host::start_with(HostOptions::default().argument("--config").argument(&file));
    assert_eq!(host.head(), 0);
}

#[test]
fn a_variable_that_makes_no_sense_is_named() {
    let said = refused(&["--listen", "127.0.0.1:0"], &[("LANTERN_STORAGE_STORE", "paper")]);
    assert!(said.contains("LANTERN_STORAGE_STORE") && said.contains("paper"), "{said}");
    let said = refused(&["--listen", "127.0.0.1:0"], &[("LANTERN_STORAGE_SHELF", "left")]);
    assert!(said.contains("LANTERN_STORAGE_SHELF"), "{said}");
}

#[test]
fn a_route_that_cannot_feed_a_projection_is_named() {
    let route = [
        ("LANTERN_BUS_MAIN_URL", "redis://127.0.0.1:1"),
        ("LANTERN_CONSUME_IN_BUS", "main"),
        ("LANTERN_CONSUME_IN_TOPIC", "orders"),
        ("LANTERN_CONSUME_IN_GROUP", "shop"),
        ("LANTERN_CONSUME_IN_PROJECTION", "orders"),
    ];
    let said = refused(&["--listen", "127.0.0.1:0"], &route);
    assert!(said.contains("route `in`") && said.contains("redis, the bus `main`"), "{said}");
    assert!(said.contains("take `projection` out of the route"), "{said}");
}

#[test]
fn another_machine_is_not_served_without_tokens() {
    let said = refused(&["--listen", "0.0.0.0:0"], &[]);
    assert!(said.contains("0.0.0.0") && said.contains("127.0.0.1"), "{said}");
}

#[test]
fn an_address_in_use_is_named() {
    let host = Host::start();
    let address = host.url().trim_start_matches("http://").to_owned();
    let said = refused(&["--listen", &address], &[]);
    assert!(said.contains(&address), "{said}");
}

#[test]
fn a_data_folder_that_is_a_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = config_file(&folder, "");
    let output = cli::lantern().args(["serve", "--listen", "127.0.0.1:0", "--data", &file]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&file), "{said}");
}

#[test]
fn a_log_that_is_no_log_is_refused() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("log.db"), "this is no database, and it is long enough to be looked at".repeat(100)).unwrap();
    let output = cli::lantern().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("log.db"), "{said}");
}

#[test]
fn a_memory_host_forgets() {
    let mut host = Host::start_with(HostOptions::default().argument("--store").argument("memory"));
    host.append(&amounts(0, 10, 1));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    host.restart();
    assert_eq!(host.head(), 0);
    host.get("/api/v1/projections/totals").problem(404, "not-found");
}
