//! The backend in memory: the same promises as the others, gone with the process. For tests and for trying out.

mod hosts;
mod journal;
mod log;
mod read_model;
mod schedules;
mod snapshots;
mod tables;

#[cfg(test)]
mod tests;

pub use hosts::Hosts;
pub use journal::Journal;
pub use log::Log;
pub use read_model::ReadModels;
pub use snapshots::Snapshots;
