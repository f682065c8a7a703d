//! All tests of the service, by what they are about.

#[path = "at_alipay.rs"]
mod at_alipay;
#[path = "at_wechat.rs"]
mod at_wechat;
#[path = "cancel.rs"]
mod cancel;
#[path = "crash.rs"]
mod crash;
#[path = "damaged.rs"]
mod damaged;
#[path = "expiry.rs"]
mod expiry;
#[path = "follow.rs"]
mod follow;
#[path = "mortal.rs"]
mod mortal;
#[path = "pay.rs"]
mod pay;
#[path = "payable.rs"]
mod payable;
#[path = "refunds.rs"]
mod refunds;
#[path = "rig.rs"]
mod rig;
#[path = "ship.rs"]
mod ship;
#[path = "till.rs"]
mod till;
#[path = "writes.rs"]
mod writes;
