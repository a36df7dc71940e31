//! SQL tables of projections: made by migrations, changed with the events, queried by operators, proved by a digest.

use serde_json::{Value, json};

use crate::support::{
    Host, cli,
    events::event,
    guests,
    ledger::{posted, postings},
};

/// An event on which `bookkeeper` runs statements.
fn ran(n: u64, statements: &[&str], then: &str) -> Value {
    event(n, "Desk-1", "Ran", json!({ "statements": statements, "then": then }))
}

#[test]
fn tables_are_a_fold_of_the_log_and_two_rebuilds_have_the_same_digest() {
    let host = Host::start();
    host.append(&postings(0, 500));
    let deployed = host.deploy("ledger", guests::BOOKKEEPER);
    assert_eq!(deployed["description"]["migrations"][1]["name"], "postings");
    host.wait("ledger");
    host.append(&postings(500, 50));
    host.wait("ledger");
    host.check_ledger("ledger", &[]);

    let digest = host.digest("ledger");
    host.rebuild("ledger");
    assert_eq!(host.digest("ledger"), digest);
    host.check_ledger("ledger", &[]);
    host.deploy("again", guests::BOOKKEEPER);
    host.wait("again");
    assert_eq!(host.digest("again"), digest, "also of one that read the same events in other batches");
    host.append(&[posted(900, "a1", 1)]);
    host.wait("ledger");
    assert_ne!(host.digest("ledger"), digest, "the digest is of the rows");
}

#[test]
fn an_event_that_fails_leaves_no_row_and_holds_its_stream_back() {
    let host = Host::start();
    host.deploy("ledger", guests::BOOKKEEPER);
    let mut events = vec![
        posted(1, "a", 10),
        posted(2, "b", 5),
        posted(3, "a", -11),
        posted(4, "a", 1),
        ran(5, &["insert into account (name, balance) values ('x', 1)"], "fail"),
        posted(6, "b", 7),
    ];
    host.append(&events);
    host.wait("ledger");
    assert_eq!(host.parked_positions("ledger"), [3, 4, 5]);
    host.check_ledger("ledger", &[3, 4]);
    let letters = host.dead_letters("ledger");
    assert!(letters[0]["error"].as_str().unwrap().contains("overdrawn"), "{letters:?}");

    events = vec![ran(7, &["insert into account (name, balance) values ('y', 1)"], "panic")];
    events[0]["subject"] = "Desk-2".into();
    host.append(&events);
    host.wait("ledger");
    host.check_ledger("ledger", &[3, 4]);
}

#[test]
fn statements_of_a_module_keep_to_its_tables_and_its_budget() {
    let host = Host::start();
    host.deploy_with("ledger", guests::BOOKKEEPER, json!({ "limits": { "sql_ms": 50, "deadline_ms": 20000 } }));
    let statements = [
        "select 1 + 1",
        "attach ':memory:' as other",
        "pragma writable_schema = on",
        "select * from lantern_parked",
        "update lantern_checkpoint set position = 0",
        "select random()",
        "create table t (a)",
        "commit",
        "select 1; select 2",
        "with recursive n (x) as (select 1 union all select x + 1 from n) select count(*) from n",
    ];
    host.append(&[posted(1, "a", 1), ran(2, &statements, "succeed"), posted(3, "a", 1)]);
    host.wait("ledger");
    let answers = host.document("ledger", "answers", "2").unwrap();
    let answers: Vec<&str> = answers.as_array().unwrap().iter().map(|answer| answer.as_str().unwrap()).collect();
    assert_eq!(answers[0], "[Integer(2)]");
    for (statement, answer) in statements.iter().zip(&answers).skip(1).take(8) {
        assert!(answer.starts_with("the statement is refused: "), "{statement}: {answer}");
    }
    assert!(answers[9].contains("`sql_ms`"), "{}", answers[9]);
    host.check_ledger("ledger", &[]);

    // A write that is ended takes the transaction of its batch along: the events beside it are done again without it.
    let bomb = "insert into posting (position, account, amount)
        with recursive n (x) as (select 1000 union all select x + 1 from n) select x, 'a', 0 from n";
    host.append(&[posted(4, "a", 1), ran(5, &[bomb], "succeed"), posted(6, "a", 1), posted(7, "b", 1)]);
    host.wait("ledger");
    assert_eq!(host.parked_positions("ledger"), [5]);
    host.check_ledger("ledger", &[]);
}

#[test]
fn a_swap_changes_the_tables_between_two_events() {
    let host = Host::start();
    host.append(&postings(0, 100));
    host.deploy("ledger", guests::BOOKKEEPER);
    host.wait("ledger");
    let position = host.swap("ledger", guests::BOOKKEEPER_V2).ok()["position"].clone();
    assert_eq!(position, 100);
    host.append(&postings(100, 20));
    host.wait("ledger");
    host.check_ledger("ledger", &[]);
    let counts = host.rows("ledger", "select name, postings from account order by name");
    assert_eq!(counts, (0..5).map(|n| json!([format!("a{n}"), 24])).collect::<Vec<_>>());
    host.command("ledger", "rollback").ok();
    host.append(&postings(120, 5));
    host.wait("ledger");
    host.check_ledger("ledger", &[]);
}

#[test]
fn operators_query_tables_and_documents() {
    let host = Host::start();
    host.append(&[posted(1, "a", 10), posted(2, "b", -0), ran(3, &["select 7"], "succeed"), posted(4, "b", 2)]);
    host.deploy("ledger", guests::BOOKKEEPER);
    host.wait("ledger");
    let accounts = "select name, balance from account order by name";
    let shown = host.cli(&["projection", "sql", "ledger", accounts]);
    assert_eq!(shown.ok(), "NAME  BALANCE\na     10\nb     2\n");
    let found = host.cli_json(&["projection", "sql", "ledger", accounts, "--json"]);
    assert_eq!(found, json!({ "columns": ["name", "balance"], "rows": [["a", 10], ["b", 2]], "position": 4 }));
    let one = ["projection", "sql", "ledger", "select balance from account where name = $1", "--param", "b"];
    assert_eq!(host.cli(&one).ok(), "BALANCE\n2\n");
    let documents = ["projection", "sql", "ledger", "select key, value from lantern_documents"];
    assert_eq!(host.cli(&documents).ok(), "KEY  VALUE\n3    [\"[Integer(7)]\"]\n");
    let none = ["projection", "sql", "ledger", "select * from account where name = 'z'"];
    assert_eq!(host.cli(&none).ok(), "no rows\n");

    let refused = |statement: &str, slug: &str, part: &str| {
        let answer = host.post("/api/v1/projections/ledger/sql", &json!({ "statement": statement }));
        let problem = answer.json();
        assert_eq!((answer.status, &problem["type"]), (422, &json!(slug)), "{statement}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{statement}: {problem}");
    };
    refused("delete from account", "statement-refused", "`select`");
    refused("select * from lantern_checkpoint", "statement-refused", "`lantern_");
    refused("select * from nowhere", "statement-failed", "no such table");
    refused("select $1", "statement-failed", "1 parameters");
    refused(
        "with recursive n (x) as (select 1 union all select x + 1 from n limit 1001) select x from n",
        "statement-over-budget",
        "1000 rows",
    );
    assert_eq!(host.post("/api/v1/projections/none/sql", &json!({ "statement": "select 1" })).status, 404);
    assert!(host.cli(&["projection", "sql", "ledger", "drop table account"]).failed(1).contains("refused"));

    // What an append answered is seen.
    let appended = host.append(&[posted(5, "c", 3)]);
    let position = appended["events"][0]["position"].clone();
    let body = json!({ "statement": "select balance from account where name = 'c'", "min_position": position });
    assert_eq!(host.post("/api/v1/projections/ledger/sql", &body).ok()["rows"], json!([[3]]));
    host.check_ledger("ledger", &[]);
}

#[test]
fn the_memory_store_keeps_tables_too() {
    let host = Host::start_with(crate::support::HostOptions::default().argument("--store").argument("memory"));
    host.append(&postings(0, 200));
    host.deploy("ledger", guests::BOOKKEEPER);
    host.wait("ledger");
    host.check_ledger("ledger", &[]);
    let digest = host.digest("ledger");
    host.rebuild("ledger");
    assert_eq!(host.digest("ledger"), digest);
    assert_eq!(cli::run(&["projection", "sql", "--help"]).code, Some(0));
}
