//! The name a request asks for the host under. A web page can lead a name of its own to a loopback address and so make a
//! browser reach this host as if it were the page's; such a request gives itself away by that name.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{door::Door, problem::Problem};

/// Lets a request through that asks for an address, for `localhost` or for a name of the configuration. One that names
/// nothing is let through too: no browser sends it.
pub(super) async fn known(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match asked(&request) {
        Some(name) if !is_known(name, &door.names) => refused(name).into_response(),
        _ => next.run(request).await,
    }
}

/// The name a request asks for, with its port where it has one.
fn asked(request: &Request) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        // What is no text is no name that could be known.
        None => request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or("?")),
    }
}

fn is_known(asked: &str, names: &[String]) -> bool {
    let Ok(authority) = asked.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_own = |name: &str| host.trim_end_matches('.').eq_ignore_ascii_case(name);
    address.parse::<IpAddr>().is_ok() || is_own("localhost") || names.iter().any(|name| is_own(name))
}

fn refused(asked: &str) -> Problem {
    let asked = asked.escape_debug().to_string();
    let detail = format!(
        "`{asked}` is no name of this host: ask for its address or `localhost`, or list the name in `server.names` of \
         the configuration"
    );
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", detail).with("host", asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_listed_names_are_known() {
        let names = ["lantern.example".to_owned()];
        for asked in ["127.0.0.1:7171", "[::1]:7171", "localhost", "LOCALHOST:80", "localhost.", "Lantern.example:443"]
        {
            assert!(is_known(asked, &names), "{asked}");
        }
        for asked in [
            "",
            "?",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7171",
            "localhost@evil.example",
            "evil.example@localhost",
            "not lantern.example",
        ] {
            assert!(!is_known(asked, &names), "{asked}");
        }
    }
}
