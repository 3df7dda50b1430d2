//! Accepts the very certificates that the owner named, beside what authorities have issued.
//!
//! `openssl req -x509` makes a certificate that signs itself and says that it is an authority. As an authority it vouches for
//! itself, but the verifier refuses any server whose own certificate says that it is an authority. Whoever names the
//! certificate of their server has said whom they trust: its name and its dates count, and what it says about authorities
//! does not.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Authorities;

/// Verifies a server's certificate by authorities, unless it is one of those that were named.
#[derive(Debug)]
pub(super) struct Pinned {
    named: Authorities,
    by_authorities: Arc<WebPkiServerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    /// `roots`: the authorities, those of `named` among them. The error says why they cannot be used.
    pub(super) fn new(
        named: Authorities,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let algorithms = provider.signature_verification_algorithms;
        let by_authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| error.to_string())?;
        Ok(Self { named, by_authorities, algorithms })
    }

    /// Checks the name and the dates of a certificate that was named.
    fn verify_named(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let mut itself = RootCertStore::empty();
        itself.add(certificate.clone().into_owned())?;
        let verified =
            verify_server_cert_signed_by_trust_anchor(&parsed, &itself, &[], now, self.algorithms.all);
        match verified {
            // The dates are looked at before these two are found, which the tests hold.
            Err(Error::InvalidCertificate(error)) if is_about_the_issuer(&error) => {}
            verified => verified?,
        }
        verify_server_name(&parsed, name)
    }
}

/// Whether a certificate was refused only for what it says about authorities.
fn is_about_the_issuer(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(other) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.named.contains(certificate) {
            return self.verify_named(certificate, name, now).map(|()| ServerCertVerified::assertion());
        }
        self.by_authorities.verify_server_cert(certificate, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
