//! `sql`: queries of the tables that the module of a projection or handler made.

use clap::Args;
use lantern_core::{Kind, Name};
use serde::Deserialize;
use serde_json::Value;

use super::{
    change::folder,
    client::Client,
    failure::Failure,
    output::{Output, table},
    query::cell,
};
use crate::http::QueryBody;

/// Query its SQL tables, and its documents as the view `lantern_documents`.
#[derive(Debug, Args)]
pub(super) struct Sql {
    name: Name,
    /// One statement that reads, for example "select * from orders".
    statement: String,
    /// The value of $1, $2 …, as JSON or else as a text; may be repeated.
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    parameters: Vec<String>,
    /// At most so many rows; a query that finds more is refused.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Wait until it has handled this position.
    #[arg(long, value_name = "POSITION")]
    min_position: Option<u64>,
}

impl Sql {
    pub(super) async fn run(self, kind: Kind, client: &Client, output: Output) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Found {
            columns: Vec<String>,
            rows: Vec<Vec<Value>>,
        }

        let Self { name, statement, parameters, limit, min_position } = self;
        let parameters = parameters.iter().map(|text| parameter(text)).collect();
        let body = QueryBody { statement, parameters, limit, min_position, timeout: None };
        let answer = client.post(&[folder(kind), name.as_str(), "sql"], &[], &body).await?;
        output.show(&answer.text, || {
            let Found { columns, rows } = answer.read()?;
            let header: Vec<&str> = columns.iter().map(String::as_str).collect();
            Ok(table(&header, rows.iter().map(|row| row.iter().map(cell)), "no rows"))
        })
    }
}

fn parameter(text: &str) -> Value {
    let read = serde_json::from_str(text).ok();
    read.filter(|value: &Value| !value.is_array() && !value.is_object()).unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_json_or_else_texts() {
        let read = ["7", "-0.5", "true", "null", "\"7\"", "Order-1", "[1]", ""].map(parameter);
        assert_eq!(
            read,
            [json!(7), json!(-0.5), json!(true), json!(null), json!("7"), json!("Order-1"), json!("[1]"), json!("")]
        );
    }
}
