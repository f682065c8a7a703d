//! Goal: money moves once, by the provider's signed word alone, and the books add up. Method: the
//! pure rules by their tables and by properties; the adapters against the local simulators of both
//! providers' HTTP interfaces, with keys made here, and with every fault that the bank can play.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

mod payment {
    mod accounts;
    mod alipay;
    mod amounts;
    mod attempts;
    mod keys;
    mod notices;
    mod refunds;
    mod remote;
    pub(crate) mod rig;
    mod settlement;
    mod sharing;
    mod simulated;
    mod wechat;
    mod wechat_notices;
}
