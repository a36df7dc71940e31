//! The words of an SQL text as PostgreSQL reads it, and what may not stand in a statement of a module's.
//!
//! The role a statement runs as can reach the module's own tables and nothing else. What a role may do all the same is
//! refused here: to change roles and settings, to wait, to leave something behind, and to call what gives another answer
//! the next time. A name that could hide one of these, `U&"…"`, is refused too.

/// Whose statement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A module's, during a call: rows of its tables.
    Rows,
    /// A module's migration: its tables and their rows.
    Schema,
    /// An operator's: reading the module's tables and the documents.
    Reader,
}

/// Functions whose answer depends on time, chance, the connection or the server, and those that run a text as a statement.
const UNSTEADY: [&str; 60] = [
    "random",
    "random_normal",
    "setseed",
    "gen_random_uuid",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "gen_random_bytes",
    "gen_salt",
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "age",
    "nextval",
    "currval",
    "lastval",
    "setval",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "txid_snapshot_xmin",
    "txid_snapshot_xmax",
    "txid_status",
    "set_config",
    "current_setting",
    "current_database",
    "current_query",
    "current_schemas",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "version",
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
    "dblink",
    "dblink_exec",
    "dblink_connect",
    "crosstab",
    "connectby",
    "xpath_table",
    "lo_import",
    "lo_export",
    "row_security_active",
];

/// Words that stand for such functions without parentheses.
const MOMENTS: [&str; 11] = [
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
    "session_user",
    "current_role",
    "current_catalog",
    "current_schema",
    "system_user",
];

/// What a migration may begin with, and what may come next where that decides.
const MADE: [&str; 5] = ["table", "index", "unique", "view", "or"];

/// Words that stand for no table column and would hold locks or leave something behind.
const OUTSIDE: [(&str, &str); 8] = [
    ("deferrable", "constraints are checked at once: the commit of a batch must not fail"),
    ("deferred", "constraints are checked at once: the commit of a batch must not fail"),
    ("temp", "there are no temporary tables: nothing may outlive its event unseen"),
    ("temporary", "there are no temporary tables: nothing may outlive its event unseen"),
    ("unlogged", "a table must survive a crash of the server"),
    ("tablesample", "it would not find the same rows a second time"),
    ("concurrently", "a migration runs inside a transaction"),
    ("tablespace", "where tables lie is the host's"),
];

/// A word of an SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A keyword or a plain name, in lower case.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// A text.
    Text,
    /// A parameter, `$1` or another.
    Parameter(usize),
    /// Anything else.
    Sign(char),
}

/// Looks a text over and answers how many parameters it has. The error says which rule it breaks.
pub(super) fn inspect(text: &str, mode: Mode) -> Result<usize, String> {
    let tokens = tokens(text)?;
    let mut statements = tokens.split(|token| *token == Token::Sign(';')).filter(|statement| !statement.is_empty());
    let Some(first) = statements.next() else { return Err("it is empty".into()) };
    begins(first, mode)?;
    for statement in statements {
        if mode != Mode::Schema {
            return Err("it consists of several statements: hand them over one by one".into());
        }
        begins(statement, mode)?;
    }
    for (index, token) in tokens.iter().enumerate() {
        let (Token::Word(word) | Token::Name(word)) = token else { continue };
        let is_call = tokens.get(index + 1) == Some(&Token::Sign('('));
        allowed(word, matches!(token, Token::Word(_)), is_call, mode)?;
    }
    let numbers =
        tokens.iter().filter_map(|token| if let Token::Parameter(number) = token { Some(*number) } else { None });
    Ok(numbers.max().unwrap_or(0))
}

/// Whether a statement begins as it may.
fn begins(statement: &[Token], mode: Mode) -> Result<(), String> {
    let word = |place: usize| match statement.get(place) {
        Some(Token::Word(word)) => word.as_str(),
        _ => "",
    };
    let (first, second) = (word(0), word(1));
    let reads = matches!(first, "select" | "values" | "with");
    let writes = matches!(first, "insert" | "update" | "delete" | "merge");
    let makes = matches!(first, "create" | "drop" | "alter") && MADE.contains(&second);
    let fits = match mode {
        Mode::Reader => reads,
        Mode::Rows => reads || writes,
        Mode::Schema => reads || writes || makes,
    };
    if fits {
        return Ok(());
    }
    let begins = if second.is_empty() { first.to_owned() } else { format!("{first} {second}") };
    Err(match (mode, first) {
        (Mode::Reader, _) => format!("it begins with `{begins}`: queries begin with `select`, `with` or `values`"),
        (Mode::Rows, "create" | "drop" | "alter") => {
            format!(
                "it begins with `{begins}`: tables are made and changed by the migrations of the module's description"
            )
        }
        (_, "begin" | "start" | "commit" | "end" | "abort" | "rollback" | "savepoint" | "release" | "prepare") => {
            format!("it begins with `{begins}`: the transaction is the host's, and ends with the batch")
        }
        (_, "set" | "reset" | "show" | "discard") => format!("it begins with `{begins}`: settings are the host's"),
        (Mode::Schema, _) => format!("it begins with `{begins}`: a migration makes tables, indexes and views"),
        _ => format!("it begins with `{begins}`: only `select`, `insert`, `update`, `delete`, `with` and `values` may"),
    })
}

/// Whether a word may stand in a statement.
fn allowed(word: &str, is_plain: bool, is_call: bool, mode: Mode) -> Result<(), String> {
    let lower = word.to_ascii_lowercase();
    if mode == Mode::Reader && lower == "lantern_documents" {
        return Ok(());
    }
    for prefix in ["lantern_", "pg_", "information_schema"] {
        if lower.starts_with(prefix) {
            return Err(format!("names that begin with `{prefix}` are not the module's: `{word}`"));
        }
    }
    if is_call && matches!(lower.as_str(), "set_config" | "query_to_xml" | "dblink" | "dblink_exec" | "lo_import") {
        return Err(format!("`{word}` is no function for a module"));
    }
    if is_call && UNSTEADY.contains(&lower.as_str()) || is_plain && MOMENTS.contains(&lower.as_str()) {
        let mend = "hand what it would give over as a parameter, or leave it out";
        return Err(format!("`{word}` does not give the same answer a second time: {mend}"));
    }
    match OUTSIDE.iter().find(|(outside, _)| is_plain && *outside == lower) {
        Some((_, reason)) if mode != Mode::Reader => Err(format!("`{word}` is refused: {reason}")),
        _ => Ok(()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '-' if rest.starts_with("--") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '\'' => {
                tokens.push(Token::Text);
                quoted(rest, '\'', false).1
            }
            '"' => {
                let (inside, length) = quoted(rest, '"', false);
                tokens.push(Token::Name(inside));
                length
            }
            '$' => match (number(&rest[1..]), dollars(rest)) {
                (Some((number, length)), _) => {
                    tokens.push(Token::Parameter(number));
                    length + 1
                }
                (None, Some(length)) => {
                    tokens.push(Token::Text);
                    length
                }
                (None, None) => 1,
            },
            _ if is_letter(first) => {
                let length = rest.find(|c| !is_letter(c) && !c.is_ascii_digit() && c != '$').unwrap_or(rest.len());
                let word = rest[..length].to_lowercase();
                let next = rest[length..].chars().next();
                match (word.as_str(), next) {
                    ("u", Some('&')) if rest[length + 1..].starts_with(['"', '\'']) => {
                        return Err("names and texts with `U&` are refused: write the characters themselves".into());
                    }
                    ("e", Some('\'')) => {
                        tokens.push(Token::Text);
                        length + quoted(&rest[length..], '\'', true).1
                    }
                    ("b" | "x" | "n", Some('\'')) => length,
                    _ => {
                        tokens.push(Token::Word(word));
                        length
                    }
                }
            }
            _ if first.is_ascii_digit() => rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()),
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// The number a text begins with, and how many digits it has.
fn number(text: &str) -> Option<(usize, usize)> {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..length].parse().ok()?, length))
}

/// How long the comment is that a text begins with. Comments may stand in each other.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        at += match rest {
            "" => return at,
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        if depth == 0 {
            return at;
        }
    }
}

/// How long the text in dollars is that a text begins with: `$tag$ … $tag$`. A parameter, `$1`, is none.
fn dollars(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[1..end - 1];
    let is_tag =
        tag.chars().all(|c| is_letter(c) || c.is_ascii_digit()) && !tag.starts_with(|c: char| c.is_ascii_digit());
    let close = &text[..end];
    is_tag.then(|| text[end..].find(close).map_or(text.len(), |found| end + found + close.len()))
}

/// What stands in the quotes a text begins with, and how long all of it is. Without an end it is the whole text.
fn quoted(text: &str, quote: char, escapes: bool) -> (String, usize) {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((index, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character != quote {
            inside.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            return (inside, index + quote.len_utf8());
        }
    }
    (inside, text.len())
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_names_and_texts_are_told_apart() {
        let word = |text: &str| Token::Word(text.into());
        let found =
            tokens("Select $1, \"a\"\"B\" /* x /* y */ z */ from $t$ ; random() $t$ -- q\n, e'\\'; x' where").unwrap();
        let wanted = [
            word("select"),
            Token::Parameter(1),
            Token::Sign(','),
            Token::Name("a\"B".into()),
            word("from"),
            Token::Text,
            Token::Sign(','),
            Token::Text,
            word("where"),
        ];
        assert_eq!(found, wanted);
        assert!(tokens("select U&\"\\0070g_authid\"").is_err());
    }

    #[test]
    fn a_text_that_breaks_a_rule_is_refused_with_the_rule() {
        for (text, part) in [
            ("", "empty"),
            ("set role none", "settings"),
            ("reset role", "settings"),
            ("copy t to program 'x'", "`copy t`"),
            ("do $$ begin end $$", "`do`"),
            ("commit", "ends with the batch"),
            ("create table t (a int)", "migrations"),
            ("select 1; select 2", "several statements"),
            ("select set_config('role', 'none', true)", "no function"),
            ("select \"set_config\" ('role', 'none', true)", "no function"),
            ("select pg_catalog.set_config('role', 'none', true)", "`pg_"),
            ("select pg_sleep(10)", "`pg_"),
            ("select query_to_xml('select 1', true, true, '')", "no function"),
            ("select now()", "second time"),
            ("select current_timestamp", "second time"),
            ("select random()", "second time"),
            ("select * from information_schema.tables", "`information_schema"),
            ("select * from lantern_documents", "`lantern_"),
            ("select * from t tablesample system (1)", "same rows"),
        ] {
            let refused = inspect(text, Mode::Rows).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
        for text in [
            "create function f() returns int language sql as 'select 1'",
            "create table t (a int); commit; begin",
            "create temp table t (a int)",
            "create table t (a int default random())",
            "create table t (a timestamptz default now())",
            "create table t (a int references u deferrable)",
            "create extension dblink",
            "alter role x superuser",
            "grant all on t to public",
            "create trigger t after insert on t execute function f()",
        ] {
            assert!(inspect(text, Mode::Schema).is_err(), "{text}");
        }
        assert!(inspect("delete from t", Mode::Reader).is_err());
    }

    #[test]
    fn what_only_looks_like_it_is_allowed() {
        for text in [
            "select now, random, \"version\" from t where age = $1;",
            "select 'set role; random() pg_sleep' from t",
            "insert into t (a) values ($1) on conflict (a) do update set a = excluded.a returning a",
        ] {
            assert!(inspect(text, Mode::Rows).is_ok(), "{text}");
        }
        assert_eq!(inspect("select $2, $10 from lantern_documents", Mode::Reader), Ok(10));
        let tables = "create table t (a int); create index i on t (a); insert into t values (1)";
        assert_eq!(inspect(tables, Mode::Schema), Ok(0));
    }
}
