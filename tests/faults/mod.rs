//! What must hold when things go wrong while the host works.

mod kill;
mod killed_swap;
mod swap_storm;
