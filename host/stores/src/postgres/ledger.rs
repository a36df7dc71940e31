//! A writer of the log: what it knows when it decides, and how it writes.
//!
//! Writers take turns: a turn is the lock of the log's one row, held by a transaction. A writer that is alone reads and decides
//! before its turn, and writes in it if the log still ends where it did; that is two round trips, and nothing is open in
//! between. One among others would find that it does not most of the time, so it takes its turn first: what it reads then
//! stays true.

use std::{borrow::Cow, collections::HashMap};

use lantern_core::{
    Append, Appended, Event, EventId, NewEvent, Position, StreamName, Version,
    log::{AppendError, LogError},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgTransaction, Row, postgres::PgRow};

use super::{
    arrays::{self, Arrays},
    damage::Damage,
    head::Head,
    keys,
    row::{self, COLUMNS, Words},
};
use crate::{
    decide::{self, Decision, Known, Ledger},
    waiting::{Answer, Request},
};

/// Begins a transaction and waits until no other writer is in one. The statements that follow see all that was committed
/// before, since each has a snapshot of its own.
const BEGIN: &str = "begin; select from log for update";

const FACTS: &str = "select
    (select coalesce(max(position), 0) from event),
    array(
        select coalesce((select max(version) from event where stream = wanted.name), 0)
        from unnest($1::text[]) with ordinality as wanted (name, place) order by place
    ),
    array(select position from event where id = any($2::uuid[]))";

const APPEND: &str =
    "select append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

/// What came of the appends of one transaction.
pub(super) struct Written {
    /// The answer to each.
    pub(super) answers: Vec<Answer>,
    /// The last position after the transaction.
    pub(super) head: Position,
}

/// A writer of the log.
pub(super) struct Writer {
    connection: PgConnection,
    /// Where the log ended after its last transaction; `None` before the first.
    reached: Option<Position>,
    /// Whether nobody else had written before its last transaction.
    is_alone: bool,
}

impl Writer {
    pub(super) fn new(connection: PgConnection) -> Self {
        Self { connection, reached: None, is_alone: true }
    }

    /// Whether the server still answers.
    pub(super) async fn is_alive(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    /// Carries out appends in one transaction. An error means that nothing of it is known to be written. `head` is that of
    /// the host.
    pub(super) async fn write(&mut self, head: &Head, batch: &[Request]) -> Result<Written, AppendError> {
        if self.is_alone {
            if let Some(written) = self.write_alone(head, batch).await? {
                return Ok(written);
            }
            self.is_alone = false;
        }
        self.write_in_turn(head, batch).await
    }

    /// Decides on what is read outside of the turn. `None` when others write as well: then it may not be true any more.
    async fn write_alone(&mut self, head: &Head, batch: &[Request]) -> Result<Option<Written>, AppendError> {
        let facts = Facts::read(&mut self.connection, head, batch).await?;
        let found = facts.head;
        if self.reached.is_some_and(|reached| reached != found) {
            return Ok(None);
        }
        let Decided { answers, fresh, head } = Decided::on(facts, batch)?;
        if !fresh.positions.is_empty() {
            let appended = fresh.append(&mut self.connection, found).await;
            if !appended.map_err(Damage::from).map_err(failed)? {
                return Ok(None);
            }
        }
        self.reached = Some(head);
        Ok(Some(Written { answers, head }))
    }

    async fn write_in_turn(&mut self, head: &Head, batch: &[Request]) -> Result<Written, AppendError> {
        let mut transaction = self.connection.begin_with(BEGIN).await.map_err(Damage::from).map_err(failed)?;
        let facts = Facts::read(&mut transaction, head, batch).await?;
        let found = facts.head;
        let Decided { answers, fresh, head } = Decided::on(facts, batch)?;
        let ended =
            if fresh.positions.is_empty() { transaction.rollback().await } else { fresh.insert(transaction).await };
        ended.map_err(Damage::from).map_err(failed)?;
        self.is_alone = self.reached == Some(found);
        self.reached = Some(head);
        Ok(Written { answers, head })
    }
}

/// What becomes of a batch.
struct Decided<'a> {
    answers: Vec<Answer>,
    fresh: Fresh<'a>,
    /// The last position afterwards.
    head: Position,
}

impl<'a> Decided<'a> {
    fn on(mut facts: Facts<'a>, batch: &'a [Request]) -> Result<Self, AppendError> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut fresh = Fresh::default();
        for request in batch {
            answers.push(match decide::decide(&mut facts, &request.appends) {
                Ok(decision) => {
                    fresh.take(&request.appends, &decision, &mut facts)?;
                    Ok(decision.places)
                }
                Err(error @ AppendError::Unavailable(_)) => return Err(error),
                Err(refusal) => Err(refusal),
            });
        }
        Ok(Self { answers, fresh, head: facts.head })
    }
}

/// What a failure means to a writer.
pub(super) fn failed(damage: Damage) -> AppendError {
    unavailable(damage.at(Position::START))
}

/// What it means to a writer that the log cannot be read.
pub(super) fn unavailable(error: LogError) -> AppendError {
    AppendError::Unavailable(match error {
        LogError::Corrupt { reason, .. } | LogError::Unavailable(reason) => reason,
    })
}

/// The log as far as a batch is concerned, with the appends before that were decided.
struct Facts<'a> {
    head: Position,
    versions: HashMap<&'a StreamName, Version>,
    events: HashMap<EventId, There<'a>>,
}

/// An event with an id of the batch.
struct There<'a> {
    stream: Cow<'a, StreamName>,
    event: Cow<'a, NewEvent>,
    version: Version,
    position: Position,
}

impl<'a> Facts<'a> {
    /// Reads what a batch needs, and looks whether the log is still the one that the host has shown.
    async fn read(connection: &mut PgConnection, head: &Head, batch: &'a [Request]) -> Result<Self, AppendError> {
        let known = head.position();
        let facts = Self::found(connection, batch).await.map_err(failed)?;
        head.confirm(known, facts.head).map_err(unavailable)?;
        Ok(facts)
    }

    /// One round trip; two when there are ids that the log has.
    async fn found(connection: &mut PgConnection, batch: &'a [Request]) -> Result<Self, Damage> {
        let mut versions = HashMap::new();
        let appends = batch.iter().flat_map(|request| &request.appends);
        let (mut streams, mut ids) = (Vec::new(), Vec::new());
        for Append { stream, events, .. } in appends {
            if versions.insert(stream, Version::NONE).is_none() {
                streams.push(stream);
            }
            ids.extend(events.iter().map(|event| event.id));
        }
        let names: Vec<_> = streams.iter().map(|stream| keys::escape(stream.as_str())).collect();
        let row = sqlx::query(FACTS).bind(names).bind(ids).fetch_one(&mut *connection).await?;
        let head = Position(row.try_get::<i64, _>(0)?.cast_unsigned());
        for (stream, version) in streams.into_iter().zip(row.try_get::<Vec<i64>, _>(1)?) {
            versions.insert(stream, Version(version.cast_unsigned()));
        }
        let mut facts = Self { head, versions, events: HashMap::new() };
        let there: Vec<i64> = row.try_get(2)?;
        if !there.is_empty() {
            facts.read_events(connection, there).await?;
        }
        Ok(facts)
    }

    async fn read_events(&mut self, connection: &mut PgConnection, positions: Vec<i64>) -> Result<(), Damage> {
        let query = format!("select {COLUMNS} from event where position = any($1)");
        let rows: Vec<PgRow> = sqlx::query(AssertSqlSafe(query)).bind(positions).fetch_all(connection).await?;
        let mut words = Words::default();
        for row in rows {
            let Event { id, event_type, schema_version, stream, version, position, time, data, metadata } =
                row::decode(&row, &mut words)?;
            let event = Cow::Owned(NewEvent { id, event_type, schema_version, time, data, metadata });
            self.events.insert(id, There { stream: Cow::Owned(stream), event, version, position });
        }
        Ok(())
    }
}

impl Ledger for Facts<'_> {
    fn head(&self) -> Position {
        self.head
    }

    fn version(&mut self, stream: &StreamName) -> Result<Version, AppendError> {
        // Every stream of the batch was asked for.
        Ok(self.versions.get(stream).copied().unwrap_or_default())
    }

    fn known(&mut self, stream: &StreamName, event: &NewEvent) -> Result<Option<Known>, AppendError> {
        Ok(self.events.get(&event.id).map(|there| Known {
            version: there.version,
            position: there.position,
            same: *there.stream == *stream && decide::same_content(&there.event, event),
        }))
    }
}

/// The events that are to be written.
#[derive(Default)]
struct Fresh<'a> {
    positions: Vec<i64>,
    versions: Vec<i64>,
    arrays: Arrays<'a>,
}

impl<'a> Fresh<'a> {
    /// Takes what was decided of an append. The facts are those after it from now on.
    fn take(&mut self, appends: &'a [Append], decision: &Decision, facts: &mut Facts<'a>) -> Result<(), AppendError> {
        let mut fresh = decision.fresh.iter().copied().peekable();
        let events = appends.iter().flat_map(|Append { stream, events, .. }| events.iter().map(move |e| (stream, e)));
        for (index, (stream, event)) in events.enumerate() {
            if fresh.next_if_eq(&index).is_none() {
                continue;
            }
            let Appended { id, version, position } = decision.places[index];
            self.positions.push(position.0.cast_signed());
            self.versions.push(version.0.cast_signed());
            self.arrays.push(stream, event).map_err(|error| AppendError::Unavailable(error.to_string()))?;
            facts.head = position;
            facts.versions.insert(stream, version);
            let (stream, event) = (Cow::Borrowed(stream), Cow::Borrowed(event));
            facts.events.insert(id, There { stream, event, version, position });
        }
        Ok(())
    }

    /// Writes them if the log ends at a position; answers whether it did.
    async fn append(self, connection: &mut PgConnection, expected: Position) -> sqlx::Result<bool> {
        let append = sqlx::query(APPEND).bind(expected.0.cast_signed()).bind(self.positions).bind(self.versions);
        self.arrays.bind(append).fetch_one(connection).await?.try_get(0)
    }

    /// Writes them in the turn that a transaction has, and ends it.
    async fn insert(self, mut transaction: PgTransaction<'_>) -> sqlx::Result<()> {
        let insert = format!(
            "insert into event ({COLUMNS}) select * from unnest($1::bigint[], $2::bigint[], {})",
            arrays::unnest(3)
        );
        let query = sqlx::query(AssertSqlSafe(insert)).bind(self.positions).bind(self.versions);
        self.arrays.bind(query).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
