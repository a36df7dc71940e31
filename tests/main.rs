//! Lantern's promises, tested from outside: every test starts the built `lantern` and uses only its public interfaces.
//!
//! `flows` holds one file a promise, `faults` what must survive a crash or a storm, `support` what they stand on, and
//! `tidy` the rules of the repository itself.

#![cfg(test)]
#![allow(unreachable_pub, reason = "nothing is reached from outside a test binary")]
#![allow(clippy::needless_pass_by_value, reason = "a test hands over the JSON it writes down in the call")]

mod faults;
mod flows;
mod support;
mod tidy;
