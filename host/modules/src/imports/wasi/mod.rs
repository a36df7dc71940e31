//! The interfaces of WASI 0.2 as modules see them: deterministic and empty. No arguments, environment, files or sockets;
//! nothing to read; clocks that stand still; random numbers that belong to what is in hand. What a handler is granted
//! beyond that is real.

mod clocks;
pub(super) mod http;
mod io;
mod random;
mod stdio;
mod waiting;

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::{
    cli::{WasiCli, WasiCliView},
    filesystem::{WasiFilesystem, WasiFilesystemView},
    p2::bindings::{self, sync},
    sockets::{WasiSockets, WasiSocketsView},
};

use crate::guest::Guest;

/// The names under which the interfaces are served. Another 0.2 version of each fits as well.
pub(super) const NAMES: [&str; 27] = [
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:random/insecure-seed@0.2.12",
    "wasi:random/insecure@0.2.12",
    "wasi:random/random@0.2.12",
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/tcp@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/udp@0.2.12",
];

/// Serves the interfaces.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_own(linker)?;
    add_empty(linker)
}

/// What is served by this crate.
fn add_own(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::clocks::wall_clock::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::clocks::monotonic_clock::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::random::random::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::random::insecure::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::random::insecure_seed::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::cli::stdout::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::cli::stderr::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    bindings::io::error::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| &mut guest.table)?;
    sync::io::poll::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)?;
    sync::io::streams::add_to_linker::<_, HasSelf<_>>(linker, |guest: &mut Guest| guest)
}

/// What is there so that modules link, and is empty: a context that was given nothing denies everything.
fn add_empty(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use bindings::{cli, filesystem::preopens, sockets};
    cli::environment::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    preopens::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    let network = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<_, WasiSockets>(linker, &network, Guest::sockets)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    sync::sockets::tcp::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    sync::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    sync::sockets::udp::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)
}
