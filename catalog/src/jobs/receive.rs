//! The input of a job, received piece by piece: no more than a chunk of it is held. Chunks are
//! durable one by one; the last one, and that there is a job which reads them, in the transaction
//! that makes the job. What no job came of is removed: at once, or when it is old.

use bytes::{Buf as _, Bytes, BytesMut};
use kit::{api::Call, clock::Clock as _, digest::Sha256};
use store::sql::{Lock, Sql, SqlError, Tx, stored};

use super::{CHUNK_BYTES, JOBS};
use crate::{ports::Ports, refused::Refused, service::Catalog};

/// How files of some programs begin; it says that they are UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How long an input may take to come, in milliseconds, and much more.
const UPLOAD_MS: u64 = 3_600_000;

const BEGIN: &str = "INSERT INTO job_uploads (tenant, job, begun_at) VALUES (?, ?, ?)";
const LOOK: &str = "SELECT begun_at FROM job_uploads WHERE tenant = ? AND job = ?";
const END: &str = "DELETE FROM job_uploads WHERE tenant = ? AND job = ?";
const OLD: &str = "SELECT tenant, job FROM job_uploads WHERE begun_at < ? ORDER BY begun_at LIMIT 100";
const PUT_CHUNK: &str = "INSERT INTO job_chunks (tenant, job, part, chunk, content) VALUES (?, ?, 'input', ?, ?)";
const DROP_CHUNKS: &str = "DELETE FROM job_chunks WHERE tenant = ? AND job = ?";

/// An input that came: UTF-8, without its byte order mark.
pub(crate) struct Received {
    tenant: u32,
    /// The number of the job that is to read it.
    pub(super) job: i64,
    /// How it begins: its first chunk.
    head: Bytes,
    /// Chunks that are durable.
    chunks: u64,
    /// What follows them: less than a chunk.
    rest: BytesMut,
    is_begun: bool,
    text: Text,
    digest: Sha256,
}

impl Received {
    /// Receives the body of a call.
    ///
    /// # Errors
    /// `invalid_request` for what is no UTF-8, with the line; what is wrong with the body;
    /// [`Refused::Sql`].
    pub(crate) async fn of<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Self, Refused> {
        let job = catalog.numbers().take(JOBS).await?;
        let mut received = Self {
            tenant: call.actor.tenant,
            job,
            head: Bytes::new(),
            chunks: 0,
            rest: BytesMut::new(),
            is_begun: false,
            text: Text::default(),
            digest: Sha256::default(),
        };
        match received.read(catalog, call).await {
            Ok(()) => Ok(received),
            Err(refused) => {
                received.forget(catalog).await;
                Err(refused)
            }
        }
    }

    async fn read<P: Ports>(&mut self, catalog: &Catalog<P>, call: &Call<'_>) -> Result<(), Refused> {
        while let Some(piece) = call.piece().await? {
            self.digest.update(&piece);
            self.text.check(&piece)?;
            self.rest.extend_from_slice(&piece);
            if !self.is_begun && self.rest.len() >= BYTE_ORDER_MARK.len() {
                self.is_begun = true;
                if self.rest.starts_with(BYTE_ORDER_MARK) {
                    self.rest.advance(BYTE_ORDER_MARK.len());
                }
            }
            while self.rest.len() >= CHUNK_BYTES {
                self.put_chunk(catalog).await?;
            }
        }
        if self.chunks == 0 {
            self.head = Bytes::copy_from_slice(&self.rest);
        }
        self.text.end()
    }

    async fn put_chunk<P: Ports>(&mut self, catalog: &Catalog<P>) -> Result<(), Refused> {
        let content = self.rest.split_to(CHUNK_BYTES).freeze();
        let key = || vec![self.tenant.into(), self.job.into()];
        let mut tx = catalog.sql().begin().await?;
        if self.chunks == 0 {
            let begun_at = stored(catalog.clock().now_ms())?;
            tx.exec(BEGIN, [key(), vec![begun_at.into()]].concat()).await?;
            self.head = content.clone();
        } else if tx.lock_rows(LOOK, key(), Lock::Wait).await?.is_empty() {
            return Err(removed().into());
        }
        tx.exec(PUT_CHUNK, [key(), vec![stored(self.chunks)?.into(), content.into()]].concat()).await?;
        tx.commit().await?;
        self.chunks += 1;
        Ok(())
    }

    /// Its size.
    pub(crate) fn len(&self) -> u64 {
        let chunk = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
        self.chunks * chunk + u64::try_from(self.rest.len()).unwrap_or(u64::MAX)
    }

    /// The text that it begins with: all of it, or about a chunk.
    pub(crate) fn head(&self) -> &str {
        let valid = match std::str::from_utf8(&self.head) {
            Ok(text) => return text,
            // A character that the next chunk ends.
            Err(error) => error.valid_up_to(),
        };
        std::str::from_utf8(&self.head[..valid]).unwrap_or_default()
    }

    /// The digest of the body as it came.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finish()
    }

    /// Gives all of it to its job, in the transaction that makes the job.
    ///
    /// # Errors
    /// [`SqlError`]; also when it took so long that it was removed.
    pub(super) async fn keep<T: Tx>(&self, tx: &mut T) -> Result<(), SqlError> {
        let key = || vec![self.tenant.into(), self.job.into()];
        if self.chunks > 0 && tx.exec(END, key()).await? == 0 {
            return Err(removed());
        }
        if self.rest.is_empty() {
            return Ok(());
        }
        let content = Bytes::copy_from_slice(&self.rest);
        let row = [key(), vec![stored(self.chunks)?.into(), content.into()]].concat();
        tx.exec(PUT_CHUNK, row).await.map(drop)
    }

    /// Removes it, unless a job has it. Where that fails, it is removed when it is old.
    pub(crate) async fn forget<P: Ports>(&self, catalog: &Catalog<P>) {
        if self.chunks > 0
            && let Err(error) = forget(catalog.sql(), (self.tenant.into(), self.job)).await
        {
            tracing::warn!(%error, "an input that no job reads stays for an hour");
        }
    }
}

fn removed() -> SqlError {
    SqlError::Broken("the input of a job was removed before it was whole".into())
}

/// Removes the chunks of an input, unless a job has it.
async fn forget<S: Sql>(sql: &S, (tenant, job): (i64, i64)) -> Result<(), SqlError> {
    let key = || vec![tenant.into(), job.into()];
    let mut tx = sql.begin().await?;
    if tx.exec(END, key()).await? == 0 {
        tx.rollback().await;
        return Ok(());
    }
    tx.exec(DROP_CHUNKS, key()).await?;
    tx.commit().await
}

/// Removes what processes that died had received.
///
/// # Errors
/// [`SqlError`]; the next call goes on.
pub(super) async fn purge<S: Sql>(sql: &S, now_ms: u64) -> Result<(), SqlError> {
    let before = stored(now_ms.saturating_sub(UPLOAD_MS))?;
    for mut row in sql.rows(OLD, vec![before.into()]).await? {
        forget(sql, (row.int()?, row.int()?)).await?;
    }
    Ok(())
}

/// Whether what comes in pieces is UTF-8.
struct Text {
    /// A character that the next piece ends.
    cut: Vec<u8>,
    line: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { cut: Vec::new(), line: 1 }
    }
}

impl Text {
    fn check(&mut self, piece: &[u8]) -> Result<(), Refused> {
        let joined;
        let bytes = match self.cut.is_empty() {
            true => piece,
            false => {
                joined = [std::mem::take(&mut self.cut).as_slice(), piece].concat();
                &joined
            }
        };
        let (valid, is_wrong) = match std::str::from_utf8(bytes) {
            Ok(_) => (bytes.len(), false),
            Err(error) => (error.valid_up_to(), error.error_len().is_some()),
        };
        let (valid, cut) = bytes.split_at(valid);
        self.line += valid.iter().filter(|byte| **byte == b'\n').count();
        self.cut = cut.to_vec();
        if is_wrong { self.end() } else { Ok(()) }
    }

    fn end(&self) -> Result<(), Refused> {
        let wrong = || Refused::field("body", format!("is not UTF-8: see line {}", self.line));
        if self.cut.is_empty() { Ok(()) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever it is cut, a text is the same text, and a wrong byte is in the same line.
    #[test]
    fn utf_8_is_told_from_other_bytes_however_it_is_cut() {
        let good = "a\n壶é\n😀".as_bytes();
        let bad = [b"a\n\xc3\xa9\n".as_slice(), b"x\xff\n"].concat();
        for size in 1..good.len() {
            let mut text = Text::default();
            assert!(good.chunks(size).all(|piece| text.check(piece).is_ok()) && text.end().is_ok(), "{size}");
            let mut text = Text::default();
            assert!(!bad.chunks(size).all(|piece| text.check(piece).is_ok()) && text.line == 3, "{size}");
            let mut text = Text::default();
            let cut = &good[..good.len() - 1];
            assert!(cut.chunks(size).all(|piece| text.check(piece).is_ok()) && text.end().is_err(), "{size}");
        }
    }
}
