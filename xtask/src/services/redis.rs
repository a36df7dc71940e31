//! Redis from Debian: a password for its default user, and TLS on a port of its own.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;

use super::{
    instance::Instance,
    server::{PASSWORD, Server},
};

const PROGRAM: &str = "/usr/bin/redis-server";

/// The server.
pub(crate) struct Redis;

impl Server for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn missing(&self) -> BTreeSet<&'static str> {
        if Path::new(PROGRAM).is_file() { BTreeSet::new() } else { BTreeSet::from(["redis-server"]) }
    }

    fn version(&self) -> Option<String> {
        let output = Command::new(PROGRAM).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(text.split_whitespace().find_map(|word| word.strip_prefix("v="))?.to_owned())
    }

    fn user(&self) -> Option<&'static str> {
        Some("redis")
    }

    fn ports(&self) -> &'static [(&'static str, u16)] {
        &[("plain", 17_379), ("tls", 17_380)]
    }

    fn processes(&self) -> &'static [&'static str] {
        &["redis"]
    }

    fn prepare(&self, instance: &Instance) -> Result<()> {
        instance.make_data(|_| Ok(()))?;
        let (certificate, key) = instance.certificate()?;
        let settings = format!(
            "bind 127.0.0.1
port {}
tls-port {}
tls-cert-file \"{}\"
tls-key-file \"{}\"
tls-auth-clients no
requirepass {PASSWORD}
dir \"{}\"
appendonly yes
save \"\"
daemonize no
",
            instance.port("plain"),
            instance.port("tls"),
            certificate.display(),
            key.display(),
            instance.data().display()
        );
        instance.account.write(&instance.folder.join("redis.conf"), &settings)
    }

    fn commands(&self, instance: &Instance) -> Result<Vec<(&'static str, Command)>> {
        let mut command = instance.command(PROGRAM);
        command.arg(instance.folder.join("redis.conf"));
        Ok(vec![("redis", command)])
    }

    /// It answers before its data is loaded, but not to PING.
    fn is_ready(&self, instance: &Instance) -> bool {
        ping(instance.port("plain")).is_ok_and(|answer| answer == "+PONG\r\n")
    }

    fn variables(&self, instance: &Instance) -> Vec<(&'static str, String)> {
        let url = |scheme, port| format!("{scheme}://default:{PASSWORD}@127.0.0.1:{}/0", instance.port(port));
        vec![("LANTERN_TEST_REDIS_URL", url("redis", "plain")), ("LANTERN_TEST_REDIS_TLS_URL", url("rediss", "tls"))]
    }
}

fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("AUTH {PASSWORD}\r\nPING\r\n").as_bytes())?;
    let mut lines = BufReader::new(stream);
    lines.read_line(&mut String::new())?;
    let mut answer = String::new();
    lines.read_line(&mut answer)?;
    Ok(answer)
}
