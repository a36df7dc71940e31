//! `sql` of a processor: queries of the tables its module made, and of its documents.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Json, extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_core::{Kind, Name, Position, SqlError, SqlValue, Subject, sql::Budget};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::{Door, Open},
    given::{self, Path},
    problem::{Problem, unavailable},
    shapes,
    waiting::{self, DEFAULT_WAIT},
};

/// How many rows are answered unless more are asked for, and at most.
const DEFAULT_ROWS: u64 = 1_000;
const MOST_ROWS: u64 = 10_000;

/// How many bytes they may have, and how long it may take to find them.
const MOST_BYTES: usize = 16 * 1024 * 1024;
const LONGEST: Duration = Duration::from_secs(5);

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(query_processor_tables))
}

/// A query of tables.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryBody {
    /// One statement that reads: `select`, `values` or `with`. Beside the tables of the module there is the view
    /// `lantern_documents` with the columns `collection`, `key` and `value`.
    pub(crate) statement: String,
    /// The values of `$1`, `$2` …: null, booleans, numbers and texts.
    #[serde(default)]
    pub(crate) parameters: Vec<Value>,
    /// At most so many rows, 1 to 10000; default 1000. A query that finds more is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// Waits until this position is processed: what an append or a command answered is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_position: Option<u64>,
    /// How long to wait for it, in seconds, up to 3600; default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<f64>,
}

/// What a query found.
#[derive(Serialize)]
struct RowList {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    /// The checkpoint; the rows are at least as new.
    position: Position,
}

/// Queries the tables of a processor.
///
/// The statement reads what is committed and changes nothing.
#[utoipa::path(
    post,
    path = "/{name}/sql",
    tag = "documents",
    params(("name" = String, Path)),
    request_body = QueryBody,
    responses((status = 200, description = "The rows", body = shapes::RowList), Problem),
)]
async fn query_processor_tables(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    State(door): State<Arc<Door>>,
    Path(name): Path<Name>,
    given::Json(body): given::Json<QueryBody>,
) -> Result<Json<RowList>, Problem> {
    let rows = body.limit.unwrap_or(DEFAULT_ROWS);
    if !(1..=MOST_ROWS).contains(&rows) {
        return Err(Problem::invalid(format!("`limit` is {rows}: 1 to {MOST_ROWS} rows are answered")));
    }
    let parameters = body.parameters.iter().enumerate().map(|(index, value)| parameter(index, value));
    let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
    let subject = Subject { kind, name };
    if let Some(position) = body.min_position {
        let timeout = body.timeout.map_or(Ok(DEFAULT_WAIT), waiting::timeout)?;
        waiting::until(&host, &door, &subject, Position(position), timeout).await?;
    }
    let read_model = host.supervisor.read_model(kind, &subject.name, None).await?;
    let position = read_model.checkpoint().await?.position;
    let budget = Budget { rows: usize::try_from(rows).unwrap_or(usize::MAX), bytes: MOST_BYTES, time: LONGEST };
    let found = read_model.query(&body.statement, &parameters, &budget).await?;
    let rows = found.rows.into_iter().map(|row| row.iter().map(shown).collect()).collect();
    Ok(Json(RowList { columns: found.columns, rows, position }))
}

fn parameter(index: usize, value: &Value) -> Result<SqlValue, Problem> {
    Ok(match value {
        Value::Null => SqlValue::Null,
        Value::Bool(value) => SqlValue::Boolean(*value),
        Value::String(text) => SqlValue::Text(text.as_str().into()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => SqlValue::Integer(number),
            (None, Some(number)) => SqlValue::Real(number),
            (None, None) => return Err(Problem::invalid(format!("parameter {} is out of range", index + 1))),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(Problem::invalid(format!(
                "parameter {} is {value}: null, booleans, numbers and texts are taken",
                index + 1
            )));
        }
    })
}

/// A value as JSON. Bytes, and numbers that JSON has not, are objects that say so.
fn shown(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Boolean(value) => (*value).into(),
        SqlValue::Integer(number) => (*number).into(),
        SqlValue::Real(number) => {
            serde_json::Number::from_f64(*number).map_or_else(|| json!({ "number": number.to_string() }), Value::Number)
        }
        SqlValue::Text(text) => text.as_ref().into(),
        SqlValue::Blob(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        let detail = error.to_string();
        let slug = match error {
            SqlError::Refused(_) => "statement-refused",
            SqlError::Failed(_) | SqlError::Constraint(_) => "statement-failed",
            SqlError::Exceeded(_) => "statement-over-budget",
            SqlError::Unavailable(_) => return unavailable("read-model-unavailable", detail),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, slug, detail)
    }
}
