use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;

use super::*;

const NAME: &str = "api.example.com";

/// What `openssl req -x509` makes: signs itself, says that it is an authority, and has the server's name.
fn request_x509(valid: bool, is_ca: IsCa) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    params(valid, is_ca).self_signed(&key).unwrap().der().clone()
}

fn params(valid: bool, is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::new(vec![NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = is_ca;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = if valid { date_time_ymd(2100, 1, 1) } else { date_time_ymd(2021, 1, 1) };
    params
}

fn ca() -> IsCa {
    IsCa::Ca(BasicConstraints::Unconstrained)
}

fn pem(certificate: &CertificateDer<'_>) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").into_bytes()
}

/// What comes of a server that presents `presented` as `name`, where `named` is what the owner named.
fn verify(named: &CertificateDer<'_>, presented: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
    let provider = Arc::new(default_provider());
    let named = Authorities::from_pem(&pem(named)).unwrap();
    let mut roots = RootCertStore::empty();
    named.add_to(&mut roots);
    let verifier = Pinned::new(named, roots, &provider).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    // The beginning of 2026.
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));
    verifier.verify_server_cert(presented, &[], &name, &[], now).map(|_| ())
}

fn refused(result: Result<(), Error>) -> CertificateError {
    match result {
        Err(Error::InvalidCertificate(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_certificate_that_was_named_is_accepted_whatever_it_says_of_authorities() {
    for is_ca in [ca(), IsCa::ExplicitNoCa, IsCa::NoCa] {
        let certificate = request_x509(true, is_ca);
        for name in [NAME, "127.0.0.1"] {
            assert_eq!(verify(&certificate, &certificate, name), Ok(()), "{is_ca:?} {name}");
        }
    }
}

#[test]
fn its_name_is_checked() {
    for is_ca in [ca(), IsCa::NoCa] {
        let certificate = request_x509(true, is_ca);
        for name in ["other.example.com", "example.com", "127.0.0.2"] {
            let why = refused(verify(&certificate, &certificate, name));
            assert!(matches!(why, CertificateError::NotValidForNameContext { .. }), "{name}: {why:?}");
        }
    }
}

#[test]
fn its_dates_are_checked() {
    for is_ca in [ca(), IsCa::NoCa] {
        let certificate = request_x509(false, is_ca);
        let why = refused(verify(&certificate, &certificate, NAME));
        assert!(matches!(why, CertificateError::ExpiredContext { .. }), "{why:?}");
    }
    let mut later = params(true, ca());
    later.not_before = date_time_ymd(2099, 1, 1);
    let certificate = later.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    let why = refused(verify(&certificate, &certificate, NAME));
    assert!(matches!(why, CertificateError::NotValidYetContext { .. }), "{why:?}");
}

#[test]
fn another_one_that_signs_itself_is_not_the_one_that_was_named() {
    for is_ca in [ca(), IsCa::NoCa] {
        let (named, other) = (request_x509(true, is_ca), request_x509(true, is_ca));
        refused(verify(&named, &other, NAME));
    }
}

#[test]
fn an_authority_that_was_named_vouches_for_others_all_the_same() {
    let mut of_authority = params(true, ca());
    of_authority.distinguished_name.push(DnType::CommonName, "An authority");
    let authority = CertifiedIssuer::self_signed(of_authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let issued = params(true, IsCa::NoCa).signed_by(&key, &authority).unwrap();
    assert_eq!(verify(authority.der(), issued.der(), NAME), Ok(()));
    // The one that was issued can be named instead of who issued it.
    assert_eq!(verify(issued.der(), issued.der(), NAME), Ok(()));
    let expired = params(false, IsCa::NoCa).signed_by(&key, &authority).unwrap();
    for named in [authority.der(), expired.der()] {
        refused(verify(named, expired.der(), NAME));
    }
}
