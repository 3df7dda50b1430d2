//! `NO_PROXY`: the hosts that are reached without a proxy.

use std::net::IpAddr;

/// The entries of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

/// Hosts, perhaps on one port only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    Address(IpAddr),
    /// The addresses that begin with the same bits.
    Network(IpAddr, u8),
    /// A name, in lower case, and every name below it.
    Domain(String),
}

impl NoProxy {
    /// Reads a list that is separated by commas or blanks: names (with all names below them, whether they begin with a
    /// dot, `*.` or neither), addresses, networks such as `10.0.0.0/8`, or `*`; each perhaps with a port.
    ///
    /// Only a network that is none is an error: anything else could be the name of a host.
    pub(super) fn parse(list: &str) -> Result<Self, &'static str> {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        entries.map(Entry::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the host, a name or an address without brackets, is in the list.
    pub(super) fn contains(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|entry| entry.contains(host, port))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self { hosts: Hosts::All, port: None });
        }
        if let Some((address, length)) = text.split_once('/') {
            let network = address.parse::<IpAddr>().ok().zip(length.parse::<u8>().ok());
            return match network {
                Some((address, length)) if length <= bits(address).1 => {
                    Ok(Self { hosts: Hosts::Network(address, length), port: None })
                }
                _ => Err("one of its entries has a slash and is no network such as 10.0.0.0/8"),
            };
        }
        // An IPv6 address has colons of its own, and brackets before a port.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { hosts: Hosts::Address(address.to_canonical()), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (text, None),
            },
            _ => (text, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let hosts = if let Ok(address) = host.parse::<IpAddr>() {
            Hosts::Address(address.to_canonical())
        } else if host == "*" {
            Hosts::All
        } else {
            let name = host.strip_prefix('*').unwrap_or(host);
            let name = name.strip_prefix('.').unwrap_or(name);
            Hosts::Domain(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
        };
        Ok(Self { hosts, port })
    }

    fn contains(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        match (&self.hosts, address) {
            (Hosts::All, _) => true,
            (Hosts::Address(own), Some(address)) => *own == address,
            (Hosts::Network(own, length), Some(address)) => {
                let ((own, width), (found, found_width)) = (bits(*own), bits(address));
                // Shifting by the whole width would overflow: a length of 0 is every address.
                let shift = u32::from(width - (*length).min(width));
                let kept = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
                width == found_width && kept(own) == kept(found)
            }
            (Hosts::Domain(own), None) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                !own.is_empty()
                    && host
                        .strip_suffix(own.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// The bits of an address, and how many there are.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}
