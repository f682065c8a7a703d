//! Trades, refunds and shares, by the rules that the providers have in common.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::money::Money;
use kit::clock::Clock;
use serde::Serialize;

use crate::payment::sharing::{RATIO_PPM_DEFAULT, cap};
use crate::payment::{Number, PaymentState, ProviderKind};

/// What WeChat allows: refunds of one payment, and the time between two.
const REFUNDS_MAX: usize = 50;
const WECHAT_REFUND_GAP_MS: u64 = 60_000;

/// What goes wrong with the next request. A request takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is carried out, and the answer is 500.
    FailsBefore,
    /// It is carried out, and the answer is 500.
    FailsAfter,
    /// It is carried out, and rightly answered after so long.
    Slow(Duration),
    /// It is carried out, and no answer comes for so long.
    Silent(Duration),
    /// It is carried out, and the answer's signature is of something else.
    WrongSignature,
    /// It is carried out, and the answer is not signed.
    NotSigned,
    /// It is refused: too often.
    TooOften,
}

/// How notices are sent of what happens from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticePlan {
    /// How often each is sent.
    pub copies: u32,
    /// How late.
    pub delay_ms: u64,
    /// How many forged ones go with it.
    pub forged: u32,
    /// Which of its keys WeChat signs notices with.
    pub key: usize,
    /// How long a refund takes from accepted to done.
    pub refund_takes_ms: u64,
    /// The buyer pays though the trade is over or closed: his own bank was slow, and what this one
    /// said before was wrong.
    pub takes_late: bool,
}

impl NoticePlan {
    /// One, at once.
    pub const PLAIN: Self = Self { copies: 1, delay_ms: 0, forged: 0, key: 0, refund_takes_ms: 0, takes_late: false };
}

impl Default for NoticePlan {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Why the bank does not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    /// There is no such thing.
    Absent,
    /// It is paid.
    Paid,
    /// It is closed, or over.
    Closed,
    /// The number stands for something else.
    Mismatch,
    /// Too much, or too many.
    TooMuch,
    /// Too often.
    TooOften,
    /// The money is elsewhere.
    NoFunds,
    /// It cannot be done with this one.
    Invalid,
}

/// A trade to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Whose face.
    pub provider: ProviderKind,
    /// Ours.
    pub number: Number,
    /// The price.
    pub amount: Money,
    /// What it is.
    pub description: String,
    /// Until when it can be paid.
    pub expires_ms: u64,
    /// Where notices go.
    pub notify_url: String,
    /// Where the browser goes afterwards.
    pub return_url: String,
    /// Whether it may be shared.
    pub is_shared: bool,
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// What was opened.
    pub opening: Opening,
    /// The bank's number.
    pub provider_number: String,
    /// Where it stands.
    pub state: PaymentState,
    /// When it was paid.
    pub paid_ms: Option<u64>,
    /// What went back, in minor units.
    pub refunded: i64,
    /// What others hold of it, by sharing number.
    pub shared: BTreeMap<String, i64>,
    /// What was told of its shipping last.
    pub shipping: Option<serde_json::Value>,
    refunds: usize,
    refund_ms: Option<u64>,
    is_unfrozen: bool,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankRefund {
    /// Of which trade.
    pub number: Number,
    /// Its own.
    pub refund_number: Number,
    /// The bank's.
    pub provider_number: String,
    /// How much, in minor units.
    pub amount: i64,
    /// When it is done.
    pub done_ms: u64,
}

/// What an account took and gave back, in minor units of whatever currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Statement {
    /// Trades that are paid.
    pub paid: u64,
    /// Their sum.
    pub received: i64,
    /// Refunds.
    pub refunds: u64,
    /// Their sum.
    pub refunded: i64,
}

/// A notice on its way.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) trade: Trade,
    pub(super) refund: Option<BankRefund>,
    pub(super) is_forged: bool,
    pub(super) key: usize,
}

#[derive(Debug, Default)]
struct State {
    /// By account and number.
    trades: HashMap<(String, String), Trade>,
    /// By account and refund number.
    refunds: HashMap<(String, String), BankRefund>,
    faults: VecDeque<Fault>,
    plan: NoticePlan,
    /// By when they are due.
    outgoing: BTreeMap<(u64, u64), Outgoing>,
    last: u64,
}

/// The bank. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Bank<C> {
    clock: C,
    state: Arc<Mutex<State>>,
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn trade(&mut self, account: &str, number: &Number, now_ms: u64) -> Result<&mut Trade, No> {
        let trade = self.trades.get_mut(&key(account, number)).ok_or(No::Absent)?;
        // WeChat leaves an unpaid trade as it is until it is closed, though it takes no money.
        let closes_itself = trade.opening.provider != ProviderKind::Wechat;
        if closes_itself && trade.state == PaymentState::Waiting && now_ms >= trade.opening.expires_ms {
            trade.state = PaymentState::Closed;
        }
        Ok(trade)
    }

    fn tell(&mut self, account: &str, trade: &Trade, refund: Option<&BankRefund>, at_ms: u64, plan: NoticePlan) {
        let id = format!("notice_{}", self.next());
        for copy in 0..plan.copies + plan.forged {
            let is_forged = copy >= plan.copies;
            let place = (at_ms + plan.delay_ms, self.next());
            let outgoing = Outgoing {
                id: if is_forged { format!("{id}_{copy}") } else { id.clone() },
                account: account.to_owned(),
                trade: trade.clone(),
                refund: refund.cloned(),
                is_forged,
                key: plan.key,
            };
            self.outgoing.insert(place, outgoing);
        }
    }
}

fn key(account: &str, number: &Number) -> (String, String) {
    (account.to_owned(), number.as_str().to_owned())
}

impl<C: Clock> Bank<C> {
    /// An empty one.
    pub fn new(clock: C) -> Self {
        Self { clock, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bank's time, epoch ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The next request meets this, those after it what follows.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    pub(super) fn next_fault(&self) -> Option<Fault> {
        self.state().faults.pop_front()
    }

    /// How notices are sent from now on.
    pub fn plan(&self, plan: NoticePlan) {
        self.state().plan = plan;
    }

    /// Notices that are due, each once.
    pub(super) fn due(&self) -> Vec<Outgoing> {
        let mut state = self.state();
        let later = state.outgoing.split_off(&(self.now_ms() + 1, 0));
        std::mem::replace(&mut state.outgoing, later).into_values().collect()
    }

    pub(super) fn again(&self, outgoing: Outgoing, after_ms: u64) {
        let mut state = self.state();
        let place = (self.now_ms() + after_ms, state.next());
        state.outgoing.insert(place, outgoing);
    }

    /// Opens a trade, or finds it opened in the same words.
    ///
    /// # Errors
    ///
    /// [`No`].
    pub fn open(&self, account: &str, opening: Opening) -> Result<Trade, No> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        match state.trade(account, &opening.number, now_ms) {
            Ok(trade) => match trade.state {
                PaymentState::Paid => Err(No::Paid),
                PaymentState::Closed => Err(No::Closed),
                PaymentState::Waiting if trade.opening.amount != opening.amount => Err(No::Mismatch),
                PaymentState::Waiting => Ok(trade.clone()),
            },
            Err(_) if opening.expires_ms <= now_ms || opening.amount.amount < 1 => Err(No::Invalid),
            Err(_) => {
                let trade = Trade {
                    provider_number: format!("42000{:023}", state.next()),
                    state: PaymentState::Waiting,
                    paid_ms: None,
                    refunded: 0,
                    shared: BTreeMap::new(),
                    shipping: None,
                    refunds: 0,
                    refund_ms: None,
                    is_unfrozen: !opening.is_shared,
                    opening,
                };
                state.trades.insert(key(account, &trade.opening.number), trade.clone());
                Ok(trade)
            }
        }
    }

    /// A trade as it stands.
    ///
    /// # Errors
    ///
    /// [`No::Absent`].
    pub fn trade(&self, account: &str, number: &Number) -> Result<Trade, No> {
        let now_ms = self.now_ms();
        self.state().trade(account, number, now_ms).cloned()
    }

    /// The buyer pays. Twice is once.
    ///
    /// # Errors
    ///
    /// [`No::Closed`] also after its time.
    pub fn pay(&self, account: &str, number: &Number) -> Result<Trade, No> {
        let plan = self.state().plan;
        self.pay_with(account, number, plan)
    }

    /// The buyer pays, and the notices of it are sent so.
    ///
    /// # Errors
    ///
    /// As [`Bank::pay`].
    pub fn pay_with(&self, account: &str, number: &Number, plan: NoticePlan) -> Result<Trade, No> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let trade = state.trade(account, number, now_ms)?;
        match trade.state {
            PaymentState::Paid => return Ok(trade.clone()),
            PaymentState::Waiting if now_ms < trade.opening.expires_ms => {}
            PaymentState::Waiting | PaymentState::Closed if plan.takes_late => {}
            PaymentState::Waiting | PaymentState::Closed => return Err(No::Closed),
        }
        (trade.state, trade.paid_ms) = (PaymentState::Paid, Some(now_ms));
        let paid = trade.clone();
        state.tell(account, &paid, None, now_ms, plan);
        Ok(paid)
    }

    /// What an account took and gave back.
    #[must_use]
    pub fn statement(&self, account: &str) -> Statement {
        let (state, mut statement) = (self.state(), Statement::default());
        let of_account = |(owner, _): &(String, String)| owner == account;
        let trades = state.trades.iter().filter(|(key, _)| of_account(key)).map(|(_, trade)| trade);
        for trade in trades.filter(|trade| trade.state == PaymentState::Paid) {
            statement.paid += 1;
            statement.received += trade.opening.amount.amount;
        }
        for (_, refund) in state.refunds.iter().filter(|(key, _)| of_account(key)) {
            statement.refunds += 1;
            statement.refunded += refund.amount;
        }
        statement
    }

    /// Closes a trade that is not paid. Twice is once.
    ///
    /// # Errors
    ///
    /// [`No::Paid`], [`No::Absent`].
    pub fn close(&self, account: &str, number: &Number) -> Result<(), No> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let trade = state.trade(account, number, now_ms)?;
        if trade.state == PaymentState::Paid {
            return Err(No::Paid);
        }
        trade.state = PaymentState::Closed;
        Ok(())
    }

    /// Gives money back. The same number again is the same refund.
    ///
    /// # Errors
    ///
    /// [`No`].
    pub fn refund(&self, account: &str, number: &Number, refund: &Number, amount: i64) -> Result<BankRefund, No> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        if let Some(known) = state.refunds.get(&key(account, refund)) {
            let is_same = known.number == *number && known.amount == amount;
            return if is_same { Ok(known.clone()) } else { Err(No::Mismatch) };
        }
        let (id, plan) = (state.next(), state.plan);
        let trade = state.trade(account, number, now_ms)?;
        let has_gap = trade.refund_ms.is_none_or(|last| now_ms >= last + WECHAT_REFUND_GAP_MS);
        // What is frozen or with others is not there to be refunded.
        let at_hand = trade.opening.amount.amount - trade.refunded - trade.shared.values().sum::<i64>();
        if trade.state != PaymentState::Paid {
            return Err(No::Invalid);
        }
        if amount < 1 || trade.refunded + amount > trade.opening.amount.amount || trade.refunds >= REFUNDS_MAX {
            return Err(No::TooMuch);
        }
        if trade.opening.provider == ProviderKind::Wechat && !has_gap {
            return Err(No::TooOften);
        }
        if amount > at_hand {
            return Err(No::NoFunds);
        }
        trade.refunded += amount;
        trade.refunds += 1;
        trade.refund_ms = Some(now_ms);
        let trade = trade.clone();
        let (number, refund_number) = (number.clone(), refund.clone());
        let provider_number = format!("50000{id:023}");
        let refund =
            BankRefund { number, refund_number, provider_number, amount, done_ms: now_ms + plan.refund_takes_ms };
        state.refunds.insert(key(account, &refund.refund_number), refund.clone());
        state.tell(account, &trade, Some(&refund), refund.done_ms, plan);
        Ok(refund)
    }

    /// A refund as it stands.
    ///
    /// # Errors
    ///
    /// [`No::Absent`].
    pub fn find_refund(&self, account: &str, refund: &Number) -> Result<BankRefund, No> {
        self.state().refunds.get(&key(account, refund)).cloned().ok_or(No::Absent)
    }

    /// The platform is told how the goods of a payment were sent.
    ///
    /// # Errors
    ///
    /// [`No::Absent`] for what is not paid.
    pub fn ship(&self, account: &str, number: &Number, shipping: serde_json::Value) -> Result<(), No> {
        let mut state = self.state();
        let trade = state.trades.get_mut(&key(account, number));
        let trade = trade.filter(|trade| trade.state == PaymentState::Paid).ok_or(No::Absent)?;
        trade.shipping = Some(shipping);
        Ok(())
    }

    /// Shares a payment; the same sharing number again is the same sharing. Whether it is done: the
    /// first time it is accepted only.
    ///
    /// # Errors
    ///
    /// [`No`].
    pub fn share(
        &self,
        account: &str,
        provider_number: &str,
        sharing: &str,
        amount: i64,
        is_last: bool,
    ) -> Result<bool, No> {
        let mut state = self.state();
        let mut of_account = state.trades.iter_mut().filter(|((owner, _), _)| owner == account);
        let found = of_account.find(|(_, trade)| trade.provider_number == provider_number);
        let trade = found.map(|(_, trade)| trade).ok_or(No::Absent)?;
        if trade.shared.contains_key(sharing) {
            return Ok(true);
        }
        if trade.is_unfrozen || trade.state != PaymentState::Paid {
            return Err(No::Invalid);
        }
        let total = trade.shared.values().sum::<i64>() + amount;
        if total > cap(trade.opening.amount.amount, RATIO_PPM_DEFAULT) {
            return Err(No::TooMuch);
        }
        trade.shared.insert(sharing.to_owned(), amount);
        trade.is_unfrozen = is_last;
        Ok(false)
    }

    /// Takes a part of a sharing back.
    ///
    /// # Errors
    ///
    /// [`No`].
    pub fn give_back(&self, account: &str, sharing: &str, amount: i64) -> Result<(), No> {
        let mut state = self.state();
        let of_account = state.trades.iter_mut().filter(|((owner, _), _)| owner == account);
        let held = of_account.filter_map(|(_, trade)| trade.shared.get_mut(sharing)).next().ok_or(No::Absent)?;
        if amount < 1 || amount > *held {
            return Err(No::TooMuch);
        }
        *held -= amount;
        Ok(())
    }
}
