//! R14: when a lane may be retired, counted from the end of its sale. It only decides.

use std::{str::FromStr, time::Duration};

use domain::sale::Sale;

/// How long a lane stays open after the end of its sale. An append takes 5 s at most, a sweep finds
/// what it left within 15 s, and clocks differ by a few seconds: a minute holds them three times,
/// and those who repeat their purchase meanwhile are answered by the lane. All that comes later is
/// answered and decided by the rows.
pub const SETTLING: Duration = Duration::from_secs(60);

/// The setting: seconds, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settling(pub Option<Duration>);

/// A text that is no settling time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give whole seconds, or `never`")]
pub struct NoSettling;

impl FromStr for Settling {
    type Err = NoSettling;

    fn from_str(text: &str) -> Result<Self, NoSettling> {
        match text {
            "never" => Ok(Self(None)),
            seconds => seconds.parse().map(|s| Self(Some(Duration::from_secs(s)))).map_err(|_| NoSettling),
        }
    }
}

/// How far a sale is behind its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It sells, or is to come.
    NotYet,
    /// Over, and its lanes are open for what comes late.
    Settling,
    /// Over, and nothing comes late any more.
    Settled,
}

/// How far the sale is behind its end by this clock. `settling`: `None` if lanes are never retired.
pub(crate) fn end_of(sale: &Sale, now_ms: u64, settling: Option<Duration>) -> End {
    let Some(settling) = settling else { return End::NotYet };
    let settling_ms = u64::try_from(settling.as_millis()).unwrap_or(u64::MAX);
    match now_ms.checked_sub(sale.window.closes_at_ms) {
        None => End::NotYet,
        Some(over_ms) if over_ms < settling_ms => End::Settling,
        Some(_) => End::Settled,
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{SaleId, TenantId},
        sale::{SubjectKind, Window},
    };

    use super::*;

    #[test]
    fn r14_a_sale_settles_from_its_end_on() {
        let sale = Sale {
            id: SaleId::new(1).unwrap(),
            tenant: TenantId::new(1).unwrap(),
            version: 1,
            title: String::new(),
            window: Window { opens_at_ms: 1_000, closes_at_ms: 5_000 },
            paused: false,
            buyer_rate_per_s: 1,
            shard_map_version: 1,
            limit_by: SubjectKind::Account,
            members_only: false,
            visible_from_ms: 0,
            orders: domain::sale::OrderTerms::default(),
            lanes: Vec::new(),
        };
        let ends = |settling| [0, 4_999, 5_000, 6_999, 7_000, u64::MAX].map(|now_ms| end_of(&sale, now_ms, settling));
        let (before, settling, settled) = (End::NotYet, End::Settling, End::Settled);
        assert_eq!(ends(Some(Duration::from_secs(2))), [before, before, settling, settling, settled, settled]);
        assert_eq!(ends(Some(Duration::ZERO)), [before, before, settled, settled, settled, settled]);
        assert_eq!(ends(None), [before; 6]);
    }

    #[test]
    fn the_setting_is_seconds_or_never() {
        assert_eq!("90".parse(), Ok(Settling(Some(Duration::from_secs(90)))));
        assert_eq!("never".parse(), Ok(Settling(None)));
        for bad in ["", "-1", "1.5", "Never", "60s"] {
            assert_eq!(bad.parse::<Settling>(), Err(NoSettling), "{bad:?}");
        }
    }
}
