//! Commands on a whole set of aggregates: modules of closures, memory stores, storage that fails on demand.

mod capacity;
mod crowd;
mod host;
mod life;
mod model;
mod outside;
mod repeated;
mod show;
mod snapshots;
mod swap;
mod traps;
