//! The events of the benchmarks: like those of the public loan applications log, made up, the same on every machine.

use fastrand::Rng;
use lantern_core::{
    Append, EventId, EventType, Expected, Metadata, NewEvent, Payload, StreamName, Timestamp, TraceContext,
};

/// How many events the public log has.
pub(crate) const LOAN_EVENTS: u64 = 262_200;

/// How many events each application has.
const PER_APPLICATION: u32 = 20;

/// How many applications are under way at once.
const UNDER_WAY: usize = 400;

/// 2011-10-01T00:00:00Z, when the public log begins.
const FIRST: i64 = 1_317_427_200_000_000_000;

const TYPES: [&str; 12] = [
    "A_SUBMITTED",
    "A_PARTLYSUBMITTED",
    "A_PREACCEPTED",
    "A_ACCEPTED",
    "A_FINALIZED",
    "O_SELECTED",
    "O_CREATED",
    "O_SENT",
    "W_Completeren aanvraag",
    "W_Nabellen offertes",
    "W_Valideren aanvraag",
    "A_APPROVED",
];

/// Makes events, always the same ones in the same order.
pub(crate) struct Generator {
    category: &'static str,
    rng: Rng,
    types: Vec<EventType>,
    under_way: Vec<Application>,
    next_application: u32,
    made: u64,
}

struct Application {
    stream: StreamName,
    events: u32,
}

impl Generator {
    /// A generator at its first event.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::of("LoanApplication")
    }

    /// A generator of the same events in streams of another category.
    pub(crate) fn of(category: &'static str) -> anyhow::Result<Self> {
        let types = TYPES.iter().map(|name| EventType::new(*name)).collect::<Result<_, _>>()?;
        Ok(Self {
            category,
            rng: Rng::with_seed(2012),
            types,
            under_way: Vec::new(),
            next_application: 173_688,
            made: 0,
        })
    }

    /// The next event and its stream.
    pub(crate) fn event(&mut self) -> anyhow::Result<(StreamName, NewEvent)> {
        if self.under_way.len() < UNDER_WAY {
            let stream = StreamName::new(format!("{}-{}", self.category, self.next_application))?;
            self.next_application += 1;
            self.under_way.push(Application { stream, events: 0 });
        }
        let chosen = self.rng.usize(..self.under_way.len());
        let application = &mut self.under_way[chosen];
        application.events += 1;
        let stream = application.stream.clone();
        if application.events == PER_APPLICATION {
            self.under_way.swap_remove(chosen);
        }
        self.made += 1;
        let event_type = self.types[self.rng.usize(..self.types.len())].clone();
        let time = Timestamp(FIRST + self.made as i64 * 50_000_000_000);
        Ok((stream, new_event(&mut self.rng, event_type, time)))
    }

    /// So many next events as appends that expect nothing; events of one stream stay in order.
    pub(crate) fn appends(&mut self, events: usize) -> anyhow::Result<Vec<Append>> {
        let one = |(stream, event)| Append { stream, expected: Expected::Any, events: vec![event] };
        (0..events).map(|_| self.event().map(one)).collect()
    }
}

/// An event of the generator's kind with ids from a random source.
pub(crate) fn new_event(rng: &mut Rng, event_type: EventType, time: Timestamp) -> NewEvent {
    let trace =
        TraceContext { trace_id: rng.u128(1..), span_id: rng.u64(1..), flags: TraceContext::SAMPLED, state: None };
    NewEvent {
        id: EventId::from_u128(rng.u128(..)),
        event_type,
        schema_version: 1,
        time,
        data: Payload::Json(data(rng, time).into()),
        metadata: Metadata { source: Some("urn:bench:loans".into()), trace: Some(trace), ..Metadata::default() },
    }
}

/// About 280 bytes of JSON.
fn data(rng: &mut Rng, time: Timestamp) -> String {
    let resource = rng.u32(10_000..11_400);
    let amount = rng.u64(50..1_000) * 100;
    let (branch, officer) = (rng.u32(100..999), rng.u64(..));
    format!(
        "{{\"transition\":\"COMPLETE\",\"resource\":\"{resource}\",\"amount\":{amount},\"registered_at\":\"{time}\",\
         \"branch\":{{\"number\":{branch},\"city\":\"Eindhoven\",\"country\":\"NL\"}},\"officer\":\"{officer:016x}\",\
         \"channel\":\"online\",\"currency\":\"EUR\",\"terms\":[12,24,36,48],\"remark\":\"as asked for by telephone\"}}"
    )
}

/// A type name that the generator uses.
pub(crate) fn some_type() -> anyhow::Result<EventType> {
    Ok(EventType::new(TYPES[0])?)
}
