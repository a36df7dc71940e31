//! The configuration: as written in a file and the environment, and as meant by the host.

mod lists;
mod meant;
mod routes;
mod written;

pub(crate) use meant::{Config, LogFormat, Options, Store};
pub(crate) use routes::Routing;
pub(crate) use written::TEMPLATE;
