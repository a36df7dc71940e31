//! Servers that ask for a password and speak TLS: what goes over them, and what is said when they are not trusted or do not
//! trust. A password is never shown.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Host, HostOptions,
    buses::{Bus, topic, variable},
    cli,
    events::{amount, amounts},
    servers::Server,
};

/// A URL whose password is another one.
fn with_wrong_password(url: &str) -> String {
    let (start, rest) = url.rsplit_once('@').unwrap();
    let user = start.rsplit_once(':').unwrap().0;
    format!("{user}:not-the-password@{rest}")
}

/// What is said of a bus that a route cannot use, everywhere where something is said.
fn trouble(url: &str) -> String {
    let host = Host::start_with(HostOptions::default().bus(url).publishing(&topic()));
    host.append(&amounts(1, 1, 1));
    let is_told = |status: &Value| status["state"] == "error" && status["lag"] == 1;
    let status = host.wait_for_route("out", "in trouble", is_told);
    let listed = host.cli(&["bus", "list"]);
    let [shown, metrics] = ["/api/v1/buses", "/metrics"].map(|path| host.get(path).body);
    let said = host.output().tail();
    for text in [listed.ok(), &shown, &metrics, &said, &status.to_string()] {
        let secret = url.rsplit_once('@').unwrap().0.rsplit_once(':').unwrap().1;
        assert!(!text.contains(secret), "{text}");
    }
    format!("{}\n{}", status["last_error"]["message"].as_str().unwrap(), listed.stdout)
}

/// A message from one host to another over TLS; one that does not know the issuer of the certificate; a wrong password.
fn only_who_is_trusted_is_spoken_to(bus: Bus) {
    let trusting = format!("{}&ca={}", bus.secure_url(), variable("LANTERN_TEST_CA"));
    let topic = topic();
    let from = Host::start_with(HostOptions::default().bus(&trusting).publishing(&topic));
    let to = Host::start_with(HostOptions::default().bus(&trusting).consuming(&topic));
    from.append(&amounts(1, 20, 3));
    to.wait_for_head(20);
    assert_eq!(to.streams(), from.streams());

    let said = trouble(&bus.secure_url());
    assert!(said.contains("certificate"), "{said}");
    let said = trouble(&with_wrong_password(&trusting));
    assert!(said.contains("does not accept the credentials"), "{said}");
}

#[test]
fn redis_over_tls() {
    only_who_is_trusted_is_spoken_to(Bus::Redis);
}

#[test]
fn rabbitmq_over_tls() {
    only_who_is_trusted_is_spoken_to(Bus::RabbitMq);
}

#[test]
fn kafka_over_tls() {
    only_who_is_trusted_is_spoken_to(Bus::Kafka);
}

#[test]
fn kafka_takes_a_password_in_each_way() {
    let [user, password, brokers] =
        ["USER", "PASSWORD", "SASL_BROKERS"].map(|name| variable(&format!("LANTERN_TEST_KAFKA_{name}")));
    for mechanism in ["plain", "scram-sha-256", "scram-sha-512"] {
        let url = format!("kafka://{user}:{password}@{brokers}?sasl={mechanism}");
        let host = Host::start_with(HostOptions::default().bus(&url));
        let bus = host.get("/api/v1/buses").ok()["buses"][0].clone();
        assert_eq!(bus["is_available"], true, "{mechanism}: {bus}");
    }
}

#[test]
fn a_database_is_trusted_by_its_certificate() {
    let server = Server::start("postgres");
    let url = format!("{}?sslmode=verify-full", server.variable("LANTERN_TEST_POSTGRES_URL"));
    let trusting = format!("{url}&sslrootcert={}", server.variable("LANTERN_TEST_CA"));
    let options = HostOptions::default().argument("--store").argument("postgres");
    let host = Host::start_with(options.variable("LANTERN_STORAGE_URL", &trusting));
    host.append(&[amount(1, "Item-a")]);
    assert_eq!(host.head(), 1);

    let folder = TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    for (url, why) in [(&url, "certificate"), (&with_wrong_password(&trusting), "password")] {
        let ran = cli::run(&["serve", "--listen", "127.0.0.1:0", "--data", data, "--store", "postgres", "--url", url]);
        let said = ran.failed(1);
        assert!(said.contains("the database cannot be opened") && said.contains(why), "{said}");
        assert!(!said.contains("not-the-password"), "{said}");
    }
}
