//! From the checked description of a way out to what the engine goes by. Reads the certificates that it names.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::model::{self, PemSource, SocksVersion, TlsVersion};
use trunkline_config::{BaseUrl, Surroundings};
use trunkline_engine::upstream::outbound::{
    HttpConnect, NameLookup, Outbound, OutboundKind, ProxyLogin, ProxyServer, Socks4, Socks5,
};
use trunkline_engine::upstream::tls::{Authorities, ProxyTls, SystemAuthorities, Trust};

/// The way out of a credential to a URL: its detour, or else the environment's proxy for there, or none.
pub(crate) fn hops<'a>(
    credential: &'a model::Credential,
    url: &BaseUrl,
    surroundings: &'a Surroundings,
) -> &'a [model::Outbound] {
    match &credential.detour {
        Some(detour) => &detour.outbounds,
        None => surroundings.proxy_for(url).map_or(&[], std::slice::from_ref),
    }
}

/// The engine's form of a way out. The error says which outbound cannot be used, and why.
pub(crate) fn build(
    hops: &[model::Outbound],
    system: &Arc<SystemAuthorities>,
) -> Result<Arc<[Outbound]>, String> {
    hops.iter()
        .map(|hop| {
            let kind = kind(&hop.kind, system).map_err(|error| format!("{}: {error}", hop.name))?;
            let name = hop.name.to_string().into();
            Ok(Outbound { name, connect_timeout: hop.connect_timeout, kind })
        })
        .collect()
}

/// The authorities of a file; the error names it as `what`.
pub(crate) fn authorities(what: &str, path: &Path) -> Result<Authorities, String> {
    Authorities::from_file(path).map_err(|why| {
        format!("{what} {}: {why}; it must be a readable PEM file of certificate authorities", path.display())
    })
}

fn kind(kind: &model::OutboundKind, system: &Arc<SystemAuthorities>) -> Result<OutboundKind, String> {
    Ok(match kind {
        model::OutboundKind::Direct => OutboundKind::Direct,
        model::OutboundKind::Http(proxy) => {
            let login = proxy.server.login.as_ref().map(login);
            let headers = proxy.headers.iter();
            let headers =
                headers.flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value)));
            let tls = proxy.tls.as_ref().map(|proxy| tls(proxy, system)).transpose()?;
            let proxy =
                HttpConnect::new(server(&proxy.server), login.as_ref(), proxy.path.as_deref(), headers, tls)?;
            OutboundKind::HttpConnect(Box::new(proxy))
        }
        model::OutboundKind::Socks(proxy) => {
            let (server, login) = (server(&proxy.server), proxy.server.login.as_ref().map(login));
            let lookup = match proxy.version {
                SocksVersion::V4 | SocksVersion::V5Local => NameLookup::Here,
                SocksVersion::V4a | SocksVersion::V5 => NameLookup::AtProxy,
            };
            match proxy.version {
                SocksVersion::V4 | SocksVersion::V4a => {
                    let username = login.map(|login| login.username);
                    OutboundKind::Socks4(Socks4 { server, username, lookup })
                }
                SocksVersion::V5 | SocksVersion::V5Local => {
                    OutboundKind::Socks5(Socks5 { server, login, lookup })
                }
            }
        }
    })
}

fn server(server: &model::ProxyServer) -> ProxyServer {
    ProxyServer { host: server.host.clone(), port: server.port }
}

fn login(login: &model::ProxyLogin) -> ProxyLogin {
    ProxyLogin { username: login.username.clone(), password: login.password.clone() }
}

fn tls(tls: &model::ProxyTls, system: &Arc<SystemAuthorities>) -> Result<ProxyTls, String> {
    let trust = match &tls.certificate {
        _ if tls.insecure => Trust::Anyone,
        None => Trust::System(Arc::clone(system), None),
        Some(PemSource::Path(path)) => Trust::Only(authorities("tls.certificate_path", path)?),
        Some(PemSource::Inline(text)) => Trust::Only(
            Authorities::from_pem(text.expose().as_bytes())
                .map_err(|why| format!("tls.certificate: {why}"))?,
        ),
    };
    let tls13_only = tls.min_version == TlsVersion::V1_3;
    Ok(ProxyTls::new(tls.server_name.clone(), trust, &tls.alpn, tls13_only))
}
