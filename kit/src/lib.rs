#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

/// The time, as a value that is handed in: the system's, or one a test moves by hand.
pub mod clock;

/// Why a program ends: one table of exit statuses.
pub mod exit;

/// The head and the end of a program.
pub mod program;

/// From SIGTERM, SIGINT and SIGHUP to one cancellation token, and from there to a drain with a
/// deadline.
pub mod shutdown;

/// Settings that several services share, read from flags and the environment.
pub mod settings;

/// Logs to standard error, for people or for machines.
pub mod telemetry;

/// What a service counts and measures, and what its process costs.
pub mod metrics;

/// SHA-256 and HMAC.
pub mod digest;

/// Sealing under keys that are handed in.
pub mod seal;

/// Randomness, as a value that is handed in.
pub mod random;

/// W3C trace context: which request a line, a record or a refusal belongs to.
pub mod trace;

/// Response bodies, shared and sent piece by piece.
mod pieces;

/// Refusals and faults as RFC 9457 `application/problem+json`.
pub mod problem;

/// The HTTP/1.1 server: listeners, limits, bodies, drain, routes of services that share a port.
pub mod http;

/// Who may do what: people, API keys, and their permissions.
pub mod access;

/// Cells of CSV files.
pub mod csv;

/// Bodies checked by their schema.
pub mod schema;

/// Routes of an everyday service as data: whom each admits, and what it does.
pub mod api;

/// One service asks another.
pub mod client;

/// What the OpenAPI documents of all services share.
pub mod openapi;

/// How the system hands out this process's memory.
pub mod memory;

/// The second port of every service: metrics and probes.
pub mod admin;

/// Buyers' tokens: signed by the issuer, verified on the hot path.
pub mod token;

/// The merchants' service, as other services ask it who somebody is.
pub mod merchants;

/// The two ports of an everyday service.
pub mod ports;
