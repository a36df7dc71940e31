//! The transaction of a batch: fence, documents, schedules, dead letters and checkpoint, together or not at all.
//!
//! An ordinary commit is not forced to the disk (`synchronous = normal`): a power loss takes the file back to an earlier
//! commit, all of it together, and the processor handles the events since then once more. So nothing is lost or doubled,
//! since effects that went out already have the same ids again, and a commit costs no flush. What an operator was told
//! must stay true, though, and a schedule that was taken back must not fall due before that is known again: a commit that
//! changes the module or schedules, or carries a decision about parked events, is on disk when it returns, and so is all
//! before it. So is one that moves no checkpoint, since nobody would do it again.

use std::{collections::HashMap, sync::Arc};

use lantern_core::{Batch, Checkpoint, Digest, Documents, EventId, Lease, Position, Value, parked::Standing};
use rusqlite::{CachedStatement, Connection, Row, TransactionBehavior, types::Type};
use uuid::Uuid;

use super::{parked, schedules, tables::Kept};

/// The writing connection of a generation.
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// The module of the checkpoint.
    pub(super) module: Digest,
    /// Whether commits are forced to the disk at the moment.
    forced: bool,
    /// The numbers of the collections.
    pub(super) collections: HashMap<Arc<str>, i64>,
    /// What there is for the SQL tables of a module.
    pub(super) tables: Kept,
}

impl Writer {
    /// Takes a connection whose commits are forced to the disk.
    pub(super) fn new(connection: Connection) -> rusqlite::Result<Self> {
        let module = checkpoint(&connection)?.module;
        Ok(Self { connection, module, forced: true, collections: HashMap::new(), tables: Kept::default() })
    }

    /// Raises the epoch. It need not be on disk: a power loss that takes it back has ended its owner as well.
    pub(super) fn take(&mut self) -> rusqlite::Result<(Lease, Checkpoint)> {
        // What the owner before has not committed is not to be.
        self.give_up()?;
        self.force(false)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("update lantern_checkpoint set epoch = epoch + 1", ())?;
        let checkpoint = checkpoint(&transaction)?;
        transaction.commit()?;
        Ok((Lease { epoch: checkpoint.epoch }, checkpoint))
    }

    /// Commits a batch. The answer is whether it passed the fence. After an error the writer is not to be used again.
    pub(super) fn commit(&mut self, lease: Lease, batch: &Batch) -> rusqlite::Result<bool> {
        self.give_up()?;
        self.force(self.is_decided(batch))?;
        let committed = self.write(lease, batch)?;
        if committed {
            self.module = batch.module;
        }
        Ok(committed)
    }

    /// Whether a batch carries what an operator is told, or what nobody would do again because it moves no checkpoint.
    pub(super) fn is_decided(&self, batch: &Batch) -> bool {
        batch.module != self.module
            || !batch.released.is_empty()
            || batch.parked.iter().any(|parked| parked.standing == Standing::Skipped)
            || !batch.schedules.is_empty()
            || batch.until == batch.from
    }

    /// Removes the schedules of events that were emitted. The error is the checkpoint of another owner. It need not be on
    /// disk: events that are emitted again have the ids they had.
    pub(super) fn fired(&mut self, lease: Lease, events: &[EventId]) -> rusqlite::Result<Result<(), Checkpoint>> {
        if self.fired_later(lease, events) {
            return Ok(Ok(()));
        }
        self.give_up()?;
        self.force(false)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let checkpoint = checkpoint(&transaction)?;
        if checkpoint.epoch != lease.epoch {
            return Ok(Err(checkpoint));
        }
        schedules::fired(&transaction, events)?;
        transaction.commit()?;
        Ok(Ok(()))
    }

    /// Sets whether commits are forced to the disk.
    pub(super) fn force(&mut self, forced: bool) -> rusqlite::Result<()> {
        if self.forced != forced {
            self.connection.pragma_update(None, "synchronous", if forced { "full" } else { "normal" })?;
            self.forced = forced;
        }
        Ok(())
    }

    /// Writes a batch in one transaction, if it passes the fence.
    fn write(&mut self, lease: Lease, batch: &Batch) -> rusqlite::Result<bool> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(new) = write_batch(&transaction, &self.collections, lease, batch)? else { return Ok(false) };
        transaction.commit()?;
        self.collections.extend(new);
        Ok(true)
    }
}

/// Writes a batch into the transaction that is open, if it passes the fence. Answers the collections that were given a
/// number.
pub(super) fn write_batch(
    connection: &Connection,
    known: &HashMap<Arc<str>, i64>,
    lease: Lease,
    batch: &Batch,
) -> rusqlite::Result<Option<HashMap<Arc<str>, i64>>> {
    if !move_checkpoint(connection, lease, batch)? {
        return Ok(None);
    }
    let new = write_documents(connection, known, &batch.documents)?;
    for change in &batch.schedules {
        schedules::change(connection, change)?;
    }
    for position in &batch.released {
        parked::release(connection, *position)?;
    }
    for record in &batch.parked {
        parked::write(connection, record)?;
    }
    Ok(Some(new))
}

/// The checkpoint.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    let mut statement = connection
        .prepare_cached("select position, event_id, epoch, module, handled, incarnation from lantern_checkpoint")?;
    statement.query_row((), |row| {
        Ok(Checkpoint {
            position: Position(number(row, 0)?),
            event_id: row.get::<_, Option<[u8; 16]>>(1)?.map(EventId::from_bytes),
            epoch: number(row, 2)?,
            module: Digest(row.get(3)?),
            handled: number(row, 4)?,
            incarnation: row.get::<_, Option<[u8; 16]>>(5)?.map(Uuid::from_bytes),
        })
    })
}

/// Writes the checkpoint of a generation that begins.
pub(super) fn begin(connection: &Connection, start: Position, module: Digest) -> rusqlite::Result<()> {
    connection.execute(
        "insert into lantern_checkpoint (one, position, epoch, module, handled) values (1, ?1, 0, ?2, 0)",
        (start.0.cast_signed(), module.0),
    )?;
    Ok(())
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into()))
}

/// Moves the checkpoint, if it stands where the batch began and the lease is good.
fn move_checkpoint(transaction: &Connection, lease: Lease, batch: &Batch) -> rusqlite::Result<bool> {
    // A batch over no event leaves the proof of where the checkpoint stands as it is.
    const MOVE: &str = "
        update lantern_checkpoint set
            position = ?1,
            event_id = case when position = ?1 then event_id else ?2 end,
            module = ?3,
            handled = handled + ?4,
            incarnation = case when position = ?1 then incarnation else ?7 end
        where position = ?5 and epoch = ?6";
    let moved = transaction.prepare_cached(MOVE)?.execute((
        batch.until.0.cast_signed(),
        batch.last_event.map(EventId::into_bytes),
        batch.module.0,
        batch.handled.cast_signed(),
        batch.from.0.cast_signed(),
        lease.epoch.cast_signed(),
        batch.incarnation.map(Uuid::into_bytes),
    ))?;
    Ok(moved == 1)
}

/// Writes documents. Answers the collections that were given a number.
fn write_documents(
    transaction: &Connection,
    known: &HashMap<Arc<str>, i64>,
    documents: &Documents,
) -> rusqlite::Result<HashMap<Arc<str>, i64>> {
    if documents.is_empty() {
        return Ok(HashMap::new());
    }
    let mut new = HashMap::new();
    let mut changes: Vec<(i64, &str, Option<&Value>)> = Vec::with_capacity(documents.len());
    let mut last: Option<(&Arc<str>, i64)> = None;
    for (collection, key, value) in documents.iter() {
        let number = match last {
            Some((name, number)) if name == collection => number,
            _ => number_of(transaction, known, &mut new, collection)?,
        };
        last = Some((collection, number));
        changes.push((number, key, value));
    }
    // In the order of the tree, so that each of its pages is visited once.
    changes.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let mut put: CachedStatement<'_> =
        transaction.prepare_cached("replace into lantern_document (collection, key, value) values (?1, ?2, ?3)")?;
    let mut delete: CachedStatement<'_> =
        transaction.prepare_cached("delete from lantern_document where collection = ?1 and key = ?2")?;
    for (collection, key, value) in changes {
        match value {
            Some(value) => put.execute((collection, key, &**value))?,
            None => delete.execute((collection, key))?,
        };
    }
    Ok(new)
}

/// The number of a collection, which is given one when it has none.
fn number_of(
    transaction: &Connection,
    known: &HashMap<Arc<str>, i64>,
    new: &mut HashMap<Arc<str>, i64>,
    name: &Arc<str>,
) -> rusqlite::Result<i64> {
    if let Some(number) = known.get(name).or_else(|| new.get(name)) {
        return Ok(*number);
    }
    let number = match super::documents::collection(transaction, name)? {
        Some(number) => number,
        None => {
            transaction.prepare_cached("insert into lantern_collection (name) values (?1)")?.execute([&**name])?;
            transaction.last_insert_rowid()
        }
    };
    new.insert(name.clone(), number);
    Ok(number)
}

#[cfg(test)]
mod tests {
    use lantern_core::{EventType, Parked, ScheduleChange, StreamName, Timestamp};
    use rusqlite::Transaction;

    use super::*;
    use crate::{
        contract::samples::{batch, module, writing},
        sqlite::{
            connection::{self, Absent},
            schema,
        },
    };

    fn parked(standing: Standing) -> Parked {
        Parked {
            position: Position(1),
            event_id: EventId::nil(),
            event_type: EventType::new("Placed").unwrap(),
            stream: StreamName::new("A-1").unwrap(),
            standing,
            kind: None,
            error: String::new(),
            backtrace: None,
            attempts: 1,
            trace_id: None,
            module: module("first"),
            first_at: Timestamp(0),
            last_at: Timestamp(0),
        }
    }

    #[test]
    fn what_an_operator_was_told_is_forced_to_the_disk_and_the_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.db");
        let first = |new: &Transaction<'_>| begin(new, Position::START, module("first"));
        let connection = connection::open(&path, &schema::READ_MODEL, Absent::Create, first).unwrap();
        let mut writer = Writer::new(connection).unwrap();
        let (lease, _) = writer.take().unwrap();
        let swapped = Batch { module: module("second"), ..batch(3, 4) };
        let after = |from| Batch { module: module("second"), ..batch(from, from + 1) };
        let cases = [
            (writing(0, 1, "c", &[("k", Some("1"))]), false),
            (Batch { parked: vec![parked(Standing::Failed), parked(Standing::Behind)], ..batch(1, 2) }, false),
            (Batch { parked: vec![parked(Standing::Skipped)], ..batch(2, 3) }, true),
            (swapped, true),
            (after(4), false),
            (Batch { released: vec![Position(1)], ..after(5) }, true),
            (after(6), false),
            (Batch { schedules: vec![ScheduleChange::Cancel("k".into())], ..after(7) }, true),
            (after(8), false),
        ];
        for (index, (batch, forced)) in cases.into_iter().enumerate() {
            assert!(writer.commit(lease, &batch).unwrap(), "case {index}");
            let synchronous: i64 = writer.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            let (normal, full) = (1, 2);
            assert_eq!(synchronous, if forced { full } else { normal }, "case {index}");
        }
    }
}
