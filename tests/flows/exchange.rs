//! Import and export of CloudEvents: in order, idempotent, bounded by the first bad line, and byte for byte back again.

use std::{fs, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::support::{
    Host,
    events::{amount, amounts, event, id, lines},
};

/// Events of every shape an export must keep.
fn of_every_shape() -> Vec<Value> {
    let mut traced = event(1, "Order-1", "OrderPlaced", json!({ "nested": { "list": [1, 2.50, "three", null] } }));
    traced["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
    traced["tracestate"] = "vendor=1".into();
    let mut related = event(2, "Order-1", "OrderShipped", Value::Null);
    related["correlationid"] = "correlation".into();
    related["causationid"] = id(1).into();
    related["tenant"] = "acme".into();
    related["actor"] = "ada".into();
    related["schemaversion"] = 4.into();
    related["free"] = "pair".into();
    let mut bytes = event(3, "Blob-ü 1", "Stored", Value::Null);
    bytes.as_object_mut().unwrap().remove("data");
    bytes["data_base64"] = "AAEC//79".into();
    bytes["datacontenttype"] = "application/octet-stream".into();
    let mut foreign = event(4, "Order-2", "OrderPlaced", json!("text"));
    foreign["id"] = "no UUID at all".into();
    foreign["source"] = "urn:elsewhere".into();
    foreign["time"] = "2011-10-01T00:38:44.546+02:00".into();
    vec![traced, related, bytes, foreign]
}

fn import(host: &Host, arguments: &[&str]) -> Value {
    host.cli_json(&[&["event", "import"], arguments].concat())
}

fn written(host: &Host, name: &str, content: &[u8]) -> String {
    let path = host.scratch(name);
    fs::write(&path, content).unwrap();
    path.into_os_string().into_string().unwrap()
}

fn gzipped(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_export_imported_elsewhere_is_exported_byte_for_byte() {
    let (first, second) = (Host::start(), Host::start());
    first.append(&of_every_shape());
    first.append(&amounts(100, 1500, 40));

    let file = first.scratch("export.jsonl").into_os_string().into_string().unwrap();
    first.cli(&["event", "export", &file]).ok();
    let exported = fs::read_to_string(&file).unwrap();
    assert_eq!(exported.lines().count(), 1504);
    assert_eq!(first.cli(&["event", "export"]).ok(), exported, "standard output and file differ");
    assert_eq!(first.cli(&["event", "export", "-"]).ok(), exported);

    import(&second, &[&file]);
    assert_eq!(second.exported(), exported);
    let foreign: Value = serde_json::from_str(exported.lines().nth(3).unwrap()).unwrap();
    assert_eq!(foreign["id"], "no UUID at all");
    assert_eq!(foreign["time"], "2011-09-30T22:38:44.546Z");
}

#[test]
fn an_export_can_be_narrowed_to_a_category() {
    let host = Host::start();
    host.append(&of_every_shape());
    let exported = host.cli(&["event", "export", "--category", "Blob"]).ok().to_owned();
    assert_eq!(exported.lines().count(), 1);
    assert!(exported.contains("Blob-ü 1"), "{exported}");
}

#[test]
fn import_reads_plain_gzipped_and_standard_input() {
    let host = Host::start();
    let (plain, packed) = (amounts(0, 10, 3), amounts(10, 10, 3));
    let plain = written(&host, "plain.jsonl", lines(&plain).as_bytes());
    // The name does not say that it is compressed; the content does.
    let packed = written(&host, "packed", &gzipped(&lines(&packed)));
    assert_eq!(import(&host, &[&plain])["imported"], 10);
    assert_eq!(import(&host, &[&packed])["imported"], 10);
    let input = lines(&amounts(20, 10, 3));
    let answer = host.cli_with_input(&["--json", "event", "import", "-"], input.as_bytes()).json();
    assert_eq!(answer["imported"], 10);
    // Blank lines and a last line without an end are nothing special.
    let input = format!("\n{}\n\n{}", amount(30, "Item-0"), amount(31, "Item-0"));
    let answer = host.cli_with_input(&["--json", "event", "import", "-"], input.as_bytes()).json();
    assert_eq!(answer["imported"], 2);

    let ids: Vec<Value> = host.exported().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = ids.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..32).map(id).collect::<Vec<_>>(), "the log is not in the order of the files");
}

#[test]
fn an_import_may_be_repeated() {
    let host = Host::start();
    let file = written(&host, "events.jsonl", lines(&amounts(0, 2300, 17)).as_bytes());
    host.append(&amounts(0, 700, 17));
    let first = import(&host, &[&file]);
    assert_eq!((&first["imported"], &first["present"]), (&1600.into(), &700.into()), "{first}");
    let second = import(&host, &[&file]);
    assert_eq!((&second["imported"], &second["present"]), (&0.into(), &2300.into()), "{second}");
    assert_eq!(host.head(), 2300);
    let said = host.cli(&["event", "import", &file]);
    assert!(format!("{}{}", said.ok(), said.stderr).contains("2300 already there"), "{said:?}");
}

/// 3,000 lines, of which some are spoilt.
fn spoilt(host: &Host, bad: &[(usize, &str)]) -> String {
    let mut all: Vec<String> = amounts(0, 3000, 17).iter().map(Value::to_string).collect();
    for (line, text) in bad {
        all[line - 1] = (*text).to_owned();
    }
    written(host, "spoilt.jsonl", all.join("\n").as_bytes())
}

#[test]
fn a_bad_line_stops_the_import_and_is_named() {
    for (text, words) in [
        (r#"{"specversion":"1.0","id":"#, "JSON"),
        (r#"{"specversion":"1.0","id":"a","source":"s","subject":"Item-1"}"#, "type"),
        (r#"{"specversion":"1.0","id":"a","source":"s","type":"T","subject":"nodash"}"#, "subject"),
        (r#"{"specversion":"1.0","id":"a","source":"s","type":"T","subject":"Item-1","time":"noon"}"#, "time"),
        (r#"{"specversion":"1.0","id":"a","source":"s","type":"T","subject":"Item-1","deep":{"a":1}}"#, "deep"),
    ] {
        let host = Host::start();
        let file = spoilt(&host, &[(1234, text)]);
        let ran = host.cli(&["event", "import", &file]);
        let said = ran.failed(1);
        assert!(said.contains("line 1234") && said.contains(words), "{text}: {said}");
        // What came before it is kept, and nothing that came after.
        assert_eq!(host.head(), 1233, "{text}");
    }
}

#[test]
fn bad_lines_may_be_skipped() {
    let host = Host::start();
    let file = spoilt(&host, &[(2, "{"), (1500, r#"{"specversion":"1.0"}"#), (3000, "[]")]);
    let summary = import(&host, &[&file, "--skip-invalid"]);
    assert_eq!((&summary["imported"], &summary["invalid"]), (&2997.into(), &3.into()), "{summary}");
    assert_eq!(host.head(), 2997);
    let ran = host.cli(&["event", "import", &file, "--skip-invalid"]);
    ran.ok();
    assert!(ran.stderr.contains("line 1500"), "the skipped lines are not named:\n{}", ran.stderr);
}

#[test]
fn a_refusal_of_the_host_is_traced_back_to_its_line() {
    let host = Host::start();
    host.append(&[event(1776, "Item-other", "Counted", json!({ "amount": 1 }))]);
    let file = written(&host, "events.jsonl", lines(&amounts(0, 3000, 17)).as_bytes());
    let ran = host.cli(&["event", "import", &file]);
    assert!(ran.failed(1).contains("line 1777"), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let host = Host::start();
    let missing = host.scratch("missing.jsonl");
    assert!(!Path::new(&missing).exists());
    let ran = host.cli(&["event", "import", missing.to_str().unwrap()]);
    assert!(ran.failed(1).contains("missing.jsonl"), "{}", ran.stderr);
}

#[test]
fn an_import_shows_how_far_it_is() {
    let host = Host::start();
    let file = written(&host, "events.jsonl", lines(&amounts(0, 2000, 17)).as_bytes());
    let ran = host.cli(&["event", "import", &file]);
    let said = format!("{}{}", ran.ok(), ran.stderr);
    assert!(said.contains("imported 2000 events") && said.contains("events/s"), "{said}");
}
