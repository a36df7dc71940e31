//! The bookkeeper with a table more: a swap to it changes the tables between two events.

use lantern_guest::{prelude::*, sql::Migration};

struct Bookkeeper;

#[derive(Deserialize)]
enum Data {
    Posted { account: String, amount: i64 },
}

impl Projection for Bookkeeper {
    const NAME: &str = "bookkeeper";
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
        Migration::new(
            "how many",
            "alter table account add column postings bigint not null default 0;
             update account set postings = (select count(*) from posting where posting.account = account.name)",
        ),
    ];
    type Data = Data;

    fn handle(event: &Event, Data::Posted { account, amount }: Data) -> Result<(), Failure> {
        sql::execute(
            "insert into account (name, balance, postings) values ($1, $2, 1)
             on conflict (name) do update set balance = account.balance + excluded.balance, postings = account.postings + 1",
            params![&account, amount],
        )?;
        sql::execute(
            "insert into posting (position, account, amount) values ($1, $2, $3)",
            params![event.position(), &account, amount],
        )?;
        Ok(())
    }
}

lantern_guest::projection!(Bookkeeper);
