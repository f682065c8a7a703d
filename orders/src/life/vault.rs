//! Personal data of buyers in this service's databases, sealed under a key per buyer, which is
//! sealed under the deployment's key. The key's row is all that erasure has to delete. Beside it,
//! what is nobody's person and still secret: redeem codes, keys that shops sign with.

use bytes::Bytes;
use domain::id::{BuyerId, TenantId};
use kit::{
    digest::hmac_sha256,
    random::{NoRandomness, Random},
    seal::{Damaged, KEY_LEN, SealKey},
};
use store::sql::{Lock, Tx, Value};

use super::refused::Refused;

const LOOK: &str = "SELECT sealed_key FROM recipient_keys WHERE tenant = ? AND buyer = ?";
const ADD: &str = "INSERT INTO recipient_keys (tenant, buyer, sealed_key) VALUES (?, ?, ?)";

/// Whose data it is.
pub(super) type Person = (TenantId, BuyerId);

/// Seals and opens. It keeps no person's key.
#[derive(Clone)]
pub struct Vault {
    master: SealKey,
    index: [u8; KEY_LEN],
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Vault(..)")
    }
}

impl Vault {
    /// A vault under the deployment's key. Its keys are others than those of the merchants'
    /// service, which has the same.
    ///
    /// # Errors
    /// [`Damaged`] never comes of so many bytes.
    pub fn new(master: &[u8; KEY_LEN]) -> Result<Self, Damaged> {
        Ok(Self {
            master: SealKey::new(&hmac_sha256(master, b"orders seal"))?,
            index: hmac_sha256(master, b"orders index"),
        })
    }

    /// Bytes that follow from a text, and that nobody can tell without the deployment's key.
    /// Another `purpose` gives others of the same text.
    pub(crate) fn secret_of(&self, purpose: &str, text: &str) -> [u8; 32] {
        hmac_sha256(&hmac_sha256(&self.index, purpose.as_bytes()), text.as_bytes())
    }

    /// What equal texts are found by.
    pub(crate) fn digest(&self, purpose: &str, text: &str) -> String {
        hex(&self.secret_of(purpose, text)[..16])
    }

    /// Seals a text of a person, whose key is made when there is none.
    pub(super) async fn seal<T: Tx>(
        &self,
        tx: &mut T,
        random: &impl Random,
        (tenant, buyer): Person,
        text: &str,
    ) -> Result<Bytes, Refused> {
        let person = || vec![Value::from(tenant.stored()), buyer.stored().into()];
        let mut kept = tx.lock_rows(LOOK, person(), Lock::Wait).await?;
        if kept.is_empty() {
            let new = self.master.seal(random, &random.bytes::<KEY_LEN>()?)?;
            let row = person().into_iter().chain([Bytes::from(new).into()]).collect();
            // Of two who make one, one does; both seal under it.
            tx.insert_absent(ADD, row).await?;
            kept = tx.lock_rows(LOOK, person(), Lock::Wait).await?;
        }
        let key = kept.pop().ok_or(Damaged)?.bytes()?;
        let key = SealKey::new(&self.master.open(&key)?)?;
        Ok(key.seal(random, text.as_bytes())?.into())
    }

    /// Opens what was sealed under a person's key, which is sealed itself.
    pub(super) fn open(&self, sealed_key: &[u8], sealed: &[u8]) -> Result<String, Damaged> {
        let key = SealKey::new(&self.master.open(sealed_key)?)?;
        String::from_utf8(key.open(sealed)?).map_err(|_| Damaged)
    }

    /// Seals what is of no person.
    pub(super) fn seal_own(&self, random: &impl Random, text: &str) -> Result<Bytes, NoRandomness> {
        self.master.seal(random, text.as_bytes()).map(Bytes::from)
    }

    /// Opens what [`Vault::seal_own`] sealed.
    pub(super) fn open_own(&self, sealed: &[u8]) -> Result<String, Damaged> {
        String::from_utf8(self.master.open(sealed)?).map_err(|_| Damaged)
    }
}

/// Bytes as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
