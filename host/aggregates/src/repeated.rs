//! A command sent again: its events are found in the log, and the first answer is given.

use lantern_core::{Command, Event, Log, command_event_id, log::Range};

use crate::{Answer, CommandError};

/// How many events are read at once.
const PAGE: usize = 100;

/// The answer to a command whose events are in the log already; none when they are not.
pub(crate) async fn first_answer(log: &dyn Log, command: &Command) -> Result<Option<Answer>, CommandError> {
    let Some(first) = log.event(command_event_id(command.id, 0)).await? else { return Ok(None) };
    if first.stream != command.stream {
        return Err(CommandError::IdTaken { id: command.id, stream: first.stream });
    }
    let mut events: Vec<Event> = vec![first];
    // An append is whole, so the command's events follow each other.
    'pages: while let Some(last) = events.last() {
        let range = Range { from: last.version.next(), limit: PAGE, ..Range::default() };
        let page = log.read_stream(&command.stream, range).await?;
        let is_last = page.len() < PAGE;
        for event in page {
            if event.id != command_event_id(command.id, events.len()) {
                break 'pages;
            }
            events.push(event);
        }
        if is_last {
            break;
        }
    }
    let answer = events.last().map(|last| Answer {
        stream: command.stream.clone(),
        version: last.version,
        position: last.position,
        events: events.iter().map(|event| event.id).collect(),
        attempts: 0,
        repeated: true,
    });
    Ok(answer)
}
