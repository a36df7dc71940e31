//! Answers many clients and wakes one: the first takes the answers of all to the others.
//!
//! To wake a task from outside its runtime costs more than to insert an event. From inside it is cheap, so the writer
//! hands all answers to the first client that still waits, and whoever runs that client sends them on.

use tokio::sync::oneshot::Sender;

use crate::waiting::Answer;

/// What a client is sent.
pub(super) struct Answered {
    /// What became of its append.
    pub(super) answer: Answer,
    /// The answers it is to send on, which it does by dropping them.
    _others: Others,
}

/// Answers that are sent when this is dropped: when the first client has its own, or has stopped waiting for it.
struct Others(Vec<(Sender<Answered>, Answer)>);

/// Answers all clients.
pub(super) fn send(mut answers: Vec<(Sender<Answered>, Answer)>) {
    if let Some((first, answer)) = answers.pop() {
        // A first client that waits no more leaves the others to be answered here.
        drop(first.send(Answered { answer, _others: Others(answers) }));
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for (client, answer) in self.0.drain(..) {
            drop(client.send(Answered { answer, _others: Self(Vec::new()) }));
        }
    }
}
