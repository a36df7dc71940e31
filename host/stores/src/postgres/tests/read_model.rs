//! Read models beside other hosts, over lost connections and lost commits.

use std::sync::{Arc, Mutex};

use lantern_core::{
    Batch, Checkpoint, EventId, Lease, Position, ReadModel, ReadModels as _, ScheduleChange,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, query_scalar, raw_sql};
use tokio::{task::JoinSet, time};

use super::Schema;
use crate::{
    contract::{
        self,
        samples::{batch, generation, look, module, scheduled, writing},
    },
    postgres::{Database, ReadModels},
};

/// A host: its connections and its caches are its own.
struct Host {
    database: Database,
    models: ReadModels,
}

impl Host {
    async fn start(schema: &Schema) -> Self {
        let database = schema.open().await;
        Self { models: ReadModels::new(database.clone()), database }
    }

    fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// Begins the first generation of `orders`, or opens it.
    async fn orders(&self) -> Arc<dyn ReadModel> {
        self.models.create(&generation("orders", 1), Position::START, module("first")).await.unwrap()
    }

    /// Runs statements in which `$orders` stands for the schema of `orders`.
    async fn run(&self, statements: &str) {
        raw_sql(self.statement(statements)).execute(self.pool()).await.unwrap();
    }

    fn statement(&self, statements: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(statements.replace("$orders", &format!("{}$orders$1", self.database.schema())))
    }

    /// Waits until a query answers true.
    async fn wait_for(&self, condition: &str) {
        while !query_scalar::<_, bool>(self.statement(condition)).fetch_one(self.pool()).await.unwrap() {
            time::sleep(time::Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_read_models_keep_the_contract() {
    let schemas = Mutex::new(Vec::new());
    let make = async || {
        let schema = Schema::new();
        let models = ReadModels::new(schema.open().await);
        schemas.lock().unwrap().push(schema);
        models
    };
    contract::read_models(make).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_tables_keep_the_contract() {
    let schemas = Mutex::new(Vec::new());
    let make = async || {
        let schema = Schema::new();
        let models = ReadModels::new(schema.open().await);
        schemas.lock().unwrap().push(schema);
        models
    };
    contract::tables(make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_the_same_to_another_host() {
    let schema = Schema::new();
    let (first, second) = (Host::start(&schema).await, Host::start(&schema).await);
    let model = first.orders().await;
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 4, "c", &[("a", Some("1")), ("b", Some("2"))])).await.unwrap();
    let changes = [("a", 3, 1), ("b", 1, 2)].map(|(key, due, event)| scheduled(key, due, event));
    let changes = changes.map(|scheduled| ScheduleChange::Set(Box::new(scheduled)));
    model.commit(lease, &Batch { schedules: changes.into(), ..batch(4, 5) }).await.unwrap();

    let same = second.models.open(&generation("orders", 1)).await.unwrap();
    assert_eq!(same.checkpoint().await, model.checkpoint().await);
    assert_eq!(same.digest().await, model.digest().await);
    assert_eq!(same.scheduled().await, Ok(vec![scheduled("b", 1, 2), scheduled("a", 3, 1)]));
    assert_eq!(look(&*same.view(), "c", "a").unwrap().as_deref(), Some("1"));
    assert_eq!(same.commit(lease, &batch(5, 6)).await, Ok(()), "a lease holds until the next owner takes it");
    let (_, taken) = same.take().await.unwrap();
    assert_eq!(taken, Checkpoint { epoch: 2, ..model.checkpoint().await.unwrap() });
    assert!(matches!(model.commit(lease, &batch(6, 7)).await, Err(CommitError::Fenced { .. })));

    second.models.remove(&generation("orders", 1)).await.unwrap();
    let unknown = ReadModelError::Unknown(generation("orders", 1));
    assert_eq!(model.checkpoint().await, Err(unknown.clone()));
    assert_eq!(model.take().await, Err(unknown.clone()));
    assert_eq!(look(&*model.view(), "c", "z"), Err(unknown));
    let begun = second.models.create(&generation("orders", 1), Position(6), module("first")).await.unwrap();
    begun.take().await.unwrap();
    let fenced = model.commit(lease, &batch(6, 7)).await;
    assert!(matches!(fenced, Err(CommitError::Fenced { .. })), "position and epoch fit, but it is another: {fenced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_named_for_their_generation_and_go_with_it() {
    let (schema, other) = (Schema::new(), Schema::new());
    let (host, neighbour) = (Host::start(&schema).await, Host::start(&other).await);
    let names =
        ["orders", "Orders", "a-b", "a_b", "select", "0", &"long-name_".repeat(6), &"long-name_".repeat(6)[1..]];
    for (at, name) in (1..).zip(names) {
        for host in [&host, &neighbour] {
            let model = host.models.create(&generation(name, 1), Position::START, module("first")).await.unwrap();
            let (lease, checkpoint) = model.take().await.unwrap();
            assert_eq!(checkpoint.epoch, 1, "{name} is its own");
            model.commit(lease, &writing(0, at, "c", &[(name, Some("{}"))])).await.unwrap();
        }
    }
    for (at, name) in (1..).zip(names) {
        let model = host.models.open(&generation(name, 1)).await.unwrap();
        assert_eq!(model.checkpoint().await.unwrap().position, Position(at), "{name}");
        assert_eq!(model.scan("c", &Scan { limit: 9, ..Scan::default() }).await.unwrap().len(), 1, "{name}");
        host.models.remove(&generation(name, 1)).await.unwrap();
    }
    let count = "select count(*) from pg_namespace where starts_with(nspname, $1)";
    let left = async |schema: &str| query_scalar::<_, i64>(count).bind(schema).fetch_one(host.pool()).await.unwrap();
    assert_eq!(left(host.database.schema()).await, 1, "only the schema of the log is left");
    assert_eq!(left(neighbour.database.schema()).await, 1 + names.len() as i64);
}

#[tokio::test]
async fn documents_can_be_queried_and_are_kept_as_they_were() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let changes = [
        ("a", r#"{ "z": 1.00, "a": {"b": "é"}, "a": 2 }"#),
        ("nul\0", r#"{"text": "\u0000"}"#),
        ("surrogate", r#"["\ud800"]"#),
        ("number", "1e1000000"),
        ("deep", &deep),
    ];
    let wanted = changes.map(|(key, value)| (key, Some(value)));
    model.commit(lease, &writing(0, 1, "c", &wanted)).await.unwrap();
    for (key, value) in changes {
        assert_eq!(model.get("c", key).await.unwrap().as_deref(), Some(value), "{key} is kept byte for byte");
    }
    let count = "select count(*) from $orders.lantern_documents where collection = 'c' and value is null";
    let shown: i64 = query_scalar(host.statement(count)).fetch_one(host.pool()).await.unwrap();
    assert_eq!(shown, 4, "what jsonb cannot hold does not spoil a query");
    let text = "select value ->> 'z' from $orders.lantern_documents where collection = 'c' and key = 'a'";
    let shown: String = query_scalar(host.statement(text)).fetch_one(host.pool()).await.unwrap();
    assert_eq!(shown, "1.00");
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_and_the_next_one_goes_through() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 1, "c", &[("a", Some("1"))])).await.unwrap();
    let before = (model.checkpoint().await, model.digest().await);
    host.run(
        "create function $orders.fail() returns trigger language plpgsql as
            $$ begin raise exception 'the disk is full'; end $$;
         create trigger fail after insert on $orders.lantern_document for each row when (new.key = 'z')
            execute function $orders.fail()",
    )
    .await;
    for collection in ["c", "d"] {
        let changes = [("a", Some("2")), ("z", Some("2"))];
        let failing = Batch { module: module("second"), ..writing(1, 2, collection, &changes) };
        let failed = model.commit(lease, &failing).await;
        assert!(
            matches!(&failed, Err(CommitError::Unavailable(reason)) if reason.contains("disk is full")),
            "{failed:?}"
        );
        assert_eq!((model.checkpoint().await, model.digest().await), before, "all of it or nothing");
    }
    host.run("drop trigger fail on $orders.lantern_document").await;
    model.commit(lease, &writing(1, 2, "d", &[("a", Some("2")), ("z", Some("2"))])).await.unwrap();
    assert_eq!(model.get("d", "z").await.unwrap().as_deref(), Some("2"));
}

/// Has writes of the document `held` wait until the lock is given up.
const HOLD: &str = "
    create function $orders.hold() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(hashtext(tg_table_schema)); return new; end $$;
    create trigger hold before insert on $orders.lantern_document for each row when (new.key = 'held')
        execute function $orders.hold()";

/// Whether somebody waits for that lock.
const HELD: &str = "
    select exists (select from pg_locks where locktype = 'advisory' and not granted
        and objid::bigint = hashtext('$orders')::bigint & 4294967295)";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_loses_its_connection_leaves_nothing_half() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 1, "c", &[("a", Some("1"))])).await.unwrap();
    assert_eq!(look(&*model.view(), "c", "a").unwrap().as_deref(), Some("1"));
    let before = (model.checkpoint().await, model.digest().await);
    host.run(HOLD).await;

    let mut holder = host.pool().acquire().await.unwrap();
    raw_sql(host.statement("select pg_advisory_lock(hashtext('$orders'))")).execute(&mut *holder).await.unwrap();
    let committing = tokio::spawn({
        let model = model.clone();
        async move { model.commit(lease, &writing(1, 2, "c", &[("a", Some("2")), ("held", Some("2"))])).await }
    });
    host.wait_for(HELD).await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_locks where locktype = 'advisory' and not granted
        and objid::bigint = hashtext('$orders')::bigint & 4294967295";
    let killed: i64 = query_scalar(host.statement(kill)).fetch_one(host.pool()).await.unwrap();
    assert_eq!(killed, 1);
    let failed = committing.await.unwrap();
    assert!(matches!(failed, Err(CommitError::Unavailable(_))), "{failed:?}");
    assert_eq!((model.checkpoint().await, model.digest().await), before);
    raw_sql(host.statement("select pg_advisory_unlock(hashtext('$orders'))")).execute(&mut *holder).await.unwrap();

    let (lease, taken) = model.take().await.unwrap();
    assert_eq!((taken.position, taken.epoch), (Position(1), 2));
    assert_eq!(look(&*model.view(), "c", "a").unwrap().as_deref(), Some("1"));
    model.commit(lease, &writing(1, 2, "c", &[("held", Some("3"))])).await.unwrap();
    assert_eq!(look(&*model.view(), "c", "held").unwrap().as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_owner_waits_for_the_commit_of_the_one_before() {
    let schema = Schema::new();
    let (old, new) = (Host::start(&schema).await, Host::start(&schema).await);
    let (model, taking) = (old.orders().await, new.orders().await);
    let (lease, _) = model.take().await.unwrap();
    old.run(HOLD).await;
    let mut holder = old.pool().acquire().await.unwrap();
    raw_sql(old.statement("select pg_advisory_lock(hashtext('$orders'))")).execute(&mut *holder).await.unwrap();
    let committing = tokio::spawn({
        let model = model.clone();
        async move { model.commit(lease, &writing(0, 1, "c", &[("held", Some("1"))])).await }
    });
    old.wait_for(HELD).await;
    let taken = tokio::spawn(async move { taking.take().await });
    let waits = "
        select exists (select from pg_locks where locktype in ('transactionid', 'tuple') and not granted and pid in
            (select pid from pg_stat_activity where query like '%update \"$orders\".lantern_checkpoint set epoch%'))";
    old.wait_for(waits).await;
    raw_sql(old.statement("select pg_advisory_unlock(hashtext('$orders'))")).execute(&mut *holder).await.unwrap();
    assert_eq!(committing.await.unwrap(), Ok(()));
    let (_, checkpoint) = taken.await.unwrap().unwrap();
    assert_eq!((checkpoint.position, checkpoint.epoch), (Position(1), 2), "it goes on from what was committed");
    let fenced = CommitError::Fenced { expected: Position(1), epoch: 1 };
    assert_eq!(model.commit(lease, &writing(1, 2, "c", &[("a", Some("stale"))])).await, Err(fenced));
    assert_eq!(model.get("c", "a").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_an_owner_left_open_is_ended_by_the_next() {
    let schema = Schema::new();
    let (old, new) = (Host::start(&schema).await, Host::start(&schema).await);
    let (model, taking) = (old.orders().await, new.orders().await);
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    // As a frozen host does in the middle of a commit, on a server that would wait for it for ever.
    let options = old.database.options().clone().options([("idle_in_transaction_session_timeout", "0")]);
    let mut left = PgConnection::connect_with(&options).await.unwrap();
    raw_sql(old.statement("begin; update $orders.lantern_checkpoint set position = 2"))
        .execute(&mut left)
        .await
        .unwrap();
    new.wait_for(
        "select exists (select from pg_stat_activity where query like '%$orders%' and state = 'idle in transaction'
            and state_change < clock_timestamp() - interval '1 second')",
    )
    .await;
    let (_, checkpoint) = taking.take().await.unwrap();
    assert_eq!((checkpoint.position, checkpoint.epoch), (Position(1), 2));
    assert!(left.ping().await.is_err(), "the server has ended it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_from_the_version_before_is_brought_up_to_date() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 1, "c", &[("k", Some("1"))])).await.unwrap();
    host.run(
        "alter table $orders.lantern_checkpoint drop column incarnation;
         update $orders.lantern_checkpoint set layout = 1",
    )
    .await;
    let (model, same) = tokio::join!(host.orders(), host.orders());
    let (lease, checkpoint) = model.take().await.unwrap();
    assert_eq!((checkpoint.position, checkpoint.incarnation), (Position(1), None));
    let incarnation = Some(host.database.incarnation());
    model.commit(lease, &Batch { incarnation, ..batch(1, 2) }).await.unwrap();
    assert_eq!(same.checkpoint().await.unwrap().incarnation, incarnation);
    assert_eq!(look(&*model.view(), "c", "k").unwrap().as_deref(), Some("1"));

    host.run("update $orders.lantern_checkpoint set layout = 9").await;
    let refused = host.models.open(&generation("orders", 1)).await.err().unwrap().to_string();
    assert!(refused.contains("have version 9") && refused.contains("use the version that wrote it"), "{refused}");
}

/// Takes the generation again and again, and commits until fenced: each commit adds one to a document.
async fn contend(model: Arc<dyn ReadModel>, goal: u64) -> u64 {
    let mut committed = 0;
    loop {
        let (lease, Checkpoint { position, .. }) = model.take().await.unwrap();
        let mut at = position.0;
        loop {
            if at >= goal {
                return committed;
            }
            let count = look(&*model.view(), "c", "count").unwrap().map_or(0, |count| count.parse::<u64>().unwrap());
            let next = (count + 1).to_string();
            match model.commit(lease, &writing(at, at + 1, "c", &[("count", Some(&next))])).await {
                Ok(()) => (at, committed) = (at + 1, committed + 1),
                Err(CommitError::Fenced { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_owners_each_batch_is_committed_by_one() {
    const GOAL: u64 = 200;
    let schema = Schema::new();
    let mut owners = JoinSet::new();
    let mut hosts = Vec::new();
    for _ in 0..4 {
        let host = Host::start(&schema).await;
        owners.spawn(contend(host.orders().await, GOAL));
        hosts.push(host);
    }
    let committed: u64 = owners.join_all().await.into_iter().sum();
    assert_eq!(committed, GOAL);
    let model = hosts[0].orders().await;
    assert_eq!(model.checkpoint().await.unwrap().handled, GOAL);
    assert_eq!(
        model.get("c", "count").await.unwrap().as_deref(),
        Some(&*GOAL.to_string()),
        "nothing twice, nothing lost"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_cut_are_opened_again() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 1, "c", &[("a", Some("1")), ("b", Some("2"))])).await.unwrap();
    let view = model.view();
    assert_eq!(look(&*view, "c", "a").unwrap().as_deref(), Some("1"));
    // As a server that restarts does it to all of them.
    let other = schema.open().await;
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where pid <> pg_backend_pid() and query like '%$orders%'";
    let cut: i64 = query_scalar(host.statement(cut)).fetch_one(other.pool()).await.unwrap();
    assert!(cut >= 2, "{cut}");
    assert_eq!(look(&*view, "c", "b").unwrap().as_deref(), Some("2"), "a guest does not notice");
    // The loop of a processor takes the generation anew after each failure.
    for attempt in 1.. {
        let committed = match model.take().await {
            Ok((lease, checkpoint)) => {
                assert_eq!(checkpoint.position, Position(1));
                model.commit(lease, &batch(1, 2)).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match committed {
            Ok(()) => break,
            Err(error) => assert!(attempt < 20, "{error}"),
        }
    }
    assert_eq!(model.checkpoint().await.unwrap().position, Position(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_a_crash_has_lost_are_made_again() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    model.commit(lease, &writing(0, 1, "c", &[("a", Some("1"))])).await.unwrap();
    model.commit(lease, &writing(1, 2, "c", &[("a", Some("2"))])).await.unwrap();
    // What a server that lost the second commit has on its disk.
    host.run("update $orders.lantern_checkpoint set position = 1; update $orders.lantern_document set value = '1'")
        .await;
    let lost = model.commit(lease, &writing(2, 3, "c", &[("a", Some("3"))])).await;
    assert!(matches!(&lost, Err(CommitError::Unavailable(reason)) if reason.contains("lost commits")), "{lost:?}");
    let (lease, checkpoint) = model.take().await.unwrap();
    assert_eq!(checkpoint.position, Position(1));
    assert_eq!(look(&*model.view(), "c", "a").unwrap().as_deref(), Some("1"));
    model.commit(lease, &writing(1, 2, "c", &[("a", Some("2"))])).await.unwrap();
}

#[tokio::test]
async fn what_an_operator_was_told_waits_for_the_disk_and_the_rest_does_not() {
    let schema = Schema::new();
    let host = Host::start(&schema).await;
    let model = host.orders().await;
    let (lease, _) = model.take().await.unwrap();
    host.run(
        "create table $orders.noted (position bigint, setting text);
         create function $orders.note() returns trigger language plpgsql as $$ begin
            insert into $orders.noted values (new.position, current_setting('synchronous_commit')); return null; end $$;
         create constraint trigger note after update on $orders.lantern_checkpoint deferrable initially deferred
            for each row execute function $orders.note()",
    )
    .await;
    let swapped = |from: u64| Batch { module: module("second"), ..batch(from, from + 1) };
    let cases = [
        (writing(0, 1, "c", &[("k", Some("1"))]), "off"),
        (writing(1, 2, "c", &[("k", None)]), "off"),
        (swapped(2), "on"),
        (swapped(3), "off"),
        (Batch { released: vec![Position(1)], ..swapped(4) }, "on"),
        (Batch { schedules: vec![ScheduleChange::Cancel("k".into())], ..swapped(5) }, "on"),
        (swapped(6), "off"),
    ];
    for (batch, setting) in cases {
        model.commit(lease, &batch).await.unwrap();
        let noted = "select setting from $orders.noted where position = $1";
        let position = batch.until.0.cast_signed();
        let noted: String = query_scalar(host.statement(noted)).bind(position).fetch_one(host.pool()).await.unwrap();
        assert_eq!(noted, setting, "the commit at {position}");
    }
    model.fired(lease, &[EventId::from_u128(1)]).await.unwrap();
    let stale = Lease { epoch: 9 };
    assert!(model.fired(stale, &[]).await.is_err());
}
