//! What `deploy` has in common for modules of all kinds: the module, its configuration, its limits.

use std::collections::BTreeMap;

use clap::Args;
use lantern_core::{Digest, Kind, Name};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{change::folder, client::Client, failure::Failure, module::meant, output::Output};

/// The body of a deployment.
pub(super) type Body = Map<String, Value>;

/// What is deployed, and with what.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Its name: 1 to 64 letters, digits, `_` and `-`.
    name: Name,
    /// A digest, its first six or more digits, or a file, which is pushed first.
    #[arg(long, value_name = "DIGEST|FILE")]
    module: String,
    /// What the module reads as its configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// How long a call may take, in milliseconds.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    deadline_ms: Option<u64>,
    /// How much memory an instance may have, in bytes.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    memory_bytes: Option<u64>,
    /// How many elements the tables of an instance may have.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    table_elements: Option<u64>,
    /// How many bytes a call may hand to the host.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    host_call_bytes: Option<u64>,
    /// How many log lines are kept of a call.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    log_lines: Option<u32>,
    /// How many spans are kept of a call.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    spans: Option<u32>,
    /// How many bytes of the body of an HTTP answer a handler may read.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    http_body_bytes: Option<u64>,
    /// How many rows an SQL query may find.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    sql_rows: Option<u64>,
    /// How many bytes the rows of an SQL query, or any value of a statement, may have.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    sql_bytes: Option<u64>,
    /// How long the SQL statements of a call may run together, in milliseconds.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    sql_ms: Option<u64>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.into(), value.into())).ok_or_else(|| "write KEY=VALUE".into())
}

impl Settings {
    /// The members of the body that all kinds have. A file is pushed first.
    pub(super) async fn body(self, client: &Client) -> Result<Body, Failure> {
        let module = meant(client, &self.module).await?;
        let config: Body = self.config.into_iter().map(|(key, value)| (key, value.into())).collect();
        let limits = given([
            ("deadline_ms", self.deadline_ms.map(Value::from)),
            ("memory_bytes", self.memory_bytes.map(Value::from)),
            ("table_elements", self.table_elements.map(Value::from)),
            ("host_call_bytes", self.host_call_bytes.map(Value::from)),
            ("http_body_bytes", self.http_body_bytes.map(Value::from)),
            ("sql_rows", self.sql_rows.map(Value::from)),
            ("sql_bytes", self.sql_bytes.map(Value::from)),
            ("sql_ms", self.sql_ms.map(Value::from)),
            ("log_lines", self.log_lines.map(Value::from)),
            ("spans", self.spans.map(Value::from)),
        ]);
        let members: [(&str, Value); 4] = [
            ("name", self.name.as_str().into()),
            ("module", module.into()),
            ("config", config.into()),
            ("limits", limits.into()),
        ];
        Ok(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// A configuration as it is shown, one pair a line.
pub(super) fn pairs(config: &BTreeMap<String, String>) -> String {
    config.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n")
}

/// What was given; the rest is the host's to know.
pub(super) fn given<const N: usize>(settings: [(&str, Option<Value>); N]) -> Body {
    settings.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect()
}

/// Deploys, and tells what runs now.
pub(super) async fn deploy(client: &Client, output: Output, kind: Kind, body: &Body) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Deployed {
        name: Name,
        module: Digest,
        description: Described,
    }

    #[derive(Deserialize)]
    struct Described {
        name: String,
        version: String,
    }

    let answer = client.post(&[folder(kind)], &[], body).await?;
    output.show(&answer.text, || {
        let Deployed { name, module, description: Described { name: module_name, version } } = answer.read()?;
        Ok(format!("{kind} {name} runs {module_name} {version} (module {})", module.short()))
    })
}
