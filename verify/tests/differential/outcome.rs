//! What is compared: replies and ends, in words that are the same for every deployment. Order ids
//! differ, so orders are numbered as they first appear in the replies.

use std::collections::HashMap;

use domain::{
    id::{BuyerId, OfferId, OrderId},
    order::{OrderRow, Status},
    stock::{LaneView, Purchase},
};
use engine::{
    orders::{OrderState, Unseen},
    purchase::{Bought, Declined, PurchaseState},
};
use order_writer::desk::DeskError;

use super::seed::Seed;

/// The answer to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Bought {
        order: usize,
        state: PurchaseState,
    },
    Declined(Declined),
    Cancelled,
    NotCancelled(Option<Status>),
    /// The status, for the buyer.
    Seen(&'static str),
    /// Units left by offer, and buyers with an entry.
    AtRest {
        left: Vec<u64>,
        buyers: u64,
    },
    Redelivered,
    /// Something that no script expects.
    Unexpected(String),
}

/// Numbers orders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    numbers: HashMap<OrderId, usize>,
    ids: Vec<OrderId>,
}

impl Orders {
    pub(crate) fn number(&mut self, order: OrderId) -> usize {
        *self.numbers.entry(order).or_insert_with(|| {
            self.ids.push(order);
            self.ids.len() - 1
        })
    }

    pub(crate) fn id(&self, number: usize) -> Option<OrderId> {
        self.ids.get(number).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// An order that no reply named stays without a number, and so shows.
    fn known(&self, order: OrderId) -> Option<usize> {
        self.numbers.get(&order).copied()
    }
}

impl Reply {
    /// When a release has reached the lane is nobody's to say: a repeat of a cancelled order is the
    /// same to the script before and after.
    pub(crate) fn of_purchase(outcome: Result<Bought, Declined>, orders: &mut Orders) -> Self {
        match outcome {
            Ok(Bought { order, state: PurchaseState::Over(Status::Cancelled), .. }) => {
                Self::Bought { order: orders.number(order), state: PurchaseState::Accepted }
            }
            Ok(bought) => Self::Bought { order: orders.number(bought.order), state: bought.state },
            Err(declined) => Self::Declined(declined),
        }
    }

    pub(crate) fn of_cancel(outcome: Result<(), DeskError>) -> Self {
        match outcome {
            Ok(()) => Self::Cancelled,
            Err(DeskError::NotFound(_)) => Self::NotCancelled(None),
            Err(DeskError::Conflict { now, .. }) => Self::NotCancelled(Some(now)),
            Err(error) => Self::Unexpected(error.to_string()),
        }
    }

    /// When a row appears is nobody's to say: a promise and its row are the same to the script.
    pub(crate) fn of_status(outcome: Result<OrderState, Unseen>) -> Self {
        match outcome {
            Ok(OrderState::Pending | OrderState::Row(Status::PendingPayment, None)) => Self::Seen("placed"),
            Ok(OrderState::Row(status, None)) => Self::Seen(status.as_str()),
            other => Self::Unexpected(format!("{other:?}")),
        }
    }

    pub(crate) fn at_rest(view: &LaneView) -> Self {
        Self::AtRest { left: view.offers.iter().map(|(_, left, _)| *left).collect(), buyers: view.buyers_len }
    }
}

/// A row, as far as deployments must agree on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowSeen {
    order: Option<usize>,
    buyer: u64,
    offer: Option<usize>,
    quantity: u32,
    number: Option<u8>,
    status: &'static str,
    reason: Option<&'static str>,
    is_live: bool,
    is_right: bool,
}

/// A buyer's entry in the lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntrySeen {
    buyer: u64,
    order: Option<usize>,
    offer: Option<usize>,
    quantity: u32,
    number: Option<u8>,
}

/// Everything that is left of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// By offer: units left and allotment in the lane; allotment, target and units sold in the
    /// ledger.
    offers: Vec<[u64; 5]>,
    rows: Vec<RowSeen>,
    entries: Vec<EntrySeen>,
    journal: u64,
}

/// Where an ending is read from.
pub(crate) struct Remains<'a> {
    pub(crate) view: &'a LaneView,
    /// The ledger's allotment, target and units sold.
    pub(crate) ledger: &'a dyn Fn(OfferId) -> (u64, u64, u64),
    pub(crate) rows: Vec<OrderRow>,
    pub(crate) buyers: Vec<(BuyerId, Vec<Purchase>)>,
}

impl Ending {
    pub(crate) fn of(shop: &Seed, orders: &Orders, remains: Remains<'_>) -> Self {
        let Remains { view, ledger, rows, buyers } = remains;
        let offers = view.offers.iter().map(|&(offer, left, allotment)| {
            let (by_ledger, target, sold) = ledger(offer);
            [left, allotment, by_ledger, target, sold]
        });
        let row = |row: OrderRow| RowSeen {
            order: orders.known(row.order),
            buyer: shop.number_of(row.buyer),
            offer: shop.number_of_offer(row.offer),
            quantity: row.quantity,
            number: row.number.map(|number| number.0),
            status: row.status.as_str(),
            reason: row.reason.map(|reason| reason.as_str()),
            is_live: row.is_live(),
            is_right: shop.is_row_right(&row),
        };
        let entry = |buyer: BuyerId, purchase: Purchase| EntrySeen {
            buyer: shop.number_of(buyer),
            order: orders.known(purchase.order),
            offer: shop.number_of_offer(purchase.offer),
            quantity: purchase.quantity,
            number: purchase.number.map(|number| number.0),
        };
        let entries =
            buyers.into_iter().flat_map(|(buyer, all)| all.into_iter().map(move |purchase| entry(buyer, purchase)));
        let (mut rows, mut entries): (Vec<_>, Vec<_>) = (rows.into_iter().map(row).collect(), entries.collect());
        rows.sort_unstable();
        entries.sort_unstable();
        Self { offers: offers.collect(), rows, entries, journal: view.journal_len }
    }
}
