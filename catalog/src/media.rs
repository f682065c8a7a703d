//! What an image may be, by its first bytes and by what a request says of it.

use kit::http::{HeaderMap, header};

/// What an image may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Png,
    Jpeg,
    Webp,
}

impl Media {
    const ALL: [Self; 3] = [Self::Png, Self::Jpeg, Self::Webp];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    /// As [`Media::as_str`] names it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|media| media.as_str() == name)
    }

    /// What the first bytes say.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let is = |media: &Self| match media {
            Self::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            Self::Jpeg => bytes.starts_with(b"\xff\xd8\xff"),
            Self::Webp => bytes.starts_with(b"RIFF") && bytes.get(8..15) == Some(b"WEBPVP8"),
        };
        Self::ALL.into_iter().find(is)
    }

    /// What the request says; it has no parameters.
    pub(crate) fn declared(headers: &HeaderMap) -> Option<Self> {
        let mut sent = headers.get_all(header::CONTENT_TYPE).iter();
        let declared = sent.next()?.to_str().ok()?.trim();
        if sent.next().is_some() {
            return None;
        }
        Self::ALL.into_iter().find(|media| declared.eq_ignore_ascii_case(media.as_str()))
    }
}
