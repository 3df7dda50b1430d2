//! One outbound in use: what its fields mean together.

use trunkline_core::secret::Secret;

use crate::check::tls;
use crate::diagnostic::Report;
use crate::model::{
    HttpProxy, Outbound, OutboundKind, OutboundName, ProxyLogin, ProxyServer, SocksProxy, SocksVersion,
};
use crate::record::Record;

/// The longest user name and password of SOCKS 5 in bytes (RFC 1929), and the longest user id sent by SOCKS 4.
const LONGEST_SOCKS_TEXT: usize = 255;

/// The header that a login at an HTTP proxy is sent in.
const PROXY_AUTHORIZATION: &str = "proxy-authorization";

/// The outbound that `record` describes.
pub(super) fn build(tag: &str, record: &Record, report: &mut Report) -> Option<Outbound> {
    let kind = match record.section.name {
        "outbound_http" => OutboundKind::Http(http(record, report)?),
        "outbound_socks" => OutboundKind::Socks(socks(record, report)?),
        _ => OutboundKind::Direct,
    };
    Some(Outbound {
        name: OutboundName::Tag(tag.to_owned()),
        connect_timeout: record.duration("connect_timeout"),
        kind,
    })
}

fn http(record: &Record, report: &mut Report) -> Option<HttpProxy> {
    let tls = tls::check_proxy(record.record("tls"), report);
    let headers = record.headers("headers").to_vec();
    let login = login(record, report, |name, text| fits_basic(name, text.expose()));
    if login.is_some() && headers.iter().any(|(name, _)| name == PROXY_AUTHORIZATION) {
        let message = "has proxy-authorization, which username is sent in; leave one of them out";
        report.error(&record.spot_of("headers"), message);
    }
    Some(HttpProxy {
        server: server(record, login)?,
        path: record.text("path").map(str::to_owned),
        headers,
        tls: tls.ok()?,
    })
}

fn socks(record: &Record, report: &mut Report) -> Option<SocksProxy> {
    let version = match record.choice("version") {
        Some("4") => SocksVersion::V4,
        Some("4a") => SocksVersion::V4a,
        _ => SocksVersion::V5,
    };
    let login = login(record, report, |_, text| fits_socks(version, text.expose()));
    if !matches!(version, SocksVersion::V5 | SocksVersion::V5Local)
        && let Some(spot) = record.stated("password")
    {
        report.warn(spot, "has no effect: SOCKS 4 knows users, but no passwords");
    }
    Some(SocksProxy { server: server(record, login)?, version })
}

/// Whether a user name or password can be sent by Basic authentication (RFC 7617).
pub(crate) fn fits_basic(name: &str, text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        return Err("has control characters, which HTTP proxies do not take");
    }
    if name == "username" && text.contains(':') {
        return Err("has a colon, which ends the user name at an HTTP proxy");
    }
    Ok(())
}

/// Whether a user name or password can be sent by this version of SOCKS.
pub(crate) fn fits_socks(version: SocksVersion, text: &str) -> Result<(), &'static str> {
    if text.len() > LONGEST_SOCKS_TEXT {
        return Err("is longer than 255 bytes, which is all that SOCKS has room for");
    }
    if matches!(version, SocksVersion::V4 | SocksVersion::V4a) && text.contains('\0') {
        return Err("has a zero byte, which ends the user name in SOCKS 4");
    }
    Ok(())
}

fn login(
    record: &Record,
    report: &mut Report,
    fits: impl Fn(&'static str, &Secret) -> Result<(), &'static str>,
) -> Option<ProxyLogin> {
    let field = |name| record.secret(name).filter(|text| !text.is_empty());
    for name in ["username", "password"] {
        if let Some(text) = field(name)
            && let Err(why) = fits(name, text)
        {
            report.error(&record.spot_of(name), why);
        }
    }
    let password = field("password").cloned();
    let Some(username) = field("username").cloned() else {
        if password.is_some() && record.stated("username").is_none() {
            report.error(&record.spot_of("password"), "needs a username beside it");
        }
        return None;
    };
    Some(ProxyLogin { username, password: password.unwrap_or_else(|| Secret::new("")) })
}

fn server(record: &Record, login: Option<ProxyLogin>) -> Option<ProxyServer> {
    Some(ProxyServer {
        host: record.text("server")?.to_owned(),
        port: u16::try_from(record.integer("server_port")?).ok()?,
        login,
    })
}
