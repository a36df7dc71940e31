//! One file a promise.

mod append;
mod buses;
mod command_line;
mod commands;
mod dead_letters;
mod exchange;
mod handlers;
mod lifecycle;
mod limits;
mod loan;
mod modules;
mod neighbours;
mod new_project;
mod operations;
mod orders;
mod outgoing;
mod read;
mod rebuild;
mod schedules;
mod shutdown;
mod start;
mod swap;
mod tables;
mod tour;
mod tracing;
mod upcasters;
