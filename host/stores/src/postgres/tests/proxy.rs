//! A proxy before the server that can go silent, as a network does: nothing is closed, nothing arrives.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A proxy before the server of the tests.
pub(super) struct Proxy {
    /// The address, as host and port.
    pub(super) address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// How many connections have listened for notifications.
    listeners: AtomicUsize,
    /// Whether new connections are closed at once.
    closed: AtomicBool,
    /// Grows whenever the connections that listen go silent; and whenever all are cut.
    silenced: watch::Sender<usize>,
    cut: watch::Sender<usize>,
}

impl Proxy {
    /// Starts one before the server at an address.
    pub(super) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let accepting = state.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if accepting.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, accepting.clone()));
            }
        });
        Self { address, state }
    }

    /// How many connections have listened for notifications so far.
    pub(super) fn listeners(&self) -> usize {
        self.state.listeners.load(Ordering::SeqCst)
    }

    /// From now on nothing passes over the connections that listen for notifications; those that come later work.
    pub(super) fn silence_listeners(&self) {
        self.state.silenced.send_modify(|count| *count += 1);
    }

    /// Closes all connections, and new ones at once until it is opened again.
    pub(super) fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.cut.send_modify(|count| *count += 1);
    }

    /// Lets new connections pass again.
    pub(super) fn open(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let (silenced, mut cut) = (state.silenced.subscribe(), state.cut.subscribe());
    let listens = Arc::new(AtomicBool::new(false));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let silence = Silence { listens, silenced };
    tokio::select! {
        _ = cut.changed() => {}
        () = pass(from_client, to_server, silence.clone(), Some(&state)) => {}
        () = pass(from_server, to_client, silence, None) => {}
    }
}

#[derive(Clone)]
struct Silence {
    listens: Arc<AtomicBool>,
    silenced: watch::Receiver<usize>,
}

/// Passes on what comes, until it is closed. What a silent connection says is lost.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, silence: Silence, state: Option<&State>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        if let Some(state) = state
            && bytes[..count].windows(8).any(|part| part == b"LISTEN \"")
            && !silence.listens.swap(true, Ordering::SeqCst)
        {
            state.listeners.fetch_add(1, Ordering::SeqCst);
        }
        let silent = silence.silenced.has_changed().unwrap_or(false);
        if silent && silence.listens.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
