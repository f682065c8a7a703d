//! A tenant's people: who they are, what they may do, and how they sign in.

/// The first owner of an empty deployment.
mod first;
/// What held roles give, and which are built in.
mod held;
/// One-use tokens by which a person sets a password.
mod invitations;
/// Failed logins, and for how long an account waits after them.
mod lockout;
/// Signing in.
mod login;
/// The signed-in person's own things.
mod me;
/// Passwords as they are stored.
mod password;
/// The stored person, and what every change of people keeps.
mod person;
/// A tenant's own roles, over HTTP.
mod roles;
/// The second factor: enrolment and recovery codes.
mod second_factor;
/// Who is signed in.
mod sessions;
/// Keys that sign people's tokens.
mod signing;
/// What nobody needs any more.
mod tidy;
/// One-time codes of authenticator apps.
mod totp;
/// A tenant's people, over HTTP.
mod users;

use kit::{
    api::Route,
    http::{Mount, Response, header},
    problem::NO_STORE,
};

use crate::{ports::Ports, service::Catalog};

pub use first::{FirstOwner, first_owner};
pub(crate) use held::held_now;
pub(crate) use sessions::actor;
pub(crate) use tidy::tidy;

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let parts = [
        users::routes(),
        roles::routes(),
        invitations::routes(),
        login::routes(),
        sessions::routes(),
        me::routes(),
        second_factor::routes(),
        signing::routes(),
    ];
    parts.into_iter().flatten().collect()
}

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = users::document();
    for part in [
        roles::document(),
        invitations::document(),
        login::document(),
        sessions::document(),
        me::document(),
        second_factor::document(),
        signing::document(),
    ] {
        document.merge(part);
    }
    document
}

/// An answer with a secret: nothing on its way keeps it.
fn secret<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}
