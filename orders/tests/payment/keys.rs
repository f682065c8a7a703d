//! Keys and certificates as others make them.

use orders::payment::keys::{Certificate, KeyError, SealKey, SigningKey, VerifyingKey};

use super::rig::{SEAL, key, public};

const CERTIFICATE: &str = include_str!("openssl_certificate.pem");
/// As `openssl x509 -enddate` prints it.
const ENDS: &str = "2036-11-25T07:58:59.000Z";
const SIGNATURE: &str = include_str!("openssl_signature.txt");
const SIGNED: &[u8] = b"1700000000\nnonce\n{\"a\":1}\n";

/// A certificate and a signature that OpenSSL made: its serial number as WeChat names it.
#[test]
fn a_platform_certificate_gives_its_serial_number_and_its_key() {
    let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
    assert_eq!(certificate.serial, "5F0A1B2C3D4E5F60718293A4B5C6D7E8F9000102");
    assert!(certificate.key.verifies(SIGNED, SIGNATURE));
    assert_eq!(kit::clock::rfc3339(certificate.ends_at_ms), ENDS);
    for at in 0..SIGNED.len() {
        let mut other = SIGNED.to_vec();
        other[at] ^= 1;
        assert!(!certificate.key.verifies(&other, SIGNATURE), "byte {at}");
    }
}

#[test]
fn a_file_that_is_no_such_key_is_refused_by_name() {
    assert_eq!(VerifyingKey::from_pem(CERTIFICATE).unwrap_err(), KeyError::Wrong("an RSA public key"));
    assert_eq!(
        Certificate::from_pem(&key(0).public_base64().unwrap()).unwrap_err(),
        KeyError::Wrong("an X.509 certificate")
    );
    assert_eq!(SigningKey::from_pem(CERTIFICATE).unwrap_err(), KeyError::Wrong("an RSA private key"));
    assert_eq!(SigningKey::from_pem("%%%").unwrap_err(), KeyError::NotBase64);
    assert!(SealKey::new("short").is_err());
    // A certificate that breaks off anywhere is refused, never read past its end.
    let bare: String = CERTIFICATE.lines().filter(|line| !line.starts_with('-')).collect();
    for end in (0..bare.len() - 4).step_by(4) {
        assert!(Certificate::from_pem(&bare[..end]).is_err(), "{end}");
    }
}

#[test]
fn keys_print_nothing_of_themselves() {
    let secret = key(0).private_base64().unwrap();
    let shown = format!("{:?} {:?}", key(0), SealKey::new(SEAL).unwrap());
    assert_eq!(shown, "SigningKey(***) SealKey(***)");
    assert!(!shown.contains(&secret[40..80]));
}

#[test]
fn every_flipped_byte_of_a_signature_or_of_a_sealed_resource_is_refused() {
    let signature = key(0).sign(SIGNED).unwrap();
    assert!(public(0).verifies(SIGNED, &signature) && !public(1).verifies(SIGNED, &signature));
    for at in 0..signature.len() {
        let mut other = signature.clone().into_bytes();
        other[at] ^= 1;
        assert!(!public(0).verifies(SIGNED, std::str::from_utf8(&other).unwrap()), "byte {at}");
    }
    let seal = SealKey::new(SEAL).unwrap();
    let sealed = seal.seal("000000000001", "transaction", b"{}").unwrap();
    assert_eq!(seal.open("000000000001", "transaction", &sealed).unwrap(), b"{}");
    for at in 0..sealed.len() {
        let mut other = sealed.clone().into_bytes();
        other[at] ^= 1;
        assert_eq!(seal.open("000000000001", "transaction", std::str::from_utf8(&other).unwrap()), None, "byte {at}");
    }
    assert_eq!(seal.open("000000000002", "transaction", &sealed), None);
    assert_eq!(seal.open("000000000001", "refund", &sealed), None);
    assert_eq!(seal.open("1", "transaction", &sealed), None);
}
