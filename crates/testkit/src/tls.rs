//! A certificate authority for tests, and TLS set up with it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::signal::bounded;
use crate::socket::Socket;
use crate::tmp::TempDir;

/// A protocol to agree on in a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`.
    H2,
    /// `http/1.1`.
    Http1,
}

impl Alpn {
    /// Its name in the handshake.
    pub fn id(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

/// A certificate authority that exists for a test. Clones are the same one.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    /// Whether servers present its own certificate.
    presents_itself: bool,
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
    file: OnceLock<PathBuf>,
}

/// A certificate with its key, as PEM.
pub struct Leaf {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Authority {
    /// Makes one.
    pub fn new() -> io::Result<Self> {
        Self::make(CertificateParams::default(), false)
    }

    /// A certificate as `openssl req -x509` makes it for a server: it signs itself, says that it is an authority, and is for
    /// these names. Servers present it itself.
    pub fn of_itself(names: &[&str]) -> io::Result<Self> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Self::make(CertificateParams::new(names).map_err(io::Error::other)?, true)
    }

    fn make(mut params: CertificateParams, presents_itself: bool) -> io::Result<Self> {
        params.distinguished_name.push(DnType::CommonName, "Trunkline test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // openssl states none.
        if !presents_itself {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        Ok(Self(Arc::new(Inner { presents_itself, issuer, dir: TempDir::new()?, file: OnceLock::new() })))
    }

    /// Its own certificate as PEM.
    pub fn pem(&self) -> String {
        self.0.issuer.pem()
    }

    /// A file with its certificate, for programs that read one; it is removed with the authority.
    pub fn file(&self) -> io::Result<PathBuf> {
        if let Some(path) = self.0.file.get() {
            return Ok(path.clone());
        }
        let path = self.0.dir.write("ca.pem", self.pem())?;
        Ok(self.0.file.get_or_init(|| path).clone())
    }

    /// Issues a certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> io::Result<Leaf> {
        let (cert, key) = self.sign(names)?;
        Ok(Leaf { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// Issues a certificate for `localhost`, 127.0.0.1 and ::1, and writes it and its key to files.
    pub fn issue_files(&self) -> io::Result<(PathBuf, PathBuf)> {
        let leaf = self.issue(&LOCAL)?;
        Ok((self.0.dir.write("cert.pem", leaf.cert_pem)?, self.0.dir.write("key.pem", leaf.key_pem)?))
    }

    /// A server's side, with a new certificate for `localhost`, 127.0.0.1 and ::1.
    pub fn server_config(&self, alpn: &[Alpn]) -> io::Result<Arc<ServerConfig>> {
        self.server_config_for(&LOCAL, alpn)
    }

    /// A server's side, with a new certificate for these names and addresses.
    pub fn server_config_for(&self, names: &[&str], alpn: &[Alpn]) -> io::Result<Arc<ServerConfig>> {
        let (certificate, key) = if self.0.presents_itself {
            (self.0.issuer.der().clone(), self.0.issuer.key().serialize_der())
        } else {
            let (certificate, key) = self.sign(names)?;
            (certificate.der().clone(), key.serialize_der())
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let chain: Vec<CertificateDer<'static>> = vec![certificate];
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.id().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// A client's side, which trusts this authority and nothing else.
    pub fn client_config(&self, alpn: &[Alpn]) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.issuer.der().clone()).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.id().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The handshake of a client with a server that calls itself `localhost`.
    pub(crate) async fn connect(&self, socket: Socket, alpn: &[Alpn]) -> io::Result<TlsStream<Socket>> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.client_config(alpn)?);
        bounded("a TLS handshake", connector.connect(name, socket)).await?
    }

    fn sign(&self, names: &[&str]) -> io::Result<(rcgen::Certificate, KeyPair)> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let cert = params.signed_by(&key, &self.0.issuer).map_err(io::Error::other)?;
        Ok((cert, key))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_certificate_and_goes_with_the_authority() {
        let authority = Authority::new().unwrap();
        let file = authority.file().unwrap();
        assert_eq!(file, authority.file().unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), authority.pem());
        let (cert, key) = authority.issue_files().unwrap();
        assert!(std::fs::read_to_string(cert).unwrap().starts_with("-----BEGIN CERTIFICATE"));
        assert!(std::fs::read_to_string(key).unwrap().contains("PRIVATE KEY"));
        drop(authority);
        assert!(!file.exists());
    }
}
