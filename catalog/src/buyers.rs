//! Buyers: numbers for a shop's own users and their tokens, the login of the shop's own pages, and
//! the personal data that the shop keeps of them. Orders are the engine's: it knows numbers alone.

/// Which number a subject has.
mod subjects;

/// Tokens for a shop's own users.
mod mint;

/// By what a shop's pages log buyers in.
mod providers;

/// What a login gives.
mod session;

/// Login by WeChat.
mod wechat;

/// Login by a code sent to a phone.
mod phone;

/// How often a code may be asked for.
mod rates;

/// Personal data.
mod personal;

/// What buyers may ask of a shop by law.
mod rights;

use kit::{api::Route, http::Mount};

use crate::{jobs::Kind, ports::Ports, refused::Refused, service::Catalog};

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let parts =
        [mint::routes(), providers::routes(), wechat::routes(), phone::routes(), personal::routes(), rights::routes()];
    parts.into_iter().flatten().collect()
}

/// Their jobs.
pub(crate) fn kinds<P: Ports>() -> Vec<Kind<P>> {
    rights::kinds()
}

/// Removes what is left of logins that are over.
pub(crate) async fn purge<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    catalog.purge_codes().await?;
    Ok(catalog.purge_counts().await?)
}

/// Their part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = mint::document();
    let others =
        [providers::document(), wechat::document(), phone::document(), personal::document(), rights::document()];
    others.into_iter().for_each(|part| document.merge(part));
    document
}
