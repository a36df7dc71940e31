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

/// What a writer has to know: where the log ends, the versions of streams, and where events with some ids stand.
///
/// `append` writes events if the log still ends where the caller saw it end ($1), has none of their ids, and some of the
/// streams ($2) have the versions that the caller only assumes ($3, null where it knows): the turn, the look, the insert and
/// the commit, which waits for the disk, in one round trip. It answers nothing then, and the facts if it wrote nothing. Each
/// statement sees what was committed before it, so the look sees what was written while the turn was waited for.
pub(super) const APPEND: &str = "
    create function facts(text[], uuid[]) returns table (head bigint, versions bigint[], positions bigint[])
    language sql stable as $$
        select
            (select coalesce(max(position), 0) from event),
            array(
                select coalesce((select max(version) from event where stream = wanted.name), 0)
                from unnest($1) with ordinality as wanted (name, place) order by place
            ),
            array(select position from event where id = any ($2))
    $$;
    create function append(
        bigint, text[], bigint[], bigint[], bigint[], uuid[], text[], text[], bigint[], bigint[], text[], bytea[],
        text[], text[], text[], text[], text[], uuid[], bigint[], smallint[], text[], text[]
    ) returns table (head bigint, versions bigint[], positions bigint[]) language plpgsql as $$
    begin
        perform set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
            else current_setting('synchronous_commit') end, true);
        perform from log for update;
        if (select coalesce(max(position), 0) from event) <> $1
            or exists (select from event where id = any ($6))
            or exists (
                select from unnest($2, $3) as assumed (name, number) where number is not null
                and number <> (select coalesce(max(version), 0) from event where stream = name)
            )
        then
            return query select * from facts($2, $6);
            return;
        end if;
        insert into event (position, version, id, stream, type, schema_version, time, content_type, data,
                source, tenant, correlation_id, causation_id, actor, trace_id, span_id, trace_flags, trace_state, extra)
            select * from
                unnest($4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22);
    end
    $$;
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

/// The hosts and their leases. A call of `beat` is all a host does a second; it takes a lock, so that two never disagree,
/// and has to be one statement, so that no host can be frozen while it holds it. It need not reach the disk at once: what
/// a crash of the server takes back is said again a second later.
pub(super) const HOSTS: &str = "
    create table host (
        id uuid primary key,
        arrival bigint not null generated always as identity,
        name text not null,
        address text not null,
        started_at bigint not null,
        seen_at timestamptz not null,
        until timestamptz not null
    );
    create table lease (
        unit text primary key collate \"C\",
        host uuid,
        epoch bigint not null,
        until timestamptz not null
    );
    create function roll(moment timestamptz) returns text language sql as $$
        select json_build_object(
            'hosts', (select coalesce(json_agg(json_build_object(
                'id', id, 'name', name, 'address', address, 'started_at', started_at,
                'seen_at', (extract(epoch from seen_at) * 1000000)::bigint, 'is_live', until > moment
            ) order by arrival), '[]') from host),
            'leases', (select coalesce(json_agg(json_build_object(
                'unit', unit, 'host', host, 'epoch', epoch, 'is_over', until <= moment
            ) order by unit), '[]') from lease where host is not null)
        )::text
    $$;
    create function beat(
        own uuid, own_name text, own_address text, own_start bigint, lasting interval, released text[], taken text[]
    ) returns text language plpgsql as $$
    declare
        moment timestamptz;
    begin
        perform set_config('synchronous_commit', 'off', true);
        perform pg_advisory_xact_lock(hashtextextended('lantern hosts of ' || current_schema(), 0));
        moment := clock_timestamp();
        insert into host (id, name, address, started_at, seen_at, until)
            values (own, own_name, own_address, own_start, moment, moment + lasting)
            on conflict (id) do update set seen_at = excluded.seen_at, until = excluded.until;
        delete from host where seen_at < moment - interval '10 minutes';
        update lease set host = null where host = own and unit = any (released);
        update lease set until = moment + lasting where host = own;
        insert into lease (unit, host, epoch, until)
            select distinct unit, own, 1, moment + lasting from unnest(taken) as wanted (unit)
            on conflict (unit) do update
            set host = excluded.host, epoch = lease.epoch + 1, until = excluded.until
            where lease.host is null or (lease.host <> own and lease.until <= moment);
        return roll(moment);
    end
    $$;
    create function leave(own uuid) returns void language plpgsql as $$
    begin
        perform pg_advisory_xact_lock(hashtextextended('lantern hosts of ' || current_schema(), 0));
        delete from host where id = own;
        update lease set host = null where host = own;
    end
    $$;
";

/// What a host can run that not every host can: it says so with each beat.
pub(super) const ABLE_HOSTS: &str = "
    alter table host add column able text[] not null default '{}';
    create or replace function roll(moment timestamptz) returns text language sql as $$
        select json_build_object(
            'hosts', (select coalesce(json_agg(json_build_object(
                'id', id, 'name', name, 'address', address, 'started_at', started_at, 'able', able,
                'seen_at', (extract(epoch from seen_at) * 1000000)::bigint, 'is_live', until > moment
            ) order by arrival), '[]') from host),
            'leases', (select coalesce(json_agg(json_build_object(
                'unit', unit, 'host', host, 'epoch', epoch, 'is_over', until <= moment
            ) order by unit), '[]') from lease where host is not null)
        )::text
    $$;
    drop function beat(uuid, text, text, bigint, interval, text[], text[]);
    create function beat(
        own uuid, own_name text, own_address text, own_start bigint, lasting interval, own_able text[],
        released text[], taken text[]
    ) returns text language plpgsql as $$
    declare
        moment timestamptz;
    begin
        perform set_config('synchronous_commit', 'off', true);
        perform pg_advisory_xact_lock(hashtextextended('lantern hosts of ' || current_schema(), 0));
        moment := clock_timestamp();
        insert into host (id, name, address, started_at, able, seen_at, until)
            values (own, own_name, own_address, own_start, own_able, moment, moment + lasting)
            on conflict (id) do update set seen_at = excluded.seen_at, until = excluded.until, able = excluded.able;
        delete from host where seen_at < moment - interval '10 minutes';
        update lease set host = null where host = own and unit = any (released);
        update lease set until = moment + lasting where host = own;
        insert into lease (unit, host, epoch, until)
            select distinct unit, own, 1, moment + lasting from unnest(taken) as wanted (unit)
            on conflict (unit) do update
            set host = excluded.host, epoch = lease.epoch + 1, until = excluded.until
            where lease.host is null or (lease.host <> own and lease.until <= moment);
        return roll(moment);
    end
    $$;
";

/// The modules: their bytes, and their records as JSON.
pub(super) const MODULES: &str = "
    create table module (digest text primary key collate \"C\", record text not null, bytes bytea not null);
    alter table module alter column bytes set storage external;
";
