//! What must hold when things go wrong while the host works.

mod buses;
mod contention;
mod kill;
mod killed_feed;
mod killed_swap;
mod killed_tables;
mod quiet_effects;
mod restored_log;
mod servers;
mod several_hosts;
mod shared_log;
mod swap_storm;
mod write_side;
