//! Any values of `Host`, `Origin` and `Sec-Fetch-Site`, as often as they may be: what passes names own hosts alone, however it is
//! spelled, and no header of any request makes the checks panic.

#![no_main]

use http::{HeaderMap, HeaderValue, Version};
use libfuzzer_sys::fuzz_target;
use trunkline_core::request_head::{self, split_authority};
use trunkline_core::web_guard;

/// A name that a browser would connect to this machine for, written in the plainest way that a reader could take it in.
fn is_own(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    let names = ["host", "origin", "sec-fetch-site", "content-length", "transfer-encoding"];
    for line in data.split(|byte| *byte == b'\n').take(8) {
        let Some((kind, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(names[usize::from(*kind) % names.len()], value);
        }
    }
    let hosts: Vec<_> = headers.get_all("host").iter().map(|host| host.to_str().unwrap_or("")).collect();
    let is_open = web_guard::check(&headers, None, None, true).is_ok();
    if is_open {
        assert!(!hosts.is_empty() && hosts.iter().all(|host| is_own(host)), "{hosts:?}");
    }
    if web_guard::check(&headers, None, None, false).is_ok() {
        for origin in headers.get_all("origin") {
            let origin = origin.to_str().unwrap();
            assert!(hosts.iter().all(|host| origin.to_ascii_lowercase().contains(&host.to_ascii_lowercase())));
        }
    } else {
        assert!(!is_open);
    }
    for host in hosts.iter().filter_map(|host| split_authority(host)) {
        assert!(!host.0.is_empty() && !host.0.contains(['@', '/', ' ', '[', ']', '\\']), "{host:?}");
    }
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        if request_head::check(version, None, &headers).is_ok() {
            assert!(hosts.len() <= 1 && headers.get_all("transfer-encoding").iter().count() <= 1);
        }
    }
});
