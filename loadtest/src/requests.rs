//! The requests, ready to be written before the clock starts: one template, and in it what differs
//! from buyer to buyer, each with a fixed place and length. Signing the tokens is the expensive
//! part, so all cores do it.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use domain::id::{BuyerId, InvalidId, SaleId};

use crate::sale::LoadSale;

/// Tokens signed between two reports of progress.
const PROGRESS_STEP: usize = 1_000;

/// Why requests could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RequestsError {
    /// The signer refused.
    #[error("a buyer's token could not be signed: {0}")]
    Sign(String),
    /// A token that does not fit into the template.
    #[error("buyer {0} has a token of another length than the first one: ids must have one length")]
    Length(BuyerId),
    /// More buyers than ids.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

/// The purchase of every buyer of a part.
#[derive(Debug)]
pub struct Requests {
    first: u32,
    template: Vec<u8>,
    token_at: usize,
    key_at: usize,
    offer_at: usize,
    token_len: usize,
    /// Token after token.
    tokens: Vec<u8>,
    /// Key after key: what stands in the header `idempotency-key`.
    keys: Vec<u8>,
    offers: Vec<Vec<u8>>,
    /// It is the same for everybody.
    is_page: bool,
}

const KEY_LEN: usize = 18;

/// The idempotency key of a buyer: one purchase, one key, however often it is sent.
pub fn key_of(buyer: BuyerId) -> String {
    format!("lt-{buyer}")
}

impl Requests {
    /// Signs the tokens of these buyers on `threads` threads and counts them in `signed` as they
    /// come.
    ///
    /// # Errors
    /// [`RequestsError`] of the first token that fails.
    pub fn build<S, E>(
        sale: &LoadSale,
        host: &str,
        buyers: Range<u32>,
        threads: usize,
        sign: &S,
        signed: &AtomicU64,
    ) -> Result<Self, RequestsError>
    where
        S: Fn(BuyerId) -> Result<String, E> + Sync,
        E: std::fmt::Display,
    {
        let token = sign(sale.buyer(buyers.start)?).map_err(|e| RequestsError::Sign(e.to_string()))?;
        let token_len = token.len();
        let share = buyers.len().div_ceil(threads.max(1)).max(1);
        let mut tokens = vec![0; token_len * buyers.len()];
        std::thread::scope(|scope| {
            let parts = tokens.chunks_mut(token_len * share);
            let workers: Vec<_> = buyers
                .clone()
                .step_by(share)
                .zip(parts)
                .map(|(low, part)| scope.spawn(move || sign_part(sale, low, token_len, part, sign, signed)))
                .collect();
            let lost = || Err(RequestsError::Sign("a signing thread ended early".into()));
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| lost()))
        })?;
        let mut keys = Vec::with_capacity(KEY_LEN * buyers.len());
        for index in buyers.clone() {
            keys.extend_from_slice(key_of(sale.buyer(index)?).as_bytes());
        }
        let offers: Vec<Vec<u8>> = sale.offers.iter().map(|o| o.offer.to_string().into_bytes()).collect();
        Ok(Self { first: buyers.start, ..Self::around(host, token_len, tokens, keys, offers) })
    }

    fn around(host: &str, token_len: usize, tokens: Vec<u8>, keys: Vec<u8>, offers: Vec<Vec<u8>>) -> Self {
        let offer_len = offers.first().map_or(0, Vec::len);
        let body_head = b"{\"offer_id\":\"";
        let body_tail = b"\",\"quantity\":1}";
        let mut template = format!("POST /v1/orders HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer ").into_bytes();
        let token_at = template.len();
        template.resize(token_at + token_len, b'.');
        template.extend_from_slice(b"\r\nidempotency-key: ");
        let key_at = template.len();
        template.resize(key_at + KEY_LEN, b'.');
        let body_len = body_head.len() + offer_len + body_tail.len();
        let head_end = format!("\r\ncontent-type: application/json\r\ncontent-length: {body_len}\r\n\r\n");
        template.extend_from_slice(head_end.as_bytes());
        template.extend_from_slice(body_head);
        let offer_at = template.len();
        template.resize(offer_at + offer_len, b'.');
        template.extend_from_slice(body_tail);
        Self { first: 0, template, token_at, key_at, offer_at, token_len, tokens, keys, offers, is_page: false }
    }

    /// Reading the page of a sale, which needs no token.
    pub fn page(sale: SaleId, host: &str, accepted: &str) -> Self {
        let get = format!("GET /v1/sales/{sale} HTTP/1.1\r\nhost: {host}\r\naccept-encoding: {accepted}\r\n\r\n");
        Self { template: get.into_bytes(), is_page: true, ..Self::around(host, 0, vec![], vec![], vec![]) }
    }

    /// Whether it is a page that is asked for.
    pub fn is_page(&self) -> bool {
        self.is_page
    }

    /// How many buyers there are.
    pub fn buyers(&self) -> usize {
        self.keys.len() / KEY_LEN
    }

    /// A buffer for [`Requests::patch`], one for each connection.
    pub fn buffer(&self) -> Vec<u8> {
        self.template.clone()
    }

    /// Makes the buffer the request of this buyer, who is one of the part's.
    pub fn patch(&self, buffer: &mut [u8], buyer: u32) {
        if self.is_page {
            return;
        }
        let index = (buyer - self.first) as usize;
        put(buffer, self.token_at, &self.tokens[index * self.token_len..][..self.token_len]);
        put(buffer, self.key_at, &self.keys[index * KEY_LEN..][..KEY_LEN]);
        put(buffer, self.offer_at, &self.offers[buyer as usize % self.offers.len()]);
    }
}

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Fills `part` with the tokens of buyers from `low` on.
fn sign_part<S, E>(
    sale: &LoadSale,
    low: u32,
    token_len: usize,
    part: &mut [u8],
    sign: &S,
    signed: &AtomicU64,
) -> Result<(), RequestsError>
where
    S: Fn(BuyerId) -> Result<String, E>,
    E: std::fmt::Display,
{
    for (some, from) in part.chunks_mut(token_len * PROGRESS_STEP).zip((low..).step_by(PROGRESS_STEP)) {
        for (place, index) in some.chunks_mut(token_len).zip(from..) {
            let buyer = sale.buyer(index)?;
            let token = sign(buyer).map_err(|e| RequestsError::Sign(e.to_string()))?;
            if token.len() != token_len || key_of(buyer).len() != KEY_LEN {
                return Err(RequestsError::Length(buyer));
            }
            place.copy_from_slice(token.as_bytes());
        }
        signed.fetch_add((some.len() / token_len) as u64, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn every_request_carries_its_buyers_token_key_and_offer() {
        let sale = LoadSale::fresh(10, 2, Some(4), 1_800_000_000_000, &mut SmallRng::seed_from_u64(3)).unwrap();
        let sign = |buyer: BuyerId| Ok::<_, Infallible>(format!("token-{buyer}"));
        let signed = AtomicU64::new(0);
        let requests = Requests::build(&sale, "127.0.0.1:80", 999..3_500, 2, &sign, &signed).unwrap();
        assert_eq!((requests.buyers(), signed.into_inner()), (2_501, 2_501));
        let mut buffer = requests.buffer();
        for index in [999, 2_249, 2_250, 3_499] {
            requests.patch(&mut buffer, index);
            let text = std::str::from_utf8(&buffer).unwrap();
            let (buyer, offer) = (sale.buyer(index).unwrap(), sale.offer_of(index).offer);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, format!("{{\"offer_id\":\"{offer}\",\"quantity\":1}}"));
            assert_eq!(
                head,
                format!(
                    "POST /v1/orders HTTP/1.1\r\nhost: 127.0.0.1:80\r\nauthorization: Bearer token-{buyer}\r\n\
                     idempotency-key: lt-{buyer}\r\ncontent-type: application/json\r\ncontent-length: {}",
                    body.len()
                )
            );
        }
    }

    #[test]
    fn a_page_is_asked_for_alike_by_everybody() {
        let requests = Requests::page(SaleId::new(7).unwrap(), "h", "br");
        let mut buffer = requests.buffer();
        requests.patch(&mut buffer, 4_711);
        assert_eq!(buffer, b"GET /v1/sales/7 HTTP/1.1\r\nhost: h\r\naccept-encoding: br\r\n\r\n");
        assert!(requests.is_page());
    }

    #[test]
    fn a_token_of_another_length_is_refused() {
        let sale = LoadSale::fresh(10, 1, Some(4), 1_800_000_000_000, &mut SmallRng::seed_from_u64(3)).unwrap();
        let odd = sale.buyer(3).unwrap();
        let sign =
            |buyer: BuyerId| Ok::<_, Infallible>(if buyer == odd { "longer".into() } else { "short".to_owned() });
        let outcome = Requests::build(&sale, "h", 0..10, 1, &sign, &AtomicU64::new(0));
        assert!(matches!(outcome, Err(RequestsError::Length(buyer)) if buyer == odd));
    }
}
