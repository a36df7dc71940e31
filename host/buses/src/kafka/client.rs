//! What clients hear from librdkafka, and its errors in the words of the port.

use std::sync::{Arc, Mutex, PoisonError};

use lantern_core::BusError;
use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::watch;

/// What went wrong last, shared by a client and who uses it.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    name: Arc<str>,
    last: Arc<Mutex<Last>>,
    /// Set when waiting any longer is of no use.
    hopeless: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Last {
    code: Option<RDKafkaErrorCode>,
    /// What it said about it.
    reason: Option<String>,
}

impl Trouble {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), last: Arc::default(), hopeless: watch::Sender::new(false) }
    }

    /// The bus and its address, for texts.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was, since something worked.
    pub(super) fn over(&self) {
        *self.last() = Last::default();
        self.hopeless.send_replace(false);
    }

    /// Waits until the brokers refuse this client.
    pub(super) async fn hopeless(&self) {
        // The sender is in `self`.
        let _ = self.hopeless.subscribe().wait_for(|hopeless| *hopeless).await;
    }

    /// Notes an error that the client told of.
    pub(super) fn error_heard(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        if let Some(code) = code_of(error) {
            self.note(code, Some(reason));
        }
    }

    /// Notes an error that came without a reason.
    pub(super) fn heard(&self, error: &KafkaError) {
        if let Some(code) = code_of(error) {
            self.note(code, None);
        }
    }

    /// Notes a line of the log. Some clients tell of errors in no other way.
    fn logged(&self, text: &str) {
        let code = if text.contains("SASL authentication error") {
            Some(RDKafkaErrorCode::Authentication)
        } else if text.contains("SSL handshake failed") || text.contains("certificate verify failed") {
            Some(RDKafkaErrorCode::SSL)
        } else {
            None
        };
        match code {
            Some(code) => self.note(code, Some(text)),
            None => drop(self.last().reason.get_or_insert_with(|| shortened(text))),
        }
    }

    fn note(&self, code: RDKafkaErrorCode, reason: Option<&str>) {
        let mut last = self.last();
        // That all brokers are gone says less than what was said before about one of them.
        if code != RDKafkaErrorCode::AllBrokersDown || last.code.is_none() {
            last.code = Some(code);
        }
        if let Some(reason) = reason.filter(|_| code != RDKafkaErrorCode::AllBrokersDown) {
            last.reason = Some(shortened(reason));
        }
        drop(last);
        if is_refusal(code) {
            self.hopeless.send_replace(true);
        }
    }

    /// An error, with what was heard about its cause.
    pub(super) fn error(&self, error: &KafkaError) -> BusError {
        let code = code_of(error);
        let (known, heard) = {
            let last = self.last();
            (last.code, last.reason.clone())
        };
        match code {
            // What comes of having no connection; the cause was heard before.
            Some(code) if is_silence(code) => self.silence(known, heard, &text(error)),
            Some(code) => self.coded(code, text(error)),
            None => BusError::Unavailable { bus: self.name.to_string(), reason: text(error) },
        }
    }

    /// The error of an answer that did not come in time.
    pub(super) fn timeout(&self) -> BusError {
        let (known, heard) = {
            let last = self.last();
            (last.code, last.reason.clone())
        };
        self.silence(known, heard, "no answer came in time")
    }

    fn silence(&self, known: Option<RDKafkaErrorCode>, heard: Option<String>, otherwise: &str) -> BusError {
        let reason = heard.unwrap_or_else(|| otherwise.to_owned());
        match known {
            Some(code) => self.coded(code, reason),
            None => BusError::Unreachable { bus: self.name.to_string(), reason },
        }
    }

    /// An error of the port for a code.
    pub(super) fn coded(&self, code: RDKafkaErrorCode, reason: String) -> BusError {
        let bus = self.name.to_string();
        match code {
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism => BusError::Credentials { bus, reason },
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => BusError::Forbidden { bus, reason },
            RDKafkaErrorCode::SSL => BusError::Tls { bus, reason },
            RDKafkaErrorCode::InvalidTopic | RDKafkaErrorCode::InvalidPartitions => {
                BusError::Unsupported { bus, reason }
            }
            code if is_silence(code) => BusError::Unreachable { bus, reason },
            _ => BusError::Unavailable { bus, reason },
        }
    }
}

impl ClientContext for Trouble {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if matches!(facility, "FAIL" | "ERROR") {
            self.logged(text);
        }
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, "{text}"),
            // What matters comes as an error too, and whoever tries again says so.
            _ => tracing::debug!(target: "librdkafka", facility, "{text}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.error_heard(&error, reason);
    }
}

/// The code of an error.
pub(super) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// Whether a code says that no broker answers.
fn is_silence(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::TimedOutQueue
            | RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::WaitingForCoordinator
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::PurgeInflight
    )
}

/// Whether a code says that the brokers refuse this client.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::SSL
    )
}

/// An error as text. One of the settings has their values in its own text, the password among them.
fn text(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, what, name, _) => format!("the client does not take the setting {name}: {what}"),
        _ => code_of(error).map_or_else(|| error.to_string(), |code| code.to_string()),
    }
}

/// A text of librdkafka without the names of its threads, and of bounded length.
fn shortened(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(text, |(_, rest)| rest);
    text.chars().take(400).collect()
}

/// Runs something of librdkafka that blocks where blocking is allowed.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // Only the end of the runtime keeps it from running.
    tokio::task::spawn_blocking(work).await.ok()
}
