//! Buses: CloudEvents on Kafka, RabbitMQ, Redis Streams and in memory.
//!
//! Every bus is a folder of its own and knows no other. [`open()`] makes one from its URL; [`cloud_events`] is the envelope
//! that all of them carry, and the host's own interface too; `contract` proves what the port promises.

#![warn(missing_docs)]

mod address;
mod again;
pub mod cloud_events;
#[cfg(test)]
mod contract;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
mod open;
mod percent;
#[cfg(test)]
mod proxy;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod reading;
#[cfg(feature = "redis")]
pub mod redis;

pub use address::AddressError;
pub use open::open;
