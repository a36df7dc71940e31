//! The rules of SQLite's tables under attack, on a connection that has tables of the host's as well.

use std::time::Duration;

use lantern_core::{Migration, SqlError, SqlValue, TablesError, sql::Budget};
use rusqlite::Connection;

use super::{Guard, Known, Work, query};

const AMPLE: Budget = Budget { rows: 1_000, bytes: 1024 * 1024, time: Duration::from_secs(60) };

/// A connection with tables of the host's, and a transaction in which a module's table was made.
struct Attacked {
    connection: Connection,
    guard: Guard,
    known: Known,
    work: Work,
}

fn migration(sql: &str) -> Migration {
    Migration { name: "m".into(), sql: sql.into() }
}

impl Attacked {
    fn new(migrations: &[&str]) -> Result<Self, TablesError> {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "create table lantern_parked (position integer primary key, stream text);
                 insert into lantern_parked values (1, 'A-1');",
            )
            .unwrap();
        // Statements of the host's are kept prepared, as the writer keeps them.
        drop(connection.prepare_cached("select stream from lantern_parked").unwrap());
        let guard = Guard::install(&connection).unwrap();
        let mut known = None;
        let all = ["create table t (a integer primary key, b text)"].iter().chain(migrations);
        let migrations: Vec<_> = all.map(|sql| migration(sql)).collect();
        let work = Work::begin(&connection, &guard, &mut known, &migrations)?;
        Ok(Self { connection, guard, known, work })
    }

    fn run(&mut self, statement: &str) -> Result<u64, SqlError> {
        self.run_within(statement, &AMPLE)
    }

    fn run_within(&mut self, statement: &str, budget: &Budget) -> Result<u64, SqlError> {
        self.work.answer(&self.connection, &self.guard, (statement, &[]), budget).map(|(_, changed)| changed)
    }

    fn ask(&self, statement: &str) -> i64 {
        self.connection.query_row(statement, (), |row| row.get(0)).unwrap()
    }
}

#[track_caller]
fn assert_refused(answer: &Result<u64, SqlError>, statement: &str) {
    assert!(matches!(answer, Err(SqlError::Refused(_))), "{statement}: {answer:?}");
}

#[test]
fn a_call_reaches_rows_of_its_tables_only() {
    let mut attacked = Attacked::new(&[]).unwrap();
    for statement in [
        "attach database ':memory:' as other",
        "attach 'file:x?mode=memory' as other",
        "detach database main",
        "pragma writable_schema = on",
        "pragma foreign_keys",
        "pragma main.journal_mode = delete",
        "select * from pragma_database_list",
        "select * from pragma_table_info('lantern_parked')",
        "insert into sqlite_master values ('table', 'x', 'x', 2, 'create table x (a)')",
        "update sqlite_schema set sql = ''",
        "delete from main.sqlite_master",
        "select sql from sqlite_master",
        "select sql from sqlite_temp_schema",
        "select * from dbstat",
        "select * from lantern_parked",
        "select * from main.lantern_parked",
        "select * from [lantern_parked]",
        "select * from 'lantern_parked'",
        "select * from Lantern_Parked",
        "select (select max(position) from `lantern_parked`) from t",
        "with p as (select * from lantern_parked) select * from p",
        "insert into lantern_parked values (2, 'B-1')",
        "replace into lantern_parked values (1, 'B-1')",
        "update lantern_parked set stream = 'x'",
        "delete from lantern_parked",
        "insert into t (b) select stream from lantern_parked",
        // The text of a statement the host keeps prepared.
        "select stream from lantern_parked",
        "  select stream from lantern_parked ",
        "savepoint s",
        "release call",
        "rollback to call",
        "end",
        "vacuum",
        "vacuum into '/tmp/copy'",
        "analyze",
        "reindex",
        "explain select 1",
        "create table x (a)",
        "create temp table x (a)",
        "create virtual table x using fts5 (a)",
        "create trigger x after insert on t begin select 1; end",
        "create view x as select 1",
        "drop table t",
        "select load_extension('x')",
        "select \"load_extension\"('x')",
        "select random()",
        "select randomblob(4)",
        "select datetime('now')",
        "select strftime('%s')",
        "select unixepoch()",
        "select current_date",
        "select last_insert_rowid()",
        "select changes()",
        "select sqlite_version()",
        "insert or rollback into t values (1, 'a')",
    ] {
        assert_refused(&attacked.run(statement), statement);
    }
    assert!(attacked.work.is_open());
    assert_eq!(attacked.run("insert into t values (1, 'a')"), Ok(1));
    assert_eq!(attacked.ask("select count(*) from lantern_parked"), 1);
}

#[test]
fn migrations_make_tables_of_the_modules_only() {
    for sql in [
        "create table lantern_x (a)",
        "create table \"lantern_x\" (a)",
        "create table sqlite_x (a)",
        "create view lantern_documents as select 1",
        "create index i on lantern_parked (stream)",
        "create trigger x after insert on lantern_parked begin select 1; end",
        "create trigger lantern_x after insert on t begin select 1; end",
        "alter table lantern_parked add column x",
        "alter table t rename to lantern_t",
        "drop table lantern_parked",
        "create table x (a references lantern_parked (position) on delete cascade)",
        "create table x (a, foreign key (a) references \"lantern_parked\" (position))",
        "create table x (a references 'lantern_parked')",
        "create table x (a references t deferrable initially deferred)",
        "create table x (a default (random()))",
        "create table x (a default current_timestamp)",
        "create table x (a unique on conflict rollback)",
        "create trigger x after insert on t begin select raise(rollback, 'x'); end",
        "create table x as select * from lantern_parked",
        "create table x as select * from sqlite_master",
        "create temp table x (a)",
        "create temporary view x as select 1",
        "create virtual table x using fts5 (a)",
        "create virtual table x using dbstat",
        "pragma writable_schema = 1",
        "create table x (a); pragma user_version = 7",
        "attach ':memory:' as other",
        "commit; begin",
        "savepoint s",
        "analyze",
        "vacuum",
        "delete from lantern_migration",
    ] {
        let refused = Attacked::new(&[sql]).err();
        assert!(matches!(&refused, Some(TablesError::Migration { number: 2, .. })), "{sql}: {refused:?}");
    }
}

#[test]
fn what_a_module_made_cannot_reach_out_later() {
    // Neither is looked into when it is made, so its words must not tell.
    let reaching = [
        "create table u (a); create view v as select * from u; drop table u",
        "create table w (a); create trigger x after insert on t begin insert into w values (new.a); end; drop table w",
    ];
    let mut attacked = Attacked::new(&reaching).unwrap();
    // What they name turns into something of the host's.
    attacked.connection.execute_batch("create temp table u (a); create temp table w (a)").unwrap();
    let answers = [attacked.run("select * from v"), attacked.run("insert into t values (1, 'a')")];
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
}

#[test]
fn tables_are_changed_as_sqlite_changes_them() {
    let attacked = Attacked::new(&[
        "create table o (id integer primary key autoincrement, t integer references t (a) on delete cascade,
             total integer not null default 0 check (total >= 0), half real generated always as (total / 2.0));
         create unique index o_total on o (total) where total > 0;
         create view v as select t.b, o.total from t join o on o.t = t.a;
         create trigger tr after delete on o begin update t set b = 'gone' where a = old.t; end;
         insert into t values (1, 'a'), (2, 'b'); insert into o (t, total) values (1, 5), (2, 7)",
        "alter table o add column note text not null default 'n'; alter table o rename column note to remark;
         alter table o drop column remark; alter table t rename to renamed;
         drop view v; drop trigger tr; drop index o_total; reindex o",
    ]);
    let mut attacked = attacked.unwrap();
    assert_eq!(attacked.run("delete from renamed where a = 1"), Ok(1));
    assert_eq!(attacked.ask("select count(*) from o"), 1, "foreign keys hold");
    let broken = attacked.run("insert into o (t, total) values (9, 1)");
    assert!(matches!(&broken, Err(SqlError::Constraint(reason)) if reason.contains("FOREIGN KEY")), "{broken:?}");
    let json = "insert into renamed (b) select value from json_each('[\"x\", \"y\"]')";
    assert_eq!(attacked.run(json), Ok(2));
}

#[test]
fn bombs_are_ended_by_the_budget() {
    let mut attacked = Attacked::new(&[]).unwrap();
    let brief = Budget { time: Duration::from_millis(20), ..AMPLE };
    for statement in [
        "with recursive n (x) as (select 1 union all select x + 1 from n) select count(*) from n",
        "with recursive n (x) as (select 1 union all select x + 1 from n) select x from n order by x",
        "with n (x) as (values (1), (2), (3), (4), (5), (6), (7), (8), (9)) select count(*) from n a, n b, n c, n d, n e,
             n f, n g, n h, n i, n j",
    ] {
        let ended = attacked.run_within(statement, &brief);
        assert!(matches!(&ended, Err(SqlError::Exceeded(reason)) if reason.contains("`sql_ms`")), "{ended:?}");
        assert!(attacked.work.is_open());
    }
    for statement in [
        "insert into t (b) values (zeroblob(1000000000))",
        "select replace(hex(zeroblob(500000)), '0', 'xxxxxxxxxx')",
        "select group_concat(hex(zeroblob(100000))) from (values (1), (2), (3), (4), (5), (6), (7), (8))",
    ] {
        let ended = attacked.run(statement);
        assert!(matches!(&ended, Err(SqlError::Exceeded(reason)) if reason.contains("`sql_bytes`")), "{ended:?}");
    }
    assert_eq!(attacked.run("insert into t values (1, 'a')"), Ok(1));
}

#[test]
fn a_write_that_is_ended_takes_the_transaction_with_it_and_says_so() {
    let mut attacked = Attacked::new(&[]).unwrap();
    attacked.work.mark().unwrap();
    let brief = Budget { time: Duration::from_millis(20), ..AMPLE };
    let bomb = "insert into t (b) with recursive n (x) as (select 1 union all select x + 1 from n) select x from n";
    let ended = attacked.run_within(bomb, &brief);
    assert!(matches!(&ended, Err(SqlError::Exceeded(_))), "{ended:?}");
    assert!(!attacked.work.is_open());
    assert_eq!(attacked.run("select 1"), ended, "nothing more is done in it");
    assert_eq!(attacked.work.keep(&attacked.connection).err(), ended.err(), "and the call fails, whatever it returns");
    assert_eq!(attacked.work.undo(&attacked.connection), Ok(()));
    let Attacked { connection, guard, mut known, work } = attacked;
    work.roll_back(&connection).unwrap();
    let migrations = [migration("create table t (a integer primary key, b text)")];
    assert!(Work::begin(&connection, &guard, &mut known, &migrations).is_ok(), "the next one begins anew");
}

#[test]
fn operators_see_no_more_than_they_may() {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "create table lantern_collection (id integer primary key, name text);
             create table lantern_document (collection integer, key text, value text);
             create view lantern_documents (collection, key, value) as
                 select name, key, value from lantern_document join lantern_collection on id = collection;
             create table t (a)",
        )
        .unwrap();
    let guard = Guard::install(&connection).unwrap();
    let ask = |statement: &str| query(&connection, &guard, statement, &[], &AMPLE);
    for statement in [
        "select * from lantern_documents",
        "select key, value from lantern_documents",
        "select count(*) from lantern_documents",
        "select name from sqlite_schema where type = 'table'",
        "select date('now'), random() from t",
    ] {
        assert!(ask(statement).is_ok(), "{statement}: {:?}", ask(statement));
    }
    for statement in [
        "select * from lantern_document",
        "select * from lantern_collection, lantern_documents",
        "with d as (select * from lantern_document) select * from d",
        "select load_extension('x')",
        "insert into t values (1) returning a",
        "with x as (select 1) delete from t",
        "pragma table_info(t)",
        "select * from pragma_table_info('t')",
        "attach ':memory:' as x",
    ] {
        assert!(matches!(ask(statement), Err(SqlError::Refused(_))), "{statement}: {:?}", ask(statement));
    }
    let bound = query(&connection, &guard, "select $2, $1", &[SqlValue::Integer(1), SqlValue::Integer(2)], &AMPLE);
    assert_eq!(bound.unwrap().rows, [[SqlValue::Integer(2), SqlValue::Integer(1)]]);
}
