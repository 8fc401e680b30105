use std::net::IpAddr;

use super::ip;

/// What `NO_PROXY` lists: reached without the proxy. The machine itself always is.
#[derive(Debug, Clone, Default)]
pub(super) struct Except {
    is_all: bool,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Host {
    Address(IpAddr),
    Network(IpAddr, u8),
    /// The name itself, unless only names below it are meant, and names below it.
    Domain {
        name: String,
        only_below: bool,
    },
}

impl Except {
    /// Reads entries between commas: `*`, names, `.suffix`, addresses and networks, each but the first with a port if wanted.
    /// One that means nothing is passed over, as everywhere else.
    pub(super) fn parse(list: &str) -> Self {
        let entries = || list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self {
            is_all: entries().any(|entry| entry == "*"),
            entries: entries().filter_map(Entry::parse).collect(),
        }
    }

    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        let address = ip(host);
        let is_here =
            host.eq_ignore_ascii_case("localhost") || address.is_some_and(|found| found.is_loopback());
        self.is_all || is_here || self.entries.iter().any(|entry| entry.covers(host, address, port))
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        if let Some((network, bits)) = entry.split_once('/') {
            let (network, bits) = (ip(network)?, bits.parse::<u8>().ok()?);
            let longest = if network.is_ipv4() { 32 } else { 128 };
            return (bits <= longest).then_some(Self { host: Host::Network(network, bits), port: None });
        }
        if let Some(address) = ip(entry) {
            return Some(Self { host: Host::Address(address), port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Some(address) = ip(host) {
            return Some(Self { host: Host::Address(address), port });
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let name = host.strip_prefix('.');
        let domain = name.unwrap_or(host).trim_end_matches('.').to_ascii_lowercase();
        let host = Host::Domain { name: domain, only_below: name.is_some() };
        Some(Self { host, port })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
            && match &self.host {
                Host::Address(own) => address == Some(*own),
                Host::Network(network, bits) => address.is_some_and(|found| contains(*network, *bits, found)),
                Host::Domain { name, only_below } => {
                    let host = host.trim_end_matches('.').to_ascii_lowercase();
                    let below = host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
                    !name.is_empty() && (below || (!only_below && host == *name))
                }
            }
    }
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let first = |value: u128, width: u8| value.checked_shr(u32::from(width - bits)).unwrap_or(0);
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            first(network.to_bits().into(), 32) == first(address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            first(network.to_bits(), 128) == first(address.to_bits(), 128)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_names_suffixes_addresses_and_networks() {
        for (list, host, covered) in [
            ("", "gateway.example", false),
            ("", "localhost", true),
            ("", "127.0.0.9", true),
            ("", "[::1]", true),
            ("*", "gateway.example", true),
            ("example", "gateway.example", true),
            ("gateway.example", "gateway.example", true),
            ("GATEWAY.example", "gateway.EXAMPLE", true),
            ("way.example", "gateway.example", false),
            (".example", "gateway.example", true),
            ("*.example", "gateway.example", true),
            (".gateway.example", "gateway.example", false),
            ("a, b ,example", "gateway.example", true),
            ("gateway.example:8443", "gateway.example", true),
            ("gateway.example:443", "gateway.example", false),
            ("gateway.example:x", "gateway.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:8443", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("fd00::/8", "[fd00::1]", true),
            ("fd00::/8", "[fe80::1]", false),
            ("::/0", "10.1.2.3", false),
            ("[fd00::1]:8443", "[fd00::1]", true),
            ("., ,/,:", "gateway.example", false),
        ] {
            assert_eq!(Except::parse(list).covers(host, 8443), covered, "{list} {host}");
        }
    }
}
