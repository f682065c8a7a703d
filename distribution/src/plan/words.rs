//! The closed lists of words of a plan, the same in text and JSON.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// Every value with the word that the text form uses.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
            /// The word of the text form and of the JSON.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words!(
    /// Which graph of people an operator climbs.
    Relation {
        /// Clicks on share links, latest first.
        Touch = "touch",
        /// Who brought whom.
        Referral = "referral",
        /// Employment: staff, manager, shop.
        Org = "org",
        /// District, city, province.
        Territory = "territory",
        /// A tree with seats.
        Placement = "placement",
    }
);
words!(
    /// What happened.
    On {
        /// A line was paid.
        Paid = "paid",
        /// A line is received and past its after-sale window.
        Matured = "matured",
        /// A person joined.
        Registered = "registered",
        /// A person's rank rose.
        RankChanged = "rank_changed",
        /// A group order is complete.
        GroupFormed = "group_formed",
        /// A period ended; the line is the period's volume of one source.
        PeriodClosed = "period_closed",
    }
);
words!(
    /// What becomes of a slot whose person fails the filter.
    Step {
        /// The slot is lost: breakage.
        Strict = "strict",
        /// The person is passed over, the slot stays.
        Compress = "compress",
        /// The walk ends.
        Stop = "stop",
    }
);
words!(
    /// How an aggregate folds.
    Fold {
        /// Sum.
        Sum = "sum",
        /// Number.
        Count = "count",
        /// Largest.
        Max = "max",
    }
);
words!(
    /// What an aggregate folds.
    Measure {
        /// Net money of lines.
        Sales = "sales",
        /// Orders.
        Orders = "orders",
        /// People.
        People = "people",
    }
);
words!(
    /// Over which time.
    Window {
        /// The calendar day.
        Day = "day",
        /// The calendar month.
        Month = "month",
        /// Since the beginning.
        Total = "total",
    }
);
words!(
    /// How a pool is divided.
    Share {
        /// The members share the pool.
        Split = "split",
        /// Each member gets the whole.
        Each = "each",
    }
);
words!(
    /// A pool's weights.
    Weight {
        /// All the same.
        Equal = "equal",
        /// The member's frozen points.
        Points = "points",
        /// The weights of `table`, by descending points.
        Ranked = "ranked",
    }
);
words!(
    /// Whom a limit bounds.
    Per {
        /// The payouts of one line.
        Line = "line",
        /// One beneficiary in the window.
        User = "user",
        /// The whole plan in the window.
        Plan = "plan",
    }
);
words!(
    /// What becomes of what a limit cuts off.
    Overflow {
        /// It goes to breakage.
        Breakage = "breakage",
        /// All payouts shrink in proportion.
        Scale = "scale",
        /// It is owed in the next window.
        Carry = "carry",
        /// The next payee of the same rule gets it.
        RollUp = "roll_up",
    }
);
words!(
    /// In what is paid.
    Currency {
        /// Money that can be withdrawn.
        Cash = "cash",
        /// A coupon: money off the next order.
        Coupon = "coupon",
        /// Points, redeemed only.
        Points = "points",
    }
);
words!(
    /// What a full placement tree does with its head.
    OnFull {
        /// The head leaves.
        Exit = "exit",
        /// The tree becomes one tree per child of the head.
        Split = "split",
        /// The head takes the next free seat.
        Reenter = "reenter",
        /// The head leaves and keeps `width` children's successors as its own.
        Reparent = "reparent",
    }
);
words!(
    /// How money gets out; its freeze and ratio stand in `profiles.json`.
    Channel {
        /// WeChat profit sharing: out of the frozen payment.
        Sharing = "sharing",
        /// A transfer from the merchant's account.
        Transfer = "transfer",
        /// Credit in the shop.
        Wallet = "wallet",
    }
);
words!(
    /// Rest of a leg after a match.
    Rest {
        /// It counts in the next period.
        Carry = "carry",
        /// It is void.
        Flush = "flush",
    }
);
