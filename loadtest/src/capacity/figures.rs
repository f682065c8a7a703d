//! What was measured, as data with its source. The arithmetic reads it from here alone.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Which hour of the measured machine a plan rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The best figures seen.
    Good,
    /// The worst: a slow hour, a broker that just started.
    #[default]
    Slow,
}

/// A measured figure with its source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    good: u64,
    slow: u64,
    /// Where it stands in the documents.
    #[serde(default)]
    pub quote: Vec<String>,
    /// How it follows from that.
    pub how: Option<String>,
    /// What a test counts.
    pub counted: Option<String>,
    /// Why it is believed, where nobody measured it.
    pub assumed: Option<String>,
}

impl Figure {
    /// Its value in this hour.
    pub fn on(&self, basis: Basis) -> u64 {
        match basis {
            Basis::Good => self.good,
            Basis::Slow => self.slow,
        }
    }
}

macro_rules! figures {
    ($($(#[$docs:meta])* $name:ident;)*) => {
        /// All of them.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Figures {
            $($(#[$docs])* pub $name: Figure,)*
        }

        impl Figures {
            /// Each with its name.
            pub fn each(&self) -> Vec<(&'static str, &Figure)> {
                vec![$((stringify!($name), &self.$name),)*]
            }
        }
    };
}

figures! {
    /// CPU of an engine for a durable order, ns.
    engine_ns;
    /// CPU of Redis for a durable order, ns; one core of a node.
    redis_ns;
    /// CPU of the broker that leads, for a durable order, ns.
    kafka_ns;
    /// CPU of an order-writer for a durable order, ns.
    writer_ns;
    /// CPU of the primary for a durable order, ns.
    mysql_ns;
    /// CPU of an engine for a refusal of a sold out offer, ns.
    refusal_ns;
    /// Durable orders a second that one partition carried.
    partition_orders_per_s;
    /// Memory of Redis for a live order, bytes.
    redis_live_bytes;
    /// A purchase on the wire, bytes.
    request_bytes;
    /// Its answer, bytes.
    answer_bytes;
    /// A reservation in the log, bytes.
    log_bytes;
    /// A reservation between engine and Redis, bytes.
    redis_wire_bytes;
    /// A row between order-writer and primary, bytes.
    row_bytes;
}

/// The figures of this program. Its tests read the same file, so it is well-formed.
pub static FIGURES: LazyLock<Result<Figures, String>> =
    LazyLock::new(|| toml::from_str(include_str!("figures.toml")).map_err(|error| error.to_string()));
