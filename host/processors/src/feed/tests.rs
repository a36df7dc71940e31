//! What is kept of a topic: nothing is lost between sessions, and nothing is handled twice.

use lantern_buses::memory::Memory;
use lantern_core::{
    Digest, EventType, Filter, Generation, Log as _, Metadata, Name, Payload, ReadModels as _, Subscription,
    SystemClock, Timestamp,
    bus::{Beginning, Keeper},
    log::LogError,
};
use lantern_stores::memory;

use super::*;

fn delivery(offset: u64) -> Delivery {
    let event = NewEvent {
        id: uuid::Uuid::from_u128(u128::from(offset) + 1),
        event_type: EventType::new("Paid").unwrap(),
        schema_version: 1,
        time: Timestamp(0),
        data: Payload::Json(offset.to_string().into()),
        metadata: Metadata::default(),
    };
    let receipt = Receipt { partition: Partition(0), offset: Offset::Number(offset), session: 1 };
    let content = Ok(Message { stream: "Order-1".parse().unwrap(), event });
    Delivery { content, receipt, redelivered: false }
}

async fn feed() -> (Arc<Feed>, Arc<dyn ReadModel>) {
    let name = || Name::new("orders").unwrap();
    let generation = Generation { processor: name(), number: 1 };
    let models = memory::ReadModels::new();
    let read_model = models.create(&generation, Position::START, Digest::of(b"m")).await.unwrap();
    let subscription = Subscription {
        topic: "in".into(),
        group: "group".into(),
        pattern: None,
        category: None,
        beginning: Beginning::Oldest,
        keeper: Keeper::Caller,
    };
    let route = Consume { name: name(), bus: name(), subscription, projection: Some(name()) };
    let bus = Arc::new(Memory::new(1, 100));
    (Feed::new(route, bus, read_model.clone(), Arc::new(SystemClock)), read_model)
}

fn batch(from: u64, until: u64) -> Batch {
    Batch {
        from: Position(from),
        until: Position(until),
        last_event: None,
        incarnation: None,
        module: Digest::of(b"m"),
        documents: Arc::default(),
        tables: None,
        schedules: Vec::new(),
        parked: Vec::new(),
        released: Vec::new(),
        handled: until - from,
        trace: None,
        started_at: Timestamp(0),
    }
}

async fn data(feed: &Feed, after: u64) -> Vec<(u64, String)> {
    let page = feed.read(Position(after), &Filter::all(), 10).await.unwrap();
    let data = |event: &Event| String::from_utf8_lossy(event.data.as_bytes()).into_owned();
    page.events.iter().map(|event| (event.position.0, data(event))).collect()
}

#[tokio::test]
async fn what_is_not_committed_is_there_for_the_next_session() {
    let (feed, read_model) = feed().await;
    let (lease, checkpoint) = read_model.take().await.unwrap();
    feed.begin(&checkpoint).await.unwrap();
    feed.add((0..3).map(delivery).collect());
    let mut first = batch(0, 2);
    feed.note(&mut first);
    read_model.commit(lease, &first).await.unwrap();
    feed.release(Position(2));
    let last = vec![delivery(1).receipt];
    assert_eq!(feed.settling(), Settling { dead: Vec::new(), last });
    let (_, checkpoint) = read_model.take().await.unwrap();
    feed.begin(&checkpoint).await.unwrap();
    assert!(!feed.is_stale(), "nobody else has committed");
    assert_eq!(data(&feed, 2).await, [(3, "2".into())]);
    assert_eq!(feed.places(&[Partition(0)]), [(Partition(0), Some(Offset::Number(3)))]);
}

#[tokio::test]
async fn a_commit_that_was_not_heard_of_leaves_no_gap() {
    let (feed, read_model) = feed().await;
    let (lease, checkpoint) = read_model.take().await.unwrap();
    feed.begin(&checkpoint).await.unwrap();
    feed.add((0..4).map(delivery).collect());
    let mut unheard = batch(0, 2);
    feed.note(&mut unheard);
    read_model.commit(lease, &unheard).await.unwrap();
    let (_, checkpoint) = read_model.take().await.unwrap();
    feed.begin(&checkpoint).await.unwrap();
    // The member of the group does not know of it yet.
    feed.add(vec![delivery(4)]);
    assert!(feed.is_stale() && !feed.is_stale());
    assert_eq!(feed.places(&[Partition(0)]), [(Partition(0), Some(Offset::Number(2)))]);
    feed.add((2..5).map(delivery).collect());
    assert_eq!(data(&feed, 2).await, [(3, "2".into()), (4, "3".into()), (5, "4".into())]);
    // What was handled already says that the topic is another one.
    feed.add(vec![delivery(1)]);
    assert!(matches!(feed.read(Position(5), &Filter::all(), 10).await, Err(LogError::Corrupt { .. })));
}
