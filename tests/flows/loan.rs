//! Loan applications: every count of the example equals what an independent reading of the file gives.
//!
//! The log is made here, the same each time. `LANTERN_LOAN_LOG` names a file with the public one, made as the example's
//! README says, to be tried as well.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{Host, artefacts, guests};

const APPLICATIONS: u64 = 2_500;

/// What is known of one application, with times as instants.
#[derive(Debug, PartialEq)]
struct Application {
    amount: u64,
    state: Option<String>,
    events: u64,
    first: OffsetDateTime,
    last: OffsetDateTime,
}

#[derive(Debug, Default, PartialEq)]
struct Reading {
    events: u64,
    applications: BTreeMap<String, Application>,
    activities: BTreeMap<String, u64>,
    amount_requested: u64,
}

fn instant(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap()
}

/// Reads the file with nothing of Lantern's.
fn independent_reading(path: &Path) -> Reading {
    let mut reading = Reading::default();
    for line in BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (kind, time) = (event["type"].as_str().unwrap(), instant(&event["time"]));
        let id = event["subject"].as_str().unwrap().strip_prefix("LoanApplication-").unwrap();
        let application = reading.applications.entry(id.to_owned()).or_insert(Application {
            amount: 0,
            state: None,
            events: 0,
            first: time,
            last: time,
        });
        application.events += 1;
        application.last = time;
        if kind == "A_SUBMITTED" {
            application.amount = event["data"]["amount_requested"].as_u64().unwrap();
            reading.amount_requested += application.amount;
        }
        if kind.starts_with("A_") {
            application.state = Some(kind.to_owned());
        }
        *reading.activities.entry(kind.to_owned()).or_default() += 1;
        reading.events += 1;
    }
    reading
}

fn check(path: &Path) {
    let host = Host::start();
    host.cli(&["event", "import", path.to_str().unwrap()]).ok();
    let module = artefacts::component(guests::LOAN_APPLICATIONS);
    host.cli(&["projection", "deploy", "loans", "--module", module.to_str().unwrap()]).ok();
    host.cli(&["projection", "wait", "loans", "--timeout", "300"]).ok();

    let expected = independent_reading(path);
    let status = host.status("loans");
    assert_eq!((&status["handled"], &status["parked_events"]), (&expected.events.into(), &0.into()), "{status}");

    let count = |kind: &str| expected.activities.get(kind).copied().unwrap_or(0);
    let totals = json!([{ "key": "all", "value": {
        "applications": expected.applications.len(),
        "submitted": count("A_SUBMITTED"),
        "approved": count("A_APPROVED"),
        "declined": count("A_DECLINED"),
        "cancelled": count("A_CANCELLED"),
        "amount_requested": expected.amount_requested,
    }}]);
    assert_eq!(host.cli_json(&["projection", "query", "loans", "totals", "all"]), totals);

    let activities = host.documents("loans", "activities");
    let activities: BTreeMap<_, _> =
        activities.iter().map(|(kind, value)| (kind.clone(), value["count"].as_u64().unwrap())).collect();
    assert_eq!(activities, expected.activities);

    let applications = host.documents("loans", "applications");
    assert_eq!(applications.len(), expected.applications.len());
    for (id, application) in &applications {
        let application = Application {
            amount: application["amount"].as_u64().unwrap(),
            state: application["state"].as_str().map(str::to_owned),
            events: application["events"].as_u64().unwrap(),
            first: instant(&application["first"]),
            last: instant(&application["last"]),
        };
        assert_eq!(Some(&application), expected.applications.get(id), "application {id}");
    }
}

#[test]
fn every_count_equals_that_of_an_independent_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loan-applications.jsonl.gz");
    write_log(&path);
    check(&path);
}

#[test]
fn every_count_of_the_public_log_equals_that_of_an_independent_reading() {
    let Some(path) = std::env::var_os("LANTERN_LOAN_LOG") else {
        println!("skipped: LANTERN_LOAN_LOG names no file");
        return;
    };
    check(Path::new(&path));
}

/// Writes applications that overlap in time, each on its own way through the activities of the public log.
fn write_log(path: &Path) {
    let mut random = fastrand::Rng::with_seed(2012);
    let begin = OffsetDateTime::parse("2011-10-01T00:38:44.546+02:00", &Rfc3339).unwrap();
    let mut events: Vec<(OffsetDateTime, u64, &str, Value)> = Vec::new();
    for application in 0..APPLICATIONS {
        let mut time = begin + Duration::minutes(random.i64(0..200_000));
        let mut happens = |kind: &'static str, data: Value, random: &mut fastrand::Rng| {
            events.push((time, application, kind, data));
            time += Duration::milliseconds(random.i64(1..90_000_000));
        };
        let submitted =
            json!({ "transition": "COMPLETE", "resource": "112", "amount_requested": random.u64(1..500) * 100 });
        happens("A_SUBMITTED", submitted, &mut random);
        happens("A_PARTLYSUBMITTED", json!({ "transition": "COMPLETE" }), &mut random);
        for _ in 0..random.usize(0..10) {
            let kind = ["W_Afhandelen leads", "W_Completeren aanvraag", "O_SELECTED", "O_SENT", "W_Nabellen offertes"];
            let transition = ["SCHEDULE", "START", "COMPLETE"][random.usize(0..3)];
            happens(kind[random.usize(0..5)], json!({ "transition": transition }), &mut random);
        }
        // Some are still open when the log ends.
        if let Some(end) = [Some("A_APPROVED"), Some("A_DECLINED"), Some("A_CANCELLED"), None][random.usize(0..4)] {
            happens(end, json!({ "transition": "COMPLETE" }), &mut random);
        }
    }
    events.sort_by_key(|(time, application, ..)| (*time, *application));

    let mut file = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    for (n, (time, application, kind, data)) in events.into_iter().enumerate() {
        let event = json!({
            "specversion": "1.0",
            "id": crate::support::events::id(n as u64),
            "source": "urn:tests",
            "type": kind,
            "subject": format!("LoanApplication-{}", 173_688 + application * 3),
            "time": time.format(&Rfc3339).unwrap(),
            "datacontenttype": "application/json",
            "data": data,
        });
        writeln!(file, "{event}").unwrap();
    }
    file.finish().unwrap();
}

#[test]
fn the_log_that_is_made_is_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.gz", "second.gz"].map(|name| {
        let path = folder.path().join(name);
        write_log(&path);
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    });
    assert!(first == second, "the log depends on something else than its seed");
    assert!(first.lines().count() > 5_000);
}
