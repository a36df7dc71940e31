//! Has what is sent to the server leave at once.
//!
//! The driver leaves Nagle's algorithm on in version 0.9.0, which is mended in its repository and not released yet. With
//! it a statement that goes out in several writes, as one of more than 16 KiB does over TLS, stops before its last packet
//! until the server acknowledges the ones before, and the server, which has nothing to answer yet, takes 40 ms to do so.
//! The driver gives nobody its socket. It is found among the open files of the process by the port it is connected to.

use sqlx::postgres::PgConnectOptions;

/// Has all connections of the process to a server send at once, whoever opened them. What cannot be done is left undone: it
/// costs time and nothing else.
pub fn send_at_once(options: &PgConnectOptions) {
    // A socket in the file system knows no such delay.
    if options.get_socket().is_none() {
        #[cfg(unix)]
        unix::set_for_all(options.get_port());
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        fs,
        net::SocketAddr,
        os::fd::{BorrowedFd, RawFd},
    };

    use rustix::net::{getpeername, sockopt::set_tcp_nodelay};

    /// The open files of the process, by their numbers.
    const OPEN_FILES: &str = "/dev/fd";

    /// Sets the option on each socket of the process that is connected to this port.
    pub(super) fn set_for_all(port: u16) {
        let files = fs::read_dir(OPEN_FILES).into_iter().flatten().flatten();
        let numbers = files.filter_map(|file| file.file_name().to_str()?.parse().ok());
        numbers.for_each(|number| set(number, port));
    }

    #[expect(unsafe_code, reason = "the driver does not hand out its socket, only the system knows its number")]
    fn set(number: RawFd, port: u16) {
        // SAFETY: nothing is read or written, and nothing is kept. Should the owner of a file close it just now, and its
        // number be given to another one, that one is asked for its peer instead, or at worst sends at once from now on.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let peer = getpeername(file).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
        if peer.is_some_and(|peer| peer.port() == port) {
            // A socket that was closed has nothing to send any more.
            let _ = set_tcp_nodelay(file, true);
        }
    }

    #[cfg(test)]
    mod tests {
        use std::net::{TcpListener, TcpStream};

        use rustix::net::sockopt::tcp_nodelay;

        use super::*;

        #[test]
        fn the_connections_to_one_port_send_at_once_and_others_are_left_alone() {
            let [server, other] = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
            let connect = |server: &TcpListener| TcpStream::connect(server.local_addr().unwrap()).unwrap();
            let (first, second, neighbour) = (connect(&server), connect(&server), connect(&other));
            set_for_all(server.local_addr().unwrap().port());
            assert!(tcp_nodelay(&first).unwrap() && tcp_nodelay(&second).unwrap());
            assert!(!tcp_nodelay(&neighbour).unwrap());
        }
    }
}
