//! RabbitMQ from Debian: a user of its own in place of the guest, TLS, and the management API; with an epmd of its own.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;

use super::{
    instance::Instance,
    server::{PASSWORD, Server, USER},
};

/// Not the one on the path, which runs as the user `rabbitmq` in the folders of Debian's own instance.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The server.
pub(crate) struct RabbitMq;

impl Server for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn missing(&self) -> BTreeSet<&'static str> {
        if Path::new(PROGRAM).is_file() { BTreeSet::new() } else { BTreeSet::from(["rabbitmq-server"]) }
    }

    fn version(&self) -> Option<String> {
        let versions = fs::read_dir("/usr/lib/rabbitmq/lib").ok()?.flatten();
        versions
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("rabbitmq_server-")?.to_owned()))
            .max()
    }

    fn user(&self) -> Option<&'static str> {
        Some("rabbitmq")
    }

    fn ports(&self) -> &'static [(&'static str, u16)] {
        &[("plain", 17_672), ("tls", 17_671), ("management", 17_673), ("nodes", 17_674), ("epmd", 17_675)]
    }

    fn processes(&self) -> &'static [&'static str] {
        &["epmd", "rabbitmq"]
    }

    fn prepare(&self, instance: &Instance) -> Result<()> {
        instance.make_data(|_| Ok(()))?;
        let (certificate, key) = instance.certificate()?;
        let settings = format!(
            "listeners.tcp.local = 127.0.0.1:{}
listeners.ssl.local = 127.0.0.1:{}
management.tcp.ip = 127.0.0.1
management.tcp.port = {}
ssl_options.cacertfile = {certificate}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {}
ssl_options.verify = verify_none
default_user = {USER}
default_pass = {PASSWORD}
log.console = true
log.console.level = info
log.file = false
",
            instance.port("plain"),
            instance.port("tls"),
            instance.port("management"),
            key.display(),
            certificate = certificate.display(),
        );
        instance.account.write(&instance.folder.join("rabbitmq.conf"), &settings)?;
        instance.account.write(&instance.folder.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        instance.account.write(&instance.folder.join("empty"), "")
    }

    fn commands(&self, instance: &Instance) -> Result<Vec<(&'static str, Command)>> {
        let mut epmd = instance.command("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &instance.port("epmd").to_string()]);

        let folder = &instance.folder;
        let mut server = instance.command(PROGRAM);
        server
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", instance.port("epmd").to_string())
            // Makes the script become the server rather than wait for it.
            .env("RABBITMQ_ALLOW_INPUT", "true")
            .env("RABBITMQ_NODENAME", "lantern@localhost")
            .env("RABBITMQ_DIST_PORT", instance.port("nodes").to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput -kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", instance.data())
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            // What belongs to Debian's own instance is not read.
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("empty"))
            .env("RABBITMQ_CONFIG_FILES", folder.join("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"));
        Ok(vec![("epmd", epmd), ("rabbitmq", server)])
    }

    /// It opens its ports last and greets a client at once.
    fn is_ready(&self, instance: &Instance) -> bool {
        greet(instance.port("plain")).is_ok() && greet_management(instance.port("management")).is_ok()
    }

    fn variables(&self, instance: &Instance) -> Vec<(&'static str, String)> {
        let url = |scheme, port| format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:{}", instance.port(port));
        vec![
            ("LANTERN_TEST_RABBITMQ_URL", url("amqp", "plain")),
            ("LANTERN_TEST_RABBITMQ_TLS_URL", url("amqps", "tls")),
            ("LANTERN_TEST_RABBITMQ_MANAGEMENT_URL", url("http", "management")),
        ]
    }
}

/// The server answers the header of AMQP 0-9-1 with a frame of type 1 on channel 0: `connection.start`.
fn greet(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    let mut frame = [0; 3];
    stream.read_exact(&mut frame)?;
    if frame == [1, 0, 0] { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn greet_management(port: u16) -> std::io::Result<()> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(|_| ())
}
