//! Who this host is among those that share its stores.

use std::{fs, net::SocketAddr};

use lantern_core::{Clock, Identity, SystemClock};
use uuid::Uuid;

/// The identity of a host that serves at an address. A name or URL that is given stands in for what is found.
pub(crate) fn identity(name: Option<String>, url: Option<String>, address: SocketAddr) -> Identity {
    Identity {
        id: Uuid::now_v7(),
        name: name.unwrap_or_else(|| format!("{}:{}", machine(), address.port())),
        address: url.unwrap_or_else(|| format!("http://{address}")),
        started_at: SystemClock.now(),
    }
}

/// The name of the machine, as far as it can be learnt without asking the system in its own way.
fn machine() -> String {
    let file = || fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname")).ok();
    let variable = |name| std::env::var(name).ok();
    let named = file().or_else(|| variable("HOSTNAME")).or_else(|| variable("COMPUTERNAME")).unwrap_or_default();
    match named.trim() {
        "" => "lantern".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_stands_in_for_what_is_found() {
        let address = "127.0.0.1:7171".parse().unwrap();
        let found = identity(None, None, address);
        assert!(found.name.ends_with(":7171") && found.name.len() > ":7171".len(), "{}", found.name);
        assert_eq!(found.address, "http://127.0.0.1:7171");
        let given = identity(Some("one".into()), Some("https://one.example".into()), address);
        assert_eq!((&*given.name, &*given.address), ("one", "https://one.example"));
        assert_ne!(given.id, found.id, "a host that starts again is another one");
    }
}
