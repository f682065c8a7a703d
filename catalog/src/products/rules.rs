//! What the schemas of bodies cannot say: names that are different in a list, currencies that there
//! are, images of this tenant, the tenant's own fields.

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use domain::money::Currency;
use kit::{
    problem::{Code, FieldError, Problem},
    schema::Schema,
};
use serde_json::Value as Json;
use store::sql::{Fixed, Sql as _, SqlError, Value};

use super::texts::{Attribute, CurrencyCode, ImageReference};
use crate::{ports::Ports, refused::Refused, service::Catalog};

/// Most bytes of a product's own fields.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

static KNOWN_IMAGES: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT hash FROM tenant_images WHERE tenant = ? AND hash IN ([?,])"));

/// What is wrong, as it is found.
#[derive(Debug, Default)]
pub(crate) struct Flaws(pub(crate) Vec<FieldError>);

impl Flaws {
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into().into(), message: message.into().into() });
    }

    /// Refuses the request, when anything is wrong.
    ///
    /// # Errors
    /// `invalid_request` that names all of it.
    pub(crate) fn refuse(self) -> Result<(), Refused> {
        if self.0.is_empty() {
            return Ok(());
        }
        let detail = format!("{} member(s) of the body are wrong; see `errors`", self.0.len());
        Err(Problem { field_errors: self.0, ..Problem::new(Code::InvalidRequest, detail) }.into())
    }

    /// Names are different.
    pub(super) fn of_attributes(&mut self, at: &str, attributes: &[Attribute]) {
        let mut seen = HashSet::new();
        for (place, attribute) in attributes.iter().enumerate() {
            if !seen.insert(&attribute.name) {
                self.add(format!("{at}[{place}].name"), "came before in this list: give each name once");
            }
        }
    }

    /// The currency is one of ISO 4217.
    pub(super) fn of_currency(&mut self, at: &str, currency: &CurrencyCode) {
        let known: Option<Currency> = currency.0.parse().ok();
        if known.is_none_or(|currency| currency.decimals().is_none()) {
            self.add(at, "is no currency of ISO 4217 with a minor unit");
        }
    }

    /// The tenant's own fields keep to its schema.
    pub(super) fn of_fields(&mut self, at: &str, schema: &Schema, fields: &Json) {
        if fields.to_string().len() > FIELDS_BYTES_MAX {
            return self.add(at, format!("is larger than {FIELDS_BYTES_MAX} bytes"));
        }
        for flaw in schema.flaws(fields) {
            let field = if flaw.field == "body" { at.to_owned() } else { format!("{at}.{}", flaw.field) };
            self.add(field, flaw.message);
        }
    }

    /// Each image is one that this tenant uploaded, or a URL.
    pub(super) fn of_images(&mut self, at: &str, images: &[ImageReference], known: &HashSet<String>) {
        for (place, image) in images.iter().enumerate() {
            if image.hash().is_some_and(|hash| !known.contains(hash)) {
                self.add(format!("{at}[{place}]"), "there is no such image: upload it first");
            }
        }
    }
}

/// Which of these images the tenant uploaded.
pub(super) async fn known_images<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    images: impl Iterator<Item = &ImageReference>,
) -> Result<HashSet<String>, SqlError> {
    let hashes: Vec<&str> = images.filter_map(ImageReference::hash).collect::<BTreeSet<_>>().into_iter().collect();
    let mut known = HashSet::new();
    for (query, hashes) in KNOWN_IMAGES.padded(&hashes) {
        let keys = std::iter::once(tenant.into()).chain(hashes.into_iter().map(Value::from)).collect();
        for mut row in catalog.sql().rows(query, keys).await? {
            known.insert(row.text()?);
        }
    }
    Ok(known)
}
