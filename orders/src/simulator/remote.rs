//! The bank as a program of its own: one port for all processes of an order service. A request is
//! what the payment port is asked, as JSON; the account's secret is its proof.

use domain::id::TenantId;
use kit::client::{Ask, Client};
use kit::clock::Clock;
use kit::http::{
    Asked, BODY_BYTES_MAX, BODY_DEADLINE, Body, Mount, Response, Service, StatusCode, bearer, read_body, reply,
};
use kit::problem::{Code, Problem};
use kit::settings::Secret;
use serde::{Deserialize, Serialize};

use super::accounts::{SimulatedAccounts, secret_of};
use super::provider::verify;
use crate::payment::{
    Charge, Closed, Doubt, Failed, Forged, Notice, Number, Opened, Payment, Provider, Received, Refund, RefundOrder,
};

/// What the bank is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Wish {
    Create(Charge),
    Query(Number),
    Close(Number),
    Refund(RefundOrder),
    QueryRefund(RefundOrder),
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Opened(Opened),
    Payment(Payment),
    Closed(Closed),
    Refund(Refund),
}

/// The bank's port, for the processes of an order service.
#[derive(Debug, Clone)]
pub struct BankPort<C>(pub SimulatedAccounts<C>);

impl<C: Clock> BankPort<C> {
    async fn carry_out(&self, asked: Asked<'_>) -> Result<Result<Said, Failed>, Box<Problem>> {
        let tenant = asked.part("account").parse().ok();
        let token = bearer(asked.headers()).map(str::to_owned);
        let body = read_body(asked.body, BODY_BYTES_MAX, BODY_DEADLINE).await.map_err(Problem::from)?;
        let unknown = || Problem::new(Code::Unauthenticated, "this is the secret of no account here");
        let (tenant, token): (TenantId, _) = tenant.zip(token).ok_or_else(unknown)?;
        let account = self.0.account(tenant).ok_or_else(unknown)?;
        if !account.has_secret(&token) {
            return Err(unknown().into());
        }
        let wish = serde_json::from_slice(&body);
        let wish = wish.map_err(|error| Problem::new(Code::InvalidRequest, error.to_string()))?;
        Ok(match wish {
            Wish::Create(charge) => account.create(&charge).await.map(Said::Opened),
            Wish::Query(number) => account.query(&number).await.map(Said::Payment),
            Wish::Close(number) => account.close(&number).await.map(Said::Closed),
            Wish::Refund(refund) => account.refund(&refund).await.map(Said::Refund),
            Wish::QueryRefund(refund) => account.query_refund(&refund).await.map(Said::Refund),
        })
    }
}

impl<C: Clock> Service for BankPort<C> {
    type Route = ();

    fn mounts() -> Vec<Mount<()>> {
        vec![Mount::post("/bank/{account}", "bank", ())]
    }

    async fn answer(&self, _route: (), asked: Asked<'_>) -> Response<Body> {
        match self.carry_out(asked).await {
            Ok(said) => reply::json(StatusCode::OK, &said),
            Err(problem) => problem.to_response(),
        }
    }
}

/// Accounts at a bank that is another program, of these tenants alone: whoever has one is paid in
/// play money.
#[derive(Debug, Clone)]
pub struct RemoteAccounts {
    bank: Client,
    master: Secret,
    tenants: Vec<TenantId>,
}

impl RemoteAccounts {
    /// `master`: as the bank has it.
    #[must_use]
    pub const fn new(bank: Client, master: Secret, tenants: Vec<TenantId>) -> Self {
        Self { bank, master, tenants }
    }

    /// A tenant's account, if it has one.
    #[must_use]
    pub fn account(&self, tenant: TenantId) -> Option<RemoteAccount> {
        let secret = self.tenants.contains(&tenant).then(|| secret_of(&self.master, tenant)).flatten()?;
        Some(RemoteAccount { bank: self.bank.clone(), tenant, secret })
    }
}

/// An account at a bank that is another program.
#[derive(Debug, Clone)]
pub struct RemoteAccount {
    bank: Client,
    tenant: TenantId,
    secret: Secret,
}

impl RemoteAccount {
    async fn ask<T>(&self, wish: &Wish, read: impl FnOnce(Said) -> Option<T> + Send) -> Result<T, Failed> {
        let ask = Ask::post(format!("/bank/{}", self.tenant)).bearer(self.secret.expose()).json(wish);
        let answer = self.bank.exchange(&ask).await.map_err(|error| Failed::of_client(&error))?;
        if answer.status != StatusCode::OK {
            return Err(Failed::of_status(answer.status).unwrap_or(Failed::NotTaken(answer.status.to_string())));
        }
        let said: Result<Said, Failed> = answer.json().map_err(|_other| Failed::Unknown(Doubt::Unreadable))?;
        read(said?).ok_or(Failed::Unknown(Doubt::Unreadable))
    }
}

impl Provider for RemoteAccount {
    async fn create(&self, charge: &Charge) -> Result<Opened, Failed> {
        let read = |said| if let Said::Opened(opened) = said { Some(opened) } else { None };
        self.ask(&Wish::Create(charge.clone()), read).await
    }

    async fn query(&self, number: &Number) -> Result<Payment, Failed> {
        let read = |said| if let Said::Payment(payment) = said { Some(payment) } else { None };
        self.ask(&Wish::Query(number.clone()), read).await
    }

    async fn close(&self, number: &Number) -> Result<Closed, Failed> {
        let read = |said| if let Said::Closed(closed) = said { Some(closed) } else { None };
        self.ask(&Wish::Close(number.clone()), read).await
    }

    async fn refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let read = |said| if let Said::Refund(refund) = said { Some(refund) } else { None };
        self.ask(&Wish::Refund(refund.clone()), read).await
    }

    async fn query_refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let read = |said| if let Said::Refund(refund) = said { Some(refund) } else { None };
        self.ask(&Wish::QueryRefund(refund.clone()), read).await
    }

    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        verify(&self.secret, self.tenant, received)
    }
}
