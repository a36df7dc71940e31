//! Buses for tests, and hosts with a route to or from one.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::Value;

use super::{Host, HostOptions, servers::Server, wait};

/// A kind of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    Redis,
    RabbitMq,
    Kafka,
}

impl Bus {
    /// The name of its server, as `cargo xtask services` has it.
    pub fn server(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::Kafka => "kafka",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Redis => "LANTERN_TEST_REDIS_URL",
            Self::RabbitMq => "LANTERN_TEST_RABBITMQ_URL",
            Self::Kafka => "LANTERN_TEST_KAFKA_BROKERS",
        }
    }

    fn url_of(self, value: &str) -> String {
        match self {
            Self::Redis => value.to_owned(),
            // An exchange keeps nothing: what is published before the other side has its queue is to wait for it.
            Self::RabbitMq => format!("{value}?mandatory=true"),
            Self::Kafka => format!("kafka://{value}"),
        }
    }

    /// The URL of the server that all tests share.
    #[track_caller]
    pub fn url(self) -> String {
        self.url_of(&variable(self.variable()))
    }

    /// The URL of the same server over TLS, where every client has a password. Its certificate has an issuer that only tests
    /// know.
    #[track_caller]
    pub fn secure_url(self) -> String {
        match self {
            Self::Redis => format!("{}?lease=1000", variable("LANTERN_TEST_REDIS_TLS_URL")),
            Self::RabbitMq => format!("{}?mandatory=true", variable("LANTERN_TEST_RABBITMQ_TLS_URL")),
            Self::Kafka => {
                let [user, password, brokers] =
                    ["USER", "PASSWORD", "TLS_BROKERS"].map(|name| variable(&format!("LANTERN_TEST_KAFKA_{name}")));
                format!("kafka://{user}:{password}@{brokers}?tls=true&sasl=scram-sha-512")
            }
        }
    }

    /// The URL of a server of the test's own.
    #[track_caller]
    pub fn url_at(self, server: &Server) -> String {
        self.url_of(server.variable(self.variable()))
    }
}

/// A variable that leads to a server.
#[track_caller]
pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with `cargo xtask test`, or `cargo xtask services up` first")
    })
}

/// A name that no other test uses.
pub fn topic() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("test-{time}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl HostOptions {
    /// A bus `main`.
    pub fn bus(self, url: &str) -> Self {
        self.variable("LANTERN_BUS_MAIN_URL", url)
    }

    /// A route `out` that publishes to a topic.
    pub fn publishing(self, topic: &str) -> Self {
        self.variable("LANTERN_PUBLISH_OUT_BUS", "main").variable("LANTERN_PUBLISH_OUT_TOPIC", topic)
    }

    /// A route `in` that consumes from a topic.
    pub fn consuming(self, topic: &str) -> Self {
        self.variable("LANTERN_CONSUME_IN_BUS", "main")
            .variable("LANTERN_CONSUME_IN_TOPIC", topic)
            .variable("LANTERN_CONSUME_IN_GROUP", "test")
    }
}

impl Host {
    /// How a route is doing.
    #[track_caller]
    pub fn route(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/routes/{name}")).ok()
    }

    /// Waits until a route is as asked.
    #[track_caller]
    pub fn wait_for_route(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("route `{name}` to be {what}"), || Some(self.route(name)).filter(&is))
    }

    /// Waits until the log has so many events.
    #[track_caller]
    pub fn wait_for_head(&self, head: u64) {
        wait::until(&format!("the log to reach {head}"), || (self.head() >= head).then_some(()));
    }
}
