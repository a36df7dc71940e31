//! Events as modules hand them over, checked by the rules of the log.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use lantern_core::{Draft, EventType, Payload};
use serde_json::value::RawValue;

use super::shown;

/// The most free pairs one event may carry.
const PAIRS: usize = 64;

/// The longest name of a pair and the longest content type, in bytes.
const NAME: usize = 256;

/// Names of pairs that would be taken for something else: what the host fills in itself, and the attributes an event has
/// where it is shown.
const RESERVED: [&str; 20] = [
    "actor",
    "causation-id",
    "causationid",
    "correlation-id",
    "correlationid",
    "data",
    "data_base64",
    "datacontenttype",
    "id",
    "position",
    "schemaversion",
    "source",
    "specversion",
    "streamversion",
    "subject",
    "tenant",
    "time",
    "traceparent",
    "tracestate",
    "type",
];

/// An event as a module hands it over.
pub(crate) struct Handed {
    /// Its kind.
    pub(crate) event_type: Arc<str>,
    /// The version of the schema of its data.
    pub(crate) schema_version: u32,
    /// The media type of its content; none for JSON.
    pub(crate) content_type: Option<Arc<str>>,
    /// Its content.
    pub(crate) content: Content,
    /// Free pairs of its metadata.
    pub(crate) metadata: Vec<(String, String)>,
}

/// Content as a module hands it over.
pub(crate) enum Content {
    /// What should be JSON text.
    Json(Arc<str>),
    /// Bytes.
    Bytes(Bytes),
}

impl Handed {
    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let content = match &self.content {
            Content::Json(text) => text.len(),
            Content::Bytes(data) => data.len(),
        };
        let pairs = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.event_type.len() + self.content_type.as_ref().map_or(0, |text| text.len()) + content + pairs
    }

    /// The event, where it keeps the rules. The error names the event and the rule.
    pub(crate) fn check(self) -> Result<Draft, String> {
        let event_type = EventType::new(self.event_type).map_err(|error| error.to_string())?;
        let about = |reason: String| format!("the event `{}` {reason}", shown(event_type.as_str()));
        let schema_version = self.schema_version;
        if schema_version == 0 {
            return Err(about("has the schema version 0: versions begin at 1".into()));
        }
        let data = payload(self.content_type, self.content).map_err(about)?;
        let extra = pairs(self.metadata).map_err(about)?;
        Ok(Draft { event_type, schema_version, data, extra })
    }
}

/// Content that keeps the rules. The error says what is wrong with it.
pub(crate) fn payload(content_type: Option<Arc<str>>, content: Content) -> Result<Payload, String> {
    match content {
        Content::Json(text) => {
            if let Some(other) = content_type.filter(|content_type| **content_type != *"application/json") {
                let other = shown(&other);
                return Err(format!("has JSON text of the content type `{other}`: hand it over as bytes"));
            }
            match serde_json::from_str::<&RawValue>(&text) {
                Ok(_) => Ok(Payload::Json(text)),
                Err(error) => Err(format!("has data that are no JSON: {error}")),
            }
        }
        Content::Bytes(data) => {
            let content_type = content_type.unwrap_or_else(|| "application/octet-stream".into());
            if content_type.is_empty() || content_type.len() > NAME || content_type.chars().any(char::is_control) {
                let content_type = shown(&content_type);
                return Err(format!(
                    "has the content type `{content_type}`: 1 to {NAME} bytes without control characters are needed"
                ));
            }
            Ok(Payload::Bytes { content_type, data })
        }
    }
}

fn pairs(metadata: Vec<(String, String)>) -> Result<Option<Arc<BTreeMap<String, String>>>, String> {
    if metadata.is_empty() {
        return Ok(None);
    }
    if metadata.len() > PAIRS {
        return Err(format!("has {} pairs of metadata: at most {PAIRS} are allowed", metadata.len()));
    }
    let mut pairs = BTreeMap::new();
    for (name, value) in metadata {
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("has the pair `{name}`: a name which is the host's"));
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || name.len() > NAME || !name.bytes().all(is_plain) {
            let name = shown(&name);
            return Err(format!("has the pair `{name}`: a name has 1 to {NAME} lower-case letters and digits"));
        }
        if pairs.contains_key(&name) {
            return Err(format!("has the pair `{name}` twice"));
        }
        pairs.insert(name, value);
    }
    Ok(Some(Arc::new(pairs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(change: impl FnOnce(&mut Handed)) -> Result<Draft, String> {
        let mut handed = Handed {
            event_type: "OrderPaid".into(),
            schema_version: 2,
            content_type: None,
            content: Content::Json("{\"a\": 1}".into()),
            metadata: vec![("region".into(), "north".into())],
        };
        change(&mut handed);
        handed.check()
    }

    #[track_caller]
    fn assert_refused(change: impl FnOnce(&mut Handed), parts: &[&str]) {
        let reason = handed(change).unwrap_err();
        for part in parts {
            assert!(reason.contains(part), "{reason:?} lacks {part:?}");
        }
    }

    #[test]
    fn what_keeps_the_rules_is_taken_as_it_is() {
        let draft = handed(|_| ()).unwrap();
        assert_eq!((draft.event_type.as_str(), draft.schema_version), ("OrderPaid", 2));
        assert_eq!(draft.data, Payload::Json("{\"a\": 1}".into()));
        assert_eq!(draft.extra.unwrap()["region"], "north");
        assert_eq!(handed(|event| event.metadata.clear()).unwrap().extra, None);
        assert!(handed(|event| event.content_type = Some("application/json".into())).is_ok());
    }

    #[test]
    fn bytes_have_a_content_type() {
        let bytes = |content_type: Option<&str>| {
            handed(|event| {
                event.content = Content::Bytes(Bytes::from_static(&[0, 255]));
                event.content_type = content_type.map(Arc::from);
            })
        };
        assert_eq!(bytes(Some("image/png")).unwrap().data.content_type(), "image/png");
        assert_eq!(bytes(None).unwrap().data.content_type(), "application/octet-stream");
        assert!(bytes(Some("a\nb")).unwrap_err().contains("content type `a\\nb`"));
    }

    #[test]
    fn a_broken_rule_is_named_with_the_event() {
        assert_refused(|event| event.event_type = "".into(), &["no event type"]);
        assert_refused(|event| event.schema_version = 0, &["`OrderPaid`", "schema version 0"]);
        assert_refused(|event| event.content = Content::Json("{".into()), &["`OrderPaid`", "no JSON"]);
        assert_refused(|event| event.content_type = Some("text/plain".into()), &["`text/plain`", "as bytes"]);
        for name in ["source", "correlation-id", "tenant", "traceparent", "type"] {
            assert_refused(|event| event.metadata[0].0 = name.into(), &["`OrderPaid`", name, "the host's"]);
        }
        for name in ["", "Order", "order-id", "a\n"] {
            assert_refused(|event| event.metadata[0].0 = name.into(), &["lower-case letters and digits"]);
        }
        assert_refused(|event| event.metadata.push(event.metadata[0].clone()), &["`region` twice"]);
        assert_refused(|event| event.metadata = vec![Default::default(); 65], &["65 pairs", "at most 64"]);
    }
}
