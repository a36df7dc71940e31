//! What becomes of an append: the promises of the log about expected versions and event ids, whichever log it is.

use std::collections::HashMap;

use lantern_core::{
    Append, Appended, EventId, Expected, NewEvent, Position, StreamName, Version,
    log::{AppendError, MAX_APPEND},
};

/// What a log knows when it decides an append. Errors are [`AppendError::Unavailable`], and nothing else.
pub(crate) trait Ledger {
    /// The last position given away.
    fn head(&self) -> Position;

    /// The version of a stream's last event.
    fn version(&mut self, stream: &StreamName) -> Result<Version, AppendError>;

    /// The event that has the id of a new one.
    fn known(&mut self, stream: &StreamName, event: &NewEvent) -> Result<Option<Known>, AppendError>;
}

/// An event that has the id of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Where it stands.
    pub(crate) version: Version,
    /// Where it stands.
    pub(crate) position: Position,
    /// Whether it has the stream, type, schema version and content of the new one as well.
    pub(crate) same: bool,
}

/// An append that is to be carried out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The place of each event, in the order given.
    pub(crate) places: Vec<Appended>,
    /// Which of them are to be written, in order; the others are in the log already.
    pub(crate) fresh: Vec<usize>,
}

/// Refuses an append that says too little or too much.
pub(crate) fn check_size(appends: &[Append]) -> Result<(), AppendError> {
    if appends.is_empty() || appends.iter().any(|append| append.events.is_empty()) {
        return Err(AppendError::Empty);
    }
    let events = appends.iter().map(|append| append.events.len()).sum();
    if events > MAX_APPEND {
        return Err(AppendError::TooLarge(events));
    }
    Ok(())
}

/// Whether two events are the same but for time and metadata, which may differ when an append is sent again.
pub(crate) fn same_content(a: &NewEvent, b: &NewEvent) -> bool {
    a.event_type == b.event_type && a.schema_version == b.schema_version && a.data == b.data
}

/// Decides an append whose size has been checked. Entries of one call see the entries before them.
pub(crate) fn decide(ledger: &mut impl Ledger, appends: &[Append]) -> Result<Decision, AppendError> {
    let known = known(ledger, appends)?;
    if known.iter().all(Option::is_some) {
        let places = events(appends).zip(known).filter_map(|((_, event), known)| Some(place(event.id, known?)));
        return Ok(Decision { places: places.collect(), fresh: Vec::new() });
    }
    let mut call = Call { versions: HashMap::new(), ids: HashMap::new(), head: ledger.head(), many: known.len() > 1 };
    let mut decision = Decision { places: Vec::with_capacity(known.len()), fresh: Vec::new() };
    let mut known = known.into_iter();
    for append in appends {
        call.entry(ledger, append, known.by_ref().take(append.events.len()), &mut decision)?;
    }
    Ok(decision)
}

/// Looks every id up in the log.
fn known(ledger: &mut impl Ledger, appends: &[Append]) -> Result<Vec<Option<Known>>, AppendError> {
    let look = |(stream, event): (&StreamName, &NewEvent)| match ledger.known(stream, event)? {
        Some(known) if !known.same => Err(AppendError::DuplicateEvent { id: event.id, position: known.position }),
        known => Ok(known),
    };
    events(appends).map(look).collect()
}

fn events(appends: &[Append]) -> impl Iterator<Item = (&StreamName, &NewEvent)> {
    appends.iter().flat_map(|append| append.events.iter().map(|event| (&append.stream, event)))
}

fn place(id: EventId, known: Known) -> Appended {
    Appended { id, version: known.version, position: known.position }
}

/// What one call would have appended so far.
struct Call<'a> {
    versions: HashMap<&'a StreamName, Version>,
    ids: HashMap<EventId, (&'a StreamName, &'a NewEvent, Known)>,
    head: Position,
    /// Whether the call carries more than one event. A call of one event, the usual one, needs neither map.
    many: bool,
}

impl<'a> Call<'a> {
    fn entry(
        &mut self,
        ledger: &mut impl Ledger,
        append: &'a Append,
        known: impl Iterator<Item = Option<Known>>,
        decision: &mut Decision,
    ) -> Result<(), AppendError> {
        let Append { stream, expected, events } = append;
        let mut version = match self.versions.get(stream) {
            Some(version) => *version,
            None => ledger.version(stream)?,
        };
        if !expected.fits(version) {
            return Err(AppendError::WrongExpectedVersion {
                stream: stream.clone(),
                expected: *expected,
                actual: version,
            });
        }
        for (event, known) in events.iter().zip(known) {
            if let Some(known) = self.earlier(stream, event, known) {
                // Only a writer that expects nothing can mean "all of these, whichever are there already".
                if !known.same || *expected != Expected::Any {
                    return Err(AppendError::DuplicateEvent { id: event.id, position: known.position });
                }
                decision.places.push(place(event.id, known));
                continue;
            }
            version = version.next();
            self.head = self.head.next();
            let fresh = Known { version, position: self.head, same: true };
            decision.fresh.push(decision.places.len());
            decision.places.push(place(event.id, fresh));
            if self.many {
                self.ids.insert(event.id, (stream, event, fresh));
            }
        }
        if self.many {
            self.versions.insert(stream, version);
        }
        Ok(())
    }

    /// The event with the same id, in the log or earlier in this call.
    fn earlier(&self, stream: &StreamName, event: &NewEvent, known: Option<Known>) -> Option<Known> {
        known.or_else(|| {
            let (other_stream, other, known) = self.ids.get(&event.id)?;
            Some(Known { same: *other_stream == stream && same_content(other, event), ..*known })
        })
    }
}
