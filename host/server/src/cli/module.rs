//! `lantern module`: pushing, listing, inspecting and removing modules.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use lantern_core::{
    module::{Described, Kept},
    upcasting::{Accepted, Step},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    client::{Answer, Client},
    failure::Failure,
    output::{Output, facts, table},
};
use crate::http::MIN_DIGITS;

/// Commands about modules.
#[derive(Debug, Subcommand)]
pub(super) enum Module {
    /// Push a component; its address is the SHA-256 of its bytes.
    Push {
        /// The component, a .wasm file.
        file: PathBuf,
    },
    /// List modules.
    List,
    /// Show what a module is.
    Inspect {
        /// A digest or its first six or more digits.
        digest: String,
    },
    /// Remove a module that nothing needs.
    Remove {
        /// A digest or its first six or more digits.
        digest: String,
    },
}

impl Module {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Push { file } => {
                let answer = push(client, &file).await?;
                output.show(&answer.text, || {
                    let Kept { digest, description, .. } = answer.read()?;
                    Ok(format!("module {} {} is {digest}", description.name(), description.version()))
                })
            }
            Self::List => list(client, output).await,
            Self::Inspect { digest } => {
                let answer = client.get(&["modules", &digest], &[]).await?;
                output.show(&answer.text, || Ok(shown(&answer.read()?)))
            }
            Self::Remove { digest } => {
                client.delete(&["modules", &digest]).await?;
                output.done(&json!({ "removed": digest }), format_args!("module {digest} is removed"))
            }
        }
    }
}

async fn push(client: &Client, file: &Path) -> Result<Answer, Failure> {
    let bytes = std::fs::read(file);
    let bytes = bytes.map_err(|error| Failure::failed(format!("{} cannot be read: {error}", file.display())))?;
    client.post_bytes(&["modules"], &[], &[], "application/wasm", bytes.into()).await
}

/// The digest that an argument means: a file is pushed first; anything else is a digest for the host to find.
pub(super) async fn meant(client: &Client, argument: &str) -> Result<String, Failure> {
    let whole = argument.parse::<lantern_core::Digest>().is_ok();
    let file = Path::new(argument);
    if !whole && file.is_file() {
        let kept: Kept = push(client, file).await?.read()?;
        return Ok(kept.digest.to_string());
    }
    let digits = argument.strip_prefix("sha256:").unwrap_or(argument);
    if digits.len() >= MIN_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(argument.into());
    }
    Err(Failure::failed(format!(
        "`{argument}` is neither a file nor the digest of a module ({MIN_DIGITS} or more hexadecimal digits)"
    )))
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        modules: Vec<T>,
    }

    let answer = client.get(&["modules"], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.modules, || {
        let listed: Listed<Kept> = answer.read()?;
        let rows = listed.modules.iter().map(|kept| {
            let Kept { digest, size, pushed_at, description, .. } = kept;
            let (name, version) = (description.name().into(), description.version().into());
            [digest.short(), description.kind().to_string(), name, version, bytes(*size), pushed_at.to_string()]
        });
        let empty = "no modules: `lantern module push FILE` adds one";
        Ok(table(&["digest", "kind", "name", "version", "size", "pushed"], rows, empty))
    })
}

fn shown(kept: &Kept) -> String {
    let Kept { digest, size, pushed_at, description, world, imports, exports } = kept;
    let mut shown = vec![
        ("kind", description.kind().to_string()),
        ("name", description.name().into()),
        ("version", description.version().into()),
        ("digest", digest.to_string()),
        ("size", bytes(*size)),
        ("pushed", pushed_at.to_string()),
        ("world", world.clone()),
    ];
    shown.extend(described(description));
    shown.extend([("imports", imports.join("\n")), ("exports", exports.join("\n"))]);
    facts(&shown)
}

/// What a module of its kind says it is.
fn described(description: &Described) -> Vec<(&'static str, String)> {
    let any = |names: &[String]| if names.is_empty() { "all".into() } else { names.join(", ") };
    match description {
        Described::Projection(own) | Described::Handler(own) => vec![
            ("categories", any(&own.categories)),
            ("event types", any(&own.event_types)),
            ("collections", own.collections.join(", ")),
            ("understands", understood(&own.schema_versions)),
        ],
        Described::Aggregate(own) => vec![
            ("commands", own.commands.join(", ")),
            ("state", format!("version {}", own.state_version)),
            ("understands", understood(&own.schema_versions)),
        ],
        Described::Upcaster(own) => vec![("steps", steps(&own.steps))],
    }
}

/// The newest schema versions a module understands.
fn understood(accepted: &Accepted) -> String {
    accepted.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

/// The steps of an upcaster, one a line.
pub(super) fn steps(steps: &[Step]) -> String {
    let told = |step: &Step| {
        let Step { event_type, schema_version, to_type, to_version } = step;
        format!("{event_type} {schema_version} to {to_type} {to_version}")
    };
    steps.iter().map(told).collect::<Vec<_>>().join("\n")
}

/// A size in the unit that fits.
fn bytes(size: u64) -> String {
    indicatif::BinaryBytes(size).to_string()
}
