//! A tenant and its people, for tests of what people do.

use kit::http::Method;
use serde_json::{Value, json};

use super::rig::{Answer, Ask, OPERATOR, Rig};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "a red kettle whistles";

/// A tenant of a running service.
pub(crate) struct Staff<'r> {
    rig: &'r Rig,
    /// Its number.
    pub(crate) tenant: String,
    code: &'static str,
}

impl<'r> Staff<'r> {
    /// A new tenant, without people.
    pub(crate) async fn of(rig: &'r Rig, code: &'static str) -> Self {
        let shop = json!({ "code": code, "name": code, "plan": "free" });
        let made = rig.post("/v1/tenants").token(OPERATOR).key(code).json(&shop).send().await.expect(201);
        Self { rig, tenant: made["id"].as_str().unwrap().to_owned(), code }
    }

    /// A request of the operator for this tenant.
    pub(crate) fn operator(&self, method: Method, path: &str) -> Ask<'r> {
        let ask = match method {
            Method::GET => self.rig.get(path),
            Method::POST => self.rig.post(path),
            Method::PUT => self.rig.put(path),
            Method::PATCH => self.rig.patch(path),
            _ => self.rig.delete(path),
        };
        ask.token(OPERATOR).header("flashsale-tenant", &self.tenant)
    }

    /// Makes a user; the answer has the invitation.
    pub(crate) async fn invite(&self, email: &str, roles: &[&str]) -> Value {
        let user = json!({ "email": email, "name": "Ann Ot", "roles": roles });
        // No personal data in it: keys are kept.
        let key = email.bytes().map(u32::from).sum::<u32>().to_string();
        self.operator(Method::POST, "/v1/users").key(&key).json(&user).send().await.expect(201)
    }

    /// Makes a user who can sign in. Says the number.
    pub(crate) async fn user(&self, email: &str, roles: &[&str]) -> String {
        let made = self.invite(email, roles).await;
        self.set_password(&made["invitation"]["token"], PASSWORD).await.expect(204);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Sets a password by an invitation.
    pub(crate) async fn set_password(&self, token: &Value, password: &str) -> Answer {
        self.rig.post("/v1/passwords").json(&json!({ "token": token, "password": password })).send().await
    }

    /// Signs in.
    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.login_with(json!({ "email": email, "password": password })).await
    }

    /// Signs in with more than a password.
    pub(crate) async fn login_with(&self, mut shown: Value) -> Answer {
        shown["tenant"] = self.code.into();
        self.rig.post("/v1/sessions").json(&shown).send().await
    }

    /// An access token of a user with everybody's password.
    pub(crate) async fn token(&self, email: &str) -> String {
        let signed_in = self.login(email, PASSWORD).await.expect(201);
        signed_in["access_token"].as_str().unwrap().to_owned()
    }

    /// A user with these roles, signed in: an access token.
    pub(crate) async fn signed_in(&self, email: &str, roles: &[&str]) -> String {
        self.user(email, roles).await;
        self.token(email).await
    }
}
