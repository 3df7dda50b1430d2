//! The TLS side of outgoing connections: authorities of the system, with a bundled fallback, loaded when the first https
//! connection is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::OnceCell;

/// TLS settings that are made once, at first use.
#[derive(Debug)]
pub(crate) struct LazyTls {
    ca_path: Option<PathBuf>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl LazyTls {
    pub(crate) fn new(ca_path: Option<PathBuf>) -> Self {
        Self { ca_path, config: OnceCell::new() }
    }

    /// The settings; an error says which file could not be used.
    pub(crate) async fn get(&self) -> Result<Arc<ClientConfig>, String> {
        let make = async {
            let ca_path = self.ca_path.clone();
            // Reading the system's store takes tens of milliseconds of file access.
            tokio::task::spawn_blocking(move || client_config(ca_path.as_deref()))
                .await
                .map_err(|_| "the certificate store could not be read".to_owned())?
        };
        self.config.get_or_try_init(|| make).await.cloned()
    }
}

fn client_config(ca_path: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        // Containers without a store.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_path {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("ca_path {}: {error}", path.display()))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(format!("ca_path {}: there is no usable certificate in it", path.display()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
