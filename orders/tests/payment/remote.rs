//! The bank as another program: the same answers over its port, and nothing without the account's
//! secret.

use std::sync::Arc;

use kit::client::{Ask, Client, ClientLimits};
use kit::clock::ManualClock;
use kit::http::{self, Limits, RequestMetrics, Router, StatusCode, Table};
use kit::metrics::Registry;
use orders::payment::{
    Closed, Doubt, Failed, Method, Opened, PaymentState, Provider as _, Reason, Received, RefundState,
};
use orders::simulator::{Bank, BankPort, Fault, RemoteAccounts, SimulatedAccounts, Simulator};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::rig::{NOW_MS, charge, cny, number, refund, tenant};

struct Place {
    bank: Bank<ManualClock>,
    simulator: Simulator<ManualClock>,
    client: Client,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Place {
    fn start() -> Self {
        let (clock, stop) = (ManualClock::new(NOW_MS), CancellationToken::new());
        let bank = Bank::new(clock.clone());
        let accounts = SimulatedAccounts::new(bank.clone(), "master".parse().unwrap(), "http://shop");
        let table = Arc::new(Table::of::<BankPort<ManualClock>>().unwrap());
        let requests = Arc::new(RequestMetrics::register(&Registry::new().unwrap(), table.names()).unwrap());
        let router = Router::new(BankPort(accounts.clone()), table, clock, requests);
        let listener = http::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let client = Client::new(&listener.local_addr().unwrap().to_string(), ClientLimits::default()).unwrap();
        tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        let simulator = Simulator {
            bank: bank.clone(),
            wechat: None,
            alipay: None,
            simulated: Vec::new(),
            accounts: Some(accounts),
            origin: "http://shop".to_owned(),
        };
        Self { bank, simulator, client, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    fn accounts(&self, master: &str) -> RemoteAccounts {
        RemoteAccounts::new(self.client.clone(), master.parse().unwrap(), vec![tenant(7)])
    }
}

#[tokio::test]
async fn the_bank_as_another_program_is_paid_closed_and_refunded_at() {
    let place = Place::start();
    let account = place.accounts("master").account(tenant(7)).unwrap();
    assert!(place.accounts("master").account(tenant(8)).is_none(), "only the named shops");
    let opened = account.create(&charge("order_1", 8_888, Method::Simulated)).await.unwrap();
    assert_eq!(opened, Opened::Page("http://shop/simulated/cashier/7/order_1".to_owned()));
    assert_eq!(account.query(&number("order_1")).await.unwrap().state, PaymentState::Waiting);
    place.bank.pay("7", &number("order_1")).unwrap();
    let paid = account.query(&number("order_1")).await.unwrap();
    assert_eq!((paid.state, paid.amount, paid.paid_ms), (PaymentState::Paid, Some(cny(8_888)), Some(NOW_MS)));
    let is_paid = account.close(&number("order_1")).await.unwrap_err();
    assert!(matches!(is_paid, Failed::Refused { reason: Reason::Paid, .. }), "{is_paid}");
    let given = refund("order_1", "refund_1", 900, 8_888);
    assert_eq!(account.refund(&given).await.unwrap().state, RefundState::Done);
    assert_eq!(account.query_refund(&given).await.unwrap().amount, Some(cny(900)));
    account.create(&charge("order_2", 1, Method::Simulated)).await.unwrap();
    assert_eq!(account.close(&number("order_2")).await.unwrap(), Closed::Closed);
    assert_eq!(account.close(&number("order_3")).await.unwrap(), Closed::Absent);
    let post = place.simulator.due().remove(0);
    let headers = post.headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
    let received = Received { headers: &headers, body: &post.body, now_ms: NOW_MS };
    assert_eq!(account.verify(received).unwrap().tenant, tenant(7));
}

#[tokio::test]
async fn the_bank_as_another_program_believes_nobody_without_the_secret() {
    let place = Place::start();
    let stranger = place.accounts("another master").account(tenant(7)).unwrap();
    let refused = stranger.create(&charge("order_1", 1, Method::Simulated)).await.unwrap_err();
    assert!(matches!(refused, Failed::NotTaken(_)), "{refused}");
    for ask in [Ask::post("/bank/7").bearer("x"), Ask::post("/bank/7"), Ask::post("/bank/x").bearer("x")] {
        let answer = place.client.exchange(&ask.json(&"{}")).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert!(place.bank.trade("7", &number("order_1")).is_err(), "nothing was opened");
}

#[tokio::test]
async fn a_bank_that_is_away_took_nothing_and_one_that_fails_is_unknown() {
    let place = Place::start();
    let account = place.accounts("master").account(tenant(7)).unwrap();
    place.bank.fault(Fault::FailsAfter);
    let unknown = account.create(&charge("order_1", 1, Method::Simulated)).await.unwrap_err();
    assert_eq!(unknown, Failed::Unknown(Doubt::ProviderFault));
    place.stop.cancel();
    let away = async {
        while !matches!(account.query(&number("order_1")).await, Err(Failed::NotTaken(_))) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), away).await.unwrap();
}
