//! A projection with SQL tables: it keeps accounts and what was posted to them, and runs whatever statements an event has.

use lantern_guest::{prelude::*, sql::Migration};

/// What became of the statements of an event, by its position.
const ANSWERS: Collection<Vec<String>> = Collection::new("answers");

struct Bookkeeper;

#[derive(Deserialize)]
enum Data {
    /// An amount is posted to an account.
    Posted { account: String, amount: i64 },
    /// Statements are run, one after the other; then the call may fail.
    Ran {
        statements: Vec<String>,
        #[serde(default)]
        then: Then,
    },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Then {
    #[default]
    Succeed,
    Fail,
    Panic,
}

impl Projection for Bookkeeper {
    const NAME: &str = "bookkeeper";
    const COLLECTIONS: &[&str] = &[ANSWERS.name()];
    const MIGRATIONS: &[Migration] = &[
        Migration::new("accounts", "create table account (name text primary key, balance bigint not null)"),
        Migration::new(
            "postings",
            "create table posting (
                 position bigint primary key,
                 account text not null references account (name),
                 amount bigint not null
             );
             create index posting_account on posting (account)",
        ),
    ];
    type Data = Data;

    fn handle(event: &Event, data: Data) -> Result<(), Failure> {
        match data {
            Data::Posted { account, amount } => post(event, &account, amount),
            Data::Ran { statements, then } => {
                let answers = statements.iter().map(|statement| answer(statement)).collect::<Vec<_>>();
                ANSWERS.put(event.position().to_string(), &answers)?;
                match then {
                    Then::Succeed => Ok(()),
                    Then::Fail => Err(Failure::permanent("it was told to fail")),
                    Then::Panic => panic!("it was told to panic"),
                }
            }
        }
    }
}

/// The balance is read, changed and written, so that each posting has to see those before it.
fn post(event: &Event, account: &str, amount: i64) -> Result<(), Failure> {
    let before = sql::query_one("select balance from account where name = $1", params![account])?;
    let before: i64 = before.map_or(Ok(0), |row| row.get(0))?;
    sql::execute(
        "insert into account (name, balance) values ($1, $2) on conflict (name) do update set balance = excluded.balance",
        params![account, before + amount],
    )?;
    sql::execute(
        "insert into posting (position, account, amount) values ($1, $2, $3)",
        params![event.position(), account, amount],
    )?;
    if before + amount < 0 {
        return Err(Failure::permanent(format!("the account {account} would be overdrawn")));
    }
    Ok(())
}

/// What becomes of a statement, as text.
fn answer(statement: &str) -> String {
    match sql::query(statement, params![]) {
        Ok(rows) => rows.iter().map(|row| format!("{:?}", row.values())).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

lantern_guest::projection!(Bookkeeper);
