#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

/// What is wrong in a sale file, and where.
pub mod flaw;

/// The sale file: from text to a [`file::Draft`].
pub mod file;

/// From a draft and what is published to the next version, and onto the topic.
pub mod publish;

/// What is published now.
pub mod published;

/// A published sale as a sale file again.
pub mod render;

/// What a person is told after a publication.
pub mod confirm;

/// What the service takes from outside.
pub mod ports;

/// Its own database.
pub mod database;

/// Numbers that it gives.
pub mod numbers;

/// Why a request has no answer of its own.
pub mod refused;

/// Personal data, sealed.
pub mod vault;

/// Every change, for ever.
pub mod audit;

/// A change that a call makes, whole or not at all.
pub mod change;

/// Where crash tests end the process.
pub mod failpoint;

/// What a process holds in memory between requests.
mod memory;

/// The providers of buyers' logins, as they are asked.
pub mod outside;

/// What its handlers share.
pub mod service;

/// Its routes, and who may ask.
mod routes;

/// Who asks.
mod identity;

/// What a tenant's people and keys meet before any route.
mod gate;

/// How often a tenant may ask.
mod rates;

/// What limits and buyers' tokens count by.
mod limit_by;

/// A tenant's people.
pub mod people;

/// Tenants.
pub mod tenants;

/// What tenants may have, and how often they may ask.
pub mod plans;

/// Requests by month.
mod usage;

/// How a shop looks.
mod branding;

/// What other services read of tenants.
mod copies;

/// Feature flags.
pub mod flags;

/// API keys.
mod keys;

/// What is done beside the requests.
pub mod house;

/// What somebody has to look at.
pub mod alarms;

/// Work that outlasts its request.
pub mod jobs;

/// Products and their SKUs.
mod products;

/// What an image may be.
mod media;

/// Images of products.
mod images;

/// Sales, from a draft to the end.
pub mod sales;

/// Whether a sale is ready to sell.
mod readiness;

/// What is to be done to sales later.
pub mod actions;

mod actor;

/// What the operator switches while sales run.
mod control;

/// How sales sell.
pub mod funnel;

/// Stock.
pub mod stock;

/// Buyers: their numbers, tokens, logins and personal data.
pub mod buyers;

/// Pieces that its routes share.
mod document;

/// Reads that a route and a field of GraphQL share.
mod reading;

/// What merchants read by GraphQL.
pub mod graphql;

/// The service as a process of its own.
#[cfg(feature = "production")]
pub mod serve;

/// Its OpenAPI document.
pub mod openapi;

/// A commented sale file; `catalog example` prints it with a window that is open
/// ([`render::example_open_at`]).
pub const EXAMPLE: &str = include_str!("../example.toml");
