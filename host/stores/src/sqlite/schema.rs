//! The tables of the four kinds of files: the log, a generation's read model, the journal, the snapshots.
//!
//! Text that repeats is kept once and referred to by a small number, which keeps rows and indexes small: half of what
//! an append costs is the pages it dirties.

/// A kind of file. Its id and schema version are in the file's header (`application_id`, `user_version`).
pub(super) struct Kind {
    /// What people call it.
    pub(super) name: &'static str,
    /// Tells Lantern's files from all others, and from each other.
    pub(super) application_id: i32,
    /// The version of the tables below.
    pub(super) version: i32,
    /// The statements that make them.
    pub(super) tables: &'static str,
    /// What brings the tables of each earlier version to the next, the last to this one. Those before are not read any more.
    pub(super) changes: &'static [&'static str],
}

/// The log. There is no index by category, type or tenant: each would cost every append, and saves a filtered read
/// only the skipping of rows, of which it does millions a second. The columns a filter looks at stand before those
/// that may fill further pages. The index of the ids is a table of its own, since it is written late: `indexed` says
/// up to which position it has the ids that begin with each digit. The one row of `log` says which log it is.
pub(super) const LOG: Kind = Kind {
    name: "log",
    application_id: 0x4C_4E_54_4C,
    version: 2,
    tables: "
        create table log (one integer primary key check (one = 1), incarnation blob not null) strict;
        insert into log (one, incarnation) values (1, randomblob(16));
        create table name (id integer primary key, text text not null unique) strict;
        create table stream (id integer primary key, name text not null unique) strict;
        create table event (
            position integer primary key,
            id blob not null,
            stream integer not null,
            version integer not null,
            category integer not null,
            type integer not null,
            tenant integer,
            schema_version integer not null,
            time integer not null,
            content_type integer,
            source integer,
            trace_id blob,
            span_id integer,
            trace_flags integer,
            trace_state text,
            correlation_id text,
            causation_id text,
            actor text,
            extra text,
            data any not null,
            unique (stream, version)
        ) strict;
        create table event_id (id blob primary key, position integer not null) strict, without rowid;
        create table indexed (slice integer primary key, position integer not null) strict;
        with recursive digit (slice) as (values (0) union all select slice + 1 from digit where slice < 15)
            insert into indexed (slice, position) select slice, 0 from digit;
    ",
    changes: &["
        create table log (one integer primary key check (one = 1), incarnation blob not null) strict;
        insert into log (one, incarnation) values (1, randomblob(16));
    "],
};

/// A generation's read model. Text is compared by its bytes (`binary`, the default), which is the order of a scan. A
/// parked event is JSON beside the columns it is looked for by. A schedule has the columns of an event in the log, its
/// words spelled out: it is soon gone, and the texts with it. The tables of a module that imports `sql` stand beside these,
/// which is why the names begin as no name of a module's may. The view is for operators.
pub(super) const READ_MODEL: Kind = Kind {
    name: "read model",
    application_id: 0x4C_4E_54_52,
    version: 4,
    tables: "
        create table lantern_collection (id integer primary key, name text not null unique) strict;
        create table lantern_document (
            collection integer not null,
            key text not null,
            value text not null,
            primary key (collection, key)
        ) strict, without rowid;
        create view lantern_documents (collection, key, value) as
            select name, key, value from lantern_document join lantern_collection on id = collection
            where name not glob 'lantern:*';
        create table lantern_checkpoint (
            one integer primary key check (one = 1),
            position integer not null,
            event_id blob,
            incarnation blob,
            epoch integer not null,
            module blob not null,
            handled integer not null
        ) strict;
        create table lantern_parked (
            position integer primary key,
            stream text not null,
            standing text not null,
            record text not null
        ) strict;
        create index lantern_parked_stream on lantern_parked (stream) where standing <> 'skipped';
        create table lantern_schedule (
            key text primary key,
            due integer not null,
            id blob not null,
            stream text not null,
            type text not null,
            schema_version integer not null,
            time integer not null,
            content_type text,
            source text,
            tenant text,
            correlation_id text,
            causation_id text,
            actor text,
            trace_id blob,
            span_id integer,
            trace_flags integer,
            trace_state text,
            extra text,
            data any not null
        ) strict;
        create index lantern_schedule_due on lantern_schedule (due, key);
        create index lantern_schedule_event on lantern_schedule (id);
    ",
    changes: &["alter table lantern_checkpoint add column incarnation blob"],
};

/// The journal. An entry is JSON.
pub(super) const JOURNAL: Kind = Kind {
    name: "journal",
    application_id: 0x4C_4E_54_4A,
    version: 2,
    tables: "create table entry (sequence integer primary key, entry text not null) strict;",
    changes: &[],
};

/// The snapshots of aggregates, one a stream.
pub(super) const SNAPSHOTS: Kind = Kind {
    name: "file of snapshots",
    application_id: 0x4C_4E_54_53,
    version: 1,
    tables: "
        create table snapshot (
            stream text primary key,
            category text not null,
            version integer not null,
            state_version integer not null,
            module blob not null,
            taken_at integer not null,
            state blob not null
        ) strict;
        create index snapshot_category on snapshot (category);
    ",
    changes: &[],
};
