//! The guests by name, and the promise that each has a test.

use std::{collections::BTreeSet, fs};

use super::artefacts;

pub const ACCOUNT_V1: &str = "account-v1";
pub const ACCOUNT_V2: &str = "account-v2";
pub const BOOKKEEPER: &str = "bookkeeper";
pub const BOOKKEEPER_V2: &str = "bookkeeper-v2";
pub const CALLER: &str = "caller";
pub const CLAIMS: &str = "claims";
pub const CLOCKWORK: &str = "clockwork";
pub const CONFIGURED: &str = "configured";
pub const COUNTER: &str = "counter";
pub const EMITTER: &str = "emitter";
pub const EMPTY: &str = "empty";
pub const FLOODING: &str = "flooding";
pub const HUNGRY: &str = "hungry";
pub const LOOPING: &str = "looping";
pub const MENDED: &str = "mended";
pub const MIRROR: &str = "mirror";
pub const NODDING: &str = "nodding";
pub const OTEL: &str = "otel";
pub const POISON: &str = "poison";
pub const PUBLISHER: &str = "publisher";
pub const RECURSIVE: &str = "recursive";
pub const RENAMER: &str = "renamer";
pub const REQUESTER: &str = "requester";
pub const SCHEDULER: &str = "scheduler";
pub const SLEEPY: &str = "sleepy";
pub const TIMEKEEPER: &str = "timekeeper";
pub const TRAPPING: &str = "trapping";
pub const WIDENER: &str = "widener";
pub const WRONG_IMPORT: &str = "wrong-import";
pub const WRONG_WORLD: &str = "wrong-world";

pub const ORDERS_V1: &str = "orders-v1";
pub const ORDERS_V2: &str = "orders-v2";
pub const ORDER_V1: &str = "order-v1";
pub const ORDER_V2: &str = "order-v2";
pub const SHIPPING_V1: &str = "shipping-v1";
pub const SHIPPING_V2: &str = "shipping-v2";
pub const ORDER_PLACED: &str = "order-placed";
pub const LOAN_APPLICATIONS: &str = "loan-applications";

/// The compiler says when a constant above is used by no test; this says when a guest has no constant.
#[test]
fn each_guest_has_a_test() {
    let tests = test_sources();
    for guest in folders() {
        let constant = format!("guests::{}", guest.to_uppercase().replace('-', "_"));
        assert!(
            tests.iter().any(|source| source.contains(&constant)),
            "tests/guests/{guest} has no test: use `{constant}` in one under tests/flows or tests/faults"
        );
    }
}

fn folders() -> BTreeSet<String> {
    let guests = artefacts::repository().join("tests/guests");
    let folders: BTreeSet<_> = fs::read_dir(guests)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(folders.len() > 10, "the guests have moved: {folders:?}");
    folders
}

fn test_sources() -> Vec<String> {
    ["flows", "faults"]
        .iter()
        .flat_map(|folder| fs::read_dir(artefacts::repository().join("tests").join(folder)).unwrap())
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}
