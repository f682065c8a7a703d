//! Plans to begin with; `CN-1` allows all of them.

/// Name and text.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("one-level", include_str!("../templates/one-level.plan")),
    ("tiers", include_str!("../templates/tiers.plan")),
    ("store", include_str!("../templates/store.plan")),
    ("invite", include_str!("../templates/invite.plan")),
    ("leaderboard", include_str!("../templates/leaderboard.plan")),
];
