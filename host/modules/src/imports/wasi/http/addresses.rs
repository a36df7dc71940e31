//! Addresses that no request may reach unless the deployment lists them: everything that is not the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks that are not the public internet: the first address, how many of its bits count, what it is.
/// From IANA's registry of special-purpose addresses (RFC 6890).
const SPECIAL_V4: [(Ipv4Addr, u32, &str); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "an unspecified address"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "an address shared by a carrier's customers"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "an address of a protocol"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "an address of a protocol"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "a documentation address"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved or broadcast address"),
];

/// IPv6 networks that are not the public internet, the narrower ones first. What is in no list and outside
/// `2000::/3` is reserved.
const SPECIAL_V6: [(Ipv6Addr, u32, &str); 11] = [
    (Ipv6Addr::UNSPECIFIED, 128, "an unspecified address"),
    (Ipv6Addr::LOCALHOST, 128, "a loopback address"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "an address of a local translator"),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, "a benchmarking address"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "a documentation address"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "an address of a protocol"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "a documentation address"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "a private address"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "a link-local address"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "a private address"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "a multicast address"),
];

/// IPv6 networks whose addresses carry an IPv4 address, and at which bit from the right it ends: mapped (RFC 4291),
/// translated (RFC 2765), compatible (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056).
const CARRIERS: [(Ipv6Addr, u32, u32); 5] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, 0),
    (Ipv6Addr::UNSPECIFIED, 96, 0),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, 0),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 80),
];

/// Teredo (RFC 4380), whose addresses carry two IPv4 addresses: the server's, and the client's with its bits turned.
const TEREDO: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);

/// Addresses of the public internet.
const GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What an address is when it is not one of the public internet; nothing when it is. An IPv6 address that carries an
/// IPv4 address is what the carried one is.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within = |network: Ipv4Addr, bits: u32| (address.to_bits() ^ network.to_bits()) >> (32 - bits) == 0;
    SPECIAL_V4.into_iter().find(|(network, bits, _)| within(*network, *bits)).map(|(_, _, sort)| sort)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let whole = address.to_bits();
    let within = |network: Ipv6Addr, bits: u32| (whole ^ network.to_bits()) >> (128 - bits) == 0;
    // These two are also in the network of the compatible addresses.
    if matches!(address, Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST) {
        return listed(within);
    }
    if within(TEREDO.0, TEREDO.1) {
        return special_v4(carried(whole, 64)).or_else(|| special_v4(carried(!whole, 0)));
    }
    if let Some((_, _, end)) = CARRIERS.into_iter().find(|(network, bits, _)| within(*network, *bits)) {
        return special_v4(carried(whole, end));
    }
    listed(within).or_else(|| (!within(GLOBAL.0, GLOBAL.1)).then_some("a reserved address"))
}

fn listed(within: impl Fn(Ipv6Addr, u32) -> bool) -> Option<&'static str> {
    SPECIAL_V6.into_iter().find(|(network, bits, _)| within(*network, *bits)).map(|(_, _, sort)| sort)
}

/// The IPv4 address that ends at a bit from the right.
fn carried(whole: u128, end: u32) -> Ipv4Addr {
    // The lowest 32 bits are meant.
    Ipv4Addr::from_bits((whole >> end) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_internet_is_not_special() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn everything_else_is_called_by_its_name() {
        for (address, sort) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "carrier"),
            ("100.127.255.255", "carrier"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "protocol"),
            ("192.0.2.1", "documentation"),
            ("192.168.1.1", "private"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "private"),
            ("fc00::1", "private"),
            ("fdff::1", "private"),
            ("ff02::1", "multicast"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("2001:2::1", "benchmarking"),
            ("2001:20::1", "protocol"),
            ("100::1", "reserved"),
            ("5f00::1", "reserved"),
            ("4000::1", "reserved"),
        ] {
            let found = special(address.parse().unwrap());
            assert!(found.is_some_and(|found| found.contains(sort)), "{address}: {found:?}");
        }
    }

    #[test]
    fn an_address_in_other_clothes_is_what_it_carries() {
        for (address, sort) in [
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::127.0.0.1", "loopback"),
            ("::ffff:0:10.0.0.1", "private"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b:1::1.1.1.1", "translator"),
            // 6to4 of 127.0.0.1 and of 192.168.1.1.
            ("2002:7f00:1::", "loopback"),
            ("2002:c0a8:101::5", "private"),
            // Teredo: the server 10.0.0.1, then the client 127.0.0.1 behind the server 65.54.227.120.
            ("2001:0:a00:1::1", "private"),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", "loopback"),
        ] {
            let found = special(address.parse().unwrap());
            assert!(found.is_some_and(|found| found.contains(sort)), "{address}: {found:?}");
        }
        assert_eq!(special("2001:0:4136:e378:8000:63bf:fefe:fefe".parse().unwrap()), None);
    }
}
