//! Content codings: which of them a client accepts (RFC 9110, 12.5.3), and the packing.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use kit::http::{HeaderMap, HeaderValue, header};

/// The level of gzip at which text of ours stops getting smaller.
const GZIP_LEVEL: u32 = 6;
/// Of br: the highest that is no slower than gzip.
const BR_QUALITY: i32 = 5;
/// Of br: 256 KiB, over which pages repeat themselves all the while. A packing takes several times
/// as much memory.
const BR_WINDOW_BITS: i32 = 18;
const BR_BUFFER: usize = 16 << 10;

/// How a body is coded. Of two that a client likes as much the later one is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coding {
    /// As it is.
    Plain,
    /// `gzip`.
    Gzip,
    /// `br`.
    Br,
}

impl Coding {
    /// Every coding.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Br];

    /// The value of `Content-Encoding`; `None` where there is none.
    pub const fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Br => Some(HeaderValue::from_static("br")),
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 4] =
            [(b"gzip", Self::Gzip), (b"x-gzip", Self::Gzip), (b"br", Self::Br), (b"identity", Self::Plain)];
        names.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| coding)
    }

    /// The same bytes, packed. Takes milliseconds a megabyte: not for a thread that answers.
    pub fn pack(self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(plain.to_vec()),
            Self::Gzip => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
                packed.write_all(plain)?;
                packed.finish()
            }
            Self::Br => {
                let settings = brotli::enc::BrotliEncoderParams {
                    quality: BR_QUALITY,
                    lgwin: BR_WINDOW_BITS,
                    size_hint: plain.len(),
                    ..Default::default()
                };
                let mut packed = brotli::CompressorWriter::with_params(Vec::new(), BR_BUFFER, &settings);
                packed.write_all(plain)?;
                Ok(packed.into_inner())
            }
        }
    }
}

/// How much a client likes each coding, in thousandths; 0: it does not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted([u16; 3]);

/// What is not named is taken, but liked least.
const UNNAMED: u16 = 1;

impl Accepted {
    /// What the request says; only the plain bytes where it says nothing.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut named = [None; 3];
        let mut others = None;
        let sent = headers.get_all(header::ACCEPT_ENCODING).iter();
        for item in sent.flat_map(|sent| sent.as_bytes().split(|byte| *byte == b',')) {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let liked = parts.find_map(weight).unwrap_or(Some(1_000)).unwrap_or(0);
            match Coding::named(name) {
                Some(coding) => named[coding as usize] = Some(liked),
                None if name == b"*" => others = Some(liked),
                None => {}
            }
        }
        let [plain, gzip, br] = named;
        let packed = |named: Option<u16>| named.or(others).unwrap_or(0);
        Self([plain.or(others).unwrap_or(UNNAMED), packed(gzip), packed(br)])
    }

    /// Those that it takes, the best liked first. Who takes nothing at all gets the plain bytes.
    pub fn best_first(self) -> impl Iterator<Item = Coding> {
        let mut codings = Coding::ALL;
        codings.sort_by_key(|coding| std::cmp::Reverse((self.0[*coding as usize], *coding)));
        codings.into_iter().filter(move |coding| self.takes(*coding))
    }

    /// Whether it takes this one.
    pub const fn takes(self, coding: Coding) -> bool {
        self.0[coding as usize] > 0
    }
}

/// The weight in thousandths, if this parameter is one; the inner `None`: it is malformed.
fn weight(parameter: &[u8]) -> Option<Option<u16>> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let read = || {
        let (whole, rest) = value.split_first()?;
        let digits = match rest.split_first() {
            None => &[][..],
            Some((b'.', digits)) if digits.len() <= 3 => digits,
            Some(_) => return None,
        };
        let mut thousandths = match whole {
            b'0' => 0,
            b'1' => 1_000,
            _ => return None,
        };
        for (digit, worth) in digits.iter().zip([100, 10, 1]) {
            thousandths += worth * u16::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        }
        Some(thousandths).filter(|thousandths| *thousandths <= 1_000)
    };
    Some(read())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Coding::*, *};

    fn accepted(sent: &[&'static str]) -> Vec<Coding> {
        let mut headers = HeaderMap::new();
        for sent in sent {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(sent));
        }
        Accepted::of(&headers).best_first().collect()
    }

    #[test]
    fn the_best_liked_coding_comes_first() {
        for (sent, best_first) in [
            (&[][..], &[Plain][..]),
            (&[""], &[Plain]),
            (&["gzip, deflate, br, zstd"], &[Br, Gzip, Plain]),
            (&["gzip", "br"], &[Br, Gzip, Plain]),
            (&["GZIP"], &[Gzip, Plain]),
            (&["x-gzip;q=0.5"], &[Gzip, Plain]),
            (&["br;q=0.8, gzip;q=0.9"], &[Gzip, Br, Plain]),
            (&["br;q=0, gzip"], &[Gzip, Plain]),
            (&["br ; q=0.001 , identity ; q=0.5"], &[Plain, Br]),
            (&["identity"], &[Plain]),
            (&["*"], &[Br, Gzip, Plain]),
            (&["*;q=0.5, gzip;q=1.000"], &[Gzip, Br, Plain]),
            (&["gzip, *;q=0"], &[Gzip]),
            (&["*;q=0"], &[]),
            (&["identity;q=0"], &[]),
            (&["deflate, zstd"], &[Plain]),
        ] {
            assert_eq!(accepted(sent), best_first, "{sent:?}");
        }
    }

    #[test]
    fn a_malformed_weight_takes_nothing() {
        for bad in ["br;q=", "br;q=2", "br;q=1.001", "br;q=0.1234", "br;q=x", "br;q=0,5", "br;q=-1", "br;q=.5"] {
            assert_eq!(accepted(&[bad]), [Plain], "{bad}");
        }
    }

    #[test]
    fn what_is_packed_unpacks_to_the_same() {
        let plain = br#"{"offer_id":"9001","stock":"available"},"#.repeat(500);
        let (gzip, br) = (Gzip.pack(&plain).unwrap(), Br.pack(&plain).unwrap());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        unpacked.clear();
        brotli::Decompressor::new(&br[..], 4_096).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        assert!(gzip.len() * 10 < plain.len() && br.len() < gzip.len(), "{} {}", gzip.len(), br.len());
        assert_eq!(Plain.pack(&plain).unwrap(), plain);
    }
}
