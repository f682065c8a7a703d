//! Tokens that no issuer would sign, under a key that the services know.

use anyhow::Context;
use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// A signer that signs anything.
pub struct Forger {
    kid: String,
    key: EncodingKey,
}

impl Forger {
    /// With the id of a key and its secret in base64url.
    ///
    /// # Errors
    /// When the secret is no base64url.
    pub fn new(kid: &str, secret: &str) -> anyhow::Result<Self> {
        let bytes = URL_SAFE.decode(secret).or_else(|_padded| URL_SAFE_NO_PAD.decode(secret));
        let key = EncodingKey::from_secret(&bytes.context("the secret is no base64url")?);
        Ok(Self { kid: kid.to_owned(), key })
    }

    /// The header of a good token.
    pub fn header(&self) -> Value {
        json!({"alg": "HS256", "kid": self.kid})
    }

    /// A token of this header and these claims, signed as if all were well.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = crypto::sign(message.as_bytes(), &self.key, Algorithm::HS256)?;
        Ok(format!("{message}.{signature}"))
    }
}

/// What a token claims, whoever signed it.
///
/// # Errors
/// When it is no token.
pub fn claims_of(token: &str) -> anyhow::Result<Value> {
    let claims = token.split('.').nth(1).context("a token has three parts")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?)
}
