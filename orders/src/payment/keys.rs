//! Keys of merchants and providers: RSA signatures (PKCS #1 v1.5, SHA-256) and the sealed resources
//! of WeChat's notices (AES-256-GCM). Keys come as PEM, or as the bare base64 that Alipay hands
//! out.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not base64 between PEM lines, nor bare.
    #[error("a key is PEM, or its base64 alone: copy the whole file")]
    NotBase64,
    /// The bytes are no such key.
    #[error("not {0}: see that the right file was given")]
    Wrong(&'static str),
    /// Two accounts have a key of this serial number: whose notice it signs could not be said.
    #[error("the serial number {0} is another account's already")]
    SerialTaken(String),
    /// The key could not sign.
    #[error("the private key cannot sign")]
    CannotSign,
}

/// The bytes between the lines of a PEM file, or of bare base64.
fn decoded(text: &str) -> Result<Vec<u8>, KeyError> {
    let base64: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).map_err(|_malformed| KeyError::NotBase64)
}

/// A merchant's private key.
pub struct SigningKey(RsaKeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

impl SigningKey {
    /// From PKCS #8 or PKCS #1.
    ///
    /// # Errors
    ///
    /// When it is no RSA private key of 2048 bits or more.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = decoded(text)?;
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        pair.map(Self).map_err(|_rejected| KeyError::Wrong("an RSA private key"))
    }

    /// The signature of `text`, in base64.
    ///
    /// # Errors
    ///
    /// [`KeyError::CannotSign`].
    pub fn sign(&self, text: &[u8]) -> Result<String, KeyError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature);
        signed.map_err(|_unspecified| KeyError::CannotSign)?;
        Ok(STANDARD.encode(signature))
    }

    /// A new one of 2048 bits, for simulators and tests.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        RsaKeyPair::generate(KeySize::Rsa2048).map(Self).map_err(|_unspecified| KeyError::CannotSign)
    }

    /// The public half, as `SubjectPublicKeyInfo` in base64.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn public_base64(&self) -> Result<String, KeyError> {
        let der = self.0.public_key().as_der().map_err(|_unspecified| KeyError::Wrong("an RSA key"))?;
        Ok(STANDARD.encode(der.as_ref()))
    }

    /// The whole of it, as PKCS #8 in base64, to hand to the other side of a simulation.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn private_base64(&self) -> Result<String, KeyError> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().map_err(|_unspecified| KeyError::Wrong("an RSA key"))?;
        Ok(STANDARD.encode(der.as_ref()))
    }

    /// The key that its signatures are verified with.
    ///
    /// # Errors
    ///
    /// When it is too short to verify with.
    pub fn verifying(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_der(self.0.public_key().as_ref())
    }
}

/// A public key.
pub struct VerifyingKey(ParsedPublicKey);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

impl VerifyingKey {
    /// From `SubjectPublicKeyInfo` or PKCS #1.
    ///
    /// # Errors
    ///
    /// When it is no RSA public key of 2048 bits or more.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_der(&decoded(text)?)
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der);
        key.map(Self).map_err(|_rejected| KeyError::Wrong("an RSA public key"))
    }

    /// Whether this base64 is the owner's signature of `text`.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|signature| self.0.verify_sig(text, &signature).is_ok())
    }
}

/// What a platform certificate says: its serial number, in capital hexadecimal as WeChat names it,
/// its key and its end. Nothing of it is judged: the merchant took the file from the provider, who
/// signs by another key when it ends.
#[derive(Debug)]
pub struct Certificate {
    /// As `Wechatpay-Serial` names it.
    pub serial: String,
    /// Its key.
    pub key: VerifyingKey,
    /// Until when it is valid, in epoch milliseconds.
    pub ends_at_ms: u64,
}

impl Certificate {
    /// From an X.509 certificate.
    ///
    /// # Errors
    ///
    /// When it is none, or of another kind of key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = decoded(text)?;
        let (serial, ends_at_ms, key) = certificate_parts(&der).ok_or(KeyError::Wrong("an X.509 certificate"))?;
        let serial = serial.iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(Self { serial, key: VerifyingKey::from_der(key)?, ends_at_ms })
    }
}

/// Serial number, end and `SubjectPublicKeyInfo` of a certificate (RFC 5280, 4.1).
fn certificate_parts(der: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    const VERSION: u8 = 0xa0;
    let (certificate, _) = element(der)?;
    let (signed, _) = element(certificate.content)?;
    let (mut field, mut rest) = element(signed.content)?;
    if field.tag == VERSION {
        (field, rest) = element(rest)?;
    }
    let serial = field.content;
    // Behind the serial number: algorithm, issuer, validity, subject, and then the key.
    for _ in 0..3 {
        (field, rest) = element(rest)?;
    }
    let (_begin, end) = element(field.content)?;
    let ends_at_ms = moment(&element(end)?.0)?;
    for _ in 0..2 {
        (field, rest) = element(rest)?;
    }
    // A leading zero only says that the number is positive.
    let serial = serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial);
    Some((serial, ends_at_ms, field.whole))
}

/// A moment, in epoch milliseconds: two digits of the year until 2049, four from then on (RFC 5280,
/// 4.1.2.5).
fn moment(of: &Element<'_>) -> Option<u64> {
    const SHORT: u8 = 0x17;
    const LONG: u8 = 0x18;
    let digits = std::str::from_utf8(of.content).ok()?.strip_suffix('Z')?;
    let digits = match of.tag {
        SHORT if digits.len() == 12 => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        LONG if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| &digits[from..from + 2];
    let text = format!("{}{}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8), part(10), part(12));
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

/// One element of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The first element, and what follows it.
fn element(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = der.get(..der.len() - after.len())?;
    Some((Element { tag, content, whole }, after))
}

/// The key that WeChat seals the resources of notices with (`APIv3` key): 32 bytes.
pub struct SealKey(LessSafeKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(***)")
    }
}

impl SealKey {
    /// From the 32 characters that the merchant set.
    ///
    /// # Errors
    ///
    /// When it has another length.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, text.as_bytes());
        Ok(Self(LessSafeKey::new(key.map_err(|_| KeyError::Wrong("an APIv3 key of 32 characters"))?)))
    }

    /// Opens what was sealed, in base64; `None` where it is not what was sealed with this key.
    #[must_use]
    pub fn open(&self, nonce: &str, associated: &str, sealed: &str) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(<[u8; NONCE_LEN]>::try_from(nonce.as_bytes()).ok()?);
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::from(associated.as_bytes()), &mut bytes).ok()?.len();
        bytes.truncate(opened);
        Some(bytes)
    }

    /// Seals, as the simulator does. A nonce MUST be used once.
    #[must_use]
    pub fn seal(&self, nonce: &str, associated: &str, plain: &[u8]) -> Option<String> {
        let nonce = Nonce::assume_unique_for_key(<[u8; NONCE_LEN]>::try_from(nonce.as_bytes()).ok()?);
        let mut bytes = plain.to_vec();
        self.0.seal_in_place_append_tag(nonce, Aad::from(associated.as_bytes()), &mut bytes).ok()?;
        Some(STANDARD.encode(bytes))
    }
}
