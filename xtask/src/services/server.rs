//! What is to be known about a server to start it, ask it and end it.

use std::{collections::BTreeSet, process::Command};

use anyhow::Result;
use rustix::process::Signal;

use super::{instance::Instance, kafka::Kafka, postgres::Postgres, rabbitmq::RabbitMq, redis::Redis};

/// The user that every server knows.
pub(crate) const USER: &str = "lantern";
/// The password of every user.
pub(crate) const PASSWORD: &str = "lantern-secret";

/// All servers.
pub(crate) const ALL: [&dyn Server; 4] = [&Postgres, &Redis, &RabbitMq, &Kafka];

/// A kind of server.
pub(crate) trait Server: Sync {
    /// Its name, which is its folder's.
    fn name(&self) -> &'static str;

    /// The Debian packages that are missing to run it.
    fn missing(&self) -> BTreeSet<&'static str>;

    /// The version that is installed.
    fn version(&self) -> Option<String>;

    /// The user that its package made for it.
    fn user(&self) -> Option<&'static str> {
        None
    }

    /// The names of its ports, with those it has when they are free.
    fn ports(&self) -> &'static [(&'static str, u16)];

    /// The names of its processes, in the order in which they start. The last bears the server's name.
    fn processes(&self) -> &'static [&'static str];

    /// Writes its configuration, and makes its data the first time.
    fn prepare(&self, instance: &Instance) -> Result<()>;

    /// How its processes are started.
    fn commands(&self, instance: &Instance) -> Result<Vec<(&'static str, Command)>>;

    /// Asks it whether it serves.
    fn is_ready(&self, instance: &Instance) -> bool;

    /// The signal on which it ends in good order.
    fn end(&self) -> Signal {
        Signal::TERM
    }

    /// The variables that lead tests to it, the first of which leads to a server of the caller's as well.
    fn variables(&self, instance: &Instance) -> Vec<(&'static str, String)>;
}

/// The server of this name.
pub(crate) fn find(name: &str) -> Option<&'static dyn Server> {
    ALL.into_iter().find(|server| server.name() == name)
}
