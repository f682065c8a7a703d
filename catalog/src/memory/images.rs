//! Images as they are served: in pieces, of which the latest stay in memory, so that the pictures
//! of a sale that opens are read once and not by each shopper. Whoever reads slowly holds one
//! piece.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kit::http::Bytes;
use store::sql::{Sql, SqlError};
use tokio::{sync::Mutex as Turn, time::timeout};

use crate::media::Media;

/// Bytes of a piece: what a connection is handed at a time.
const PIECE_BYTES: u32 = 64 * 1024;

/// Most bytes kept: two halves, the older of which goes when the younger is full.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a kept piece costs beside its bytes.
const ENTRY_BYTES: usize = 256;

/// Longest wait for who reads the same piece, or one of the same turn.
const TURN_WAIT: Duration = Duration::from_secs(3);

const LOOK: &str = "SELECT media, LENGTH(content), SUBSTR(content, ?, ?) FROM images WHERE hash = ?";

/// A piece of an image, by the hash and the number of the piece.
type Key = (String, u32);

/// A piece of an image, and what the image is.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) media: Media,
    /// Of the whole image.
    pub(crate) length: usize,
    pub(crate) bytes: Bytes,
}

/// The latest pieces.
#[derive(Default)]
pub(crate) struct Images {
    halves: Mutex<Halves>,
    /// Who reads from the database: one at a time of each, so that a piece is read once.
    turns: [Turn<()>; 16],
}

#[derive(Default)]
struct Halves {
    young: HashMap<Key, Piece>,
    young_bytes: usize,
    old: HashMap<Key, Piece>,
}

impl Halves {
    fn find(&mut self, key: &Key) -> Option<Piece> {
        if let Some(piece) = self.young.get(key) {
            return Some(piece.clone());
        }
        let piece = self.old.remove(key)?;
        self.keep(key.clone(), piece.clone());
        Some(piece)
    }

    fn keep(&mut self, key: Key, piece: Piece) {
        let bytes = piece.bytes.len() + ENTRY_BYTES;
        if self.young_bytes + bytes > KEPT_BYTES_MAX / 2 {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, piece);
    }
}

impl Images {
    /// A piece of an image, numbered from 0; `None` without such an image or piece.
    ///
    /// # Errors
    /// [`SqlError`]; [`SqlError::Timeout`] too when others' reads take too long.
    pub(crate) async fn piece<S: Sql>(&self, db: &S, hash: &str, number: u32) -> Result<Option<Piece>, SqlError> {
        let key = (hash.to_owned(), number);
        if let Some(piece) = self.find(&key) {
            return Ok(Some(piece));
        }
        let _turn = timeout(TURN_WAIT, self.turn(&key).lock()).await.map_err(|_| SqlError::Timeout(TURN_WAIT))?;
        // Whoever had the turn before may have read it.
        if let Some(piece) = self.find(&key) {
            return Ok(Some(piece));
        }
        let begin = i64::from(number) * i64::from(PIECE_BYTES) + 1;
        let values = vec![begin.into(), PIECE_BYTES.into(), hash.into()];
        let Some(mut row) = db.rows(LOOK, values).await?.into_iter().next() else { return Ok(None) };
        let media = row.text_as("image's media type", Media::named)?;
        let piece = Piece { media, length: row.number()?, bytes: row.bytes()? };
        if piece.bytes.is_empty() {
            return Ok(None);
        }
        self.lock().keep(key, piece.clone());
        Ok(Some(piece))
    }

    /// The turn of a piece.
    fn turn(&self, (hash, number): &Key) -> &Turn<()> {
        let [first, ..] = &self.turns;
        let place = u32::from(hash.bytes().last().unwrap_or_default()).wrapping_add(*number);
        self.turns.get(place as usize % self.turns.len()).unwrap_or(first)
    }

    fn find(&self, key: &Key) -> Option<Piece> {
        self.lock().find(key)
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many images are served, what is kept stays within its bound, and what is asked for
    /// all the while stays in memory.
    #[test]
    fn what_is_kept_is_bounded_and_what_is_asked_for_stays() {
        let mut halves = Halves::default();
        let key = |image: u32| (image.to_string(), 0);
        let piece = || Piece { media: Media::Png, length: 1, bytes: Bytes::from(vec![7; PIECE_BYTES as usize]) };
        halves.keep(key(0), piece());
        for image in 1..2_000 {
            halves.keep(key(image), piece());
            assert!(halves.find(&key(0)).is_some(), "after {image}");
            let kept = halves.young.values().chain(halves.old.values()).map(|piece| piece.bytes.len() + ENTRY_BYTES);
            assert!(kept.sum::<usize>() <= KEPT_BYTES_MAX, "after {image}");
        }
        assert!(halves.find(&key(1)).is_none());
    }
}
