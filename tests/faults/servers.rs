//! What the tests of faults stand on: a server that is killed comes back where it was, with what it had acknowledged.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use crate::support::servers::Server;

/// Sends commands to the Redis of a URL. Answers a line for each.
fn redis(url: &str, commands: &[&str]) -> std::io::Result<Vec<String>> {
    let (login, address) = url.strip_prefix("redis://").unwrap().split_once('@').unwrap();
    let password = login.split_once(':').unwrap().1;
    let mut stream = TcpStream::connect(address.split('/').next().unwrap())?;
    let login = format!("AUTH {password}");
    let lines: String = [&[login.as_str()], commands].concat().iter().map(|command| format!("{command}\r\n")).collect();
    stream.write_all(lines.as_bytes())?;
    let answers = BufReader::new(stream).lines().take(commands.len() + 1).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(answers[0], "+OK", "{url}");
    Ok(answers[1..].to_vec())
}

#[test]
fn a_private_server_that_is_killed_starts_again_on_its_data_and_ports() {
    let mut server = Server::start("redis");
    let other = Server::start("redis");
    let url = server.variable("LANTERN_TEST_REDIS_URL").to_owned();
    assert_ne!(url, other.variable("LANTERN_TEST_REDIS_URL"));
    for round in 1..=3 {
        assert_eq!(redis(&url, &["INCR rounds"]).unwrap(), [format!(":{round}")]);
        server.kill();
        assert!(redis(&url, &["PING"]).is_err(), "it was killed and still answers");
        server.start_again();
        assert_eq!(server.variable("LANTERN_TEST_REDIS_URL"), url);
    }
    server.stop();
    server.start_again();
    assert_eq!(redis(&url, &["INCR rounds"]).unwrap(), [":4"]);
    let other = other.variable("LANTERN_TEST_REDIS_URL");
    assert_eq!(redis(other, &["INCR rounds"]).unwrap(), [":1"], "the other one was left alone");
}
