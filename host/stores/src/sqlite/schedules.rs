//! The schedules of a generation: rows of the table `schedule`, an event each.

use lantern_core::{EventId, ScheduleChange, Scheduled, Timestamp};
use rusqlite::{Connection, types::Type};

use super::{
    damage::Damage,
    row::{self, Words},
};

/// From the third column on in the order of [`row::bind`].
const SET: &str =
    "replace into lantern_schedule (key, due, id, stream, type, schema_version, time, content_type, data, source,
    tenant, correlation_id, causation_id, actor, trace_id, span_id, trace_flags, trace_state, extra)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

/// In the order [`scheduled`] takes them.
const ALL: &str = "select key, due, id, stream, type, schema_version, time, content_type, data, source, tenant,
    correlation_id, causation_id, actor, trace_id, span_id, trace_flags, trace_state, extra
    from lantern_schedule order by due, key";

/// Carries out a change.
pub(super) fn change(connection: &Connection, change: &ScheduleChange) -> rusqlite::Result<()> {
    match change {
        ScheduleChange::Set(scheduled) => set(connection, scheduled),
        ScheduleChange::Cancel(key) => {
            connection.prepare_cached("delete from lantern_schedule where key = ?1")?.execute([&**key])?;
            Ok(())
        }
    }
}

fn set(connection: &Connection, scheduled: &Scheduled) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(SET)?;
    let words = Words::of(scheduled.stream.as_str(), &scheduled.event, Ok)?;
    statement.raw_bind_parameter(1, &*scheduled.key)?;
    statement.raw_bind_parameter(2, scheduled.due.0)?;
    row::bind(&mut statement, 3, &scheduled.event, &words)?;
    statement.raw_execute()?;
    Ok(())
}

/// All schedules, the first due first.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Scheduled>> {
    let mut statement = connection.prepare_cached(ALL)?;
    let schedules = statement.query_map((), scheduled)?;
    schedules.collect()
}

/// Removes the schedules of these events.
pub(super) fn fired(connection: &Connection, events: &[EventId]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("delete from lantern_schedule where id = ?1")?;
    for event in events {
        statement.execute([event.as_bytes().as_slice()])?;
    }
    Ok(())
}

fn scheduled(row: &rusqlite::Row<'_>) -> rusqlite::Result<Scheduled> {
    let (key, due): (String, i64) = (row.get(0)?, row.get(1)?);
    let (stream, event) = row::decode_spelled(row, 2).map_err(|damage| match damage {
        Damage::File(error) => error,
        Damage::Row(reason) => {
            let reason = format!("schedule `{key}` is damaged: {reason}");
            rusqlite::Error::FromSqlConversionFailure(2, Type::Null, reason.into())
        }
    })?;
    Ok(Scheduled { key: key.into(), due: Timestamp(due), stream, event })
}
