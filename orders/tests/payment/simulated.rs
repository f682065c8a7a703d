//! The port over our own bank, its cashier page, its notices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::id::TenantId;
use kit::client::{Ask, ClientLimits};
use kit::clock::ManualClock;
use kit::http::{self, Body, Handler, Incoming, Limits, Request, Response, StatusCode, header, read_body, reply};
use orders::payment::{
    Closed, Doubt, Event, Failed, Forged, Method, Opened, PaymentState, Provider as _, Reason, RefundState,
};
use orders::simulator::{Bank, Fault, No, NoticePlan, SimulatedAccounts, Statement};
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, charge, cny, number, refund};

fn path(opened: &Opened) -> String {
    let Opened::Page(url) = opened else { panic!("{opened:?}") };
    let uri: http::Uri = url.parse().unwrap();
    uri.path().to_owned()
}

#[tokio::test]
async fn a_buyer_pays_on_the_cashier_page_in_either_language() {
    let rig = Rig::start();
    let opened = rig.simulated.create(&charge("order_1", 8_888, Method::Simulated)).await.unwrap();
    let page = path(&opened);
    for (language, words) in [("en-GB", ["Amount", "Do not pay"]), ("zh-CN,zh;q=0.9", ["金额", "放弃支付"])] {
        let answer = rig.client.exchange(&Ask::get(&page).header(header::ACCEPT_LANGUAGE, language)).await.unwrap();
        let shown = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(words.iter().all(|word| shown.contains(word)) && shown.contains("88.88 CNY"), "{shown}");
        assert!(shown.contains("shoes &lt;red&gt; &amp; &quot;blue&quot;"), "text is no markup: {shown}");
    }
    let answer = rig.client.exchange(&Ask::post(format!("{page}/pay"))).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.headers[header::LOCATION].to_str().unwrap()), (303, page.as_str()));
    let shown = rig.client.exchange(&Ask::get(&page)).await.unwrap();
    assert!(String::from_utf8_lossy(&shown.body).contains("https://shop.example/orders/7"));
    assert_eq!(rig.simulated.query(&number("order_1")).await.unwrap().state, PaymentState::Paid);
    let nothing = rig.client.exchange(&Ask::get("/simulated/cashier/8/order_1")).await.unwrap();
    assert_eq!(nothing.status, 404, "another tenant's account");
}

/// Whoever tries a shop out needs no code for it.
#[tokio::test]
async fn the_cashier_page_offers_notices_as_they_really_come() {
    let rig = Rig::start();
    for (at, (way, expected)) in
        [("", 1), ("?", 1), ("?notices=twice", 2), ("?notices=late", 0), ("?notices=forged", 2), ("?notices=none", 0)]
            .into_iter()
            .enumerate()
    {
        let charge = charge(&format!("order_{at}"), 1, Method::Simulated);
        let page = path(&rig.simulated.create(&charge).await.unwrap());
        let shown = rig.client.exchange(&Ask::get(&page)).await.unwrap();
        let action = format!("{page}/pay{way}");
        assert!(String::from_utf8_lossy(&shown.body).contains(&action), "{action}");
        rig.client.exchange(&Ask::post(action)).await.unwrap();
        assert_eq!(rig.simulated.query(&charge.number).await.unwrap().state, PaymentState::Paid, "{way}");
        assert_eq!(rig.notices().len(), expected, "{way}");
    }
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(rig.notices().len(), 1, "the late one");
}

#[tokio::test]
async fn a_closed_or_expired_attempt_takes_no_money() {
    let rig = Rig::start();
    let page = path(&rig.simulated.create(&charge("order_1", 1, Method::Simulated)).await.unwrap());
    rig.client.exchange(&Ask::post(format!("{page}/close"))).await.unwrap();
    rig.client.exchange(&Ask::post(format!("{page}/pay"))).await.unwrap();
    assert_eq!(rig.simulated.query(&number("order_1")).await.unwrap().state, PaymentState::Closed);
    let page = path(&rig.simulated.create(&charge("order_2", 1, Method::Simulated)).await.unwrap());
    rig.clock.advance(Duration::from_secs(600));
    rig.client.exchange(&Ask::post(format!("{page}/pay"))).await.unwrap();
    assert_eq!(rig.simulated.query(&number("order_2")).await.unwrap().state, PaymentState::Closed);
    assert_eq!(rig.simulated.close(&number("order_3")).await, Ok(Closed::Absent));
    assert!(rig.notices().is_empty());
}

#[tokio::test]
async fn faults_are_played_on_demand_and_the_number_stays() {
    let rig = Rig::start();
    for (fault, doubt) in [
        (Fault::FailsBefore, Doubt::ProviderFault),
        (Fault::FailsAfter, Doubt::ProviderFault),
        (Fault::Silent(Duration::from_millis(1)), Doubt::NoAnswer),
        (Fault::WrongSignature, Doubt::BadSignature),
    ] {
        rig.bank.fault(fault);
        let failed = rig.simulated.create(&charge("order_1", 8_888, Method::Simulated)).await;
        assert_eq!(failed, Err(Failed::Unknown(doubt)), "{fault:?}");
    }
    rig.bank.fault(Fault::Slow(Duration::from_millis(1)));
    rig.simulated.create(&charge("order_1", 8_888, Method::Simulated)).await.unwrap();
    rig.bank.fault(Fault::TooOften);
    let failed = rig.simulated.query(&number("order_1")).await.unwrap_err();
    assert!(matches!(failed, Failed::Refused { reason: Reason::TooOften, .. }));
}

#[tokio::test]
async fn double_late_and_forged_notices_come_on_demand() {
    let rig = Rig::start();
    rig.bank.plan(NoticePlan {
        copies: 2,
        forged: 1,
        delay_ms: 5_000,
        refund_takes_ms: 1_000,
        ..NoticePlan::default()
    });
    rig.simulated.create(&charge("order_1", 8_888, Method::Simulated)).await.unwrap();
    rig.bank.pay(&rig.simulated.account(), &number("order_1")).unwrap();
    assert!(rig.notices().is_empty(), "late");
    rig.clock.advance(Duration::from_secs(5));
    let sent = rig.notices();
    let verified: Vec<_> = sent.iter().map(|sent| rig.simulated.verify(sent.received())).collect();
    let [Ok(first), Ok(second), Err(Forged::WrongSignature)] = &verified[..] else { panic!("{verified:?}") };
    assert_eq!(first, second);
    for at in 0..sent[0].body.len() {
        assert!(rig.simulated.verify(sent[0].flipped(at).received()).is_err(), "byte {at}");
    }
    let back = refund("order_1", "refund_1", 888, 8_888);
    assert_eq!(rig.simulated.refund(&back).await.unwrap().state, RefundState::Accepted);
    rig.clock.advance(Duration::from_secs(6));
    assert_eq!(rig.simulated.query_refund(&back).await.unwrap().state, RefundState::Done);
    let event = rig.simulated.verify(rig.notices()[0].received()).unwrap().event;
    let Event::Refund { refund_number, amount, .. } = event else { panic!("{event:?}") };
    assert_eq!((refund_number, amount), (Some(number("refund_1")), Some(cny(888))));
}

/// A buyer's own bank may say late that it paid: by the plan the trade is paid all the same. The
/// statement adds up what came and what went back.
#[tokio::test]
async fn a_trade_that_is_over_is_paid_where_the_plan_says_so_and_the_statement_adds_up() {
    let rig = Rig::start();
    let account = rig.simulated.account();
    for name in ["order_1", "order_2"] {
        rig.simulated.create(&charge(name, 8_888, Method::Simulated)).await.unwrap();
    }
    rig.bank.close(&account, &number("order_1")).unwrap();
    assert_eq!(rig.bank.pay(&account, &number("order_1")), Err(No::Closed));
    let late = NoticePlan { takes_late: true, ..NoticePlan::PLAIN };
    rig.bank.pay_with(&account, &number("order_1"), late).unwrap();
    assert_eq!(rig.notices().len(), 1, "the shop is told");
    rig.simulated.refund(&refund("order_1", "refund_1", 888, 8_888)).await.unwrap();
    let statement = Statement { paid: 1, received: 8_888, refunds: 1, refunded: 888 };
    assert_eq!(rig.bank.statement(&account), statement);
    assert_eq!(rig.bank.statement("another"), Statement::default());
}

/// Takes notices, the first time not.
#[derive(Clone, Default)]
struct Shop {
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Handler for Shop {
    async fn handle(&self, request: Request<Incoming>, _peer: std::net::SocketAddr) -> Response<Body> {
        let body = read_body(request.into_body(), http::BODY_BYTES_MAX, http::BODY_DEADLINE).await.unwrap();
        let mut bodies = self.bodies.lock().unwrap();
        bodies.push(String::from_utf8(body.to_vec()).unwrap());
        reply::empty(if bodies.len() == 1 { StatusCode::BAD_REQUEST } else { StatusCode::NO_CONTENT })
    }
}

#[tokio::test]
async fn a_notice_that_was_not_taken_comes_again() {
    let rig = Rig::start();
    let (shop, stop) = (Shop::default(), CancellationToken::new());
    let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let url = format!("http://{}/v1/payments/simulated/notify", listener.local_addr().unwrap());
    tokio::spawn(http::serve(listener, shop.clone(), Limits::default(), stop.clone()));
    let account = orders::simulator::Simulated::new(
        rig.bank.clone(),
        super::rig::tenant(7),
        "hunter22".parse().unwrap(),
        "http://127.0.0.1",
        &url,
    );
    account.create(&charge("order_1", 8_888, Method::Simulated)).await.unwrap();
    rig.bank.pay(&account.account(), &number("order_1")).unwrap();
    assert_eq!(rig.simulator.deliver(ClientLimits::default()).await, 0);
    assert_eq!(rig.simulator.deliver(ClientLimits::default()).await, 0, "not at once");
    rig.clock.advance(Duration::from_secs(15));
    assert_eq!(rig.simulator.deliver(ClientLimits::default()).await, 1);
    let bodies = shop.bodies.lock().unwrap().clone();
    assert!(bodies.len() == 2 && bodies[0] == bodies[1], "{bodies:?}");
    stop.cancel();
}

/// Play money buys nothing in a shop that did not ask for it.
#[test]
fn only_the_named_shops_are_paid_in_play_money() {
    let [demo, other] = [7, 8].map(|tenant| TenantId::new(tenant).unwrap());
    let bank = Bank::new(ManualClock::new(1));
    let accounts = SimulatedAccounts::new(bank, "master".parse().unwrap(), "http://shop").only(vec![demo]);
    assert!(accounts.account(demo).is_some());
    assert!(accounts.account(other).is_none());
}
