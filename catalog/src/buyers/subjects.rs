//! Which number a subject has: one for ever, given once, whoever asks first. Only a keyed digest of
//! the subject is kept. Nothing is cached: after an erasure the same subject is another buyer at
//! once, in every process.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::sale::SubjectKind;
use kit::{api::Call, clock::Clock as _};
use store::sql::{Insert, Sql as _, SqlError, Tx as _, Value, stored};

use crate::{
    failpoint::{Failpoint, Step},
    numbers::Numbered,
    ports::Ports,
    service::Catalog,
};

const BUYERS: Numbered = Numbered("buyer");

/// Tries of a call whose new subjects others made first. Each one finds what they made.
const TRIES_MAX: u32 = 8;

static MAKE: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new("INSERT INTO buyers (tenant, subject, kind, buyer, created_at) VALUES [(?, ?, ?, ?, ?),]")
});

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// What it is.
    pub(crate) kind: SubjectKind,
    /// The keyed digest by which it is found.
    digest: String,
}

impl<P: Ports> Catalog<P> {
    /// A subject of a tenant: the shop's own id, a phone number, a hash.
    pub(crate) fn subject(&self, tenant: u32, kind: SubjectKind, text: &str) -> Subject {
        Subject { kind, digest: self.digest(tenant, kind.as_str(), text) }
    }

    /// An account that a login made, apart from the accounts that the shop names. `login`: which
    /// one, a word of its own.
    pub(crate) fn login_subject(&self, tenant: u32, login: &str, text: &str) -> Subject {
        Subject { kind: SubjectKind::Account, digest: self.digest(tenant, login, text) }
    }

    /// A keyed digest of a text, to find it again without keeping it.
    pub(crate) fn digest(&self, tenant: u32, purpose: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.vault().index(&format!("buyer {tenant} {purpose}"), text))
    }

    /// The numbers of these subjects, in their order. New ones are made, all of them or none.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; asked again, it gives what was made.
    pub(crate) async fn numbers_of(
        &self,
        call: &Call<'_>,
        tenant: u32,
        subjects: &[Subject],
    ) -> Result<Vec<i64>, SqlError> {
        let mut known = HashMap::new();
        for _ in 0..TRIES_MAX {
            let absent = absent(subjects, &known);
            known.extend(self.look(tenant, absent.keys().copied()).await?);
            let absent = self::absent(subjects, &known);
            if absent.is_empty() || self.make(tenant, &absent, &mut known, Failpoint::of(call)).await? {
                let number = |subject: &Subject| known.get(&subject.digest).copied();
                let numbers = subjects.iter().map(number).collect::<Option<Vec<_>>>();
                return numbers.ok_or_else(|| SqlError::Broken("a subject has no number".into()));
            }
        }
        Err(SqlError::LockWait("others make the same buyers at the same time".into()))
    }

    async fn look(&self, tenant: u32, digests: impl Iterator<Item = &str>) -> Result<Vec<(String, i64)>, SqlError> {
        let mut params: Vec<Value> = vec![tenant.into()];
        params.extend(digests.map(Value::from));
        let Some(last) = params.last().filter(|_| params.len() > 1).cloned() else { return Ok(Vec::new()) };
        // Each length is a statement of its own, so there are few of them.
        let length = (params.len() - 1).next_power_of_two();
        params.resize(1 + length, last);
        let places = vec!["?"; length].join(", ");
        let query = format!("SELECT subject, buyer FROM buyers WHERE tenant = ? AND subject IN ({places})");
        let rows = self.sql().rows(&query, params).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.int()?))).collect()
    }

    /// `false` when another call made one of them first: nothing was made.
    async fn make(
        &self,
        tenant: u32,
        absent: &BTreeMap<&str, SubjectKind>,
        known: &mut HashMap<String, i64>,
        failpoint: Failpoint,
    ) -> Result<bool, SqlError> {
        let count = u32::try_from(absent.len()).map_err(|_| SqlError::Unfit("too many buyers at once".into()))?;
        let numbers = self.numbers().take_many(BUYERS, count).await?;
        let now_ms = stored(self.clock().now_ms())?;
        let made: Vec<_> = absent.keys().map(|digest| (*digest).to_owned()).zip(numbers).collect();
        let rows = made.iter().zip(absent.values()).flat_map(|((digest, number), kind)| {
            [tenant.into(), digest.as_str().into(), kind.as_str().into(), (*number).into(), now_ms.into()]
        });
        let mut tx = self.sql().begin().await?;
        match tx.insert(&MAKE, rows.collect()).await {
            Ok(()) => {
                failpoint.reach(Step::Written);
                tx.commit().await?;
                failpoint.reach(Step::Durable);
            }
            Err(SqlError::KeyTaken(_)) => {
                tx.rollback().await;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        known.extend(made);
        Ok(true)
    }
}

/// Those without a number, in the order in which their rows are made: each once, and sorted, so
/// that two calls wait for each other at most in one direction.
fn absent<'s>(subjects: &'s [Subject], known: &HashMap<String, i64>) -> BTreeMap<&'s str, SubjectKind> {
    let absent = subjects.iter().filter(|subject| !known.contains_key(&subject.digest));
    absent.map(|subject| (subject.digest.as_str(), subject.kind)).collect()
}
