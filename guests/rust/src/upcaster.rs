//! What an upcaster is, and how it becomes a module.

use crate::bindings::lantern::module::types::Payload;
use crate::bindings::upcaster::exports::lantern::module::upcasters;
use serde_json::Value;
use std::error::Error;

/// It brings older events to the form that readers understand today. The log keeps them as they are.
///
/// Hand the type to [`upcaster!`](crate::upcaster!) to make the crate a module.
///
/// ```
/// # use lantern_guest::prelude::*;
/// struct OrderPlaced;
///
/// impl Upcaster for OrderPlaced {
///     const NAME: &str = "order-placed";
///     const STEPS: &[Step] = &[Step::new(("OrderPlaced", 1), ("OrderPlaced", 2), |mut data| {
///         let euros = data["amount"].as_f64().ok_or("`amount` is missing or no number")?;
///         data["amount_cents"] = ((euros * 100.0).round() as u64).into();
///         Ok(data)
///     })];
/// }
///
/// lantern_guest::upcaster!(OrderPlaced);
/// ```
pub trait Upcaster {
    /// A short name, for example `order-placed`.
    const NAME: &'static str;

    /// The steps it takes; the host chains them.
    const STEPS: &'static [Step];
}

/// One step: which form it takes, which it makes of it, and how.
pub struct Step {
    from: (&'static str, u32),
    to: (&'static str, u32),
    upcast: fn(Value) -> Result<Value, Box<dyn Error>>,
}

impl Step {
    /// A step between two forms, each an event type and a schema version. The function changes the data; an error means
    /// that this event cannot be brought to the newer form.
    #[must_use]
    pub const fn new(
        from: (&'static str, u32),
        to: (&'static str, u32),
        upcast: fn(Value) -> Result<Value, Box<dyn Error>>,
    ) -> Self {
        Self { from, to, upcast }
    }
}

/// What an upcaster says of itself. [`upcaster!`](crate::upcaster!) calls this.
#[must_use]
pub fn describe_upcaster<U: Upcaster>(version: &str) -> upcasters::Description {
    let step = |step: &Step| upcasters::Step {
        event_type: step.from.0.to_owned(),
        schema_version: step.from.1,
        to_type: step.to.0.to_owned(),
        to_version: step.to.1,
    };
    upcasters::Description {
        name: U::NAME.to_owned(),
        version: version.to_owned(),
        steps: U::STEPS.iter().map(step).collect(),
    }
}

/// Takes one step. [`upcaster!`](crate::upcaster!) calls this.
pub fn upcast<U: Upcaster>(form: upcasters::Form) -> Result<upcasters::Form, String> {
    let upcasters::Form { event_type, schema_version, content_type, data } = form;
    let Some(step) = U::STEPS.iter().find(|step| step.from == (event_type.as_str(), schema_version)) else {
        return Err(format!("{} has no step from {event_type}, schema version {schema_version}", U::NAME));
    };
    let Payload::Json(text) = data else {
        return Err(format!(
            "the data of {event_type} is {}, not JSON",
            content_type.as_deref().unwrap_or("application/octet-stream")
        ));
    };
    let changed = serde_json::from_str(&text).map_err(Box::from).and_then(step.upcast).map_err(|reason| {
        let ((from, from_version), (to, to_version)) = (step.from, step.to);
        format!("{from}, schema version {from_version}, cannot become {to}, schema version {to_version}: {reason}")
    })?;
    let (to_type, to_version) = step.to;
    Ok(upcasters::Form {
        event_type: to_type.to_owned(),
        schema_version: to_version,
        content_type,
        data: Payload::Json(changed.to_string()),
    })
}

/// Makes a module of an [`Upcaster`]: `lantern_guest::upcaster!(OrderPlaced);`, once in a crate.
///
/// The module's version is that of the crate.
#[macro_export]
macro_rules! upcaster {
    ($upcaster:ty) => {
        const _: () = {
            use $crate::bindings::upcaster::exports::lantern::module::upcasters;

            struct Module;

            impl upcasters::Guest for Module {
                fn describe() -> upcasters::Description {
                    $crate::exports::describe_upcaster::<$upcaster>(::core::env!("CARGO_PKG_VERSION"))
                }

                fn upcast(form: upcasters::Form) -> ::core::result::Result<upcasters::Form, ::std::string::String> {
                    $crate::exports::upcast::<$upcaster>(form)
                }
            }

    $crate::bindings::upcaster::export_upcaster!(Module with_types_in $crate::bindings::upcaster);
        };
    };
}
