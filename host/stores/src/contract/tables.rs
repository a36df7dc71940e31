//! SQL tables: rows change with their batch or not at all, statements keep to them, and migrations run once.

use std::{sync::Arc, time::Duration};

use lantern_core::{
    Batch, Migration, Position, ReadModel, ReadModels, ScheduleChange, SqlError, SqlValue, Tables, TablesError,
    documents::OWN,
    read_model::CommitError,
    sql::{Budget, Rows},
};

use super::samples::{batch, generation, module, scheduled, writing};

/// More than any test needs.
const AMPLE: Budget = Budget { rows: 1_000, bytes: 1024 * 1024, time: Duration::from_secs(60) };

fn migration(name: &str, sql: &str) -> Migration {
    Migration { name: name.into(), sql: sql.into() }
}

/// A table of words and numbers.
fn words() -> Vec<Migration> {
    vec![migration("words", "create table word (word text primary key, number bigint not null)")]
}

async fn begun(models: &dyn ReadModels) -> Arc<dyn ReadModel> {
    models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap()
}

/// Does something with a transaction where blocking is allowed.
async fn work<T: Send + 'static>(tables: &Arc<dyn Tables>, work: impl FnOnce(&dyn Tables) -> T + Send + 'static) -> T {
    let tables = tables.clone();
    tokio::task::spawn_blocking(move || work(&*tables)).await.unwrap()
}

fn insert(tables: &dyn Tables, word: &str, number: i64) -> Result<u64, SqlError> {
    let parameters = [SqlValue::Text(word.into()), SqlValue::Integer(number)];
    tables.execute("insert into word (word, number) values ($1, $2)", &parameters, &AMPLE)
}

/// What an operator finds.
async fn found(model: &dyn ReadModel, statement: &str) -> Vec<String> {
    shown(&model.query(statement, &[], &AMPLE).await.unwrap())
}

fn shown(rows: &Rows) -> Vec<String> {
    let value = |value: &SqlValue| match value {
        SqlValue::Text(text) => text.to_string(),
        SqlValue::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    rows.rows.iter().map(|row| row.iter().map(value).collect::<Vec<_>>().join(" ")).collect()
}

/// Opens a transaction, inserts some words as one call each, and commits the batch.
async fn commit_words(model: &dyn ReadModel, lease: lantern_core::Lease, from: u64, words: &'static [&'static str]) {
    let tables = model.tables(&self::words()).await.unwrap();
    let insert_all = move |tables: &dyn Tables| {
        for word in words {
            tables.mark().unwrap();
            insert(tables, word, 1).unwrap();
            tables.keep().unwrap();
        }
    };
    work(&tables, insert_all).await;
    model.commit(lease, &Batch { tables: Some(tables), ..batch(from, from + 1) }).await.unwrap();
}

pub(super) async fn rows_are_kept_with_their_batch(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    commit_words(&*model, lease, 0, &["one"]).await;
    let tables = model.tables(&words()).await.unwrap();
    assert_eq!(work(&tables, |tables| insert(tables, "two", 2)).await, Ok(1));
    assert_eq!(found(&*model, "select word from word").await, ["one"], "nothing is seen before the commit");
    assert_eq!(model.checkpoint().await.unwrap().position, Position(1));
    let both = Batch { tables: Some(tables), ..writing(1, 5, "c", &[("k", Some("1"))]) };
    model.commit(lease, &both).await.unwrap();
    drop(both);
    assert_eq!(found(&*model, "select word, number from word order by word").await, ["one 1", "two 2"]);
    assert_eq!(model.get("c", "k").await.unwrap().as_deref(), Some("1"));
    let view = model.view();
    let seen = tokio::task::spawn_blocking(move || view.get("c", "k").unwrap()).await.unwrap();
    assert_eq!(seen.as_deref(), Some("1"));
    assert_eq!(model.checkpoint().await.unwrap().position, Position(5));
    let again = models.open(&generation("orders", 1)).await.unwrap();
    assert_eq!(found(&*again, "select count(*) from word").await, ["2"]);
}

pub(super) async fn values_come_back_as_they_were(models: &dyn ReadModels) {
    let model = begun(models).await;
    let migrations = [migration("all", "create table t (i bigint, r double precision, s text)")];
    let tables = model.tables(&migrations).await.unwrap();
    let values = vec![SqlValue::Integer(i64::MIN), SqlValue::Real(-0.5), SqlValue::Text("\u{e9}\u{1F600}'\"".into())];
    let wanted = values.clone();
    let rows = work(&tables, move |tables| {
        tables.execute("insert into t (i, r, s) values ($1, $2, $3)", &values, &AMPLE).unwrap();
        tables.execute("insert into t (s, i, r) values ($3, $1, $2)", &values, &AMPLE).unwrap();
        let nothing = [SqlValue::Null, SqlValue::Null, SqlValue::Null];
        tables.execute("insert into t (i, r, s) values ($1, $2, $3)", &nothing, &AMPLE).unwrap();
        tables.query("select i, r, s from t where i is not null or s is null", &[], &AMPLE).unwrap()
    });
    let rows = rows.await;
    assert_eq!(rows.columns, ["i", "r", "s"]);
    assert_eq!(rows.rows[..2], [wanted.clone(), wanted]);
    assert_eq!(rows.rows[2], vec![SqlValue::Null; 3]);
}

pub(super) async fn reads_see_what_was_written_before(models: &dyn ReadModels) {
    let model = begun(models).await;
    let tables = model.tables(&words()).await.unwrap();
    let told = work(&tables, |tables| {
        tables.mark().unwrap();
        insert(tables, "one", 1).unwrap();
        tables.keep().unwrap();
        tables.mark().unwrap();
        insert(tables, "two", 1).unwrap();
        let changed = tables.execute("update word set number = number + 1", &[], &AMPLE).unwrap();
        let rows = tables.query("select word, number from word order by word", &[], &AMPLE).unwrap();
        let gone = tables.query("delete from word where word = 'one' returning number", &[], &AMPLE).unwrap();
        (changed, shown(&rows), shown(&gone))
    });
    assert_eq!(told.await, (2, vec!["one 2".to_owned(), "two 2".to_owned()], vec!["2".to_owned()]));
}

pub(super) async fn a_call_that_fails_leaves_nothing(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    let tables = model.tables(&words()).await.unwrap();
    let told = work(&tables, |tables| {
        tables.mark().unwrap();
        insert(tables, "kept", 1).unwrap();
        tables.keep().unwrap();
        tables.mark().unwrap();
        insert(tables, "undone", 1).unwrap();
        tables.execute("update word set number = 9", &[], &AMPLE).unwrap();
        tables.undo().unwrap();
        tables.mark().unwrap();
        insert(tables, "after", 1).unwrap();
        let twice = insert(tables, "kept", 2);
        assert!(tables.clashed());
        insert(tables, "too", 1).unwrap();
        tables.keep().unwrap();
        // A call that runs no statement costs nothing, however it ends.
        tables.mark().unwrap();
        tables.undo().unwrap();
        assert!(!tables.clashed());
        (twice, tables.is_open())
    });
    let (twice, open) = told.await;
    assert!(matches!(&twice, Err(SqlError::Constraint(_))), "{twice:?}");
    assert!(open, "a statement that fails has no effect, and takes nothing with it");
    model.commit(lease, &Batch { tables: Some(tables), ..batch(0, 4) }).await.unwrap();
    assert_eq!(found(&*model, "select word, number from word order by word").await, ["after 1", "kept 1", "too 1"]);
}

pub(super) async fn a_transaction_that_is_dropped_leaves_nothing(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    let tables = model.tables(&words()).await.unwrap();
    work(&tables, |tables| insert(tables, "dropped", 1)).await.unwrap();
    drop(tables);
    model.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    commit_words(&*model, lease, 1, &["kept"]).await;
    assert_eq!(found(&*model, "select word from word").await, ["kept"]);
    // One waits for the other.
    let first = model.tables(&words()).await.unwrap();
    let (other, migrations) = (model.clone(), words());
    let second = tokio::spawn(async move { other.tables(&migrations).await });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap().is_ok());
}

pub(super) async fn a_fenced_batch_leaves_the_tables(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (stale, _) = model.take().await.unwrap();
    commit_words(&*model, stale, 0, &["one"]).await;
    let tables = model.tables(&words()).await.unwrap();
    work(&tables, |tables| insert(tables, "elsewhere", 1)).await.unwrap();
    let elsewhere = Batch { tables: Some(tables), ..batch(7, 8) };
    let fenced = |expected, epoch| Err(CommitError::Fenced { expected: Position(expected), epoch });
    assert_eq!(model.commit(stale, &elsewhere).await, fenced(7, 1));
    drop(elsewhere);

    let tables = model.tables(&words()).await.unwrap();
    work(&tables, |tables| insert(tables, "stale", 1)).await.unwrap();
    let other = models.open(&generation("orders", 1)).await.unwrap();
    let (lease, _) = other.take().await.unwrap();
    let late = work(&tables, |tables| insert(tables, "late", 1)).await;
    assert!(matches!(&late, Err(SqlError::Unavailable(_))), "a new owner ends what the one before has open: {late:?}");
    let stale_batch = Batch { tables: Some(tables), ..batch(1, 2) };
    assert_eq!(model.commit(stale, &stale_batch).await, fenced(1, 1));
    drop(stale_batch);
    commit_words(&*other, lease, 1, &["two"]).await;
    assert_eq!(found(&*other, "select word from word order by word").await, ["one", "two"]);
}

pub(super) async fn migrations_run_once_and_in_order(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    let first = vec![
        migration("words", "create table word (word text primary key, number bigint not null)"),
        migration("some", "insert into word values ('a', 1), ('b;c', 2); create index by_number on word (number);"),
    ];
    let commit = async |from: u64, migrations: &[Migration]| {
        let tables = model.tables(migrations).await.unwrap();
        model.commit(lease, &Batch { tables: Some(tables), ..batch(from, from + 1) }).await.unwrap();
    };
    commit(0, &first).await;
    commit(1, &first).await;
    let more =
        [&first[..], &[migration("more", "alter table word add column note text not null default 'n'")]].concat();
    let tried = model.tables(&more).await.unwrap();
    drop(tried);
    commit(2, &first).await;
    commit(3, &more).await;
    commit(4, &more).await;
    assert_eq!(found(&*model, "select word, number, note from word order by word").await, ["a 1 n", "b;c 2 n"]);
    // A module that is gone back to knows fewer.
    commit(5, &first).await;
    assert_eq!(found(&*model, "select count(note) from word").await, ["2"]);
}

pub(super) async fn a_migration_that_fails_leaves_nothing(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    commit_words(&*model, lease, 0, &["one"]).await;
    let broken = [words(), vec![migration("fine", "create table fine (a text)"), migration("bad", "create tabel t")]];
    let error = model.tables(&broken.concat()).await.err().unwrap();
    let TablesError::Migration { number, name, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*number, name.as_str()), (3, "bad"));
    for (sql, part) in [
        ("begin; create table x (a text)", "transaction"),
        ("create table x (a text); commit", "transaction"),
        ("create table lantern_x (a text)", "`lantern_"),
        ("", "empty"),
    ] {
        let error = model.tables(&[words(), vec![migration("bad", sql)]].concat()).await.err().unwrap();
        assert!(matches!(&error, TablesError::Migration { number: 2, .. }), "{sql}: {error:?}");
        assert!(error.to_string().contains(part), "{sql}: {error}");
    }
    let gone = model.query("select * from fine", &[], &AMPLE).await;
    assert!(matches!(&gone, Err(SqlError::Failed(_))), "{gone:?}");
    commit_words(&*model, lease, 1, &["two"]).await;
    assert_eq!(found(&*model, "select word from word order by word").await, ["one", "two"]);
}

pub(super) async fn migrations_that_were_run_must_not_change(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    commit_words(&*model, lease, 0, &["one"]).await;
    let other = [migration("other words", "create table word (word text primary key)")];
    let error = model.tables(&other).await.err().unwrap();
    let differs = TablesError::Differs { number: 1, name: "other words".into(), ran: "words".into() };
    assert_eq!(error, differs);
    let renamed = [migration("a better name", &words()[0].sql)];
    assert!(model.tables(&renamed).await.is_ok(), "the name is for people");
}

pub(super) async fn the_digest_is_of_the_rows_too(models: &dyn ReadModels) {
    let empty = begun(models).await;
    let (_, without) = empty.digest().await.unwrap();
    let mut digests = Vec::new();
    for (number, words) in [(2, &["a", "b", "c"][..]), (3, &["c", "a", "b"][..]), (4, &["a", "b"][..])] {
        let model = models.create(&generation("orders", number), Position::START, module("first")).await.unwrap();
        let (lease, _) = model.take().await.unwrap();
        commit_words(&*model, lease, 0, words).await;
        let (position, digest) = model.digest().await.unwrap();
        assert_eq!(position, Position(1));
        digests.push(digest);
    }
    assert_eq!(digests[0], digests[1], "the order in which rows came does not count");
    assert_ne!(digests[0], digests[2]);
    assert_ne!(digests[2], without);
}

pub(super) async fn statements_keep_to_the_tables(models: &dyn ReadModels) {
    let model = begun(models).await;
    let tables = model.tables(&words()).await.unwrap();
    let refused = [
        "begin",
        "commit",
        "rollback",
        "savepoint s",
        "create table t (a text)",
        "drop table word",
        "alter table word add column x text",
        "create temporary table t (a text)",
        "select 1; select 2",
        "select * from lantern_checkpoint",
        "update lantern_checkpoint set epoch = 0",
        "delete from \"lantern_parked\"",
        "select random()",
        "select current_timestamp",
        "",
    ];
    for statement in refused {
        let answer = work(&tables, move |tables| tables.query(statement, &[], &AMPLE)).await;
        assert!(matches!(&answer, Err(SqlError::Refused(_))), "{statement}: {answer:?}");
    }
    for statement in ["selec", "select nothing from word", "select $1"] {
        let answer = work(&tables, move |tables| tables.execute(statement, &[], &AMPLE)).await;
        assert!(matches!(&answer, Err(SqlError::Failed(_) | SqlError::Refused(_))), "{statement}: {answer:?}");
    }
    assert_eq!(work(&tables, |tables| insert(tables, "still", 1)).await, Ok(1), "the transaction goes on");
}

pub(super) async fn statements_keep_to_their_budget(models: &dyn ReadModels) {
    const COUNT: &str =
        "with recursive n (x) as (select 1 union all select x + 1 from n where x < 1000) select x from n";
    const ENDLESS: &str = "with recursive n (x) as (select 1 union all select x + 1 from n) select count(*) from n";
    let model = begun(models).await;
    let tables = model.tables(&words()).await.unwrap();
    let all = work(&tables, |tables| tables.query(COUNT, &[], &AMPLE)).await.unwrap();
    assert_eq!(all.rows.len(), 1_000);
    for (statement, budget, part) in [
        (COUNT, Budget { rows: 999, ..AMPLE }, "`sql_rows`"),
        (COUNT, Budget { bytes: 7_999, ..AMPLE }, "`sql_bytes`"),
        (ENDLESS, Budget { time: Duration::from_millis(20), ..AMPLE }, "`sql_ms`"),
    ] {
        let answer = work(&tables, move |tables| tables.query(statement, &[], &budget)).await;
        let Err(SqlError::Exceeded(reason)) = &answer else { panic!("{statement}: {answer:?}") };
        assert!(reason.contains(part), "{statement}: {reason}");
        assert!(work(&tables, |tables| tables.is_open()).await, "a query that is ended takes nothing with it");
    }
    assert_eq!(work(&tables, |tables| insert(tables, "still", 1)).await, Ok(1));
    drop(tables);
    let brief = Budget { time: Duration::from_millis(20), ..AMPLE };
    let answer = model.query(ENDLESS, &[], &brief).await;
    assert!(matches!(&answer, Err(SqlError::Exceeded(_))), "{answer:?}");
}

pub(super) async fn schedules_that_fired_meanwhile_are_gone(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    let schedules = ["a", "b", "c"].map(|key| {
        let id = u128::from(key.as_bytes()[0]);
        ScheduleChange::Set(Box::new(scheduled(key, 1, id)))
    });
    model.commit(lease, &Batch { schedules: schedules.into(), ..batch(0, 1) }).await.unwrap();
    let id = |key: &str| lantern_core::EventId::from_u128(u128::from(key.as_bytes()[0]));
    let keys = async || {
        let scheduled = model.scheduled().await.unwrap();
        scheduled.into_iter().map(|scheduled| scheduled.key.to_string()).collect::<Vec<_>>()
    };
    let tables = model.tables(&words()).await.unwrap();
    work(&tables, |tables| insert(tables, "one", 1)).await.unwrap();
    model.fired(lease, &[id("a")]).await.unwrap();
    model.commit(lease, &Batch { tables: Some(tables), ..batch(1, 2) }).await.unwrap();
    assert_eq!(keys().await, ["b", "c"]);
    let tables = model.tables(&words()).await.unwrap();
    model.fired(lease, &[id("b")]).await.unwrap();
    drop(tables);
    model.commit(lease, &batch(2, 3)).await.unwrap();
    assert_eq!(keys().await, ["c"], "also when the transaction came to nothing");
}

pub(super) async fn queries_of_operators_only_read(models: &dyn ReadModels) {
    let model = begun(models).await;
    let (lease, _) = model.take().await.unwrap();
    commit_words(&*model, lease, 0, &["one"]).await;
    model.commit(lease, &writing(1, 2, "c", &[("k", Some("7"))])).await.unwrap();
    model.commit(lease, &writing(2, 3, &format!("{OWN}offsets"), &[("0", Some("8"))])).await.unwrap();
    assert_eq!(found(&*model, "select collection, key, value from lantern_documents").await, ["c k 7"]);
    let one = [SqlValue::Text("one".into())];
    let counted = model.query("select count(*) from word where word = $1", &one, &AMPLE).await.unwrap();
    assert_eq!(shown(&counted), ["1"]);
    for statement in [
        "delete from word",
        "insert into word values ('x', 1)",
        "update word set number = 2 returning word",
        "drop table word",
        "create table t (a text)",
        "select * from lantern_checkpoint",
        "select * from lantern_documents; delete from word",
        "begin",
        "commit",
    ] {
        let answer = model.query(statement, &[], &AMPLE).await;
        assert!(matches!(&answer, Err(SqlError::Refused(_))), "{statement}: {answer:?}");
    }
    assert_eq!(found(&*model, "select word, number from word").await, ["one 1"]);
}
