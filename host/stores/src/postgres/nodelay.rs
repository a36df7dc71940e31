//! Has what is sent to the server leave at once.
//!
//! The driver leaves Nagle's algorithm on in version 0.9.0, which is mended in its repository and not released yet. With
//! it a statement that goes out in several writes, as one of more than 16 KiB does over TLS, stops before its last packet
//! until the server acknowledges the ones before, and the server, which has nothing to answer yet, takes 40 ms to do so.
//! The driver gives nobody its socket. It is found among the open files of the process by the port it is connected to, and
//! the system hands out a second handle to it.

use sqlx::postgres::PgConnectOptions;

/// Has all connections of the process to a server send at once, whoever opened them. What cannot be done is left undone: it
/// costs time and nothing else. Only Linux hands out such handles.
pub fn send_at_once(options: &PgConnectOptions) {
    // A socket in the file system knows no such delay.
    if options.get_socket().is_none() {
        #[cfg(target_os = "linux")]
        linux::set_for_all(options.get_port());
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs::{self, DirEntry},
        net::SocketAddr,
        os::fd::OwnedFd,
    };

    use rustix::{
        net::{getpeername, sockopt::set_tcp_nodelay},
        process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
    };

    /// The open files of the process, by their numbers.
    const OPEN_FILES: &str = "/proc/self/fd";

    /// Sets the option on each socket of the process that is connected to this port.
    pub(super) fn set_for_all(port: u16) {
        let Ok(process) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
        let files = fs::read_dir(OPEN_FILES).into_iter().flatten().flatten();
        // Nothing but sockets is taken hold of: letting go of a file would let go of its locks.
        let numbers = files.filter(is_socket).filter_map(|file| file.file_name().to_str()?.parse().ok());
        // One that was closed just now is not there any more, or is another one, which is asked for its own peer.
        let sockets = numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok());
        sockets.for_each(|socket| set(&socket, port));
    }

    fn is_socket(file: &DirEntry) -> bool {
        fs::read_link(file.path()).is_ok_and(|leads| leads.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    }

    fn set(socket: &OwnedFd, port: u16) {
        let peer = getpeername(socket).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
        if peer.is_some_and(|peer| peer.port() == port) {
            // A connection that has ended has nothing to send any more.
            let _ = set_tcp_nodelay(socket, true);
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
