//! A bank of our own: accounts, a cashier page, and faults and notices on demand. Behind it stand
//! three faces: the port itself, for shops that try things out, and the HTTP interfaces of WeChat
//! Pay and Alipay, which tests run against. No money is real; nothing here is secret.

/// Trades, refunds, shares: the rules that the providers have in common.
mod bank;

/// The page on which a buyer pays.
mod cashier;

/// The port over the bank, without a network.
mod provider;

/// Accounts of every tenant.
mod accounts;

/// WeChat Pay's side of its interface.
mod wechat;

/// Alipay's side of its interface.
mod alipay;

/// The bank as a program of its own.
mod remote;

/// The routes of all of them.
mod service;

pub use self::accounts::SimulatedAccounts;
pub use self::alipay::AlipaySide;
pub use self::bank::{Bank, BankRefund, Fault, No, NoticePlan, Opening, Statement, Trade};
pub use self::provider::Simulated;
pub use self::remote::{BankPort, RemoteAccount, RemoteAccounts};
pub use self::service::{Post, Route, Simulator};
pub use self::wechat::WechatSide;
