//! A road to a server that tests can close.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Hands connections on to a server as long as it is open.
pub(crate) struct Proxy {
    address: String,
    open: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// An open proxy before a server.
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = Arc::new(watch::Sender::new(true));
        let task = tokio::spawn({
            let (open, target) = (open.clone(), target.to_owned());
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(carry(near, target.clone(), open.subscribe()));
                }
            }
        });
        Self { address, open, task }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Ends all connections; new ones end at once.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut near: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    if !*open.borrow() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
