//! The schema of a generation: its name, its tables, and how both come and go.

use lantern_core::{Digest, Generation, Position};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow, raw_sql};
use uuid::Uuid;

/// The version of the tables below.
const LAYOUT: i32 = 2;

/// What each version adds to the one before, version 2 first.
const CHANGES: &[&str] = &["alter table $schema.lantern_checkpoint add column incarnation uuid"];

/// The longest name PostgreSQL keeps, in bytes.
const MAX_NAME: usize = 63;

/// What the name of the schema of a module's SQL tables ends with.
const TABLES_OF: &str = "$sql";

/// How much of a digest stands in a name for what did not fit, in bytes.
const DIGITS: usize = 12;

/// The tables of a generation, `$schema` for its schema.
///
/// A document is kept byte for byte, as the digest demands. The view `lantern_documents` shows it as `jsonb`, or null
/// where `jsonb` cannot hold it: a number or a depth without bounds, for example. Pages of documents keep room, so that
/// one that is written again usually finds its place in the same page, and no index has to be told.
const TABLES: &str = r#"
    create schema $schema;
    create table $schema.lantern_checkpoint (
        one boolean primary key default true check (one),
        layout integer not null,
        identity uuid not null,
        position bigint not null,
        event_id uuid,
        incarnation uuid,
        epoch bigint not null,
        module bytea not null,
        handled bigint not null
    ) with (fillfactor = 10);
    create table $schema.lantern_collection (
        id integer generated always as identity primary key,
        name text not null unique collate "C"
    );
    create table $schema.lantern_document (
        collection integer not null,
        key text not null collate "C",
        value text not null,
        primary key (collection, key)
    ) with (fillfactor = 75);
    create table $schema.lantern_parked (
        position bigint primary key,
        stream text not null collate "C",
        standing text not null,
        record text not null
    );
    create index lantern_parked_stream on $schema.lantern_parked (stream) where standing <> 'skipped';
    create table $schema.lantern_schedule (
        key text primary key collate "C",
        due bigint not null,
        id uuid not null,
        record text not null,
        data bytea not null
    );
    create index lantern_schedule_due on $schema.lantern_schedule (due, key);
    create index lantern_schedule_event on $schema.lantern_schedule (id);
    create function $schema.lantern_json(document text) returns jsonb language plpgsql immutable strict parallel safe as $$
        begin
            return document::jsonb;
        exception when others then
            return null;
        end
    $$;
    create view $schema.lantern_documents as
        select collection.name as collection, document.key, $schema.lantern_json(document.value) as value
        from $schema.lantern_document document
        join $schema.lantern_collection collection on collection.id = document.collection
        where not starts_with(collection.name, 'lantern:');
"#;

/// The schema of a generation. The name is quoted and can stand in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema {
    quoted: String,
    /// The schema of the SQL tables of the module.
    tables: String,
}

impl Schema {
    /// The schema of a generation beside a schema that holds a log: `lantern$orders$1`. None of the three parts can
    /// contain a `$`, so no two generations share a name, those of other logs in the database included.
    pub(super) fn new(base: &str, generation: &Generation) -> Self {
        let (processor, number) = (generation.processor.as_str(), generation.number.to_string());
        let room = MAX_NAME.saturating_sub(base.len() + number.len() + 2 + TABLES_OF.len());
        let name = if processor.len() <= room {
            format!("{base}${processor}${number}")
        } else {
            let digest = Digest::of(processor.as_bytes()).short();
            // A name is ASCII, so it can be cut anywhere.
            let kept = &processor[..room.saturating_sub(DIGITS + 1)];
            format!("{base}${kept}${digest}${number}")
        };
        Self { quoted: format!("\"{name}\""), tables: format!("\"{name}{TABLES_OF}\"") }
    }

    /// A statement in which `$schema` stands for the schema, and `$tables` for that of the module's SQL tables.
    pub(super) fn statement(&self, text: &str) -> AssertSqlSafe<String> {
        // Nothing is put in but the quoted name of a schema, whose characters are none that end a quoted name.
        AssertSqlSafe(text.replace("$schema", &self.quoted).replace("$tables", &self.tables))
    }

    /// A statement in which `$schema` and `$tables` stand for the two schemas, and `$role` for the role of a build's module.
    pub(super) fn statement_of(&self, identity: Uuid, text: &str) -> AssertSqlSafe<String> {
        self.statement(&text.replace("$role", &format!("\"{}\"", role(identity))))
    }
}

/// The role as which the statements of a module run on the SQL tables of a build.
pub(super) fn role(identity: Uuid) -> String {
    format!("lantern_{}", identity.simple())
}

/// The identity of the build that is there, drawn when its tables were made; `None` when there is none.
pub(super) async fn find(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<Option<Found>> {
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("{}.lantern_checkpoint", schema.quoted))
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(None);
    }
    let query = schema.statement("select identity, layout from $schema.lantern_checkpoint");
    let found = |row: PgRow| Ok(Found { identity: row.try_get(0)?, layout: row.try_get(1)? });
    sqlx::query(query).try_map(found).fetch_optional(connection).await
}

/// Finds the build that is there, or makes one.
pub(super) async fn find_or_make(
    connection: &mut PgConnection,
    schema: &Schema,
    start: Position,
    module: Digest,
) -> sqlx::Result<Found> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, schema).await?;
    if let Some(found) = find(&mut transaction, schema).await? {
        transaction.rollback().await?;
        return Ok(found);
    }
    raw_sql(schema.statement(TABLES)).execute(&mut *transaction).await?;
    let found = Found { identity: Uuid::new_v4(), layout: LAYOUT };
    let first = schema.statement(
        "insert into $schema.lantern_checkpoint (layout, identity, position, epoch, module, handled) values ($1, $2, $3, 0, $4, 0)",
    );
    sqlx::query(first)
        .bind(found.layout)
        .bind(found.identity)
        .bind(start.0.cast_signed())
        .bind(module.0.as_slice())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(found)
}

/// Brings the tables of a build that is there up to date.
pub(super) async fn update(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<Option<Found>> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, schema).await?;
    // Another host may have done it, or removed the build.
    let Some(found) = find(&mut transaction, schema).await? else {
        transaction.rollback().await?;
        return Ok(None);
    };
    for change in found.changes() {
        raw_sql(schema.statement(change)).execute(&mut *transaction).await?;
    }
    sqlx::query(schema.statement("update $schema.lantern_checkpoint set layout = greatest(layout, $1)"))
        .bind(LAYOUT)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Some(Found { layout: found.layout.max(LAYOUT), ..found }))
}

/// Removes the schema and all in it.
pub(super) async fn remove(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, schema).await?;
    let Some(found) = find(&mut transaction, schema).await? else { return transaction.rollback().await };
    // The table that a commit locks first, so that the two never wait for each other.
    raw_sql(schema.statement("lock table $schema.lantern_checkpoint in access exclusive mode"))
        .execute(&mut *transaction)
        .await?;
    let schemas = "drop schema $schema cascade; drop schema if exists $tables cascade";
    raw_sql(schema.statement(schemas)).execute(&mut *transaction).await?;
    let has_role: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role(found.identity))
        .fetch_one(&mut *transaction)
        .await?;
    if has_role {
        raw_sql(schema.statement_of(found.identity, "drop role $role")).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Waits until nobody else makes or removes the schema.
pub(super) async fn lock(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('lantern generation ' || $1, 0))")
        .bind(&schema.quoted)
        .execute(connection)
        .await?;
    Ok(())
}

/// A build that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Tells it from a later one under the same name.
    pub(super) identity: Uuid,
    layout: i32,
}

impl Found {
    /// What brings its tables up to date.
    pub(super) fn changes(&self) -> &'static [&'static str] {
        let done = usize::try_from(self.layout - 1).ok();
        done.and_then(|done| CHANGES.get(done..)).unwrap_or_default()
    }

    /// Why the tables cannot be used, if they cannot.
    pub(super) fn refusal(&self) -> Option<String> {
        (self.layout != LAYOUT).then(|| {
            let layout = self.layout;
            format!("its tables have version {layout}, this Lantern knows {LAYOUT}: use the version that wrote it, or rebuild")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(base: &str, processor: &str, number: u32) -> String {
        Schema::new(base, &Generation { processor: processor.parse().unwrap(), number }).quoted
    }

    #[test]
    fn a_name_is_bounded_and_one_generations_own() {
        assert_eq!(name("lantern", "orders", 1), "\"lantern$orders$1\"");
        assert_eq!(name("green", "Order-list_2", 12), "\"green$Order-list_2$12\"");
        let (long, longest) = ("p".repeat(40), "p".repeat(64));
        let base = "b".repeat(31);
        let names = [
            name(&base, &long, 1),
            name(&base, &longest, 1),
            name(&base, &longest, u32::MAX),
            name("lantern", &longest, 1),
            name("lantern", &format!("{}q", "p".repeat(63)), 1),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() <= MAX_NAME + 2, "{name}");
            assert!(!names[..index].contains(name), "{name}");
        }
    }
}
