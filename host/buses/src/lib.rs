//! Buses: CloudEvents on Kafka, RabbitMQ, Redis Streams and in memory.

#![warn(missing_docs)]

pub mod cloud_events;
