//! The URL of a proxy, as environment variables have it.

use percent_encoding::percent_decode_str;
use trunkline_core::secret::Secret;

use crate::check::{fits_basic, fits_socks};
use crate::model::{
    HttpProxy, OutboundKind, ProxyLogin, ProxyServer, ProxyTls, SocksProxy, SocksVersion, TlsVersion,
};
use crate::url::split_authority;

/// What a scheme means.
#[derive(Clone, Copy)]
enum Scheme {
    Http,
    Https,
    Socks(SocksVersion),
}

/// Reads a proxy's URL. Without a scheme it is `http`. The reason never repeats the URL.
pub(super) fn parse(url: &str) -> Result<OutboundKind, &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "socks4" => Scheme::Socks(SocksVersion::V4),
        "socks4a" => Scheme::Socks(SocksVersion::V4a),
        "socks5" => Scheme::Socks(SocksVersion::V5Local),
        "socks5h" => Scheme::Socks(SocksVersion::V5),
        _ => {
            return Err(
                "the URL of a proxy starts with http://, https://, socks4://, socks4a://, socks5:// or \
                        socks5h://",
            );
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    // A password may hold anything but what ends an authority, which has to be percent-encoded there.
    if authority.contains(['/', '?', '#']) {
        return Err(
            "the URL of a proxy has no path; in its user name and password write / as %2F, ? as %3F and # \
                    as %23",
        );
    }
    let (login, address) = match authority.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, authority),
    };
    let (host, port) = split_authority(address)?;
    let login = login.filter(|login| !login.is_empty() && *login != ":").map(|text| login_of(text, scheme));
    let login = login.transpose()?;
    let server = |default| ProxyServer { host, port: port.unwrap_or(default), login };
    Ok(match scheme {
        Scheme::Http | Scheme::Https => {
            let tls = matches!(scheme, Scheme::Https).then(|| ProxyTls {
                server_name: None,
                insecure: false,
                alpn: Vec::new(),
                min_version: TlsVersion::V1_2,
                certificate: None,
            });
            let server = server(if tls.is_some() { 443 } else { 80 });
            OutboundKind::Http(HttpProxy { server, path: None, headers: Vec::new(), tls })
        }
        Scheme::Socks(version) => OutboundKind::Socks(SocksProxy { server: server(1080), version }),
    })
}

fn login_of(text: &str, scheme: Scheme) -> Result<ProxyLogin, &'static str> {
    let (username, password) = text.split_once(':').unwrap_or((text, ""));
    let decode = |name: &str, part: &str| -> Result<Secret, &'static str> {
        let decoded = percent_decode_str(part).decode_utf8();
        let text = decoded.map_err(|_| "its user name or password is not UTF-8")?;
        match scheme {
            Scheme::Http | Scheme::Https => fits_basic(name, &text),
            Scheme::Socks(version) => fits_socks(version, &text),
        }
        .map_err(
            |_| "its user name or password has characters, or a length, that this kind of proxy cannot take",
        )?;
        Ok(Secret::new(text.into_owned()))
    };
    Ok(ProxyLogin { username: decode("username", username)?, password: decode("password", password)? })
}
