//! Postings to accounts, and what the tables of `bookkeeper` must be after them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Host, events::event};

/// The posting of an amount to an account, event `n`.
pub fn posted(n: u64, account: &str, amount: i64) -> Value {
    event(n, &format!("Account-{account}"), "Posted", json!({ "account": account, "amount": amount }))
}

/// Postings to some accounts in turn, the ids from `first` on. None of them overdraws an account.
pub fn postings(first: u64, count: u64) -> Vec<Value> {
    (first..first + count).map(|n| posted(n, &format!("a{}", n % 5), (n % 97) as i64)).collect()
}

impl Host {
    /// The rows a query of a projection's tables finds.
    #[track_caller]
    pub fn rows(&self, name: &str, statement: &str) -> Vec<Value> {
        let answer =
            self.post(&format!("/api/v1/projections/{name}/sql"), &json!({ "statement": statement, "limit": 10000 }));
        answer.ok()["rows"].as_array().unwrap().clone()
    }

    /// The balances a fold of the log gives; events at these positions are left out.
    pub fn folded(&self, left_out: &[u64]) -> BTreeMap<String, i64> {
        let mut balances = BTreeMap::new();
        // Positions are dense.
        for (line, position) in self.exported().lines().zip(1_u64..) {
            let event: Value = serde_json::from_str(line).unwrap();
            if event["type"] == "Posted" && !left_out.contains(&position) {
                let account = event["data"]["account"].as_str().unwrap().to_owned();
                *balances.entry(account).or_default() += event["data"]["amount"].as_i64().unwrap();
            }
        }
        balances
    }

    /// Asserts that the tables of a bookkeeper are what the log says.
    #[track_caller]
    pub fn check_ledger(&self, name: &str, left_out: &[u64]) {
        let pair = |row: Value| (row[0].as_str().unwrap().to_owned(), row[1].as_i64().unwrap());
        let balances: BTreeMap<_, _> =
            self.rows(name, "select name, balance from account").into_iter().map(pair).collect();
        assert_eq!(balances, self.folded(left_out));
        let sums = "select account, cast(sum(amount) as bigint) from posting group by account";
        let sums: BTreeMap<_, _> = self.rows(name, sums).into_iter().map(pair).collect();
        assert_eq!(sums, balances, "each posting has its row");
    }
}
