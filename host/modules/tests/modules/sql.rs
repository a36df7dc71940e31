//! SQL tables: what a module hands over, what it gets back, and what its statements may cost.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use lantern_core::{
    Document, EventType, Instance, Library as _, Module, Outcome, SqlError, SqlValue, Tables, Value, View,
    documents::Scan,
    module::{Described, FailureKind, Limits, Settings},
    read_model::ReadModelError,
    sql::{Budget, Rows},
};

use crate::support::{call, event, guest, handle, library, load, settings};

/// A statement with its parameters.
type Ran = (String, Vec<SqlValue>);

/// What a statement is answered with.
type Answer = dyn Fn(&str) -> Result<Rows, SqlError> + Send + Sync;

/// Tables without a database: they write down what is run, and answer as they are told.
struct Scripted {
    ran: Mutex<Vec<(Ran, Budget)>>,
    answer: Box<Answer>,
}

impl Scripted {
    fn new(answer: impl Fn(&str) -> Result<Rows, SqlError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { ran: Mutex::default(), answer: Box::new(answer) })
    }

    fn ran(&self) -> Vec<Ran> {
        self.ran.lock().unwrap().iter().map(|(ran, _)| ran.clone()).collect()
    }
}

impl Tables for Scripted {
    fn id(&self) -> u64 {
        1
    }

    fn execute(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<u64, SqlError> {
        self.query(statement, parameters, budget).map(|rows| rows.rows.len() as u64)
    }

    fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        self.ran.lock().unwrap().push(((statement.into(), parameters.to_vec()), *budget));
        (self.answer)(statement)
    }

    fn mark(&self) -> Result<(), SqlError> {
        Ok(())
    }

    fn keep(&self) -> Result<(), SqlError> {
        Ok(())
    }

    fn undo(&self) -> Result<(), SqlError> {
        Ok(())
    }

    fn clashed(&self) -> bool {
        false
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// A read model with these tables and no documents.
struct Tabled(Arc<Scripted>);

impl View for Tabled {
    fn get(&self, _: &str, _: &str) -> Result<Option<Value>, ReadModelError> {
        Ok(None)
    }

    fn scan(&self, _: &str, _: &Scan) -> Result<Vec<Document>, ReadModelError> {
        Ok(Vec::new())
    }

    fn tables(&self) -> Option<Arc<dyn Tables>> {
        Some(self.0.clone())
    }
}

fn run(instance: &mut Box<dyn Instance>, event_type: &str, data: &str, tables: &Arc<Scripted>) -> Outcome {
    let view: Arc<dyn View> = Arc::new(Tabled(tables.clone()));
    let mut event = event(7, data);
    event.event_type = EventType::new(event_type).unwrap();
    instance.handle(&call(&event), &view)
}

/// Runs some statements, each of which does nothing but be counted.
fn ran(statements: usize) -> String {
    format!(r#"{{"statements":[{}]}}"#, vec!["\"s\""; statements].join(","))
}

fn nothing_found() -> Rows {
    Rows::default()
}

async fn bookkeeper(limits: Limits) -> Box<dyn Instance> {
    load("bookkeeper", &Settings { limits, ..settings() }).await.instance()
}

#[tokio::test]
async fn a_module_with_tables_says_so() {
    let kept = library().push(guest("bookkeeper")).await.unwrap();
    assert!(kept.imports.contains(&"lantern:module/sql@0.1.0".to_owned()), "{:?}", kept.imports);
    let Described::Projection(described) = kept.description else { panic!("no projection") };
    assert!(described.has_tables);
    let names: Vec<_> = described.migrations.iter().map(|migration| migration.name.as_str()).collect();
    assert_eq!(names, ["accounts", "postings"]);
    assert!(described.migrations[0].sql.starts_with("create table account"));
    let module: Arc<dyn Module> = load("counter", &settings()).await;
    assert!(!module.description().has_tables && module.description().migrations.is_empty());
}

#[tokio::test]
async fn statements_and_values_go_both_ways() {
    let tables = Scripted::new(|statement| {
        let balance = vec![vec![SqlValue::Integer(5)]];
        Ok(if statement.starts_with("select") {
            Rows { columns: vec!["balance".into()], rows: balance }
        } else {
            nothing_found()
        })
    });
    let mut bookkeeper = bookkeeper(settings().limits).await;
    let outcome = run(&mut bookkeeper, "Posted", r#"{"account":"a","amount":-2}"#, &tables);
    outcome.result.unwrap();
    let text = |text: &str| SqlValue::Text(text.into());
    let parameters: Vec<_> = tables.ran().into_iter().map(|(_, parameters)| parameters).collect();
    let wanted = [
        vec![text("a")],
        vec![text("a"), SqlValue::Integer(3)],
        vec![SqlValue::Integer(7), text("a"), SqlValue::Integer(-2)],
    ];
    assert_eq!(parameters, wanted);
    assert_eq!(outcome.witness.statements, 3);

    let all = vec![
        SqlValue::Null,
        SqlValue::Boolean(true),
        SqlValue::Integer(i64::MIN),
        SqlValue::Real(0.5),
        text("é"),
        SqlValue::Blob(vec![0, 255].into()),
    ];
    let columns = vec!["c".to_owned(); all.len()];
    let tables = Scripted::new(move |_| Ok(Rows { columns: columns.clone(), rows: vec![all.clone()] }));
    let outcome = run(&mut bookkeeper, "Ran", &ran(1), &tables);
    let written = outcome.result.unwrap().writes[0].value.clone().unwrap();
    let shown = "[Null, Boolean(true), Integer(-9223372036854775808), Real(0.5), Text(\\\"é\\\"), Blob([0, 255])]";
    assert_eq!(&*written, format!("[\"{shown}\"]"));
}

#[tokio::test]
async fn an_error_is_the_modules_to_deal_with_unless_the_storage_failed() {
    let mut bookkeeper = bookkeeper(settings().limits).await;
    for (error, told) in [
        (SqlError::Refused("no".into()), "the statement is refused: no"),
        (SqlError::Failed("no".into()), "the statement failed: no"),
        (SqlError::Constraint("no".into()), "the statement breaks a constraint: no"),
        (SqlError::Exceeded("no".into()), "the statement went over its budget: no"),
    ] {
        let tables = Scripted::new(move |_| Err(error.clone()));
        let outcome = run(&mut bookkeeper, "Ran", &ran(1), &tables);
        assert_eq!(outcome.result.unwrap().writes[0].value.as_deref(), Some(&*format!("[\"{told}\"]")));
    }
    let tables = Scripted::new(|_| Err(SqlError::Unavailable("the disk is gone".into())));
    let failure = run(&mut bookkeeper, "Ran", &ran(1), &tables).result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Host);
    assert!(failure.message.contains("the disk is gone"), "{failure}");
    let failing = Scripted::new(|_| Err(SqlError::Failed("no".into())));
    let failure = run(&mut bookkeeper, "Posted", r#"{"account":"a","amount":1}"#, &failing).result.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Permanent, "the statement failed: no"));
}

#[tokio::test]
async fn statements_have_the_limits_of_the_deployment() {
    let limits = Limits { sql_rows: 7, sql_bytes: 8, sql_ms: 60_000, ..settings().limits };
    let mut bookkeeper = bookkeeper(limits).await;
    let tables = Scripted::new(|_| {
        thread::sleep(Duration::from_millis(2));
        Ok(nothing_found())
    });
    run(&mut bookkeeper, "Ran", &ran(2), &tables).result.unwrap();
    let budgets: Vec<_> = tables.ran.lock().unwrap().iter().map(|(_, budget)| *budget).collect();
    assert_eq!((budgets[0].rows, budgets[0].bytes, budgets[0].time), (7, 8, Duration::from_secs(60)));
    assert!(budgets[1].time <= budgets[0].time - Duration::from_millis(2), "the time is that of all of a call");
    tables.ran.lock().unwrap().clear();
    run(&mut bookkeeper, "Ran", &ran(1), &tables).result.unwrap();
    assert_eq!(tables.ran.lock().unwrap()[0].1.time, Duration::from_secs(60), "and the next call has its own");

    let quick = Scripted::new(|_| Ok(nothing_found()));
    let failure = run(&mut bookkeeper, "Ran", &ran(10_001), &quick).result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Limit);
    assert!(failure.message.contains("more than 10000 SQL statements"), "{failure}");
    run(&mut bookkeeper, "Ran", &ran(10_000), &quick).result.unwrap();
}

#[tokio::test]
async fn what_statements_hand_over_counts_with_the_rest() {
    let mut bookkeeper = bookkeeper(Limits { host_call_bytes: 2_000, ..settings().limits }).await;
    let tables = Scripted::new(|_| Ok(nothing_found()));
    let long = format!(r#"{{"statements":["{0}","{0}","{0}"]}}"#, "s".repeat(700));
    let failure = run(&mut bookkeeper, "Ran", &long, &tables).result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Limit);
    assert!(failure.message.contains("`host_call_bytes`"), "{failure}");
}

#[tokio::test]
async fn without_tables_a_call_says_what_is_missing() {
    let mut bookkeeper = bookkeeper(settings().limits).await;
    let mut event = event(1, &ran(1));
    event.event_type = EventType::new("Ran").unwrap();
    let failure = handle(&mut bookkeeper, &event).result.unwrap_err();
    assert!(failure.message.contains("there are no SQL tables here"), "{failure}");
}
