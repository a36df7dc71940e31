//! A bus made from its URL.

use std::sync::Arc;

use lantern_core::Bus;

#[cfg(feature = "kafka")]
use crate::kafka::{self, Kafka};
#[cfg(feature = "rabbitmq")]
use crate::rabbitmq::{self, RabbitMq};
#[cfg(feature = "redis")]
use crate::redis::{self, Redis};
use crate::{
    address::{Address, AddressError, Options},
    memory::{self, Memory},
};

/// Makes the bus of a URL. It connects when it is first used.
///
/// `kafka://user:password@host:port,host:port`, `amqp://user:password@host:port/vhost`, `amqps://…`,
/// `redis://user:password@host:port/database`, `rediss://…` or `memory:`, each with options behind a `?`; the module of
/// each bus lists them. A character of a password that means something in a URL is percent-encoded.
///
/// # Errors
///
/// The URL cannot be read, or has an option that the bus does not know. No text shows the URL.
pub fn open(url: &str) -> Result<Arc<dyn Bus>, AddressError> {
    let (scheme, rest) = url.trim().split_once(':').ok_or(AddressError::Scheme)?;
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    match scheme {
        "memory" => {
            if !rest.is_empty() && rest != "//" {
                let what = "something behind `memory:`: only options can follow".into();
                return Err(AddressError::Part { bus: memory::NAME, what });
            }
            Ok(Arc::new(Memory::open(Options::read(memory::NAME, query)?)?))
        }
        #[cfg(feature = "kafka")]
        "kafka" => {
            let address = Address::read(kafka::NAME, authority(kafka::NAME, rest)?, kafka::PORT)?;
            Ok(Arc::new(Kafka::open(&address, Options::read(kafka::NAME, query)?)?))
        }
        #[cfg(not(feature = "kafka"))]
        "kafka" => Err(AddressError::Missing("Kafka", "kafka")),
        #[cfg(feature = "rabbitmq")]
        "amqp" | "amqps" => {
            let tls = scheme == "amqps";
            let port = if tls { rabbitmq::PORTS.1 } else { rabbitmq::PORTS.0 };
            let address = Address::read(rabbitmq::NAME, authority(rabbitmq::NAME, rest)?, port)?;
            Ok(Arc::new(RabbitMq::open(&address, tls, Options::read(rabbitmq::NAME, query)?)?))
        }
        #[cfg(not(feature = "rabbitmq"))]
        "amqp" | "amqps" => Err(AddressError::Missing("RabbitMQ", "rabbitmq")),
        #[cfg(feature = "redis")]
        "redis" | "rediss" => {
            let address = Address::read(redis::NAME, authority(redis::NAME, rest)?, redis::PORT)?;
            let options = Options::read(redis::NAME, query)?;
            Ok(Arc::new(Redis::open(&address, scheme == "rediss", options)?))
        }
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" => Err(AddressError::Missing("Redis", "redis")),
        _ => Err(AddressError::Scheme),
    }
}

/// What follows the `//` of a URL.
fn authority<'a>(bus: &'static str, rest: &'a str) -> Result<&'a str, AddressError> {
    let what = || "no `//` behind its scheme".to_owned();
    rest.strip_prefix("//").ok_or_else(|| AddressError::Part { bus, what: what() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match open(url) {
            Ok(_) => panic!("{url} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_bus_is_known_by_its_scheme() {
        assert_eq!(open("memory:").unwrap().system(), "memory");
        assert_eq!(open("memory:?partitions=2").unwrap().system(), "memory");
        for url in ["", "memory", "nats://h", "http://ann:secret@h"] {
            assert!(refused(url).contains("none of these schemes"), "{url}");
        }
    }

    #[test]
    fn no_refusal_shows_a_password() {
        for url in ["http://ann:secret@h", "memory:ann:secret@h", "memory:?partitions=no", "memory:?ann:secret@h=1"] {
            assert!(!refused(url).contains("secret"), "{url}: {}", refused(url));
        }
    }
}
