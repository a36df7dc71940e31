//! `query`: reading what a projection or handler wrote.

use clap::Args;
use lantern_core::{Kind, Name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    change::folder,
    client::Client,
    failure::Failure,
    output::{Output, print, table},
};
use crate::http::MAX_LISTED;

/// The most members that documents may have to be shown as columns.
const MAX_COLUMNS: usize = 8;

/// Show collections, documents of a collection, or one document.
#[derive(Debug, Args)]
pub(super) struct Query {
    name: Name,
    /// The collection; without it, the collections are listed.
    collection: Option<String>,
    /// The key; without it, all documents are shown.
    #[arg(allow_hyphen_values = true)]
    key: Option<String>,
    /// At most so many documents.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only keys that begin with this.
    #[arg(long)]
    prefix: Option<String>,
    /// Only keys after this one.
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// Wait until it has handled this position.
    #[arg(long, value_name = "POSITION")]
    min_position: Option<u64>,
}

/// A document, its value unread.
#[derive(Deserialize, Serialize)]
struct Document<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl Query {
    pub(super) async fn run(self, kind: Kind, client: &Client, output: Output) -> Result<(), Failure> {
        match (&self.collection, &self.key) {
            (None, _) => self.collections(kind, client, output).await,
            (Some(collection), None) => self.documents(kind, client, output, collection).await,
            (Some(collection), Some(key)) => self.document(kind, client, output, collection, key).await,
        }
    }

    async fn collections(&self, kind: Kind, client: &Client, output: Output) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Listed {
            collections: Vec<String>,
        }

        let answer = client.get(&[folder(kind), self.name.as_str(), "collections"], &[]).await?;
        let Listed { collections } = answer.read()?;
        let empty = format!("this {kind} keeps no documents");
        output.show_value(&collections, || {
            Ok(table(&["collection"], collections.iter().map(|name| [name.clone()]), &empty))
        })
    }

    async fn document(
        &self,
        kind: Kind,
        client: &Client,
        output: Output,
        collection: &str,
        key: &str,
    ) -> Result<(), Failure> {
        let path = [folder(kind), self.name.as_str(), "documents", collection, key];
        let answer = client.get(&path, &self.freshness()).await?;
        let document: Document<'_> = read(&answer.text)?;
        output.show_value(&[&document], || {
            let value: Value = read(document.value.get())?;
            serde_json::to_string_pretty(&value).map_err(|error| Failure::failed(error.to_string()))
        })
    }

    /// Reads page by page: what is printed as JSON is never held as a whole.
    async fn documents(&self, kind: Kind, client: &Client, output: Output, collection: &str) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            documents: Vec<&'a RawValue>,
        }

        let path = [folder(kind), self.name.as_str(), "documents", collection];
        let (mut left, mut after) = (self.limit.unwrap_or(usize::MAX), self.after.clone());
        let (mut rows, mut separator) = (Vec::new(), "[");
        while left > 0 {
            let limit = left.min(MAX_LISTED);
            let mut query = self.freshness();
            query.push(("limit", limit.to_string()));
            query.extend(self.prefix.clone().map(|prefix| ("prefix", prefix)));
            query.extend(after.map(|after| ("after", after)));
            let answer = client.get(&path, &query).await?;
            let Page { documents } = read(&answer.text)?;
            after = documents.last().map(|last| read::<Document<'_>>(last.get())).transpose()?.map(|last| last.key);
            for document in &documents {
                if output.json {
                    print(&format!("{separator}{document}"))?;
                    separator = ",";
                } else {
                    let Document { key, value } = read(document.get())?;
                    rows.push((key, read(value.get())?));
                }
            }
            left = if documents.len() < limit { 0 } else { left - documents.len() };
        }
        if output.json {
            return print(if separator == "[" { "[]" } else { "]" });
        }
        print(&shown(&rows))
    }

    fn freshness(&self) -> Vec<(&'static str, String)> {
        self.min_position.map(|position| ("min_position", position.to_string())).into_iter().collect()
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Failure> {
    let strange = |error| Failure::failed(format!("the host answered something else than expected: {error}"));
    serde_json::from_str(text).map_err(strange)
}

/// Documents as a table: a column for each member where that fits, else the JSON.
fn shown(documents: &[(String, Value)]) -> String {
    let empty = "no documents";
    let objects: Option<Vec<&Map<String, Value>>> = documents.iter().map(|(_, value)| value.as_object()).collect();
    let columns = objects.and_then(|objects| columns(&objects));
    let Some(columns) = columns else {
        let rows = documents.iter().map(|(key, value)| [key.clone(), value.to_string()]);
        return table(&["key", "value"], rows, empty);
    };
    let header: Vec<&str> = ["key"].into_iter().chain(columns.iter().copied()).collect();
    let rows = documents.iter().map(|(key, value)| {
        let cell = |column: &&str| value.get(*column).map(cell).unwrap_or_default();
        [key.clone()].into_iter().chain(columns.iter().map(cell)).collect::<Vec<_>>()
    });
    table(&header, rows, empty)
}

/// The members of all documents, in their order, when there are few and none holds others.
fn columns<'a>(objects: &[&'a Map<String, Value>]) -> Option<Vec<&'a str>> {
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in objects.iter().flat_map(|object| object.iter()) {
        if value.is_object() || value.is_array() {
            return None;
        }
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    (1..=MAX_COLUMNS).contains(&columns.len()).then_some(columns)
}

/// A value in a cell of a table.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flat_documents_have_a_column_for_each_member() {
        let documents = [("a".into(), json!({ "count": 1, "state": "open" })), ("b".into(), json!({ "count": 20 }))];
        assert_eq!(shown(&documents), "KEY  COUNT  STATE\na    1      open\nb    20\n");
    }

    #[test]
    fn other_documents_are_shown_as_json() {
        let documents = [("a".into(), json!({ "list": [1] })), ("b".into(), json!(2))];
        assert_eq!(shown(&documents), "KEY  VALUE\na    {\"list\":[1]}\nb    2\n");
        assert_eq!(shown(&[]), "no documents");
    }
}
