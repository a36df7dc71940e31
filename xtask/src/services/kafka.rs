//! Apache Kafka as one node without ZooKeeper, its jars from Maven: PLAIN and SCRAM, in the clear and over TLS.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    instance::Instance,
    server::{PASSWORD, Server, USER},
    set::lock,
};
use crate::{packages::is_there, repository::run};

const VERSION: &str = "4.1.1";
/// The logging that this version of Kafka writes through.
const LOG4J_VERSION: &str = "2.24.3";
/// The oldest Java it runs on.
const JAVA: u32 = 17;
/// The id of the cluster, which takes part in no other.
const CLUSTER: &str = "bGFudGVybi10ZXN0cy0wMQ";

/// The server.
pub(crate) struct Kafka;

impl Server for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn missing(&self) -> BTreeSet<&'static str> {
        let java = java_version().is_none_or(|version| version < JAVA).then_some("default-jre-headless");
        let maven = (!is_there("mvn")).then_some("maven");
        java.into_iter().chain(maven).collect()
    }

    fn version(&self) -> Option<String> {
        Some(VERSION.to_owned())
    }

    fn ports(&self) -> &'static [(&'static str, u16)] {
        &[("plain", 17_092), ("sasl", 17_093), ("tls", 17_094), ("controller", 17_095)]
    }

    fn processes(&self) -> &'static [&'static str] {
        &["kafka"]
    }

    fn prepare(&self, instance: &Instance) -> Result<()> {
        fetch_jars(&instance.shared)?;
        let properties = instance.folder.join("server.properties");
        instance.make_data(|data| {
            write_properties(instance, &properties, data)?;
            let mut format = java(instance, "kafka.tools.StorageTool");
            format.args(["format", "--cluster-id", CLUSTER, "--config"]).arg(&properties);
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                format.args(["--add-scram", &format!("{mechanism}=[name={USER},password={PASSWORD}]")]);
            }
            instance.run(&mut format)
        })?;
        write_properties(instance, &properties, &instance.data())
    }

    fn commands(&self, instance: &Instance) -> Result<Vec<(&'static str, Command)>> {
        let mut command = java(instance, "kafka.Kafka");
        command.arg(instance.folder.join("server.properties"));
        Ok(vec![("kafka", command)])
    }

    fn is_ready(&self, instance: &Instance) -> bool {
        brokers(instance.port("plain")).is_ok_and(|count| count > 0)
    }

    fn variables(&self, instance: &Instance) -> Vec<(&'static str, String)> {
        let brokers = |port| format!("127.0.0.1:{}", instance.port(port));
        vec![
            ("LANTERN_TEST_KAFKA_BROKERS", brokers("plain")),
            ("LANTERN_TEST_KAFKA_SASL_BROKERS", brokers("sasl")),
            ("LANTERN_TEST_KAFKA_TLS_BROKERS", brokers("tls")),
            ("LANTERN_TEST_KAFKA_USER", USER.to_owned()),
            ("LANTERN_TEST_KAFKA_PASSWORD", PASSWORD.to_owned()),
        ]
    }
}

/// The version of the Java on the path.
fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output().ok()?;
    parse_java_version(&String::from_utf8_lossy(&output.stderr))
}

/// The version is the first thing in quotes; `1.8.0` is how Java 8 calls itself.
fn parse_java_version(text: &str) -> Option<u32> {
    let mut numbers = text.split('"').nth(1)?.split(['.', '-', '+', '_']);
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        version => Some(version),
    }
}

fn java(instance: &Instance, class: &str) -> Command {
    let mut command = instance.command("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]);
    command.arg("-Dorg.apache.logging.log4j.level=INFO");
    command.arg("-cp").arg(jars(&instance.shared).join("*")).arg(class);
    command
}

fn jars(shared: &Path) -> std::path::PathBuf {
    shared.join(format!("kafka-{VERSION}"))
}

/// Lets Maven copy Kafka and all it needs into a folder, once.
fn fetch_jars(shared: &Path) -> Result<()> {
    let _lock = lock(&shared.join("jars.lock"))?;
    let folder = jars(shared);
    if folder.is_dir() {
        return Ok(());
    }
    eprintln!("kafka: Maven fetches the jars of Kafka {VERSION} (54 MB) into {}", folder.display());
    let project = shared.join("kafka-pom.xml");
    fs::write(&project, pom()).with_context(|| format!("writing {}", project.display()))?;
    let unfinished = folder.with_extension("unfinished");
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "--file"]).arg(&project);
    maven.arg(format!("-DoutputDirectory={}", unfinished.display())).stdin(Stdio::null()).stdout(std::io::stderr());
    run(&mut maven)?;
    fs::rename(&unfinished, &folder).with_context(|| format!("making {}", folder.display()))
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>\
             </dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        // Kafka's release adds it to the jars; without it the server says nothing.
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
    ]
    .concat();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lantern</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"
    )
}

fn write_properties(instance: &Instance, path: &Path, data: &Path) -> Result<()> {
    let (certificate, key) = instance.certificate()?;
    // A store in PEM is one file: the key, then its certificate.
    let store = instance.folder.join("store.pem");
    let pem = [fs::read_to_string(key)?, fs::read_to_string(certificate)?].concat();
    instance.account.write(&store, &pem)?;

    let port = |name| instance.port(name);
    let clients = format!(
        "PLAINTEXT://127.0.0.1:{},SASL_PLAINTEXT://127.0.0.1:{},SASL_SSL://127.0.0.1:{}",
        port("plain"),
        port("sasl"),
        port("tls")
    );
    let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let logins: String = ["sasl_plaintext", "sasl_ssl"]
        .iter()
        .map(|listener| {
            format!(
                "listener.name.{listener}.plain.sasl.jaas.config={plain}
listener.name.{listener}.scram-sha-256.sasl.jaas.config={scram}
listener.name.{listener}.scram-sha-512.sasl.jaas.config={scram}
"
            )
        })
        .collect();
    let controller = port("controller");
    // The short session is for restarts: a broker that was killed is let in again only when its session has expired.
    let settings = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={clients},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={clients}
listener.security.protocol.map=\
         PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
{logins}ssl.keystore.type=PEM
ssl.keystore.location={}
log.dirs={}
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
",
        store.display(),
        data.display()
    );
    instance.account.write(path, &settings)
}

/// Asks for the brokers of the cluster: a request Metadata of version 4 for no topic.
fn brokers(port: u16) -> std::io::Result<u32> {
    let request: [&[u8]; 5] = [&[0, 3, 0, 4], &[0, 0, 0, 1], &[0xff, 0xff], &[0, 0, 0, 0], &[0]];
    let request = request.concat();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&[&[0, 0, 0, 15][..], &request].concat())?;
    // Its length, the number of the request, how long it was held back, the number of brokers.
    let mut answer = [0; 16];
    stream.read_exact(&mut answer)?;
    let [.., a, b, c, d] = answer;
    Ok(u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_names_for_its_versions_are_understood() {
        assert_eq!(parse_java_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(parse_java_version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(parse_java_version("openjdk version \"25-ea\" 2025-09-16"), Some(25));
        assert_eq!(parse_java_version("java version \"1.8.0_392\""), Some(8));
        assert_eq!(parse_java_version("no such thing"), None);
    }

    #[test]
    fn the_project_names_kafka_its_tools_and_its_logging() {
        let pom = pom();
        for artifact in ["kafka_2.13", "kafka-tools", "log4j-slf4j-impl"] {
            assert!(pom.contains(&format!("<artifactId>{artifact}</artifactId>")), "{pom}");
        }
        assert_eq!(pom.matches("<dependency>").count(), pom.matches("</dependency>").count());
        assert_eq!(pom.matches(VERSION).count(), 2);
    }
}
