//! The resource: who the host is, told to collectors with every batch.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
};

use crate::{
    environment::{Reader, pairs},
    ids, view,
};

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "service.name";

/// Reads `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. The host adds its version and an id for this run, unless
/// they are given.
pub(super) fn read(reader: &mut Reader<'_>, version: &str) -> Resource {
    let text = reader.text(&[ATTRIBUTES]).map_or("", |(_, text)| text);
    let (mut attributes, bad) = pairs(text);
    for part in bad {
        reader.warn(ATTRIBUTES, &part, "write `key=value,key=value`");
    }
    if let Some((_, name)) = reader.text(&["OTEL_SERVICE_NAME"]) {
        attributes.retain(|(key, _)| key != SERVICE_NAME);
        attributes.push((SERVICE_NAME.into(), name.into()));
    }
    let own = [
        (SERVICE_NAME, "lantern".to_owned()),
        ("service.version", version.to_owned()),
        ("service.instance.id", view::trace_id(ids::trace_id())),
        ("telemetry.sdk.name", "lantern".to_owned()),
        ("telemetry.sdk.language", "rust".to_owned()),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for (key, value) in own {
        if !attributes.iter().any(|(known, _)| known == key) {
            attributes.push((key.into(), value));
        }
    }
    let attributes = attributes.into_iter().map(|(key, value)| KeyValue {
        key,
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    });
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn resource<const N: usize>(given: [(&str, &str); N]) -> impl Fn(&str) -> Option<String> {
        let environment = Environment::from_iter(given);
        let resource = read(&mut Reader::new(&environment), "1.2");
        move |key| {
            let found: Vec<_> = resource.attributes.iter().filter(|attribute| attribute.key == key).collect();
            assert!(found.len() <= 1, "{key} is there more than once");
            match found.first()?.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => Some(text.clone()),
                _ => None,
            }
        }
    }

    #[test]
    fn what_is_given_stands_above_what_is_known() {
        let own = resource([]);
        assert_eq!(own("service.name").as_deref(), Some("lantern"));
        assert_eq!(own("service.version").as_deref(), Some("1.2"));
        assert_eq!(own("service.instance.id").unwrap().len(), 32);
        let given = resource([
            ("OTEL_SERVICE_NAME", "shop"),
            (ATTRIBUTES, "service.name=x,service.version=9,deployment.environment.name=a%20b"),
        ]);
        assert_eq!(given("service.name").as_deref(), Some("shop"));
        assert_eq!(given("service.version").as_deref(), Some("9"));
        assert_eq!(given("deployment.environment.name").as_deref(), Some("a b"));
    }
}
