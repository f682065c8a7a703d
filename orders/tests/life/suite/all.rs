//! All tests of the service, by what they are about.

#[path = "asking.rs"]
mod asking;
#[path = "at_alipay.rs"]
mod at_alipay;
#[path = "at_wechat.rs"]
mod at_wechat;
#[path = "cancel.rs"]
mod cancel;
#[path = "cancels.rs"]
mod cancels;
#[path = "complete.rs"]
mod complete;
#[path = "crash.rs"]
mod crash;
#[path = "damaged.rs"]
mod damaged;
#[path = "expiry.rs"]
mod expiry;
#[path = "follow.rs"]
mod follow;
#[path = "handover.rs"]
mod handover;
#[path = "hoarders.rs"]
mod hoarders;
#[path = "mortal.rs"]
mod mortal;
#[path = "pay.rs"]
mod pay;
#[path = "payable.rs"]
mod payable;
#[path = "pending.rs"]
mod pending;
#[path = "recipient.rs"]
mod recipient;
#[path = "refunds.rs"]
mod refunds;
#[path = "rig.rs"]
mod rig;
#[path = "ship.rs"]
mod ship;
#[path = "till.rs"]
mod till;
#[path = "voucher.rs"]
mod voucher;
#[path = "whole.rs"]
mod whole;
#[path = "writes.rs"]
mod writes;
