//! What the words of the providers mean, as one table. A word that it does not hold is a refusal
//! that stops: [`Reason::Invalid`].

use super::{Doubt, Failed, Reason};

/// Words that say no. WeChat's with and without underscores, as its pages have both; Alipay's as
/// `sub_code`.
const REFUSALS: [(&str, Reason); 27] = [
    ("ORDERNOTEXIST", Reason::Absent),
    ("ORDER_NOT_EXIST", Reason::Absent),
    ("RESOURCE_NOT_EXISTS", Reason::Absent),
    ("ACQ.TRADE_NOT_EXIST", Reason::Absent),
    ("ACQ.REFUND_NOT_EXIST", Reason::Absent),
    ("ORDERPAID", Reason::Paid),
    ("ORDER_PAID", Reason::Paid),
    ("ACQ.TRADE_HAS_SUCCESS", Reason::Paid),
    ("ACQ.REASON_TRADE_STATUS_INVALID", Reason::Paid),
    ("ACQ.TRADE_STATUS_ERROR", Reason::Paid),
    ("ORDERCLOSED", Reason::Closed),
    ("ORDER_CLOSED", Reason::Closed),
    ("ACQ.TRADE_HAS_CLOSE", Reason::Closed),
    ("ACQ.REASON_TRADE_BEEN_FREEZEN", Reason::NoFunds),
    ("OUT_TRADE_NO_USED", Reason::NumberUsed),
    ("ACQ.CONTEXT_INCONSISTENT", Reason::NumberUsed),
    ("ACQ.DISCORDANT_REPEAT_REQUEST", Reason::NumberUsed),
    ("FREQUENCY_LIMITED", Reason::TooOften),
    ("FREQUENCY_LIMIT_EXCEED", Reason::TooOften),
    ("FREQUENCY_LIMIT", Reason::TooOften),
    ("RATELIMIT_EXCEEDED", Reason::TooOften),
    ("RATELIMIT_EXCEED", Reason::TooOften),
    ("isv.app-call-limited", Reason::TooOften),
    ("NOT_ENOUGH", Reason::NoFunds),
    ("NOTENOUGH", Reason::NoFunds),
    ("ACQ.SELLER_BALANCE_NOT_ENOUGH", Reason::NoFunds),
    ("ACQ.USER_BALANCE_NOT_ENOUGH", Reason::NoFunds),
];

/// Words that say that the provider does not know itself.
const DOUBTS: [&str; 10] = [
    "SYSTEM_ERROR",
    "SYSTEMERROR",
    "BANK_ERROR",
    "BANKERROR",
    "BIZERR_NEED_RETRY",
    "ACQ.SYSTEM_ERROR",
    "AOP.ACQ.SYSTEM_ERROR",
    "aop.ACQ.SYSTEM_ERROR",
    "isp.unknow-error",
    "aop.unknow-error",
];

/// What a word comes to.
pub(super) fn failed(code: &str) -> Failed {
    if DOUBTS.contains(&code) {
        return Failed::Unknown(Doubt::ProviderFault);
    }
    let known = REFUSALS.iter().find(|(word, _)| *word == code);
    Failed::Refused { reason: known.map_or(Reason::Invalid, |(_, reason)| *reason), code: code.to_owned() }
}
