//! The routes of all areas, the kinds of their jobs, and who may ask.

use kit::{
    access::Actor,
    api::{Api, Fault as _, Route},
    http::{HeaderMap, Method, Mount},
    problem::Problem,
};

use crate::{
    actions, actor, audit, branding, buyers, control, flags, funnel, gate, graphql, identity, images,
    jobs::{self, Jobs, Kind},
    keys, people, plans,
    ports::Ports,
    products,
    refused::Refused,
    sales,
    service::Catalog,
    stock, tenants, usage,
};

impl<P: Ports> Api for Catalog<P> {
    type Error = Refused;

    fn routes() -> Vec<Mount<Route<Self>>> {
        let areas = [
            tenants::routes(),
            buyers::routes(),
            plans::routes(),
            keys::routes(),
            branding::routes(),
            flags::routes(),
            usage::routes(),
            audit::routes(),
            jobs::routes(),
            products::routes(),
            images::routes(),
            stock::routes(),
            sales::routes(),
            actions::routes(),
            funnel::routes(),
            graphql::routes(),
            people::routes(),
            actor::routes(),
            control::routes(),
        ];
        areas.into_iter().flatten().collect()
    }

    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        let actor = identity::actor(self, token, headers).await?;
        gate::admit(self, &actor, method).await.map_err(|refused| refused.into_problem(true))?;
        Ok(actor)
    }
}

impl<P: Ports> Jobs<P> for Catalog<P> {
    fn kinds() -> Vec<Kind<P>> {
        [products::kinds(), buyers::kinds()].into_iter().flatten().collect()
    }
}
