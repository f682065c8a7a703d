//! What an operator asks of orders: one cancelled, the overdue ones expired. The rules are the
//! order-writer's desk's.

use std::{ops::ControlFlow, time::Duration};

use domain::id::OrderId;
use kit::clock::Clock;
use order_writer::desk::{self, DeskError, Expiry};

use crate::deployment::Deployment;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Cancel an unpaid order.
    Cancel(OrderId),
    /// Expire every order that is unpaid after its time to pay, or so long after it was reserved.
    Expire(Option<Duration>),
}

impl Wish {
    /// As a page of the second port.
    pub fn path(&self) -> String {
        match self {
            Self::Cancel(order) => format!("/orders/{order}/cancel"),
            Self::Expire(None) => "/orders/past-pay-by/expire".into(),
            Self::Expire(Some(older_than)) => format!("/orders/older-than/{}/expire", older_than.as_secs()),
        }
    }

    /// From the parts of such a page.
    pub fn of(parts: &[&str]) -> Option<Self> {
        match *parts {
            ["orders", order, "cancel"] => order.parse().ok().map(Self::Cancel),
            ["orders", "past-pay-by", "expire"] => Some(Self::Expire(None)),
            ["orders", "older-than", seconds, "expire"] => {
                seconds.parse().ok().map(|seconds| Self::Expire(Some(Duration::from_secs(seconds))))
            }
            _ => None,
        }
    }

    /// Does it; what was done. `watch` hears how far an expiry is, and may end it between two
    /// batches.
    ///
    /// # Errors
    /// [`DeskError`]; asking again is harmless.
    pub async fn carry_out<C: Clock>(
        self,
        deployment: &Deployment<C>,
        watch: impl FnMut(&Expiry) -> ControlFlow<()>,
    ) -> Result<Done, DeskError> {
        let (orders, ledger) = (&deployment.databases.orders, &deployment.databases.ledger);
        match self {
            Self::Cancel(order) => desk::cancel(orders, ledger, order).await.map(|()| Done::Cancelled(order)),
            Self::Expire(older_than) => desk::expire(orders, ledger, older_than, watch).await.map(Done::Expired),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// This order is cancelled.
    Cancelled(OrderId),
    /// So many are expired.
    Expired(Expiry),
}

impl Done {
    /// In words.
    pub fn told(&self) -> String {
        match self {
            Self::Cancelled(order) => format!("cancelled {order}; its units go back when its release is decided\n"),
            Self::Expired(done) => format!("{}; their units go back when their releases are decided\n", done.told()),
        }
    }
}

#[cfg(test)]
mod tests;
