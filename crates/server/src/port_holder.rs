//! Which process listens on a port, as far as the system shows it: on Linux, from `/proc`.
//!
//! Best effort, for an error message only. Whoever may not look into a process's handles is told nothing of it.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Most bytes of a table of sockets that are read; a line has 150.
const MAX_TABLE: u64 = 4 << 20;

/// Most handles that are looked at, over all processes: a second's work at worst.
const MAX_HANDLES: usize = 100_000;

/// Longest name of a process, in characters. The kernel's own limit is 15.
const MAX_NAME: usize = 64;

/// The process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub process: u32,
    /// Its name, without anything that a terminal would obey.
    pub name: String,
}

/// Who listens where `wanted` is.
pub(crate) fn find(wanted: SocketAddr) -> Option<Holder> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = read_bounded(Path::new(table), MAX_TABLE)?;
        table.lines().find_map(|line| listening_inode(line, wanted))
    })?;
    let link = format!("socket:[{inode}]");
    let mut left = MAX_HANDLES;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(handles) = fs::read_dir(process.path().join("fd")) else { continue };
        for handle in handles.flatten() {
            left = left.checked_sub(1)?;
            if fs::read_link(handle.path()).is_ok_and(|to| to.as_os_str() == link.as_str()) {
                let name = read_bounded(&process.path().join("comm"), 1024).unwrap_or_default();
                return Some(Holder { process: id, name: shown(&name) });
            }
        }
    }
    None
}

/// The inode in a line of the table, if that socket listens where `wanted` is:
/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
fn listening_inode(line: &str, wanted: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let address = address_of(address)?;
    let same = address == wanted.ip() || address.is_unspecified() || wanted.ip().is_unspecified();
    (same && u16::from_str_radix(port, 16).ok()? == wanted.port()).then_some(inode)
}

/// An address as the table has it: words of four bytes, each in the machine's own order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for word in hex.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(IpAddr::from(Ipv6Addr::from(sixteen)).to_canonical())
}

/// A process chooses its own name: nothing of it may act on a terminal.
fn shown(name: &str) -> String {
    let name: String = name.trim().chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
    if name.is_empty() { "a process without a name".to_owned() } else { name }
}

fn read_bounded(path: &Path, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let four = format!(
            "   0: {:08X}:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100",
            u32::from_ne_bytes([127, 0, 0, 1])
        );
        assert_eq!(listening_inode(&four, at("127.0.0.1:8787")), Some(4711));
        assert_eq!(listening_inode(&four, at("0.0.0.0:8787")), Some(4711));
        assert_eq!(listening_inode(&four, at("127.0.0.1:8788")), None);
        assert_eq!(listening_inode(&four, at("127.0.0.2:8787")), None);
        assert_eq!(listening_inode(&four.replace(" 0A ", " 01 "), at("127.0.0.1:8787")), None);
        let six = format!(" 1: {}:0050 {}:0000 0A 0:0 00:0 0 0 0 7 1 0", "0".repeat(32), "0".repeat(32));
        assert_eq!(listening_inode(&six, at("[::1]:80")), Some(7));
        for line in ["", "  sl  local_address rem_address   st", "0: zz:zz zz:zz 0A a b c d e f"] {
            assert_eq!(listening_inode(line, at("127.0.0.1:8787")), None, "{line}");
        }
    }

    #[test]
    fn names_are_harmless() {
        assert_eq!(shown("nginx\n"), "nginx");
        assert_eq!(shown("\u{1b}[2Jx"), "[2Jx");
        assert_eq!(shown(&"x".repeat(1000)).len(), MAX_NAME);
        assert_eq!(shown("\n"), "a process without a name");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_is_found_with_its_process() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            // A machine may be without IPv6.
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let holder = find(listener.local_addr().unwrap()).expect(address);
            assert_eq!(holder.process, std::process::id(), "{address}");
        }
    }
}
