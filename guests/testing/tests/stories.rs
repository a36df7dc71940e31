//! What users' tests can say, and how they fail.
#![allow(missing_docs, reason = "a test")]

use lantern_guest::prelude::*;
use lantern_testing::prelude::*;
use std::panic::{self, AssertUnwindSafe};

/// A handler that does everything a handler can do.
struct Courier;

#[derive(Deserialize)]
enum Parcel {
    Handed { weight: u64 },
    Lost,
}

#[derive(Serialize)]
enum Asked {
    Booked { number: String },
    Overdue,
}

#[derive(Deserialize)]
struct Booking {
    number: String,
}

const BOOKINGS: Process<String> = Process::new("bookings");
const URL: &str = "https://carrier.example/parcels";

impl Handler for Courier {
    const NAME: &str = "courier";
    const CATEGORIES: &[&str] = &["Parcel"];
    const COLLECTIONS: &[&str] = &[BOOKINGS.name()];
    const SCHEMA_VERSIONS: &[(&str, u32)] = &[("Booked", 3)];
    type Data = Parcel;

    fn handle(event: &Event, data: Parcel) -> Result<(), Failure> {
        let id = event.stream_id();
        match data {
            Parcel::Handed { weight } => {
                let answer =
                    http::Request::post(URL).json(&serde_json::json!({ "weight": weight }))?.send()?.success()?;
                let Booking { number } = answer.json()?;
                BOOKINGS.save(id, &number)?;
                publish("main", "parcels", "Parcel-1", &Asked::Booked { number: number.clone() })?;
                NewEvent::of(&Asked::Booked { number })?.with_metadata("weight", weight.to_string()).emit("Booking-1");
                let patience = std::time::Duration::from_secs(config::get_or("patience", 60)?);
                BOOKINGS.time_out_after(patience, event, id, "Booking-1", &Asked::Overdue)
            }
            Parcel::Lost => {
                BOOKINGS.complete(id);
                emit("Booking-1", &Asked::Overdue)?;
                Err(Failure::permanent("a lost parcel is nobody's"))
            }
        }
    }
}

#[test]
fn a_handler_is_told_what_it_does() {
    handler::<Courier>()
        .config("patience", "90")
        .at("2026-03-02T09:15:00Z")
        .given_answer("POST", URL, 201, json!({ "number": "A7" }))
        .when("Parcel-1", event("Handed", json!({ "weight": 5 })))
        .then_requested([http::Request::post(URL).body("application/json", r#"{"weight":5}"#)])
        .then_emitted([("Booking-1", event("Booked", json!({ "number": "A7" })).version(3).metadata("weight", "5"))])
        .then_scheduled([("bookings/1", "2026-03-02T09:16:30Z", "Booking-1", Asked::Overdue)])
        .then_published([("main", "parcels", "Parcel-1", Asked::Booked { number: "A7".into() })])
        .then_documents("bookings", json!({ "1": "A7" }));
}

#[test]
fn a_request_without_an_answer_is_refused() {
    let handled = handler::<Courier>().when("Parcel-1", event("Handed", json!({ "weight": 5 })));
    handled.then_failed("POST https://carrier.example/parcels is refused: the test has no answer to it");
}

#[test]
fn an_answer_of_another_status_fails() {
    let handled = handler::<Courier>()
        .given_answer("POST", URL, 503, json!({}))
        .when("Parcel-1", event("Handed", json!({ "weight": 5 })));
    handled.then_failed("was answered with status 503");
}

#[test]
fn a_failure_leaves_no_trace() {
    let handled = handler::<Courier>().given_document("bookings", "1", "A7").when("Parcel-1", event("Lost", json!({})));
    handled.then_failed("nobody's");
    assert_eq!(handled.documents("bookings")["1"], "A7");
}

#[test]
fn other_categories_and_types_are_passed_over() {
    handler::<Courier>()
        .when("Letter-1", event("Lost", json!({})))
        .then_no_effects()
        .when("Parcel-1", event("Weighed", json!({})))
        .then_no_effects();
}

/// A counter that is raised up to a limit.
struct Counter;

#[derive(Serialize, Deserialize)]
enum Change {
    Raise { by: u64 },
    Reset,
}

#[derive(Serialize, Deserialize)]
enum Changed {
    Raised { by: u64, at: Time },
    Reset,
}

impl Aggregate for Counter {
    const NAME: &str = "Counter";
    type State = u64;
    type Command = Change;
    type Event = Changed;
    type Rejection = Rejection;

    fn decide(count: &u64, change: Change, context: &Context) -> Result<Vec<Changed>, Rejection> {
        match change {
            Change::Raise { by } if count + by > 10 => Err(Rejection::new("too-much", format!("{count} + {by} > 10"))),
            Change::Raise { by } => Ok(vec![Changed::Raised { by, at: context.time() }]),
            Change::Reset if *count == 0 => Ok(Vec::new()),
            Change::Reset => Ok(vec![Changed::Reset]),
        }
    }

    fn evolve(count: &mut u64, event: Changed) {
        match event {
            Changed::Raised { by, .. } => *count += by,
            Changed::Reset => *count = 0,
        }
    }
}

#[test]
fn an_aggregate_decides() {
    let raised = |by| event("Raised", json!({ "by": by, "at": "2026-03-02T09:15:00.000Z" }));
    aggregate::<Counter>()
        .at("2026-03-02T09:15:00Z")
        .given([raised(4)])
        .when(Change::Raise { by: 6 })
        .then([raised(6)])
        .when(Change::Raise { by: 1 })
        .then_rejected("too-much")
        .then_state(10)
        .when(Change::Reset)
        .then([Changed::Reset])
        .when(Change::Reset)
        .then_nothing();
}

#[test]
fn commands_that_do_not_fit_are_rejected() {
    aggregate::<Counter>().when(event("Halve", json!({}))).then_rejected("unknown-command");
    aggregate::<Counter>().when(event("Raise", json!({ "by": "much" }))).then_rejected("invalid-data");
}

#[test]
fn events_it_does_not_know_are_passed_over() {
    aggregate::<Counter>().given([event("Painted", json!({}))]).when(Change::Reset).then_nothing();
}

/// How a test fails: the text of its panic.
fn failing(test: impl FnOnce()) -> String {
    let panic = panic::catch_unwind(AssertUnwindSafe(test)).expect_err("the test passed");
    *panic.downcast::<String>().expect("a text")
}

#[test]
fn a_failing_test_shows_the_difference() {
    let text = failing(|| {
        aggregate::<Counter>().given([Changed::Reset]).when(Change::Raise { by: 11 }).then([Changed::Reset]);
    });
    assert!(text.starts_with("the events decided on: expected (-) is not what came (+)"), "{text}");
    assert!(text.contains("\n+   \"message\": \"0 + 11 > 10\""), "{text}");

    let text = failing(|| {
        handler::<Courier>().when("Parcel-1", event("Lost", json!({}))).then_no_effects();
    });
    assert!(text.starts_with("the event failed: Permanent(\"a lost parcel is nobody's\")"), "{text}");

    let text = failing(|| handler::<Courier>().when("Letter-1", event("Lost", json!({}))).then_failed("anything"));
    assert_eq!(text, "the event was handled; expected was a failure with `anything`");
}

/// Two steps, the second of which does not take everything.
struct Measures;

impl Upcaster for Measures {
    const NAME: &str = "measures";
    const STEPS: &[Step] = &[
        Step::new(("Weighed", 1), ("Measured", 1), Ok),
        Step::new(("Measured", 1), ("Measured", 2), |mut data| {
            let grams = data["kilograms"].as_u64().ok_or("`kilograms` is missing")? * 1000;
            data["grams"] = grams.into();
            Ok(data)
        }),
    ];
}

#[test]
fn an_upcaster_takes_all_its_steps() {
    upcaster::<Measures>()
        .when(event("Weighed", json!({ "kilograms": 2 })))
        .then(event("Measured", json!({ "kilograms": 2, "grams": 2000 })).version(2));
    upcaster::<Measures>()
        .when(event("Weighed", json!({})))
        .then_failed("Measured, schema version 1, cannot become Measured, schema version 2: `kilograms` is missing");
}
