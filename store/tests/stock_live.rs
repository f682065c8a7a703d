//! The lanes on a real Redis, as `stack/` starts it: the scripts do what
//! `domain::stock::LaneMachine` specifies, the ports keep their contract on one node and on a
//! cluster, and faults leave nothing half done. Method: a namespace of its own for each test;
//! servers that are killed, filled or made to forget are the test's own. Rules and scripts are
//! those that `stock.rs` holds the local adapter to.

#[cfg(test)]
mod stock_live {
    mod cluster;
    mod contract;
    mod damage;
    mod differential;
    mod faults;
    #[path = "../stock/random.rs"]
    mod random;
    #[path = "../stock/rules.rs"]
    mod rules;
    #[path = "../stock/sample.rs"]
    mod sample;
    #[path = "../stock/script.rs"]
    mod script;
    mod server;
    mod support;
    #[path = "../stock/world.rs"]
    mod world;
}
