//! Aggregates: from commands to events, with a state that lives as long as the instance and dies with a trap.

use std::sync::Arc;

use lantern_core::{
    AggregateInstance, AggregateModule, Command, Decision, Event, EventType, Kind, Library as _, Metadata, Payload,
    TraceContext,
    aggregate::{Decide, Decided},
    module::{FailureKind, Limits, Settings},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{event, guest, library, settings};

async fn load(limits: Limits) -> Arc<dyn AggregateModule> {
    let kept = library().push(guest("account-v1")).await.unwrap();
    let settings = Settings { kind: Kind::Aggregate, limits, ..settings() };
    library().load_aggregate(kept.digest, &settings).await.unwrap()
}

/// An account without events, and with the limits of all tests.
async fn account() -> Box<dyn AggregateInstance> {
    load(settings().limits).await.instance(&"Account-1".parse().unwrap())
}

fn happened(event_type: &str, position: u64, data: &Value) -> Event {
    let (event_type, stream) = (EventType::new(event_type).unwrap(), "Account-1".parse().unwrap());
    Event { event_type, stream, ..event(position, &data.to_string()) }
}

fn deposits(count: u64) -> Vec<Event> {
    (1..=count).map(|position| happened("Deposited", position, &json!({"amount": 1}))).collect()
}

fn command(command_type: &str, data: &Value) -> Command {
    Command {
        id: Uuid::from_u128(7),
        stream: "Account-1".parse().unwrap(),
        command_type: EventType::new(command_type).unwrap(),
        data: Payload::Json(data.to_string().into()),
        received_at: event(1, "").time,
        metadata: Metadata::default(),
    }
}

fn decide(account: &mut Box<dyn AggregateInstance>, command_type: &str, data: &Value) -> Decided {
    decide_with(account, &[], command_type, data)
}

fn decide_with(account: &mut Box<dyn AggregateInstance>, news: &[Event], command_type: &str, data: &Value) -> Decided {
    account.decide(&Decide { news, command: &command(command_type, data), attempt: 1, trace: None })
}

/// The state as its snapshot shows it.
#[track_caller]
fn state(account: &mut Box<dyn AggregateInstance>) -> Value {
    serde_json::from_slice(&account.snapshot().unwrap()).unwrap()
}

#[tokio::test]
async fn a_command_becomes_events_or_a_rejection() {
    let mut account = account().await;
    let decision = decide(&mut account, "Deposit", &json!({"amount": 5})).result.unwrap();
    let Decision::Accepted(events) = decision else { panic!("rejected: {decision:?}") };
    let [deposited] = &events[..] else { panic!("one event: {events:?}") };
    assert_eq!((deposited.event_type.as_str(), deposited.schema_version), ("Deposited", 1));
    assert_eq!(deposited.data, Payload::Json(r#"{"amount":5}"#.into()));
    assert_eq!(state(&mut account)["balance"], 0, "to decide is not to fold");
    let decision = decide(&mut account, "Withdraw", &json!({"amount": 5})).result.unwrap();
    let Decision::Rejected(rejection) = decision else { panic!("accepted: {decision:?}") };
    assert_eq!(rejection.code, "insufficient");
    assert!(rejection.message.contains("less than 5"), "{rejection:?}");
    let nothing = decide(&mut account, "Wait", &Value::Null).result;
    assert_eq!(nothing, Ok(Decision::Accepted(Vec::new())));
}

#[tokio::test]
async fn the_state_is_kept_from_call_to_call() {
    let mut account = account().await;
    account.evolve(&deposits(3)).unwrap();
    account.evolve(&[happened("Withdrawn", 4, &json!({"amount": 1}))]).unwrap();
    account.evolve(&[]).unwrap();
    assert_eq!(state(&mut account), json!({"balance": 2, "events": 4, "notes": []}));
    assert!(matches!(decide(&mut account, "Withdraw", &json!({"amount": 2})).result, Ok(Decision::Accepted(_))));
    assert!(matches!(decide(&mut account, "Withdraw", &json!({"amount": 3})).result, Ok(Decision::Rejected(_))));
}

#[tokio::test]
async fn a_long_history_is_folded_in_order() {
    let mut account = account().await;
    let notes = (1..=2_345).map(|number| happened("Noted", number, &json!({"text": number.to_string()})));
    account.evolve(&notes.collect::<Vec<_>>()).unwrap();
    let state = state(&mut account);
    let expected = (1..=2_345).map(|number| json!(number.to_string())).collect::<Vec<_>>();
    assert_eq!((&state["events"], state["notes"].as_array()), (&json!(2_345), Some(&expected)));
}

#[tokio::test]
async fn news_are_folded_before_the_decision() {
    let mut account = account().await;
    let withdrawal = json!({"amount": 3});
    let accepted = decide_with(&mut account, &deposits(3), "Withdraw", &withdrawal);
    assert!(accepted.is_folded && matches!(accepted.result, Ok(Decision::Accepted(_))), "{accepted:?}");
    let news = [happened("Withdrawn", 4, &withdrawal)];
    let rejected = decide_with(&mut account, &news, "Withdraw", &withdrawal);
    assert!(rejected.is_folded && matches!(rejected.result, Ok(Decision::Rejected(_))), "{rejected:?}");
    assert_eq!(state(&mut account), json!({"balance": 0, "events": 4, "notes": []}));
}

#[tokio::test]
async fn more_news_than_one_call_takes_are_folded_in_order() {
    let mut account = account().await;
    let notes = (1..=1_234).map(|number| happened("Noted", number, &json!({"text": number.to_string()})));
    let decided = decide_with(&mut account, &notes.collect::<Vec<_>>(), "Wait", &Value::Null);
    assert_eq!(decided.result, Ok(Decision::Accepted(Vec::new())));
    let expected = (1..=1_234).map(|number| json!(number.to_string())).collect::<Vec<_>>();
    assert_eq!(state(&mut account)["notes"].as_array(), Some(&expected));
}

#[tokio::test]
async fn a_failure_may_be_that_of_the_news() {
    let unreadable = happened("Deposited", 1, &json!({}));
    let cursed = happened("Cursed", 1, &Value::Null);
    let long = [vec![cursed.clone()], deposits(1_000)].concat();
    for (news, command, kind, is_folded) in [
        (&[unreadable][..], "Wait", FailureKind::Permanent, false),
        (&[cursed], "Wait", FailureKind::Trap, false),
        (&long, "Wait", FailureKind::Trap, false),
        // It is the command's, but nobody can know.
        (&deposits(1), "Trap", FailureKind::Trap, false),
        (&[], "Trap", FailureKind::Trap, true),
    ] {
        let mut account = account().await;
        let decided = decide_with(&mut account, news, command, &Value::Null);
        let failure = decided.result.unwrap_err();
        assert_eq!((failure.kind, decided.is_folded), (kind, is_folded), "{failure}");
        assert!(account.evolve(&deposits(1)).unwrap_err().message.contains("loaded anew"), "its state is gone");
    }
}

#[tokio::test]
async fn a_snapshot_stands_for_the_events_before_it() {
    let mut first = account().await;
    first.evolve(&deposits(4)).unwrap();
    let snapshot = first.snapshot().unwrap();
    let mut second = account().await;
    second.restore(&snapshot).unwrap();
    second.evolve(&deposits(1)).unwrap();
    assert_eq!(state(&mut second)["balance"], 5);
    second.restore(&snapshot).unwrap();
    assert_eq!(state(&mut second)["balance"], 4, "restored once more, in place of what was there");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_the_guests_answer() {
    let mut account = account().await;
    let refused = account.restore(b"no state").unwrap_err();
    assert_eq!(refused.kind, FailureKind::Permanent, "{refused}");
    account.evolve(&deposits(2)).unwrap();
    assert_eq!(state(&mut account)["balance"], 2, "without events before these");
}

#[tokio::test]
async fn after_a_trap_the_state_is_gone() {
    let mut account = account().await;
    account.evolve(&deposits(1)).unwrap();
    let trapped = decide(&mut account, "Trap", &Value::Null).result.unwrap_err();
    assert_eq!(trapped.kind, FailureKind::Trap);
    assert!(trapped.message.contains("the command is a trap"), "{trapped}");
    assert_eq!(account.memory(), 0);
    for failure in [
        decide(&mut account, "Wait", &Value::Null).result.unwrap_err(),
        account.evolve(&deposits(1)).unwrap_err(),
        account.snapshot().unwrap_err(),
        account.restore(b"{}").unwrap_err(),
    ] {
        assert!(failure.message.contains("`Account-1`") && failure.message.contains("loaded anew"), "{failure}");
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_folded_is_told() {
    let mut account = account().await;
    let cursed = account.evolve(&[happened("Cursed", 1, &Value::Null)]).unwrap_err();
    assert_eq!(cursed.kind, FailureKind::Trap);
    assert!(cursed.message.contains("the event is cursed"), "{cursed}");
}

#[tokio::test]
async fn a_decision_ends_at_its_deadline() {
    let limits = Limits { deadline_ms: 30, ..Limits::default() };
    let mut account = load(limits).await.instance(&"Account-1".parse().unwrap());
    let late = decide(&mut account, "Loop", &Value::Null).result.unwrap_err();
    assert_eq!(late.kind, FailureKind::Deadline, "{late}");
    assert!(decide(&mut account, "Wait", &Value::Null).result.unwrap_err().message.contains("loaded anew"));
}

#[tokio::test]
async fn an_event_that_is_larger_than_a_host_call_may_be_is_no_decision() {
    let limits = Limits { host_call_bytes: 10_000, ..settings().limits };
    let mut account = load(limits).await.instance(&"Account-1".parse().unwrap());
    let large = decide(&mut account, "Note", &json!({"text": "x".repeat(20_000)})).result.unwrap_err();
    assert_eq!(large.kind, FailureKind::Limit, "{large}");
    assert!(large.message.contains("`host_call_bytes`"), "{large}");
}

#[tokio::test]
async fn memory_is_what_the_module_holds() {
    let mut account = account().await;
    assert_eq!(account.memory(), 0, "nothing was asked of it yet");
    account.evolve(&deposits(1)).unwrap();
    let before = account.memory();
    assert!(before > 0 && before % 65_536 == 0, "{before}");
    account.evolve(&[happened("Noted", 2, &json!({"text": "x".repeat(3 << 20)}))]).unwrap();
    assert!(account.memory() >= before + (3 << 20), "{before} became {}", account.memory());
}

#[tokio::test]
async fn what_is_said_while_deciding_is_heard() {
    let mut account = account().await;
    let trace = Some(TraceContext { trace_id: 1, span_id: 2, flags: TraceContext::SAMPLED, state: None });
    let decided = account.decide(&Decide { news: &[], command: &command("Trap", &Value::Null), attempt: 1, trace });
    let lines = decided.witness.logs.iter().map(|line| line.message.as_str()).collect::<Vec<_>>();
    assert!(lines.iter().any(|line| line.contains("the command is a trap")), "{lines:?}");
}
