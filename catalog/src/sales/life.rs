//! The life of a sale: in which state it is, and what may be done with it then.

use async_graphql::Enum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refused::Refused;

/// Where a sale is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, Enum)]
#[graphql(name = "SaleState")]
#[serde(rename_all = "snake_case")]
#[schema(as = SaleState)]
pub(crate) enum State {
    /// Cloned, never published.
    Template,
    /// Not published yet.
    Draft,
    /// Published, and not open yet.
    Published,
    /// It sells.
    Open,
    /// Published, and stopped for now.
    Paused,
    /// Its window is over.
    Closed,
    /// Closed, and all its stock is given back: it does not open again.
    Settled,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Template => "a template",
            Self::Draft => "a draft",
            Self::Published => "published",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Closed => "closed",
            Self::Settled => "settled",
        }
    }
}

/// What may be done with a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Change,
    Publish,
    Pause,
    Resume,
    Close,
    Remove,
}

use State::{Closed, Draft, Open, Paused, Published, Template};

/// Which step is possible in which states.
const STEPS: [(Step, &str, &[State]); 6] = [
    (Step::Change, "changed", &[Template, Draft, Published, Open, Paused, Closed]),
    (Step::Publish, "published", &[Draft]),
    (Step::Pause, "paused", &[Published, Open]),
    (Step::Resume, "resumed", &[Paused]),
    (Step::Close, "closed", &[Published, Open, Paused]),
    (Step::Remove, "removed", &[Template, Draft]),
];

impl Step {
    /// Its name in the history.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::Change => "sale.change",
            Self::Publish => "sale.publish",
            Self::Pause => "sale.pause",
            Self::Resume => "sale.resume",
            Self::Close => "sale.close",
            Self::Remove => "sale.remove",
        }
    }

    /// Whether it is possible in this state.
    ///
    /// # Errors
    /// `conflict` that names the state, and those in which it is.
    pub(super) fn allowed(self, state: State) -> Result<(), Refused> {
        let Some((_, done, states)) = STEPS.iter().find(|(step, ..)| *step == self) else { return Ok(()) };
        if states.contains(&state) {
            return Ok(());
        }
        let possible: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        let (now, possible) = (state.as_str(), possible.join(", "));
        Err(Refused::conflict(format!("the sale is {now}; it can be {done} while it is one of: {possible}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 7] = [Template, Draft, Published, Open, Paused, Closed, State::Settled];

    /// The table, written out once more: of each step, the states in their order.
    #[test]
    fn each_step_is_possible_in_its_states_and_in_no_other() {
        let possible = |step: Step| {
            STATES.map(|state| if step.allowed(state).is_ok() { 'x' } else { '-' }).iter().collect::<String>()
        };
        let steps = [Step::Change, Step::Publish, Step::Pause, Step::Resume, Step::Close, Step::Remove];
        assert_eq!(
            steps.map(possible),
            ["xxxxxx-", "-x-----", "--xx---", "----x--", "--xxx--", "xx-----"].map(str::to_owned)
        );
    }

    #[test]
    fn a_refusal_says_in_which_states_the_step_is_possible() {
        let refused = Step::Publish.allowed(Open).unwrap_err().to_string();
        assert_eq!(refused, "the sale is open; it can be published while it is one of: a draft");
    }
}
