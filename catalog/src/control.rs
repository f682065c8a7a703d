//! What the deployment's operator switches while sales run: a tenant, a sale or an offer stopped
//! at once, and which lines all programs log. A stop is the pause of a sale's own life, by another
//! hand. What would take something from buyers who buy now is refused first, with what it would do
//! and a word that names just that; sent again with the word it is done. Every switch stands in
//! the operator's own audit log.

mod log_filter;
mod stop;

use kit::{
    access::Permission::{ReadTenants, WriteTenants},
    api::{Access, Call, Route},
    digest::sha256,
    http::Mount,
};
use utoipa::OpenApi;

pub(crate) use self::log_filter::held;
use crate::{ports::Ports, refused::Refused, service::Catalog};

/// Bytes of the digest that a word shows: enough that nobody types it without having read it.
const WORD_BYTES: usize = 4;

#[derive(OpenApi)]
#[openapi(paths(stop::set, log_filter::show, log_filter::set))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadTenants), Access::Needs(WriteTenants));
    vec![
        Mount::put(
            "/v1/control/stops",
            "control_stop",
            Route::new(write, |catalog, call| Box::pin(stop::set(catalog, call))),
        ),
        Mount::get(
            "/v1/control/log-filter",
            "control_log_filter",
            Route::new(read, |catalog, call| Box::pin(log_filter::show(catalog, call))),
        ),
        Mount::put(
            "/v1/control/log-filter",
            "control_set_log_filter",
            Route::new(write, |catalog, call| Box::pin(log_filter::set(catalog, call))),
        ),
    ]
}

/// Lets a switch pass that was asked for with its word. `does`: what it would do, which the word
/// stands for: when that is another thing by now, so is the word.
///
/// # Errors
/// `conflict` that tells both.
fn second_word(given: Option<&str>, does: &str) -> Result<(), Refused> {
    let word: String = sha256(does.as_bytes())[..WORD_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    if given == Some(word.as_str()) {
        return Ok(());
    }
    let first = if given.is_some() { "what it does has changed since: " } else { "" };
    Err(Refused::conflict(format!("nothing was done yet; {first}{does}. Send it again with the word {word}")))
}

/// The operator acts for the deployment here: his entries stand in his own chain.
fn for_the_deployment(call: &Call<'_>) -> Result<(), Refused> {
    match call.actor.tenant {
        0 => Ok(()),
        _ => Err(Refused::conflict("send this without Flashsale-Tenant: it is the deployment's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_of_what_is_done_and_of_nothing_else() {
        let told = |word, does| second_word(word, does).map_err(|refused| refused.to_string());
        let refusal = told(None, "this stops sale 12").unwrap_err();
        assert!(refusal.starts_with("nothing was done yet; this stops sale 12."), "{refusal}");
        let word = refusal.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(told(Some(&word), "this stops sale 12"), Ok(()));
        let other = told(Some(&word), "this stops sales 12 and 13").unwrap_err();
        assert!(other.contains("has changed since: this stops sales 12 and 13"), "{other}");
    }
}
