//! `lantern projection deploy`: a module becomes a running projection.

use clap::{Args, ValueEnum};
use lantern_core::Name;
use lantern_processors::Status;
use serde_json::{Map, Value, json};

use super::{client::Client, failure::Failure, module::meant, output::Output};

/// Deploy a projection.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// Its name: 1 to 64 letters, digits, `_` and `-`.
    name: Name,
    /// A digest, its first six or more digits, or a file, which is pushed first.
    #[arg(long, value_name = "DIGEST|FILE")]
    module: String,
    /// Where it begins: beginning, end, or after:N for the events after position N.
    #[arg(long, default_value = "beginning")]
    from: String,
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
    /// What happens to an event that cannot be handled.
    #[arg(long, value_enum, help_heading = "Failures")]
    on_failure: Option<OnFailure>,
    /// How often an event is tried that fails with a transient failure.
    #[arg(long, value_name = "N", help_heading = "Failures")]
    attempts: Option<u32>,
    /// The pause after the first failure, in milliseconds; doubled with every further one.
    #[arg(long, value_name = "N", help_heading = "Failures")]
    backoff_ms: Option<u64>,
    /// The longest pause, in milliseconds.
    #[arg(long, value_name = "N", help_heading = "Failures")]
    max_backoff_ms: Option<u64>,
}

/// What happens to an event that cannot be handled.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnFailure {
    /// It is parked with its stream; other streams go on.
    Park,
    /// It is recorded as skipped, and its stream goes on.
    Skip,
    /// The projection stops until it is resumed.
    Stop,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.into(), value.into())).ok_or_else(|| "write KEY=VALUE".into())
}

impl Deploy {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let module = meant(client, &self.module).await?;
        let config: Map<String, Value> = self.config.into_iter().map(|(key, value)| (key, value.into())).collect();
        let limits = given([
            ("deadline_ms", self.deadline_ms.map(Value::from)),
            ("memory_bytes", self.memory_bytes.map(Value::from)),
            ("table_elements", self.table_elements.map(Value::from)),
            ("host_call_bytes", self.host_call_bytes.map(Value::from)),
            ("log_lines", self.log_lines.map(Value::from)),
            ("spans", self.spans.map(Value::from)),
        ]);
        let then = self.on_failure.and_then(|then| Some(then.to_possible_value()?.get_name().into()));
        let failure_policy = given([
            ("then", then),
            ("attempts", self.attempts.map(Value::from)),
            ("backoff_ms", self.backoff_ms.map(Value::from)),
            ("max_backoff_ms", self.max_backoff_ms.map(Value::from)),
        ]);
        let body = json!({
            "name": self.name,
            "module": module,
            "from": self.from,
            "config": config,
            "limits": limits,
            "failure_policy": failure_policy,
        });
        let answer = client.post(&["projections"], &[], &body).await?;
        output.show(&answer.text, || {
            let Status { name, module, description, .. } = answer.read()?;
            let (short, version) = (module.short(), description.version);
            Ok(format!("projection {name} runs {} {version} (module {short})", description.name))
        })
    }
}

/// What was given; the rest is the host's to know.
fn given<const N: usize>(settings: [(&str, Option<Value>); N]) -> Map<String, Value> {
    settings.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect()
}
