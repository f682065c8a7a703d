//! Merchants' people and keys, as the merchants' service knows them.

use kit::{
    access::Actor,
    http::{HeaderMap, Method},
    merchants::Merchants,
    problem::Problem,
};

use crate::life::Staff;

impl Staff for Merchants {
    async fn actor(&self, token: &str, _method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        Self::actor(self, token, headers).await
    }
}
