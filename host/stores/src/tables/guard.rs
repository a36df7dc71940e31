//! What a connection allows while a statement of somebody else's is prepared and runs on it. The database asks the guard
//! about each table, column and function a statement touches, views and triggers followed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
};

use super::{
    DOCUMENTS, OURS,
    words::{UNSTEADY, instead, is_schema},
};

/// After how many of its steps a statement is asked whether its time is over: some microseconds.
const STEPS: i32 = 1_000;

/// Whose statement a connection works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The host's own: everything is allowed.
    Host,
    /// A module's, during a call: rows of its tables.
    Rows,
    /// A module's migration: its tables and their rows.
    Schema,
    /// An operator's: reading the module's tables and the documents.
    Reader,
}

/// The guard of one connection.
pub(crate) struct Guard {
    shared: Arc<Shared>,
}

struct Shared {
    mode: AtomicU8,
    watch: Mutex<Watch>,
}

/// What is known of the statement at work.
#[derive(Default)]
struct Watch {
    /// When its time is over; `None` while the host's own run.
    until: Option<Instant>,
    is_over: bool,
    /// Why the guard refused something of it.
    refusal: Option<String>,
}

impl Guard {
    /// Sets a guard before a connection. It lets everything pass until somebody enters.
    pub(crate) fn install(connection: &Connection) -> rusqlite::Result<Self> {
        let shared = Arc::new(Shared { mode: AtomicU8::new(Mode::Host as u8), watch: Mutex::default() });
        let asked = shared.clone();
        let modules = tables_of_machinery(connection)?;
        connection.authorizer(Some(move |context: AuthContext<'_>| asked.decide(&context, &modules)))?;
        let asked = shared.clone();
        connection.progress_handler(STEPS, Some(move || asked.is_over()))?;
        Ok(Self { shared })
    }

    /// Begins the work on a statement of somebody else's, which ends at a time, and with what this returns.
    pub(crate) fn enter(&self, mode: Mode, until: Instant) -> Entered<'_> {
        self.shared.mode.store(mode as u8, Ordering::Relaxed);
        *self.shared.watch() = Watch { until: Some(until), ..Watch::default() };
        Entered { shared: &self.shared }
    }
}

/// The work on one statement of somebody else's.
pub(crate) struct Entered<'a> {
    shared: &'a Shared,
}

impl Entered<'_> {
    /// Why the guard refused the statement, if it did.
    pub(super) fn refusal(&self) -> Option<String> {
        self.shared.watch().refusal.clone()
    }

    /// Whether the statement was ended because its time was over.
    pub(super) fn is_over(&self) -> bool {
        self.shared.watch().is_over
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.shared.mode.store(Mode::Host as u8, Ordering::Relaxed);
        *self.shared.watch() = Watch::default();
    }
}

impl Shared {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        // Each change is one assignment.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            mode if mode == Mode::Rows as u8 => Mode::Rows,
            mode if mode == Mode::Schema as u8 => Mode::Schema,
            mode if mode == Mode::Reader as u8 => Mode::Reader,
            _ => Mode::Host,
        }
    }

    fn is_over(&self) -> bool {
        let mut watch = self.watch();
        let is_over = watch.until.is_some_and(|until| Instant::now() >= until);
        watch.is_over |= is_over;
        is_over
    }

    fn decide(&self, context: &AuthContext<'_>, machinery: &BTreeSet<String>) -> Authorization {
        let mode = self.mode();
        if mode == Mode::Host {
            return Authorization::Allow;
        }
        match allowed(mode, context, machinery) {
            Ok(()) => Authorization::Allow,
            Err(reason) => {
                self.watch().refusal.get_or_insert(reason);
                Authorization::Deny
            }
        }
    }
}

/// Whether somebody may do something. The error says what is wrong with it.
fn allowed(mode: Mode, context: &AuthContext<'_>, machinery: &BTreeSet<String>) -> Result<(), String> {
    let changes_schema = mode == Mode::Schema;
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Read { table_name, column_name } => readable(mode, (table_name, column_name), context, machinery),
        AuthAction::Function { function_name } => callable(mode, function_name),
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
            if mode != Mode::Reader =>
        {
            writable(mode, table_name, context)
        }
        // The database makes it itself, for the first table that counts its rows.
        AuthAction::CreateTable { table_name: "sqlite_sequence" } if changes_schema => Ok(()),
        AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
            if changes_schema =>
        {
            own(table_name)
        }
        AuthAction::CreateIndex { index_name: name, table_name }
        | AuthAction::DropIndex { index_name: name, table_name }
        | AuthAction::CreateTrigger { trigger_name: name, table_name }
        | AuthAction::DropTrigger { trigger_name: name, table_name }
            if changes_schema =>
        {
            own(name).and_then(|()| own(table_name))
        }
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } if changes_schema => own(view_name),
        AuthAction::Reindex { index_name } if changes_schema => own(index_name),
        // What the database does itself when a column is added that not every row may have.
        AuthAction::Pragma { pragma_name: "quick_check", .. } if changes_schema => Ok(()),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Err("the transaction is the host's, and ends with the batch".into())
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Err("no other database can be reached: a module has its own tables only".into())
        }
        AuthAction::Pragma { pragma_name, .. } => Err(format!("settings are the host's: `pragma {pragma_name}`")),
        AuthAction::CreateVtable { module_name, .. } | AuthAction::DropVtable { module_name, .. } => {
            Err(format!("there are no virtual tables: `{module_name}`"))
        }
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => {
            Err("there are no temporary tables, views or triggers: nothing may outlive its event unseen".into())
        }
        AuthAction::Analyze { .. } => Err("`analyze` is the host's".into()),
        action => Err(match mode {
            Mode::Reader => format!("a query reads, and changes nothing: {action:?}"),
            Mode::Rows => format!("tables are made and changed by migrations: {action:?}"),
            Mode::Schema | Mode::Host => format!("it is not among what a migration may do: {action:?}"),
        }),
    }
}

fn readable(
    mode: Mode,
    (table, column): (&str, &str),
    context: &AuthContext<'_>,
    machinery: &BTreeSet<String>,
) -> Result<(), String> {
    let lower = table.to_ascii_lowercase();
    if mode == Mode::Schema && (lower.starts_with("sqlite_") || lower == "pragma_quick_check") {
        return Ok(());
    }
    if mode == Mode::Reader {
        if is_schema(&lower) || lower == DOCUMENTS {
            return Ok(());
        }
        // Of a table of which a view needs no column, the database does not say for which view it is.
        let through = context.accessor == Some(DOCUMENTS) || column.is_empty();
        if matches!(lower.as_str(), "lantern_document" | "lantern_collection") && through {
            return Ok(());
        }
    }
    if machinery.contains(&lower) {
        return Err(format!("`{table}` is no table of the module's"));
    }
    here(context)?;
    own(table)
}

fn writable(mode: Mode, table: &str, context: &AuthContext<'_>) -> Result<(), String> {
    // What the database writes itself when tables are made and changed. A module cannot: such tables may not be modified.
    if mode == Mode::Schema && table.to_ascii_lowercase().starts_with("sqlite_") {
        return Ok(());
    }
    here(context)?;
    own(table)
}

fn callable(mode: Mode, function: &str) -> Result<(), String> {
    let lower = function.to_ascii_lowercase();
    if mode != Mode::Reader && UNSTEADY.contains(&lower.as_str()) {
        return Err(instead(&lower));
    }
    // What the database calls itself when tables are changed is out of a module's reach.
    if lower == "load_extension" || (mode != Mode::Schema && lower.starts_with("sqlite_")) {
        return Err(format!("`{function}` is no function for a module"));
    }
    Ok(())
}

/// Refuses what is not in the generation's own schema.
fn here(context: &AuthContext<'_>) -> Result<(), String> {
    match context.database_name {
        None | Some("main") => Ok(()),
        Some(other) => Err(format!("there is no schema `{other}` for a module")),
    }
}

/// Refuses what is the host's or the database's.
fn own(name: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    // The indexes that a table's own constraints make.
    if lower.starts_with("sqlite_autoindex_") && !lower.contains(OURS) {
        return Ok(());
    }
    for prefix in [OURS, "sqlite_", "pragma_"] {
        if lower.starts_with(prefix) {
            return Err(format!("names that begin with `{prefix}` are not the module's: `{name}`"));
        }
    }
    Ok(())
}

/// The names of tables that no file holds: they show the inside of the database. Those that take JSON apart are for all.
fn tables_of_machinery(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    if let Some(names) = NAMES.get() {
        return Ok(names.clone());
    }
    let mut statement = connection.prepare("select lower(name) from pragma_module_list")?;
    let names = statement.query_map((), |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let names = names.into_iter().filter(|name| !matches!(name.as_str(), "json_each" | "json_tree")).collect();
    Ok(NAMES.get_or_init(|| names).clone())
}
