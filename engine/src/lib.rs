//! The hyper front tier: the buyer's one URL.
