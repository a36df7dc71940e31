//! A writer of the log: what it knows when it decides, and how it writes.
//!
//! Writers take turns: a turn is the lock of the log's one row, held by a transaction. A writer that is alone decides before
//! its turn, on what it remembers and on what its clients expect, and writes in it if all of that is true: one round trip,
//! durable when it returns. One among others would find most of the time that it is not, so it takes its turn first: what
//! it reads then stays true. It keeps the turn no longer than it must, so that transaction does not wait for the disk.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use lantern_core::{
    Append, Appended, Event, EventId, Expected, NewEvent, Position, StreamName, Version,
    log::{AppendError, LogError},
};
use quick_cache::unsync::Cache;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgTransaction, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};

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
const BEGIN: &str = "begin; set local synchronous_commit = off; select from log for update";

const FACTS: &str = "select * from facts($1, $2)";

const APPEND: &str = "select * from
    append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

/// How many streams' versions a writer remembers.
const STREAMS: usize = 65_536;

/// What came of the appends of one transaction.
pub(super) struct Written {
    /// The answer to each.
    pub(super) answers: Vec<Answer>,
    /// The last position after the transaction.
    pub(super) head: Position,
    /// Whether the transaction has waited for the disk.
    pub(super) is_durable: bool,
}

/// What came of appends that were decided outside of the turn.
enum Attempt<'a> {
    Written(Written),
    /// Nothing was written, since the log is not what was decided on.
    Stale(Facts<'a>),
}

/// A writer of the log.
pub(super) struct Writer {
    connection: PgConnection,
    /// Where the log ended after the last transaction.
    reached: Position,
    /// The versions that streams have if the log still ends there.
    versions: Cache<StreamName, Version>,
    /// Whether nobody else had written before the last transaction.
    is_alone: bool,
}

impl Writer {
    /// A writer of a log that ends at a position, as far as anyone knows.
    pub(super) fn new(connection: PgConnection, reached: Position) -> Self {
        Self { connection, reached, versions: Cache::new(STREAMS), is_alone: true }
    }

    /// Whether the server still answers.
    pub(super) async fn is_alive(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    /// Carries out appends in one transaction. An error means that nothing of it is known to be written. `head` is that of
    /// the host.
    pub(super) async fn write(&mut self, head: &Head, batch: &[Request]) -> Result<Written, AppendError> {
        let wanted = Wanted::of(batch);
        if self.is_alone
            && let Some(written) = self.write_alone(head, &wanted).await?
        {
            return Ok(written);
        }
        self.write_in_turn(head, &wanted).await
    }

    /// `None` if others write as well.
    async fn write_alone(&mut self, head: &Head, wanted: &Wanted<'_>) -> Result<Option<Written>, AppendError> {
        let known = head.position();
        let facts = match self.attempt(wanted).await? {
            Attempt::Written(written) => return Ok(Some(written)),
            Attempt::Stale(facts) => facts,
        };
        head.confirm(known, facts.head).map_err(unavailable)?;
        if facts.head != self.reached {
            return Ok(None);
        }
        match self.append(Decided::on(facts, wanted.batch)?, wanted, Vec::new()).await? {
            Attempt::Written(written) => Ok(Some(written)),
            Attempt::Stale(_) => Ok(None),
        }
    }

    /// Decides as if the log were as it was left, and its clients right about the streams that are not remembered.
    async fn attempt<'a>(&mut self, wanted: &Wanted<'a>) -> Result<Attempt<'a>, AppendError> {
        let (facts, assumed) = self.assume(wanted);
        let decided = Decided::on(facts, wanted.batch)?;
        // Nobody is refused for what is only assumed.
        if decided.answers.iter().any(Result::is_err) {
            return Facts::read(&mut self.connection, wanted).await.map(Attempt::Stale).map_err(failed);
        }
        self.append(decided, wanted, assumed).await
    }

    /// The log as it was left, and which versions are only assumed.
    fn assume<'a>(&self, wanted: &Wanted<'a>) -> (Facts<'a>, Vec<Option<i64>>) {
        let mut versions = HashMap::with_capacity(wanted.streams.len());
        let mut assumed = Vec::with_capacity(wanted.streams.len());
        for &(stream, expected) in &wanted.streams {
            let remembered = self.versions.get(stream).copied();
            let version = remembered.unwrap_or(match expected {
                Expected::Exact(version) => version,
                Expected::Any | Expected::NoStream | Expected::StreamExists => Version::NONE,
            });
            versions.insert(stream, version);
            assumed.push(remembered.is_none().then(|| version.0.cast_signed()));
        }
        (Facts { head: self.reached, versions, events: HashMap::new() }, assumed)
    }

    /// Writes what was decided if that is still right, versions that were assumed included.
    async fn append<'a>(
        &mut self,
        decided: Decided<'a>,
        wanted: &Wanted<'a>,
        assumed: Vec<Option<i64>>,
    ) -> Result<Attempt<'a>, AppendError> {
        let Decided { answers, fresh, facts, found } = decided;
        let is_durable = !fresh.positions.is_empty();
        if is_durable {
            let append = fresh.append(found, &wanted.names, assumed).fetch_optional(&mut self.connection).await;
            if let Some(row) = append.map_err(Damage::from).map_err(failed)? {
                let facts = Facts::of(&mut self.connection, wanted, row).await;
                return facts.map(Attempt::Stale).map_err(failed);
            }
        }
        Ok(Attempt::Written(self.written(answers, &facts, is_durable)))
    }

    async fn write_in_turn(&mut self, head: &Head, wanted: &Wanted<'_>) -> Result<Written, AppendError> {
        let known = head.position();
        let mut transaction = self.connection.begin_with(BEGIN).await.map_err(Damage::from).map_err(failed)?;
        let facts = Facts::read(&mut transaction, wanted).await.map_err(failed)?;
        head.confirm(known, facts.head).map_err(unavailable)?;
        let Decided { answers, fresh, facts, found } = Decided::on(facts, wanted.batch)?;
        let ended =
            if fresh.positions.is_empty() { transaction.rollback().await } else { fresh.insert(transaction).await };
        ended.map_err(Damage::from).map_err(failed)?;
        self.is_alone = self.reached == found;
        if !self.is_alone {
            self.versions.clear();
        }
        Ok(self.written(answers, &facts, false))
    }

    /// Remembers the log as it is after a transaction.
    fn written(&mut self, answers: Vec<Answer>, facts: &Facts<'_>, is_durable: bool) -> Written {
        self.reached = facts.head;
        for (&stream, &version) in &facts.versions {
            self.versions.insert(stream.clone(), version);
        }
        Written { answers, head: facts.head, is_durable }
    }
}

/// What has to be known of the log to decide on a batch.
struct Wanted<'a> {
    batch: &'a [Request],
    /// Its streams, with what is expected of them first.
    streams: Vec<(&'a StreamName, Expected)>,
    /// The names of the streams, escaped.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Wanted<'a> {
    fn of(batch: &'a [Request]) -> Self {
        let mut seen = HashSet::new();
        let appends = batch.iter().flat_map(|request| &request.appends);
        let streams: Vec<_> = appends
            .filter(|append| seen.insert(&append.stream))
            .map(|append| (&append.stream, append.expected))
            .collect();
        let names = streams.iter().map(|(stream, _)| keys::escape(stream.as_str())).collect();
        Self { batch, streams, names }
    }

    fn ids(&self) -> Vec<EventId> {
        let appends = self.batch.iter().flat_map(|request| &request.appends);
        appends.flat_map(|append| append.events.iter().map(|event| event.id)).collect()
    }
}

/// What becomes of a batch.
struct Decided<'a> {
    answers: Vec<Answer>,
    fresh: Fresh<'a>,
    /// The log afterwards.
    facts: Facts<'a>,
    /// Where it ended before.
    found: Position,
}

impl<'a> Decided<'a> {
    fn on(mut facts: Facts<'a>, batch: &'a [Request]) -> Result<Self, AppendError> {
        let found = facts.head;
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
        Ok(Self { answers, fresh, facts, found })
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
    async fn read(connection: &mut PgConnection, wanted: &Wanted<'a>) -> Result<Self, Damage> {
        let facts = sqlx::query(FACTS).bind(&wanted.names).bind(wanted.ids());
        let row = facts.fetch_one(&mut *connection).await?;
        Self::of(connection, wanted, row).await
    }

    /// The facts that a row tells. When there are ids that the log has, a round trip more is needed.
    async fn of(connection: &mut PgConnection, wanted: &Wanted<'a>, row: PgRow) -> Result<Self, Damage> {
        let head = Position(row.try_get::<i64, _>(0)?.cast_unsigned());
        let versions = row.try_get::<Vec<i64>, _>(1)?.into_iter().map(|version| Version(version.cast_unsigned()));
        let versions = wanted.streams.iter().map(|(stream, _)| *stream).zip(versions).collect();
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

    /// The statement that writes them if the log ends at a position, and streams have the versions that are assumed.
    fn append<'q>(
        self,
        expected: Position,
        streams: &'q [Cow<'a, str>],
        assumed: Vec<Option<i64>>,
    ) -> Query<'q, Postgres, PgArguments>
    where
        'a: 'q,
    {
        let append = sqlx::query(APPEND).bind(expected.0.cast_signed()).bind(streams).bind(assumed);
        self.arrays.bind(append.bind(self.positions).bind(self.versions))
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
