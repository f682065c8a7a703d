//! Open-loop load, latency histograms, and the audit of the databases.
