//! The tables in PostgreSQL, by subject. Once released, what stands here is never changed: a change is a migration more.

/// The log. Its one row of `log` is locked by whoever appends, before anything else and until the transaction ends, so
/// that positions are given away by one writer at a time and become visible in their order. The row is never changed, and
/// neither are events: there is nothing for a vacuum to clean, however long another transaction stays open.
///
/// There is no index by category, type or tenant: each would cost every append. Texts are escaped, see `keys.rs`; data is
/// kept byte for byte, JSON if it has no content type.
pub(super) const LOG: &str = "
    create table log (
        one boolean primary key default true check (one),
        incarnation uuid not null default gen_random_uuid()
    );
    insert into log default values;
    create table event (
        position bigint primary key,
        version bigint not null,
        time bigint not null,
        id uuid not null unique,
        schema_version bigint not null,
        trace_flags smallint,
        stream text not null collate \"C\",
        type text not null collate \"C\",
        tenant text collate \"C\",
        source text collate \"C\",
        correlation_id text collate \"C\",
        causation_id text collate \"C\",
        actor text collate \"C\",
        trace_id uuid,
        span_id bigint,
        trace_state text collate \"C\",
        extra text collate \"C\",
        content_type text collate \"C\",
        data bytea not null,
        unique (stream, version)
    );
";

/// The snapshots of aggregates, one a stream.
pub(super) const SNAPSHOTS: &str = "
    create table snapshot (
        stream text primary key collate \"C\",
        category text not null collate \"C\",
        version bigint not null,
        state_version bigint not null,
        module bytea not null,
        taken_at bigint not null,
        state bytea not null
    );
    create index snapshot_category on snapshot (category);
";

/// The journal. An entry is JSON.
pub(super) const JOURNAL: &str = "
    create table entry (sequence bigint primary key, entry text not null);
";
