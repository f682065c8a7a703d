//! The lanes in process: `store::stock::local` keeps the contract of the ports and answers what the
//! pure machine answers, one call after the other and many at once. Needs no server. What stands in
//! `stock/` and names no adapter is used by `stock_live` too, on a real Redis.

#[cfg(test)]
mod stock {
    mod concurrent;
    mod contract;
    mod differential;
    mod random;
    mod rules;
    mod sample;
    mod script;
    mod world;
}
