//! Connections: a name is resolved once, its addresses are checked, and exactly those are connected to. What a resolver
//! answers later is never asked for, so it can change nothing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lantern_core::{
    Grants,
    grants::{Network, Origin},
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OnceCell,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::async_trait;
use wasmtime_wasi_http::Error;

use super::{
    addresses::special,
    refusal::{Problem, Refusal},
};

/// What finds the addresses of a name.
#[async_trait]
pub(super) trait Resolver: Send + Sync {
    /// The addresses of a name, each with the port.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
pub(super) struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}

/// A connection, secured or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections.
pub(super) struct Connector {
    resolver: Box<dyn Resolver>,
    // The system's certificates are read when they are first needed.
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Connector {
    /// A connector that trusts the system's certificates.
    pub(super) fn new(resolver: Box<dyn Resolver>) -> Self {
        Self { resolver, tls: OnceCell::new() }
    }

    /// Opens a connection to an origin that is listed, at an address that may be reached, before a deadline.
    pub(super) async fn open(
        &self,
        origin: &Origin,
        grants: &Grants,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, Problem> {
        let addresses = self.addresses(origin, deadline).await?;
        let stream = connect(&allowed(origin, grants, addresses)?, deadline).await?;
        if !origin.is_secure {
            return Ok(Box::new(stream));
        }
        let config = self.tls.get_or_try_init(trusting_the_system).await?.clone();
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
        let secured = timeout_at(deadline, TlsConnector::from(config).connect(name, stream)).await;
        let secured = secured.map_err(|_| Error::ConnectionTimeout)?.map_err(|error| untrusted(&error))?;
        Ok(Box::new(secured))
    }

    async fn addresses(&self, origin: &Origin, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = origin.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, origin.port)]);
        }
        let found = timeout_at(deadline, self.resolver.resolve(&origin.host, origin.port)).await;
        let unknown = |reason: String| Error::DnsError { rcode: Some(reason), info_code: None };
        let found = found.map_err(|_| Error::DnsTimeout)?.map_err(|error| unknown(error.to_string()))?;
        if found.is_empty() { Err(unknown(format!("`{}` has no address", origin.host))) } else { Ok(found) }
    }
}

/// The addresses that may be reached. An address that is itself the host of a listed origin is thereby listed.
fn allowed(origin: &Origin, grants: &Grants, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
    let is_literal = origin.host.parse::<IpAddr>().is_ok();
    let is_listed = |address: IpAddr| is_literal || grants.addresses.iter().any(|own: &Network| own.contains(address));
    let (mut allowed, mut refused) = (Vec::new(), None);
    for address in addresses {
        match special(address.ip()) {
            Some(sort) if !is_listed(address.ip()) => refused = refused.or(Some((address.ip(), sort))),
            _ => allowed.push(address),
        }
    }
    match refused {
        Some((address, sort)) if allowed.is_empty() => {
            Err(Refusal::Address { origin: origin.to_string(), address, sort })
        }
        _ => Ok(allowed),
    }
}

/// Connects to the first address that answers. Each has an equal part of the time that is left.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let mut last = Error::ConnectionTimeout;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // At most a handful of addresses.
        let part = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        last = match timeout_at(Instant::now() + part.max(Duration::from_millis(1)), TcpStream::connect(address)).await
        {
            Ok(Ok(stream)) => {
                // A request is written at once; where the option is missing it is only slower.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => unreachable_for(&error),
            Err(_) => Error::ConnectionTimeout,
        };
    }
    Err(last)
}

fn unreachable_for(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

fn untrusted(error: &io::Error) -> Error {
    match error.get_ref().and_then(|reason| reason.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        _ => Error::TlsProtocolError,
    }
}

/// Reads the system's certificates, which are files.
async fn trusting_the_system() -> Result<Arc<ClientConfig>, Error> {
    let read = tokio::task::spawn_blocking(|| {
        let mut roots = RootCertStore::empty();
        // Some that cannot be read are no reason to trust none.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    trusting(read.await.map_err(|_| Error::ConfigurationError)?)
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|_| Error::ConfigurationError)?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    fn grants(addresses: &[&str]) -> Grants {
        Grants { addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(), ..Grants::default() }
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Answers otherwise every time, and counts how often it was asked.
    struct Rebinding {
        answers: Vec<Vec<SocketAddr>>,
        asked: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Resolver for Rebinding {
        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            let turn = self.asked.fetch_add(1, Ordering::SeqCst);
            Ok(self.answers[turn.min(self.answers.len() - 1)].clone())
        }
    }

    /// A connector whose resolver gives these answers, and how often it was asked.
    fn connector(answers: &[&[&str]]) -> (Connector, Arc<AtomicUsize>) {
        let parsed = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let resolver = Rebinding { answers: answers.iter().map(parsed).collect(), asked: asked.clone() };
        (Connector::new(Box::new(resolver)), asked)
    }

    fn refusal(outcome: Result<Box<dyn Stream>, Problem>) -> String {
        match outcome {
            Err(Problem::Refused(refusal)) => refusal.to_string(),
            Err(Problem::Failed(error)) => panic!("failed: {error}"),
            Ok(_) => panic!("connected"),
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to() {
        let (good, secret) =
            (TcpListener::bind("[::1]:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (good_address, secret_address) = (good.local_addr().unwrap(), secret.local_addr().unwrap());
        let (connector, asked) = connector(&[&[&good_address.to_string()], &[&secret_address.to_string()]]);
        let origin = "http://rebinding.example".parse().unwrap();
        connector.open(&origin, &grants(&["::1"]), far()).await.expect("connected");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // Had the name been resolved again for the connection, it would stand before the other door.
        good.accept().await.unwrap();
        let refused = refusal(connector.open(&origin, &grants(&["::1"]), far()).await);
        assert!(refused.contains("127.0.0.1 is a loopback address"), "{refused}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_in_all_its_forms() {
        for inside in [
            "127.0.0.1:80",
            "10.0.0.1:80",
            "169.254.169.254:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[2002:7f00:1::]:80",
            "[fd00::1]:80",
        ] {
            let (connector, _) = connector(&[&[inside]]);
            let refused = refusal(connector.open(&"http://name.example".parse().unwrap(), &grants(&[]), far()).await);
            assert!(refused.contains("--http-address"), "{inside}: {refused}");
        }
    }

    #[test]
    fn special_addresses_are_dropped_and_the_others_kept() {
        let mixed = || vec!["10.0.0.1:80".parse().unwrap(), "1.1.1.1:80".parse().unwrap()];
        let origin = "http://name.example".parse().unwrap();
        assert_eq!(allowed(&origin, &grants(&[]), mixed()).unwrap(), ["1.1.1.1:80".parse().unwrap()]);
        assert_eq!(allowed(&origin, &grants(&["10.0.0.0/8"]), mixed()).unwrap(), mixed());
        let refused = allowed(&origin, &grants(&["10.1.0.0/16"]), vec!["10.0.0.1:80".parse().unwrap()]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "http://name.example is refused: 10.0.0.1 is a private address; `--http-address 10.0.0.1` in the deployment \
             lists it"
        );
    }

    #[test]
    fn an_origin_that_is_an_address_is_thereby_listed() {
        for literal in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://[::ffff:10.0.0.1]:8080"] {
            let origin = literal.parse::<Origin>().unwrap();
            let own = vec![SocketAddr::new(origin.host.parse().unwrap(), 8080)];
            assert_eq!(allowed(&origin, &grants(&[]), own.clone()).unwrap(), own);
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_called_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let (connector, asked) = connector(&[&[]]);
        let origin = format!("http://{closed}").parse().unwrap();
        let outcome = connector.open(&origin, &grants(&[]), far()).await;
        assert!(matches!(outcome, Err(Problem::Failed(Error::ConnectionRefused))));
        assert_eq!(asked.load(Ordering::SeqCst), 0, "an address needs no resolver");
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_an_error_of_the_resolver() {
        let (connector, _) = connector(&[&[]]);
        let outcome = connector.open(&"http://name.example".parse().unwrap(), &grants(&[]), far()).await;
        assert!(matches!(outcome, Err(Problem::Failed(Error::DnsError { .. }))));
    }

    /// A server that shows a certificate for `good.example`; its address, and what trusts it.
    async fn secured_server() -> (SocketAddr, RootCertStore) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["good.example".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            // Whether the other side likes what it is shown is for the other side to say.
            while let Ok((stream, _)) = listener.accept().await {
                acceptor.accept(stream).await.ok();
            }
        });
        (address, roots)
    }

    #[tokio::test]
    async fn a_certificate_must_be_trusted_and_of_the_name() {
        let (address, roots) = secured_server().await;
        let open = async |name: &str, roots: RootCertStore| {
            let (mut connector, _) = connector(&[&[&address.to_string()]]);
            connector.tls = OnceCell::new_with(Some(trusting(roots).unwrap()));
            let origin = format!("https://{name}:{}", address.port()).parse().unwrap();
            connector.open(&origin, &grants(&["127.0.0.1"]), far()).await.map(|_| ())
        };
        open("good.example", roots.clone()).await.unwrap();
        for (name, roots) in [("other.example", roots), ("good.example", RootCertStore::empty())] {
            let outcome = open(name, roots).await;
            assert!(matches!(outcome, Err(Problem::Failed(Error::TlsCertificateError))), "{name}: {outcome:?}");
        }
    }
}
