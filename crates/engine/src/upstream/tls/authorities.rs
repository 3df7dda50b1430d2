//! Certificate authorities: the system's, and those of files that a configuration names.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls_native_certs::CertificateResult;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The variables that name certificates: OpenSSL's.
const FILE_VARIABLE: &str = "SSL_CERT_FILE";
const DIRECTORY_VARIABLE: &str = "SSL_CERT_DIR";

/// The largest file of authorities that is read, in bytes. The largest in use, with all public ones, has 300 KB.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The authorities that count where nothing else is said, read once.
///
/// Read by `rustls-native-certs`: from where `SSL_CERT_FILE` and `SSL_CERT_DIR` say, if one of them is set, else from the
/// system's store. Where there is no store, as in small containers, a bundled set takes its place.
#[derive(Debug)]
pub struct SystemAuthorities {
    named_by: Vec<&'static str>,
    loaded: OnceLock<Result<Arc<RootCertStore>, String>>,
}

/// Authorities of a file or text.
#[derive(Clone)]
pub struct Authorities(Arc<[CertificateDer<'static>]>);

impl SystemAuthorities {
    /// Not read yet. `named_by`: the environment variables that are set and say where they are.
    pub fn new(named_by: &[&'static str]) -> Arc<Self> {
        Arc::new(Self { named_by: named_by.to_vec(), loaded: OnceLock::new() })
    }

    /// Whether the environment says where they are, so that a mistake in it is best found at start.
    pub fn is_named(&self) -> bool {
        !self.named_by.is_empty()
    }

    /// Reads them, at the first call. Blocks.
    ///
    /// It is an error if environment variables name certificates and there are none: the bundled ones in their place
    /// would be trusting what the owner did not want to trust.
    pub fn load(&self) -> Result<Arc<RootCertStore>, String> {
        self.loaded.get_or_init(|| self.read()).clone()
    }

    fn read(&self) -> Result<Arc<RootCertStore>, String> {
        let mut roots = RootCertStore::empty();
        let native = native();
        roots.add_parsable_certificates(native.certs);
        if self.is_named() {
            let names = self.named_by.join(" and ");
            if roots.is_empty() {
                let why = native.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
                return Err(format!(
                    "{names}: no usable certificate is found there{why}; correct or unset it"
                ));
            }
            for error in &native.errors {
                tracing::warn!("{names}: {error}");
            }
        } else if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Ok(Arc::new(roots))
    }
}

/// The certificates that the environment names, else those of the system.
///
/// An empty `SSL_CERT_FILE` counts as not set, as everywhere here; the library takes it for a file without a name, and would
/// then not look into the system's store.
fn native() -> CertificateResult {
    let is_set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if std::env::var_os(FILE_VARIABLE).is_none_or(|file| !file.is_empty()) {
        return rustls_native_certs::load_native_certs();
    }
    let mut found = CertificateResult::default();
    if let Some(directories) = is_set(DIRECTORY_VARIABLE) {
        for directory in std::env::split_paths(&directories).filter(|path| !path.as_os_str().is_empty()) {
            add(&mut found, rustls_native_certs::load_certs_from_paths(None, Some(&directory)));
        }
    } else {
        let system = openssl_probe::probe();
        add(&mut found, rustls_native_certs::load_certs_from_paths(system.cert_file.as_deref(), None));
        for directory in &system.cert_dir {
            add(&mut found, rustls_native_certs::load_certs_from_paths(None, Some(directory)));
        }
    }
    found
}

fn add(found: &mut CertificateResult, more: CertificateResult) {
    found.certs.extend(more.certs);
    found.errors.extend(more.errors);
}

impl Authorities {
    /// Reads a PEM file. Blocks. The error says what is wrong with it, without its path.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let mut text = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if text.len() as u64 > MAX_FILE {
            return Err(format!("larger than {MAX_FILE} bytes"));
        }
        Self::from_pem(&text)
    }

    /// Reads PEM text.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("not PEM: {error}"))?;
        if certificates.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let authorities = Self(certificates.into());
        if authorities.add_to(&mut RootCertStore::empty()) == 0 {
            return Err("none of its certificates can be used as an authority".to_owned());
        }
        Ok(authorities)
    }

    /// Whether this very certificate is one of them.
    pub(super) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.0.iter().any(|one| one == certificate)
    }

    /// Adds them, and tells how many could be used.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> usize {
        roots.add_parsable_certificates(self.0.iter().cloned()).0
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}
