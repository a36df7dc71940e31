//! Upcasters: steps taken, refused and trapped.

use std::sync::Arc;

use bytes::Bytes;
use lantern_core::{
    EventType, Kind, Library as _, Payload,
    module::{FailureKind, Settings},
    upcasting::{Form, UpcasterModule},
};

use crate::support::{event, guest, library, settings};

async fn load(package: &str) -> Arc<dyn UpcasterModule> {
    let kept = library().push(guest(package)).await.unwrap();
    library().load_upcaster(kept.digest, &Settings { kind: Kind::Upcaster, ..settings() }).await.unwrap()
}

fn form(event_type: &str, schema_version: u32, data: &str) -> Form {
    Form { event_type: EventType::new(event_type).unwrap(), schema_version, data: Payload::Json(data.into()) }
}

/// The form as an event of another form has it, in words that do not depend on the order of fields.
#[track_caller]
fn told(form: &Form) -> (String, u32, serde_json::Value) {
    let Payload::Json(text) = &form.data else { panic!("bytes: {form:?}") };
    (form.event_type.to_string(), form.schema_version, serde_json::from_str(text).unwrap())
}

#[tokio::test]
async fn steps_are_taken_one_at_a_time() {
    let mut widener = load("widener").await.instance();
    let event = event(1, "{}");
    let second = widener.upcast(&event, &form("Counted", 1, r#"{"amount":7}"#)).unwrap();
    assert_eq!(told(&second), ("Counted".into(), 2, serde_json::json!({"amount": 7, "unit": "cent"})));
    let third = widener.upcast(&event, &second).unwrap();
    assert_eq!(told(&third), ("Counted".into(), 3, serde_json::json!({"amount": "7", "unit": "cent"})));
    assert_eq!(widener.upcast(&event, &second), Ok(third), "the same form gives the same answer");
    let mut renamer = load("renamer").await.instance();
    let renamed = renamer.upcast(&event, &form("Raised", 1, r#"{"amount":7}"#)).unwrap();
    assert_eq!(told(&renamed), ("Counted".into(), 1, serde_json::json!({"amount": 7})));
}

#[tokio::test]
async fn an_error_is_told_and_a_trap_leaves_a_fresh_instance() {
    let mut widener = load("widener").await.instance();
    let event = event(1, "{}");
    let refused = widener.upcast(&event, &form("Counted", 1, "{}")).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Permanent);
    assert!(refused.message.contains("`amount` is missing or no number"), "{refused}");
    let trapped = widener.upcast(&event, &form("Counted", 1, r#"{"amount":"trap"}"#)).unwrap_err();
    assert_eq!(trapped.kind, FailureKind::Trap);
    assert!(trapped.message.contains("the amount is a trap"), "{trapped}");
    assert!(widener.upcast(&event, &form("Counted", 1, r#"{"amount":7}"#)).is_ok());
}

#[tokio::test]
async fn bytes_cross_the_border() {
    let mut widener = load("widener").await.instance();
    let data = Payload::Bytes { content_type: "application/cbor".into(), data: Bytes::from_static(b"\xa0") };
    let form = Form { data, ..form("Counted", 1, "") };
    // The step reads JSON: what it says of bytes is its own matter, and an answer of the guest.
    assert_eq!(widener.upcast(&event(1, "{}"), &form).unwrap_err().kind, FailureKind::Permanent);
}
