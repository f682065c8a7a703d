//! The texts of products, with their bounds: what the OpenAPI document shows is what is checked.

use kit::clock::rfc3339;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// The merchant's own code: any text that begins and ends with something visible, without control
/// characters. Databases differ about blanks at the end of what they compare; here are none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(
    as = MerchantCode,
    max_length = 64,
    example = "KETTLE-RED",
    pattern = r"^[^\u0000-\u0020\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]([^\u0000-\u001f\u007f-\u009f\u2028\u2029]*[^\u0000-\u0020\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff])?$"
)]
pub(crate) struct Code(pub(crate) String);

/// A name for people, with something visible in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(
    as = ProductTitle,
    max_length = 200,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff][^\u0000-\u001f\u007f-\u009f]*$"
)]
pub(crate) struct Title(pub(crate) String);

/// A longer text, with tabs and line breaks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = ProductText, max_length = 10_000, pattern = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$")]
pub(crate) struct Description(pub(crate) String);

/// An image: the SHA-256 of one that was uploaded, or a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(
    as = ImageReference,
    max_length = 500,
    example = "https://cdn.example.com/kettle.png",
    pattern = r"^([0-9a-f]{64}|https://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9/._~!$&'()*+,;=:@%?#-]*)?)$"
)]
pub(crate) struct ImageReference(pub(crate) String);

impl ImageReference {
    /// The hash of an uploaded image.
    pub(crate) fn hash(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.starts_with("https://"))
    }
}

/// A property by name: colour, size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductAttribute)]
pub(crate) struct Attribute {
    /// One of its own in the list.
    pub(crate) name: Code,
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub(crate) value: String,
}

/// A currency of ISO 4217.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CurrencyCode, pattern = "^[A-Z]{3}$", example = "CNY")]
pub(crate) struct CurrencyCode(pub(crate) String);

/// What scanners read; empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Barcode, max_length = 64, pattern = "^[!-~]*$")]
pub(crate) struct Barcode(pub(crate) String);

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Price)]
pub(crate) struct Price {
    /// In minor units.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub(crate) amount: i64,
    pub(crate) currency: CurrencyCode,
}

/// A number as a decimal string.
pub(crate) fn decimal<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// A moment as RFC 3339.
pub(crate) fn moment<S: Serializer>(at_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at_ms))
}
