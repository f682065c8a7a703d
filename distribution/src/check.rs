//! What may be published: a plan that is whole, whose worst case stays within its budget, and that
//! its profile allows. All refusals at once, each with its rule, its place and what to do.

mod form;
mod guard;
mod worst;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::plan::Plan;

pub(crate) use form::{conds, rate_values};
pub(crate) use guard::depth as levels;
pub use worst::worst;

/// The profiles that are in force, as published.
pub const PROFILES: &str = include_str!("../profiles.json");

/// Profiles and channels of one version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// Rises with each change of a number or a rule.
    pub version: u32,
    /// Publications from here on are held against it, epoch ms.
    pub from: i64,
    /// All profiles.
    pub profiles: Vec<Profile>,
    /// By the word of the channel.
    pub channels: BTreeMap<String, ChannelTerms>,
}

/// What one jurisdiction allows. Engineering defaults, not legal advice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, such as `CN-1`.
    pub name: String,
    /// Publication needs the name of who answers for it.
    pub sign_off: bool,
    /// Greatest payout of a line, ppm of its net.
    pub payout_max: i64,
    /// Greatest number of payees on referral paths, over all rules.
    pub referral_payees: u32,
    /// The same on the organisation and on the territory, each.
    pub other_payees: u32,
    /// Deepest level that a walk may look at, or an aggregate take in.
    pub depth_max: u8,
    /// Days until a parcel counts as received at the latest.
    pub receipt_days_max: u16,
    /// Days in which goods may be returned.
    pub after_sale_days: u16,
    /// Flags that nothing may depend on, by the rule that refuses them.
    pub refused_flags: BTreeMap<String, Vec<String>>,
    /// Rules of `guard` that are in force.
    pub refuses: Vec<String>,
    /// When the watch over what was paid speaks up; missing: never.
    #[serde(default)]
    pub watch: Option<Watch>,
}

/// What the law of a place counts, and when somebody should look.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// People whom one order pays, from which on.
    pub levels: i64,
    /// People whom the shop has paid, from which on: a warning, then the law's own number.
    pub people: Vec<i64>,
}

/// Terms of a payout channel.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTerms {
    /// Days for which the payment can be shared.
    pub freeze_days: Option<u16>,
    /// Greatest share of a payment, ppm.
    pub ratio_max: Option<i64>,
}

/// One reason why a plan is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the rule that refuses.
    pub rule: String,
    /// The plan's rule, or the part of the plan.
    pub at: String,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.at, self.rule, self.what)
    }
}

/// The file does not read.
#[derive(Debug, thiserror::Error)]
#[error("the profiles do not read: {0}")]
pub struct BadProfiles(#[from] serde_json::Error);

/// Reads the profiles that this version brings.
///
/// # Errors
/// A damaged file.
pub fn profiles() -> Result<Profiles, BadProfiles> {
    Ok(serde_json::from_str(PROFILES)?)
}

/// Refusals as they are found.
struct Check<'a> {
    plan: &'a Plan,
    profile: &'a Profile,
    refusals: Vec<Refusal>,
}

impl Check<'_> {
    fn refuse(&mut self, rule: &str, at: &str, what: impl Into<String>) {
        let refusal = Refusal { rule: rule.to_owned(), at: at.to_owned(), what: what.into() };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }
}

/// Holds a plan against its profile; returns its worst case, ppm of a line's base.
///
/// # Errors
/// All refusals.
pub fn check(plan: &Plan, profiles: &Profiles, sign_off: Option<&str>) -> Result<i64, Vec<Refusal>> {
    let Some(profile) = profiles.profiles.iter().find(|profile| profile.name == plan.profile) else {
        let names: Vec<_> = profiles.profiles.iter().map(|profile| profile.name.as_str()).collect();
        let what = format!("profile {} does not exist: choose one of {}", plan.profile, names.join(", "));
        return Err(vec![Refusal { rule: "profile".into(), at: "plan".into(), what }]);
    };
    let mut check = Check { plan, profile, refusals: Vec::new() };
    form::form(&mut check);
    if profile.sign_off && sign_off.is_none_or(|name| name.trim().is_empty()) {
        let what =
            format!("profile {} needs the name of who answers for this plan: publish with a sign-off", profile.name);
        check.refuse("sign-off", "plan", what);
    }
    guard::guard(&mut check);
    let worst = worst::prove(&mut check, profiles);
    if check.refusals.is_empty() { Ok(worst) } else { Err(check.refusals) }
}
