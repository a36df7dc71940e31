//! The transaction of a batch: fence, documents, schedules, dead letters and checkpoint, together or not at all.
//!
//! The usual batch is one statement, and so one round trip: the fence moves the checkpoint, and the documents are
//! written if it was passed. A batch with anything else is a transaction around that statement.
//!
//! The fence is the row of the checkpoint. Whoever takes the generation changes the epoch in it, and waits for a commit
//! that has the row: the commit of an owner that still thinks it is one has either happened before, or finds another
//! epoch.
//!
//! An ordinary commit does not wait for the disk (`synchronous_commit = off`). A server that crashes may lose the last
//! of them, each of them whole, checkpoint and documents together; what is lost is the end of the read model's history,
//! since its commits are in the write-ahead log in their order. The processor finds an earlier checkpoint and handles
//! the events since then once more. Nothing is lost or doubled: what handlers emitted has the same ids again, and the
//! log knows them. What an operator was told must stay true, though, and a schedule that was taken back must not fall
//! due before that is known again: a commit that changes the module or schedules, or carries a decision about parked
//! events, is on disk when it returns, and so is all before it.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use lantern_core::{Batch, Checkpoint, Digest, Documents, EventId, Lease, Position, Value, parked::Standing};
use sqlx::{Connection, PgConnection, Row, postgres::PgRow, query, query_scalar};
use uuid::Uuid;

use super::{generation::Schema, keys::escape, parked, schedules};

/// What is remembered from one commit of a generation to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Where the last commit left the checkpoint, and the module there; `None` while that is not known.
    last: Option<(Position, Digest)>,
    /// The numbers of the collections.
    collections: HashMap<Arc<str>, i32>,
}

impl Memory {
    /// What is known when a generation was taken.
    pub(super) fn at(checkpoint: &Checkpoint) -> Self {
        Self { last: Some((checkpoint.position, checkpoint.module)), collections: HashMap::new() }
    }
}

/// What became of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it is committed.
    Committed,
    /// Another owner has the generation, it is gone, or the batch does not begin at the checkpoint. Nothing is changed.
    Fenced,
    /// The server crashed and has lost the end of what was committed. Nothing is changed.
    WentBack(Position),
}

/// The columns of a checkpoint, in the order [`decode`] takes them.
const COLUMNS: &str = "position, event_id, epoch, module, handled, incarnation";

/// Ends transactions that an owner before has left open: its host is frozen or cut off, and what they have locked would be
/// in the way for as long as the server does not know. A host that works is never idle in one for so long, and one that is
/// no owner any more may not commit it.
pub(super) async fn end_abandoned(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<()> {
    const END: &str = "
        select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
            and state = 'idle in transaction' and state_change < clock_timestamp() - interval '1 second'
            and pid in (
                select lock.pid from pg_locks lock join pg_class class on class.oid = lock.relation
                where lock.granted and lock.mode <> 'AccessShareLock'
                    and class.relnamespace in (to_regnamespace('$schema'), to_regnamespace('$tables'))
            )";
    query(schema.statement(END)).execute(connection).await.map(drop)
}

/// Raises the epoch. `None` when the generation is not there any more. The commit is on disk when it returns: otherwise
/// a crash of the server could put an earlier owner back in its place.
pub(super) async fn take(
    connection: &mut PgConnection,
    schema: &Schema,
    identity: Uuid,
) -> sqlx::Result<Option<Checkpoint>> {
    let taking =
        format!("update $schema.lantern_checkpoint set epoch = epoch + 1 where identity = $1 returning {COLUMNS}");
    query(schema.statement(&taking)).bind(identity).try_map(|row| decode(&row)).fetch_optional(connection).await
}

/// The checkpoint. `None` when the generation is not there any more.
pub(super) async fn checkpoint(
    connection: &mut PgConnection,
    schema: &Schema,
    identity: Uuid,
) -> sqlx::Result<Option<Checkpoint>> {
    let wanted = format!("select {COLUMNS} from $schema.lantern_checkpoint where identity = $1");
    query(schema.statement(&wanted)).bind(identity).try_map(|row| decode(&row)).fetch_optional(connection).await
}

/// Commits a batch.
pub(super) async fn commit(
    connection: &mut PgConnection,
    schema: &Schema,
    identity: Uuid,
    memory: &mut Memory,
    lease: Lease,
    batch: &Batch,
) -> sqlx::Result<Ended> {
    let decided = memory.last.is_none_or(|(_, module)| module != batch.module)
        || !batch.released.is_empty()
        || batch.parked.iter().any(|parked| parked.standing == Standing::Skipped)
        || !batch.schedules.is_empty();
    let fence = Fence { identity, lease, batch, decided };
    let simple = batch.schedules.is_empty()
        && batch.parked.is_empty()
        && batch.released.is_empty()
        && batch.documents.iter().all(|(name, _, value)| value.is_some() && memory.collections.contains_key(name));
    let (passed, new) = if simple {
        let changes = Changes::of(&batch.documents, &memory.collections);
        (write(connection, schema, &fence, &changes).await?, HashMap::new())
    } else {
        write_all(connection, schema, &fence, &memory.collections).await?
    };
    if passed {
        memory.last = Some((batch.until, batch.module));
        memory.collections.extend(new);
        return Ok(Ended::Committed);
    }
    let last = memory.last.map(|(position, _)| position);
    let found = checkpoint(connection, schema, identity).await?;
    let lost =
        found.filter(|found| found.epoch == lease.epoch && last == Some(batch.from) && found.position < batch.from);
    Ok(lost.map_or(Ended::Fenced, |found| Ended::WentBack(found.position)))
}

/// Removes the schedules of events that were emitted. The error is the position of the checkpoint of another owner. It
/// need not be on disk: events that are emitted again have the ids they had.
pub(super) async fn fired(
    connection: &mut PgConnection,
    schema: &Schema,
    identity: Uuid,
    lease: Lease,
    events: &[EventId],
) -> sqlx::Result<Result<(), Position>> {
    // Locks the row as a commit does, so that another owner is either seen or waits.
    const OWNED: &str = "
        select position, epoch, set_config('synchronous_commit', 'off', true)
        from $schema.lantern_checkpoint where identity = $1 for update";
    let mut transaction = connection.begin().await?;
    let owned = query(schema.statement(OWNED)).bind(identity).fetch_optional(&mut *transaction).await?;
    let (position, epoch) = match owned {
        Some(owned) => (owned.try_get::<i64, _>(0)?, Some(owned.try_get::<i64, _>(1)?)),
        None => (0, None),
    };
    if epoch != Some(lease.epoch.cast_signed()) {
        transaction.rollback().await?;
        return Ok(Err(Position(position.cast_unsigned())));
    }
    schedules::fired(&mut transaction, schema, events).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

/// What a batch has to pass, and how it is committed.
struct Fence<'b> {
    identity: Uuid,
    lease: Lease,
    batch: &'b Batch,
    /// Whether it is on disk when it is committed.
    decided: bool,
}

/// Moves the checkpoint and writes documents, if the batch passes the fence: in one statement, which is a transaction
/// if there is none around it.
async fn write(
    connection: &mut PgConnection,
    schema: &Schema,
    fence: &Fence<'_>,
    changes: &Changes<'_>,
) -> sqlx::Result<bool> {
    // A batch over no event leaves the proof of where the checkpoint stands as it is.
    const WRITE: &str = "
        with moved as (
            update $schema.lantern_checkpoint set
                position = $1,
                event_id = case when position = $1 then event_id else $2 end,
                module = $3,
                handled = handled + $4,
                incarnation = case when position = $1 then incarnation else $12 end
            where position = $5 and epoch = $6 and identity = $7
            returning set_config('synchronous_commit', coalesce($8, current_setting('synchronous_commit')), true)
        ), written as (
            insert into $schema.lantern_document (collection, key, value)
            select * from unnest($9::integer[], $10::text[], $11::text[]) where exists (select from moved)
            on conflict (collection, key) do update set value = excluded.value
        )
        select exists (select from moved)";
    let Fence { identity, lease, batch, decided } = fence;
    let moved = query_scalar(schema.statement(WRITE))
        .bind(batch.until.0.cast_signed())
        .bind(batch.last_event)
        .bind(batch.module.0.as_slice())
        .bind(batch.handled.cast_signed())
        .bind(batch.from.0.cast_signed())
        .bind(lease.epoch.cast_signed())
        .bind(identity)
        .bind((!decided).then_some("off"))
        .bind(&changes.collections)
        .bind(&changes.keys)
        .bind(&changes.values)
        .bind(batch.incarnation);
    moved.fetch_one(connection).await
}

/// Writes all that a batch can hold in one transaction, if it passes the fence. Answers the collections that were given
/// a number.
async fn write_all(
    connection: &mut PgConnection,
    schema: &Schema,
    fence: &Fence<'_>,
    known: &HashMap<Arc<str>, i32>,
) -> sqlx::Result<(bool, HashMap<Arc<str>, i32>)> {
    let batch = fence.batch;
    let mut transaction = connection.begin().await?;
    let new = number(&mut transaction, schema, known, &batch.documents).await?;
    let numbers = known.iter().chain(&new).map(|(name, number)| (name.clone(), *number)).collect();
    let changes = Changes::of(&batch.documents, &numbers);
    if !write(&mut transaction, schema, fence, &changes).await? {
        transaction.rollback().await?;
        return Ok((false, HashMap::new()));
    }
    delete(&mut transaction, schema, &changes).await?;
    schedules::change(&mut transaction, schema, &batch.schedules).await?;
    parked::release(&mut transaction, schema, &batch.released).await?;
    parked::write(&mut transaction, schema, &batch.parked).await?;
    transaction.commit().await?;
    Ok((true, new))
}

/// Gives numbers to the collections that have none, and answers those that were not known.
async fn number(
    connection: &mut PgConnection,
    schema: &Schema,
    known: &HashMap<Arc<str>, i32>,
    documents: &Documents,
) -> sqlx::Result<HashMap<Arc<str>, i32>> {
    // A row is changed to nothing new, so that it is answered too when it is there.
    const NUMBER: &str = "
        insert into $schema.lantern_collection (name) values ($1)
        on conflict (name) do update set name = excluded.name returning id";
    let mut new = HashMap::new();
    for (name, _, _) in documents.iter() {
        if !known.contains_key(name) && !new.contains_key(name) {
            let number = query_scalar(schema.statement(NUMBER)).bind(escape(name)).fetch_one(&mut *connection).await?;
            new.insert(name.clone(), number);
        }
    }
    Ok(new)
}

/// Removes documents.
async fn delete(connection: &mut PgConnection, schema: &Schema, changes: &Changes<'_>) -> sqlx::Result<()> {
    // The limit keeps the planner to looking each of them up, whatever it thinks of the size of the table.
    const DELETE: &str = "
        delete from $schema.lantern_document where ctid = any (array(
            select place.ctid from unnest($1::integer[], $2::text[]) gone (collection, key) cross join lateral (
                select document.ctid from $schema.lantern_document document
                where document.collection = gone.collection and document.key = gone.key limit 1
            ) place
        ))";
    let (collections, keys) = &changes.removed;
    if !keys.is_empty() {
        query(schema.statement(DELETE)).bind(collections).bind(keys).execute(connection).await?;
    }
    Ok(())
}

/// The changes of a batch to documents, in the order of their table.
#[derive(Default)]
struct Changes<'b> {
    collections: Vec<i32>,
    keys: Vec<Cow<'b, str>>,
    values: Vec<&'b str>,
    /// The places of documents that are removed.
    removed: (Vec<i32>, Vec<Cow<'b, str>>),
}

impl<'b> Changes<'b> {
    /// The changes, with the numbers of their collections. A collection has one, or no change is taken from it.
    fn of(documents: &'b Documents, numbers: &HashMap<Arc<str>, i32>) -> Self {
        let mut rows: Vec<(i32, &str, Option<&'b Value>)> = Vec::with_capacity(documents.len());
        let mut last: Option<(&Arc<str>, i32)> = None;
        for (collection, key, value) in documents.iter() {
            let number = match last {
                Some((name, number)) if Arc::ptr_eq(name, collection) => Some(number),
                _ => numbers.get(collection).copied(),
            };
            if let Some(number) = number {
                last = Some((collection, number));
                rows.push((number, key, value));
            }
        }
        // So that each page of the index is visited once.
        rows.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let mut changes = Self::default();
        for (collection, key, value) in rows {
            if let Some(value) = value {
                changes.collections.push(collection);
                changes.keys.push(escape(key));
                changes.values.push(value);
            } else {
                changes.removed.0.push(collection);
                changes.removed.1.push(escape(key));
            }
        }
        changes
    }
}

fn decode(row: &PgRow) -> sqlx::Result<Checkpoint> {
    let module = row.try_get::<&[u8], _>(3)?.try_into();
    Ok(Checkpoint {
        position: Position(row.try_get::<i64, _>(0)?.cast_unsigned()),
        event_id: row.try_get(1)?,
        epoch: row.try_get::<i64, _>(2)?.cast_unsigned(),
        module: Digest(module.map_err(|error| sqlx::Error::ColumnDecode {
            index: "module".into(),
            source: Box::<dyn std::error::Error + Send + Sync>::from(error),
        })?),
        handled: row.try_get::<i64, _>(4)?.cast_unsigned(),
        incarnation: row.try_get(5)?,
    })
}
