//! TLS of a listener, from its configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use trunkline_config::model::{PemSource, Tls, TlsVersion};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate or key cannot be read.
    #[error("tls.{field}: {why}")]
    Pem {
        /// Which.
        field: &'static str,
        /// Why, with the path, never the content.
        why: String,
    },
    /// They do not fit together.
    #[error(
        "tls: the key {key} does not belong to the certificate {certificate}: use the key that it was made for"
    )]
    Mismatch {
        /// Where the certificate comes from.
        certificate: String,
        /// Where the key comes from.
        key: String,
    },
    /// The library refuses them.
    #[error("tls: the certificate and its key cannot be used: {0}")]
    Rejected(#[from] rustls::Error),
}

/// The library's settings. HTTP/2 and HTTP/1.1 are always offered.
pub(crate) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.certificate)?;
    let key = key(&tls.key)?;
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                certificate: place(&tls.certificate, "certificate"),
                key: place(&tls.key, "key"),
            },
            other => TlsError::Rejected(other),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    for protocol in &tls.alpn {
        if !config.alpn_protocols.iter().any(|offered| offered == protocol.as_bytes()) {
            config.alpn_protocols.push(protocol.clone().into_bytes());
        }
    }
    Ok(Arc::new(config))
}

/// Where PEM text comes from, for a message.
fn place(source: &PemSource, field: &str) -> String {
    match source {
        PemSource::Path(path) => path.display().to_string(),
        PemSource::Inline(_) => format!("in tls.{field}"),
    }
}

fn certificates(source: &PemSource) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (field, read) = match source {
        PemSource::Path(path) => (
            "certificate_path",
            CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| at(path, &e)),
        ),
        PemSource::Inline(text) => (
            "certificate",
            CertificateDer::pem_slice_iter(text.expose().as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| error.to_string()),
        ),
    };
    match read {
        Ok(chain) if chain.is_empty() => Err(TlsError::Pem {
            field,
            why: format!(
                "{}there is no certificate in it; name the PEM file that holds the chain",
                named(source)
            ),
        }),
        Ok(chain) => Ok(chain),
        Err(why) => Err(TlsError::Pem { field, why }),
    }
}

/// The file's name in front of a message, if it is one.
fn named(source: &PemSource) -> String {
    match source {
        PemSource::Path(path) => format!("{}: ", path.display()),
        PemSource::Inline(_) => String::new(),
    }
}

fn key(source: &PemSource) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (field, read) = match source {
        PemSource::Path(path) => {
            ("key_path", PrivateKeyDer::from_pem_file(path).map_err(|error| at(path, &error)))
        }
        PemSource::Inline(text) => (
            "key",
            PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|error| error.to_string()),
        ),
    };
    read.map_err(|why| TlsError::Pem { field, why })
}

fn at(path: &Path, error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    let why = match error {
        Error::Io(error) => trunkline_config::file_error(error),
        Error::NoItemsFound => "there is none in it; name the PEM file that holds it".to_owned(),
        _ => "is no PEM file that can be used; it is damaged or cut off".to_owned(),
    };
    format!("{}: {why}", path.display())
}
