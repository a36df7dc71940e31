//! SQL tables: rows change with the event, the batch and the module they belong to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lantern_core::{
    Digest, Effects, Event, Happening, Kind, Migration, Position, SqlError, SqlValue, State, View,
    journal::{FailurePolicy, OnFailure},
    module::{Failure, FailureKind},
    sql::{Budget, Rows},
};
use lantern_processors::{Refusal, Selection};

use crate::host::{Closure, Faults, Host, bounded, deployment, name, note, noting, subject};

const AMPLE: Budget = Budget { rows: 100_000, bytes: 1 << 24, time: Duration::from_secs(60) };

const NOTED: &str = "create table noted (position bigint primary key, stream text not null, nth bigint not null)";

fn migrations(sqls: &[&str]) -> Vec<Migration> {
    sqls.iter().enumerate().map(|(n, sql)| Migration { name: format!("m{n}"), sql: (*sql).into() }).collect()
}

fn execute(view: &dyn View, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError> {
    view.tables().expect("the module has tables").execute(statement, parameters, &AMPLE)
}

fn query(view: &dyn View, statement: &str, parameters: &[SqlValue]) -> Result<Rows, SqlError> {
    view.tables().expect("the module has tables").query(statement, parameters, &AMPLE)
}

/// Notes an event in a document and in a row, which says the how manieth of its stream it is.
fn both(event: &Event, view: &dyn View) -> Result<Effects, Failure> {
    let stream = SqlValue::Text(event.stream.as_str().into());
    let before = query(view, "select count(*) from noted where stream = $1", std::slice::from_ref(&stream))?;
    let SqlValue::Integer(before) = before.rows[0][0] else { panic!("{before:?}") };
    let position = SqlValue::Integer(event.position.0.cast_signed());
    execute(
        view,
        "insert into noted (position, stream, nth) values ($1, $2, $3)",
        &[position, stream, SqlValue::Integer(before + 1)],
    )?;
    note(event, view)
}

/// A module that notes every event twice and then does what its data says.
fn tabled(name: &str) -> Closure {
    Closure::new(name, |event, view| {
        let effects = both(event, view)?;
        match event.data.as_bytes() {
            b"\"bad\"" => Err(Failure::new(FailureKind::Permanent, "\"bad\" is bad")),
            b"\"bomb\"" => {
                let brief = Budget { time: Duration::from_millis(5), ..AMPLE };
                let endless = "insert into noted (position, stream, nth)
                    with recursive n (x) as (select 1000000 union all select x + 1 from n) select x, '', 0 from n";
                let ended = view.tables().unwrap().execute(endless, &[], &brief);
                assert!(matches!(ended, Err(SqlError::Exceeded(_))), "{ended:?}");
                // It says that all is well, which it is not.
                Ok(effects)
            }
            _ => Ok(effects),
        }
    })
    .with_tables(migrations(&[NOTED]))
}

/// The rows: position, stream and how manieth of the stream.
async fn rows(host: &Host) -> Vec<(u64, String, u64)> {
    let read_model = host.supervisor.read_model(host.kind, &name(), None).await.unwrap();
    let found = read_model.query("select position, stream, nth from noted order by position", &[], &AMPLE);
    let rows = found.await.unwrap().rows.into_iter().map(|row| match &row[..] {
        [SqlValue::Integer(position), SqlValue::Text(stream), SqlValue::Integer(nth)] => {
            (position.cast_unsigned(), stream.to_string(), nth.cast_unsigned())
        }
        other => panic!("{other:?}"),
    });
    rows.collect()
}

/// What the rows must be when all events were handled.
async fn expected(host: &Host, left_out: &[u64]) -> Vec<(u64, String, u64)> {
    let mut counts = std::collections::HashMap::<String, u64>::new();
    let events = host.world.events().await.into_iter().filter(|event| !left_out.contains(&event.position.0));
    let row = |event: Event| {
        let nth = counts.entry(event.stream.to_string()).or_default();
        *nth += 1;
        (event.position.0, event.stream.to_string(), *nth)
    };
    events.map(row).collect()
}

async fn digest(host: &Host) -> (Position, Digest) {
    host.supervisor.read_model(host.kind, &name(), None).await.unwrap().digest().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_documents_are_those_of_the_same_events() {
    let mut host = Host::start().await;
    for n in 0..500 {
        host.append(&format!("A-{}", n % 7), "1").await;
    }
    host.deploy(tabled("tabled")).await;
    host.caught_up().await;
    for n in 0..50 {
        host.append(&format!("A-{}", n % 3), "1").await;
    }
    host.caught_up().await;
    assert_eq!(rows(&host).await, expected(&host, &[]).await);
    assert_eq!(host.documents().await, host.expected().await);
    host.restart().await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_eq!(rows(&host).await, expected(&host, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_leaves_no_row_and_a_retry_adds_it() {
    let host = Host::start().await;
    for (stream, data) in [("A-1", "1"), ("A-1", "\"bad\""), ("B-1", "1"), ("A-1", "1"), ("B-1", "1")] {
        host.append(stream, data).await;
    }
    host.deploy(tabled("tabled")).await;
    let status = host.caught_up().await;
    assert_eq!((status.parked_events, status.failed), (2, 1));
    assert_eq!(rows(&host).await, expected(&host, &[2, 4]).await);
    let early = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((early.handled, early.remaining), (0, 2));
    assert_eq!(rows(&host).await, expected(&host, &[2, 4]).await);

    let mended = host.add(Closure::new("mended", both).with_tables(migrations(&[NOTED])));
    let before = rows(&host).await;
    // The dry run works on rows which these events have made already.
    let swapped = host.supervisor.swap(Kind::Projection, &name(), mended).await.unwrap();
    assert_eq!((swapped.dry_run_events, swapped.parked_mended), (4, 1));
    assert_eq!(rows(&host).await, before, "the dry run changed nothing");
    let retried = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (2, 0));
    let mut all = rows(&host).await;
    all.retain(|(_, stream, _)| stream == "A-1");
    assert_eq!(all.iter().map(|(position, ..)| *position).collect::<Vec<_>>(), [1, 2, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_loses_the_transaction_takes_no_other_with_it() {
    let host = Host::start().await;
    for (stream, data) in [
        ("A-1", "1"),
        ("B-1", "\"bad\""),
        ("A-1", "1"),
        ("C-1", "\"bomb\""),
        ("A-1", "1"),
        ("C-1", "1"),
        ("B-1", "1"),
        ("D-1", "\"bomb\""),
        ("A-1", "1"),
    ] {
        host.append(stream, data).await;
    }
    host.deploy(tabled("tabled")).await;
    let status = host.caught_up().await;
    assert_eq!((status.parked_events, status.parked_streams), (5, 3));
    assert_eq!(rows(&host).await, expected(&host, &[2, 4, 6, 7, 8]).await);
    assert_eq!(host.noted("A-1").await, "[1,3,5,9]");
    let parked = host.parked().await;
    let bomb = parked.iter().find(|parked| parked.position == Position(4)).unwrap();
    assert!(bomb.error.contains("`sql_ms`") && bomb.kind == Some(FailureKind::Limit), "{bomb:?}");
    let again = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((again.handled, again.remaining), (0, 5));
    assert_eq!(rows(&host).await, expected(&host, &[2, 4, 6, 7, 8]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_keeps_the_rows_of_the_events_before_it() {
    let host = Host::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let closure = Closure::new("flaky", move |event, view| {
        let effects = both(event, view)?;
        let fails = event.position == Position(3) && counted.fetch_add(1, Ordering::SeqCst) < 2;
        if fails { Err(Failure::new(FailureKind::Transient, "not yet")) } else { Ok(effects) }
    });
    for _ in 0..5 {
        host.append("A-1", "1").await;
    }
    host.deploy(closure.with_tables(migrations(&[NOTED]))).await;
    let status = host.caught_up().await;
    assert_eq!((status.failed, status.parked_events), (2, 0));
    assert_eq!(rows(&host).await, expected(&host, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_storage_loses_and_doubles_no_row() {
    let host = Host::with(Faults::seeded(7, 3)).await;
    for n in 0..300 {
        host.append(&format!("A-{}", n % 5), "1").await;
    }
    host.deploy(tabled("tabled")).await;
    host.caught_up().await;
    for n in 0..100 {
        host.append(&format!("A-{}", n % 5), "1").await;
        if n % 10 == 0 {
            host.caught_up().await;
        }
    }
    host.caught_up().await;
    assert_eq!(rows(&host).await, expected(&host, &[]).await);
    assert_eq!(host.documents().await, host.expected().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_the_same_rows() {
    let host = Host::start().await;
    for n in 0..200 {
        host.append(&format!("A-{}", n % 5), if n % 50 == 3 { "\"bad\"" } else { "1" }).await;
    }
    let policy = FailurePolicy { then: OnFailure::Skip, ..FailurePolicy::default() };
    host.deploy_with(tabled("tabled"), policy).await.unwrap();
    host.caught_up().await;
    let before = digest(&host).await;
    host.supervisor.rebuild(Kind::Projection, &name(), None).await.unwrap();
    let status = host.until(|status| status.rebuild.is_none()).await;
    assert_eq!(status.generation, 2);
    assert_eq!(digest(&host).await, before);
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_ne!(digest(&host).await.1, before.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_runs_new_migrations_with_the_change_of_modules() {
    let host = Host::start().await;
    host.deploy(Closure::new("one", both).with_tables(migrations(&[NOTED]))).await;
    for _ in 0..5 {
        host.append("A-1", "1").await;
    }
    host.caught_up().await;
    let more = migrations(&[NOTED, "alter table noted add column sign text not null default 'one'"]);
    let two = Closure::new("two", |event, view| {
        let position = SqlValue::Integer(event.position.0.cast_signed());
        let effects = both(event, view)?;
        execute(view, "update noted set sign = 'two' where position = $1", &[position])?;
        Ok(effects)
    });
    let two = host.add(two.with_tables(more));
    let swapped = host.supervisor.swap(Kind::Projection, &name(), two).await.unwrap();
    assert_eq!((swapped.position, swapped.dry_run_events), (Position(5), 5));
    host.append("A-1", "1").await;
    host.caught_up().await;
    let read_model = host.supervisor.read_model(Kind::Projection, &name(), None).await.unwrap();
    let signs = read_model.query("select sign from noted order by position", &[], &AMPLE).await.unwrap().rows;
    let sign = |sign: &str| vec![SqlValue::Text(sign.into())];
    assert_eq!(signs[4..], [sign("one"), sign("two")]);

    host.supervisor.rollback(Kind::Projection, &name()).await.unwrap();
    host.append("A-1", "1").await;
    let status = host.caught_up().await;
    assert_eq!((status.module, status.parked_events), (Digest::of(b"one"), 0), "the way back is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_or_broken_migrations_are_refused_before_anything_changes() {
    let host = Host::start().await;
    let broken = host.add(noting().with_tables(migrations(&["create tabel t"])));
    let refused = host.supervisor.deploy(deployment(Kind::Projection, broken, &FailurePolicy::default())).await;
    let refused = refused.unwrap_err();
    assert!(matches!(&refused, Refusal::Tables { reason, .. } if reason.contains("migration 1 (`m0`)")), "{refused}");
    assert_eq!(host.supervisor.list(Kind::Projection), []);

    host.deploy(tabled("tabled")).await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    let other =
        host.add(Closure::new("other", both).with_tables(migrations(&["create table noted (position integer)"])));
    let refused = host.supervisor.swap(Kind::Projection, &name(), other).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::Tables { reason, .. } if reason.contains("another one than was run")),
        "{refused}"
    );
    let worse = host.add(Closure::new("worse", both).with_tables(migrations(&[NOTED, "insert into noted values (1)"])));
    let refused = host.supervisor.swap(Kind::Projection, &name(), worse).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Tables { reason, .. } if reason.contains("migration 2")), "{refused}");
    let entries = host.supervisor.history(subject().kind, &name()).await.unwrap();
    let refusals = entries.iter().filter(|entry| matches!(entry.happening, Happening::SwapRefused { .. }));
    assert_eq!(refusals.count(), 2);

    let wrong = Closure::new("wrong", |_, view| {
        execute(view, "insert into nowhere values (1)", &[])?;
        Ok(Effects::default())
    });
    let wrong = host.add(wrong.with_tables(migrations(&[NOTED])));
    let refused = host.supervisor.swap(Kind::Projection, &name(), wrong).await.unwrap_err();
    assert!(matches!(&refused, Refusal::DryRun { reason, .. } if reason.contains("no such table")), "{refused}");
    host.append("A-1", "1").await;
    let status = host.caught_up().await;
    assert_eq!((status.module, status.state), (Digest::of(b"tabled"), State::Live));
    assert_eq!(rows(&host).await, expected(&host, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_whose_migrations_fail_is_given_up() {
    let host = Host::start().await;
    host.append("A-1", "1").await;
    host.deploy(tabled("tabled")).await;
    host.caught_up().await;
    let broken = host.add(noting().with_tables(migrations(&["create tabel t"])));
    host.supervisor.rebuild(Kind::Projection, &name(), Some(broken)).await.unwrap();
    host.until(|status| status.rebuild.is_none()).await;
    let entries = host.supervisor.history(Kind::Projection, &name()).await.unwrap();
    let abandoned = entries.iter().find_map(|entry| match &entry.happening {
        Happening::RebuildAbandoned { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(abandoned.is_some_and(|reason| reason.contains("migration 1 (`m0`)")));
    assert_eq!(host.status().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_after_a_swap_is_rolled_back_with_its_rows() {
    let host = Host::start().await;
    host.append("A-1", "1").await;
    host.deploy(tabled("tabled")).await;
    host.caught_up().await;
    let picky = Closure::new("picky", |event, view| {
        let effects = both(event, view)?;
        if event.position.0 > 2 { Err(Failure::new(FailureKind::Permanent, "too many")) } else { Ok(effects) }
    });
    let picky = host.add(picky.with_tables(migrations(&[NOTED])));
    bounded(host.supervisor.swap(Kind::Projection, &name(), picky)).await.unwrap();
    for _ in 0..4 {
        host.append("A-1", "1").await;
    }
    let status = host.caught_up().await;
    assert_eq!((status.module, status.parked_events), (Digest::of(b"tabled"), 0));
    assert_eq!(rows(&host).await, expected(&host, &[]).await);
}
