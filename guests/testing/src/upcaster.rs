//! Tests of upcasters: when an older event, then a newer one.

use crate::{Sample, diff, switch};
use lantern_guest::Upcaster;
use lantern_guest::bindings::lantern::module::types::Payload;
use lantern_guest::bindings::upcaster::exports::lantern::module::upcasters::{Form, Step};
use lantern_guest::exports;
use serde_json::Value;

/// An upcaster that a test can run.
pub(crate) trait Stepper {
    /// The steps it takes.
    fn steps(&self) -> Vec<Step>;

    /// Takes one step.
    fn step(&mut self, form: Form) -> Result<Form, String>;
}

/// A test of an upcaster.
pub fn upcaster<U: Upcaster + 'static>() -> UpcasterTest {
    UpcasterTest { stepper: stepper::<U>() }
}

#[track_caller]
fn stepper<U: Upcaster + 'static>() -> Box<dyn Stepper> {
    match switch::component() {
        #[cfg(feature = "component")]
        Some(path) => Box::new(crate::component::stepper(&path)),
        _ => Box::new(Native { steps: || exports::describe_upcaster::<U>("").steps, step: exports::upcast::<U> }),
    }
}

/// An upcaster before anything happens.
#[must_use = "nothing happens before `when`"]
pub struct UpcasterTest {
    stepper: Box<dyn Stepper>,
}

impl UpcasterTest {
    /// An event of an older form is read: the upcaster takes all steps it has for it, one after the other.
    #[must_use = "nothing is checked before `then_…`"]
    pub fn when(mut self, event: impl Into<Sample>) -> Upcasted {
        let event = event.into();
        let mut form = Form {
            event_type: event.name,
            schema_version: event.schema_version.unwrap_or(1),
            content_type: None,
            data: Payload::Json(event.data.to_string()),
        };
        let steps = self.stepper.steps();
        let fits = |form: &Form| {
            steps.iter().any(|step| step.event_type == form.event_type && step.schema_version == form.schema_version)
        };
        while fits(&form) {
            form = match self.stepper.step(form) {
                Ok(form) => form,
                Err(reason) => return Upcasted { result: Err(reason) },
            };
        }
        Upcasted { result: Ok(form) }
    }
}

/// What came of an older event.
pub struct Upcasted {
    result: Result<Form, String>,
}

impl Upcasted {
    /// It is seen as this; the version is 1 unless the event says another.
    #[track_caller]
    pub fn then(&self, expected: impl Into<Sample>) {
        let actual = match &self.result {
            Ok(form) => sample(form).shown(&[]),
            Err(reason) => serde_json::json!({ "failed": reason }),
        };
        diff::check("the event as it is seen", &expected.into().shown(&[]), &actual);
    }

    /// It cannot be seen, for a reason with this text in it.
    #[track_caller]
    pub fn then_failed(&self, reason: &str) {
        match &self.result {
            Ok(form) => panic!("the event became {}; expected was a failure with `{reason}`", sample(form).shown(&[])),
            Err(actual) => {
                assert!(actual.contains(reason), "the event failed for another reason than `{reason}`: {actual}");
            }
        }
    }
}

fn sample(form: &Form) -> Sample {
    let data = match &form.data {
        Payload::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        Payload::Bytes(bytes) => serde_json::json!(bytes),
    };
    crate::event(form.event_type.clone(), data).version(form.schema_version)
}

/// An upcaster in this process.
struct Native {
    steps: fn() -> Vec<Step>,
    step: fn(Form) -> Result<Form, String>,
}

impl Stepper for Native {
    fn steps(&self) -> Vec<Step> {
        (self.steps)()
    }

    fn step(&mut self, form: Form) -> Result<Form, String> {
        (self.step)(form)
    }
}
