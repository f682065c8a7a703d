//! A tenant's people, over HTTP.

use std::collections::BTreeSet;

use bytes::Bytes;
use kit::{
    access::Permission::{ReadPeople, WritePeople},
    api::{Access, Call, Route, tagged},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, header, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{SqlError, Tx, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    held,
    invitations::{self, Invitation},
    person::{self, PEOPLE, Profile, User, UserState},
    second_factor, secret, sessions,
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    plans::{self, Quota},
    ports::Ports,
    refused::Refused,
    service::Catalog,
    vault::Person,
};

const INSERT: &str = "INSERT INTO users (tenant, person, email_digest, profile, state, password, totp, totp_secret, \
                      totp_step, version, created_at) VALUES (?, ?, ?, ?, 'active', '', 0, ?, 0, 1, ?)";
const UPDATE: &str = "UPDATE users SET email_digest = ?, profile = ?, state = ?, version = version + 1 \
                      WHERE tenant = ? AND person = ?";
const DELETE: &str = "DELETE FROM users WHERE tenant = ? AND person = ?";
const ADD_ROLE: &str = "INSERT INTO user_roles (tenant, person, role_code) VALUES (?, ?, ?)";
const DROP_ROLES: &str = "DELETE FROM user_roles WHERE tenant = ? AND person = ?";
const TAKEN: &str = "another user of this tenant has this e-mail address";

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// One of its own in the tenant, in whatever case.
    #[schema(max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+$")]
    email: String,
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]*$")]
    name: String,
    /// Codes of roles: nothing that you may not do yourself.
    #[schema(max_items = 20)]
    roles: Vec<String>,
}

/// What changes of a user; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    #[schema(max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+$", nullable = false)]
    email: Option<String>,
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]*$", nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    state: Option<UserState>,
    #[schema(max_items = 20, nullable = false)]
    roles: Option<Vec<String>>,
}

/// A user with the way to a first password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitedUser {
    #[serde(flatten)]
    user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    invitation: Option<Invitation>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, change, delete, invite))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadPeople), Access::Needs(WritePeople));
    vec![
        Mount::get("/v1/users", "users", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post("/v1/users", "new_user", Route::new(write, |catalog, call| Box::pin(create(catalog, call)))),
        Mount::get("/v1/users/{user}", "user", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::patch(
            "/v1/users/{user}",
            "change_user",
            Route::new(write, |catalog, call| Box::pin(change(catalog, call))),
        ),
        Mount::delete(
            "/v1/users/{user}",
            "delete_user",
            Route::new(write, |catalog, call| Box::pin(delete(catalog, call))),
        ),
        Mount::post(
            "/v1/users/{user}/invitations",
            "invite_user",
            Route::new(write, |catalog, call| Box::pin(invite(catalog, call))),
        ),
    ]
}

/// The tenant's people, by number.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "users", tag = "people", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<User>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let from = Page::<User>::after(&asked)?.saturating_add(1);
    let users = person::list(catalog, call.actor.tenant, (from, asked.limit + 1)).await?;
    Ok(reply::json(StatusCode::OK, &Page::new(users, &asked, |user| user.id.clone())))
}

/// A user.
#[utoipa::path(
    get, path = "/v1/users/{user}", operation_id = "user", tag = "people", security(("merchant" = [])),
    params(("user" = String, Path, description = "The number.")), responses((status = 200, body = User), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let user = person::find(catalog, call.actor.tenant, call.part("user")?).await?;
    Ok(tagged(reply::json(StatusCode::OK, &user), user.version))
}

/// Makes a user, who sets a first password by the invitation (`POST /v1/passwords`). Its token is
/// shown once, here: give it to the person; there is no mail yet. A repeated call shows the user
/// without it, and `POST /v1/users/{user}/invitations` makes another.
#[utoipa::path(
    post, path = "/v1/users", operation_id = "new_user", tag = "people", security(("merchant" = [])),
    request_body = NewUser, params(IdempotencyKey), responses((status = 201, body = InvitedUser), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewUser = call.json()?;
    let (tenant, number) = (call.actor.tenant, catalog.numbers().take(PEOPLE).await?);
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return repeated(catalog, tenant, response).await,
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    plans::room_for(&mut change.tx, tenant, Quota::Users).await?;
    Refused::grant(held::together(&mut change.tx, tenant, &asked.roles).await?, granter)?;
    let wanted = distinct(asked.roles);
    let profile = Profile { email: asked.email, name: asked.name };
    let made = (number, change.now_ms);
    if !insert(catalog, &mut change.tx, (tenant, made), &profile, &wanted).await? {
        return Err(Refused::conflict(TAKEN));
    }
    let invitation = invitations::invite(&mut change.tx, catalog.random(), (tenant, number), change.now_ms).await?;
    let user = User {
        id: number.to_string(),
        email: profile.email,
        name: profile.name,
        state: UserState::Active,
        roles: wanted,
        invited: true,
        second_factor: false,
        version: 1,
        created_at: rfc3339(change.now_ms),
    };
    change.record("user.create", person::target(number), None, Some(&user.audited()))?;
    // The answer is kept in clear: without the token, and without what is personal.
    let kept = user.audited();
    let shown = Answer::created(
        format!("/v1/users/{number}"),
        &InvitedUser { user: user.clone(), invitation: Some(invitation) },
    )?;
    Ok(tagged(secret(change.commit(shown.keeping(&kept)?).await?), 1))
}

/// Stores a person; `false` when another has the address.
pub(super) async fn insert<P: Ports, T: Tx>(
    catalog: &Catalog<P>,
    tx: &mut T,
    (tenant, (number, now_ms)): (u32, (i64, u64)),
    profile: &Profile,
    roles: &[String],
) -> Result<bool, Refused> {
    let of = (tenant, Person::User(number));
    let sealed = catalog.vault().seal(tx, catalog.random(), of, &profile.to_text()?).await?;
    let digest = person::account(catalog, tenant, &profile.email).email_digest;
    let row = vec![
        tenant.into(),
        number.into(),
        digest.as_str().into(),
        sealed.into(),
        Bytes::new().into(),
        stored(now_ms)?.into(),
    ];
    let is_new = tx.insert_absent(INSERT, row).await?;
    for role in roles {
        tx.exec(ADD_ROLE, vec![tenant.into(), number.into(), role.as_str().into()]).await?;
    }
    Ok(is_new)
}

/// The answer of a call that came before: the user as it is now.
async fn repeated<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    known: Response<Body>,
) -> Result<Response<Body>, Refused> {
    let location = known.headers().get(header::LOCATION).cloned();
    let number = location.as_ref().and_then(|path| path.to_str().ok()?.rsplit('/').next()?.parse().ok());
    let number = number.ok_or_else(|| Refused::Broken("an answer that was kept names no user".to_owned()))?;
    let user = person::find(catalog, tenant, number).await?;
    let version = user.version;
    let mut response = reply::json(StatusCode::CREATED, &InvitedUser { user, invitation: None });
    response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
    Ok(tagged(response, version))
}

/// Changes a user. Whom you could not have made, you do not change.
#[utoipa::path(
    patch, path = "/v1/users/{user}", operation_id = "change_user", tag = "people", security(("merchant" = [])),
    request_body = UserChange,
    params(("user" = String, Path, description = "The number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = User), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (u32, i64) = (call.actor.tenant, call.part("user")?);
    let asked: UserChange = call.json()?;
    let expected = call.expected_version()?;
    let before = person::find(catalog, tenant, number).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    person::still_is(&mut change.tx, tenant, &before, number).await?;
    Refused::unless_seen(expected, before.version, &before)?;
    held::together(&mut change.tx, tenant, asked.roles.as_deref().unwrap_or_default()).await?;
    let after = User {
        email: asked.email.unwrap_or_else(|| before.email.clone()),
        name: asked.name.unwrap_or_else(|| before.name.clone()),
        state: asked.state.unwrap_or(before.state),
        roles: asked.roles.map_or_else(|| before.roles.clone(), distinct),
        ..before.clone()
    };
    person::may_change(&mut change.tx, tenant, (&before, Some(&after)), granter).await?;
    if after == before {
        return Ok(tagged(reply::json(StatusCode::OK, &before), before.version));
    }
    let after = User { version: before.version + 1, ..after };
    if before.is_acting_owner() && !after.is_acting_owner() {
        person::keep_an_owner(&mut change.tx, tenant, number).await?;
    }
    let profile = Profile { email: after.email.clone(), name: after.name.clone() };
    let of = (tenant, Person::User(number));
    let sealed = catalog.vault().seal(&mut change.tx, catalog.random(), of, &profile.to_text()?).await?;
    let digest = person::account(catalog, tenant, &after.email).email_digest;
    let row = vec![digest.as_str().into(), sealed.into(), after.state.as_str().into(), tenant.into(), number.into()];
    match change.tx.exec(UPDATE, row).await {
        Err(SqlError::KeyTaken(_)) => return Err(Refused::conflict(TAKEN)),
        updated => updated?,
    };
    if after.roles != before.roles {
        change.tx.exec(DROP_ROLES, vec![tenant.into(), number.into()]).await?;
        for role in &after.roles {
            change.tx.exec(ADD_ROLE, vec![tenant.into(), number.into(), role.as_str().into()]).await?;
        }
    }
    if after.state == UserState::Disabled {
        sessions::end_all(&mut change.tx, (tenant, number), None).await?;
        invitations::withdraw(&mut change.tx, (tenant, number)).await?;
    }
    change.record("user.change", person::target(number), Some(&before.audited()), Some(&after.audited()))?;
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, after.version))
}

/// Deletes a user, and what is personal of the user for good.
#[utoipa::path(
    delete, path = "/v1/users/{user}", operation_id = "delete_user", tag = "people", security(("merchant" = [])),
    params(("user" = String, Path, description = "The number."), ("If-Match" = Option<String>, Header)),
    responses((status = 204), Changed)
)]
async fn delete<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (u32, i64) = (call.actor.tenant, call.part("user")?);
    let expected = call.expected_version()?;
    let user = person::find(catalog, tenant, number).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    person::still_is(&mut change.tx, tenant, &user, number).await?;
    Refused::unless_seen(expected, user.version, &user)?;
    person::may_change(&mut change.tx, tenant, (&user, None), granter).await?;
    if user.is_acting_owner() {
        person::keep_an_owner(&mut change.tx, tenant, number).await?;
    }
    let account = person::account(catalog, tenant, &user.email);
    super::lockout::clear(&mut change.tx, &account).await?;
    sessions::end_all(&mut change.tx, (tenant, number), None).await?;
    invitations::withdraw(&mut change.tx, (tenant, number)).await?;
    second_factor::forget_codes(&mut change.tx, (tenant, number)).await?;
    for statement in [DROP_ROLES, DELETE] {
        change.tx.exec(statement, vec![tenant.into(), number.into()]).await?;
    }
    catalog.vault().erase(&mut change.tx, tenant, Person::User(number)).await?;
    change.record("user.delete", person::target(number), Some(&user.audited()), None)?;
    change.commit(Answer::gone()).await
}

/// Makes another invitation: for who lost the first, or a password. Earlier ones of the user are
/// over; the password that the user has holds until another is set.
#[utoipa::path(
    post, path = "/v1/users/{user}/invitations", operation_id = "invite_user", tag = "people",
    security(("merchant" = [])), params(("user" = String, Path, description = "The number."), IdempotencyKey),
    responses((status = 201, body = Invitation), Created)
)]
async fn invite<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (u32, i64) = (call.actor.tenant, call.part("user")?);
    let user = person::find(catalog, tenant, number).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    person::still_is(&mut change.tx, tenant, &user, number).await?;
    person::may_change(&mut change.tx, tenant, (&user, None), granter).await?;
    if user.state != UserState::Active {
        return Err(Refused::conflict("this user is disabled; make the user active first"));
    }
    let invitation = invitations::invite(&mut change.tx, catalog.random(), (tenant, number), change.now_ms).await?;
    change.record::<()>("user.invite", person::target(number), None, None)?;
    let answer = Answer::created(format!("/v1/users/{number}"), &invitation)?.keeping(&invitation.without_token())?;
    Ok(secret(change.commit(answer).await?))
}

fn distinct(codes: Vec<String>) -> Vec<String> {
    codes.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
