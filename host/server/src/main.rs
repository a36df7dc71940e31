//! The binary `lantern`: a host, and the command line that talks to one.
//!
//! The only crate that knows all the others. [`wire`] puts a host together, [`http`] is its API, [`cli`] the command
//! line; [`config`], [`data_folder`], [`identity`] and [`shutdown`] are about the process.

mod cli;
mod config;
mod data_folder;
mod http;
mod identity;
mod shutdown;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Installing fails only when a provider is there already, and nothing ran before this line.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run(std::env::args_os())
}
