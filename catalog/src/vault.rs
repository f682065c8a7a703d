//! Personal data, sealed under a key per person, which is sealed under the deployment's key. The
//! key's row is all that erasure has to delete. What must be found by equality (an e-mail address
//! at login) is found by a keyed digest of it, never in clear.

use bytes::Bytes;
use kit::{
    digest::hmac_sha256,
    random::{NoRandomness, Random},
    seal::{Damaged, KEY_LEN, SealKey},
};
use store::sql::{Lock, Sql, SqlError, Tx};

const LOOK: &str = "SELECT sealed_key FROM person_keys WHERE tenant = ? AND kind = ? AND person = ?";
const ADD: &str = "INSERT INTO person_keys (tenant, kind, person, sealed_key) VALUES (?, ?, ?, ?)";
const FORGET: &str = "DELETE FROM person_keys WHERE tenant = ? AND kind = ? AND person = ?";

/// Whose data it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// Somebody of a tenant's people.
    User(i64),
    /// A buyer of a tenant.
    Buyer(i64),
}

impl Person {
    const fn row(self) -> (&'static str, i64) {
        match self {
            Self::User(number) => ("user", number),
            Self::Buyer(number) => ("buyer", number),
        }
    }
}

/// Why something cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The person was erased, or never had data here.
    #[error("this person's key is not there: the data was erased")]
    Erased,
    /// It was sealed under another key, or changed since.
    #[error("sealed data does not open: the deployment's vault key is another one, or the data was changed")]
    Damaged,
}

impl From<Damaged> for VaultError {
    fn from(Damaged: Damaged) -> Self {
        Self::Damaged
    }
}

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
    /// A vault under the deployment's key, 32 secret bytes.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] never comes of 32 bytes.
    pub fn new(master: &[u8; KEY_LEN]) -> Result<Self, VaultError> {
        // Two uses, two keys.
        Ok(Self { master: SealKey::new(&hmac_sha256(master, b"seal"))?, index: hmac_sha256(master, b"index") })
    }

    /// What equal texts are found by. Another `purpose` gives another digest of the same text.
    #[must_use]
    pub fn index(&self, purpose: &str, text: &str) -> Bytes {
        let purpose = hmac_sha256(&self.index, purpose.as_bytes());
        Bytes::copy_from_slice(&hmac_sha256(&purpose, text.as_bytes()))
    }

    /// Seals a text of a person, whose key is made when there is none.
    ///
    /// # Errors
    /// [`VaultError::Sql`], [`VaultError::Random`].
    pub async fn seal<T: Tx>(
        &self,
        tx: &mut T,
        random: &impl Random,
        (tenant, person): (u32, Person),
        text: &str,
    ) -> Result<Bytes, VaultError> {
        let key = match self.key_of(tx, tenant, person).await {
            Err(VaultError::Erased) => {
                let (kind, number) = person.row();
                let new = random.bytes::<KEY_LEN>()?;
                let sealed = self.master.seal(random, &new)?;
                tx.insert_absent(ADD, vec![tenant.into(), kind.into(), number.into(), Bytes::from(sealed).into()])
                    .await?;
                self.key_of(tx, tenant, person).await?
            }
            known => known?,
        };
        Ok(key.seal(random, text.as_bytes())?.into())
    }

    /// Opens what was sealed for a person.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn open<S: Sql>(&self, db: &S, of: (u32, Person), sealed: &[u8]) -> Result<String, VaultError> {
        let (tenant, person) = of;
        let (kind, number) = person.row();
        let rows = db.rows(LOOK, vec![tenant.into(), kind.into(), number.into()]).await?;
        let mut row = rows.into_iter().next().ok_or(VaultError::Erased)?;
        let key = self.master.open(&row.bytes()?)?;
        let text = SealKey::new(&key)?.open(sealed)?;
        String::from_utf8(text).map_err(|_| VaultError::Damaged)
    }

    /// Destroys a person's key: nothing that was sealed for him opens any more.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn erase<T: Tx>(&self, tx: &mut T, tenant: u32, person: Person) -> Result<(), SqlError> {
        let (kind, number) = person.row();
        tx.exec(FORGET, vec![tenant.into(), kind.into(), number.into()]).await.map(|_rows| ())
    }

    async fn key_of<T: Tx>(&self, tx: &mut T, tenant: u32, person: Person) -> Result<SealKey, VaultError> {
        let (kind, number) = person.row();
        let rows = tx.lock_rows(LOOK, vec![tenant.into(), kind.into(), number.into()], Lock::Wait).await?;
        let mut row = rows.into_iter().next().ok_or(VaultError::Erased)?;
        Ok(SealKey::new(&self.master.open(&row.bytes()?)?)?)
    }

    /// Seals what is of the deployment and of no person, such as a signing key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal_own(&self, random: &impl Random, secret: &[u8]) -> Result<Bytes, NoRandomness> {
        self.master.seal(random, secret).map(Bytes::from)
    }

    /// Opens what [`Vault::seal_own`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn open_own(&self, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        Ok(self.master.open(sealed)?)
    }
}
