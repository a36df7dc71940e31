//! The words of an SQL text, and what can be told from them. What is refused here is refused with a reason people
//! understand; what cannot be told from words is the guard's.

use super::{DOCUMENTS, Mode, OURS};

/// Functions whose answer depends on time, chance, the connection or the machine. Dates are among them because of `now`
/// and `localtime`: a module has the time of its event.
pub(super) const UNSTEADY: [&str; 16] = [
    "random",
    "randomblob",
    "date",
    "time",
    "datetime",
    "julianday",
    "strftime",
    "unixepoch",
    "timediff",
    "current_date",
    "current_time",
    "current_timestamp",
    "last_insert_rowid",
    "changes",
    "total_changes",
    "load_extension",
];

/// What to do instead of calling a function that is not steady.
pub(super) fn instead(function: &str) -> String {
    let mend = match function {
        "last_insert_rowid" | "changes" | "total_changes" => "add `returning` to the statement, or count its rows",
        "random" | "randomblob" => "hand a number of the module's own over as a parameter",
        "load_extension" => "there are no extensions",
        _ => "hand the time of the event over as a parameter",
    };
    format!("`{function}` does not give the same answer a second time: {mend}")
}

/// A word of an SQL text.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A keyword or a plain name, in lower case.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// A text in single quotes.
    Text(String),
    /// Anything else: an operator, a digit, a parenthesis.
    Sign(char),
}

/// Looks a text over. The error says which rule it breaks.
pub(super) fn inspect(text: &str, mode: Mode) -> Result<(), String> {
    let tokens = tokens(text);
    let Some(first) = tokens.iter().find(|token| !matches!(token, Token::Sign(';'))) else {
        return Err("it is empty".into());
    };
    if let Some(allowed) = beginnings(mode)
        && !matches!(first, Token::Word(word) if allowed.contains(&word.as_str()))
    {
        return Err(beginning(first, mode));
    }
    let mut rest = tokens.iter().skip_while(|token| !matches!(token, Token::Sign(';')));
    if mode != Mode::Schema && rest.any(|token| !matches!(token, Token::Sign(';'))) {
        return Err("it consists of several statements: hand them over one by one".into());
    }
    for (index, token) in tokens.iter().enumerate() {
        let (Token::Word(word) | Token::Name(word)) = token else { continue };
        let is_plain = matches!(token, Token::Word(_));
        let lower = word.to_ascii_lowercase();
        if mode != Mode::Reader {
            steady(&lower, is_plain, tokens.get(index + 1))?;
        }
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        let refers = matches!(before, Some(Token::Word(before)) if before == "references");
        reserved(&lower, mode, refers)?;
    }
    // A name may also stand in single quotes where a table is referred to.
    for pair in tokens.windows(2) {
        if let [Token::Word(word), Token::Text(name)] = pair
            && word == "references"
        {
            reserved(&name.to_ascii_lowercase(), mode, true)?;
        }
    }
    Ok(())
}

/// Whether a statement reads only, as far as its first word tells.
fn beginnings(mode: Mode) -> Option<&'static [&'static str]> {
    match mode {
        Mode::Host | Mode::Schema => None,
        Mode::Rows => Some(&["select", "values", "with", "insert", "replace", "update", "delete"]),
        Mode::Reader => Some(&["select", "values", "with"]),
    }
}

fn beginning(first: &Token, mode: Mode) -> String {
    let word = match first {
        Token::Word(word) | Token::Name(word) | Token::Text(word) => word.clone(),
        Token::Sign(sign) => sign.to_string(),
    };
    match (mode, word.as_str()) {
        (Mode::Reader, _) => format!("it begins with `{word}`: queries begin with `select`, `with` or `values`"),
        (_, "create" | "drop" | "alter") => {
            format!(
                "it begins with `{word}`: tables are made and changed by the migrations of the module's description"
            )
        }
        (_, "begin" | "commit" | "end" | "rollback" | "savepoint" | "release") => {
            format!("it begins with `{word}`: the transaction is the host's, and ends with the batch")
        }
        _ => format!(
            "it begins with `{word}`: only `select`, `insert`, `update`, `delete`, `replace`, `with` and `values` may"
        ),
    }
}

/// Refuses what would not do the same a second time, or would end the transaction.
fn steady(word: &str, is_plain: bool, next: Option<&Token>) -> Result<(), String> {
    let is_call = matches!(next, Some(Token::Sign('(')));
    let is_time = is_plain && word.starts_with("current_");
    if UNSTEADY.contains(&word) && (is_call || is_time) {
        return Err(instead(word));
    }
    match word {
        "rollback" if is_plain => {
            Err("`rollback` would end the host's transaction: use `abort`, `fail`, `ignore` or `replace`".into())
        }
        "deferred" | "deferrable" if is_plain => {
            Err(format!("`{word}` would let a batch fail at its commit: constraints are checked at once"))
        }
        _ => Ok(()),
    }
}

/// Refuses names that are the host's or the database's own.
fn reserved(word: &str, mode: Mode, refers: bool) -> Result<(), String> {
    let readable = mode == Mode::Reader && (word == DOCUMENTS || is_schema(word));
    if readable && !refers {
        return Ok(());
    }
    for prefix in [OURS, "sqlite_", "pragma_"] {
        if word.starts_with(prefix) {
            return Err(format!("names that begin with `{prefix}` are not the module's: `{word}`"));
        }
    }
    Ok(())
}

/// Whether a name is that of the table of all tables.
pub(super) fn is_schema(name: &str) -> bool {
    matches!(name, "sqlite_schema" | "sqlite_master")
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            '\'' | '"' | '`' | '[' => {
                let (inside, length) = quoted(rest, first);
                tokens.push(if first == '\'' { Token::Text(inside) } else { Token::Name(inside) });
                length
            }
            _ if is_letter(first) => {
                let length = rest.find(|c| !is_letter(c) && !c.is_ascii_digit()).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_ascii_lowercase()));
                length
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
    tokens
}

/// What stands in the quotes a text begins with, and how long all of it is. Without an end it is the whole text.
fn quoted(text: &str, open: char) -> (String, usize) {
    let close = if open == '[' { ']' } else { open };
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((index, character)) = characters.next() {
        if character != close {
            inside.push(character);
        } else if open != '[' && characters.next_if(|(_, next)| *next == close).is_some() {
            inside.push(close);
        } else {
            return (inside, index + close.len_utf8());
        }
    }
    (inside, text.len())
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == '$' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_names_and_texts_are_told_apart() {
        let found = tokens("Select \"a\"\"b\", [c d], `e` from t -- x\n where '';' /* y */ = 12e3");
        let word = |text: &str| Token::Word(text.into());
        let name = |text: &str| Token::Name(text.into());
        assert_eq!(found[..4], [word("select"), name("a\"b"), Token::Sign(','), name("c d")]);
        assert!(found.contains(&word("where")) && !found.contains(&word("x")) && !found.contains(&word("y")));
        assert_eq!(tokens("'it''s"), [Token::Text("it's".into())]);
    }

    #[test]
    fn a_text_that_breaks_a_rule_is_refused_with_the_rule() {
        let refused = |text: &str, mode| inspect(text, mode).unwrap_err();
        for (text, part) in [
            ("", "empty"),
            (" ; -- nothing", "empty"),
            ("pragma foreign_keys = off", "`pragma`"),
            ("attach 'x' as y", "`attach`"),
            ("create table t (a)", "migrations"),
            ("commit", "ends with the batch"),
            ("select 1; select 2", "several statements"),
            ("select random()", "`random`"),
            ("select \"random\" ()", "`random`"),
            ("select date('now')", "time of the event"),
            ("select current_timestamp", "`current_timestamp`"),
            ("select last_insert_rowid()", "`returning`"),
            ("insert or rollback into t values (1)", "`abort`"),
            ("select * from lantern_parked", "`lantern_"),
            ("select * from \"LANTERN_Parked\"", "`lantern_"),
            ("select * from sqlite_master", "`sqlite_"),
            ("select * from pragma_table_info('t')", "`pragma_"),
        ] {
            assert!(refused(text, Mode::Rows).contains(part), "{text}");
        }
        for text in [
            "create table t (a references lantern_parked (position))",
            "create table t (a references 'lantern_parked')",
            "create table t (a references [lantern_parked])",
            "create table t (a integer references b deferrable initially deferred)",
            "create table t (a default (random()))",
            "create table t (a default current_timestamp)",
            "create table t (a unique on conflict rollback)",
        ] {
            assert!(inspect(text, Mode::Schema).is_err(), "{text}");
        }
        assert!(refused("delete from t", Mode::Reader).contains("`select`"));
    }

    #[test]
    fn what_only_looks_like_it_is_allowed() {
        for text in [
            "select date, \"time\" from t where random = 1;",
            "select 'rollback; sqlite_master random()' from t",
            "insert into t (a) values (?1) on conflict do update set a = excluded.a",
            "with recursive n (x) as (select 1) select x from n",
        ] {
            assert_eq!(inspect(text, Mode::Rows), Ok(()), "{text}");
        }
        assert_eq!(inspect("select * from lantern_documents, sqlite_schema", Mode::Reader), Ok(()));
        assert_eq!(inspect("create table t (date text); create index i on t (date)", Mode::Schema), Ok(()));
    }
}
