use super::*;

fn ready() -> Facts {
    let article = Article { currency: "CNY".into(), amount: 100, is_active: true };
    Facts {
        now_ms: 10_000,
        ledger_now_ms: 10_500,
        opens_at: 15_000,
        closes_at: 20_000,
        published: 3,
        engines: vec![EngineSeen { number: 1, silent_ms: Some(900), skew_ms: 10, version: Some(3) }],
        payable: Payable::Yes,
        is_published: true,
        has_token_key: true,
        lanes: vec![LaneFacts {
            field: "lanes[0]".into(),
            limit_per_buyer: 2,
            ledger: Some(LedgerLane { limit_per_buyer: 2, ..LedgerLane::default() }),
            stock: Some(StockLane {
                is_open: true,
                journal: 0,
                units: vec![Units { field: "lanes[0].offers[0]".into(), stock: Some((3, 5)), allotment: 5, sold: 2 }],
            }),
        }],
        offers: vec![OfferFacts {
            field: "lanes[0].offers[0]".into(),
            sku: "CUP".into(),
            currency: "CNY".into(),
            amount: 90,
            allotment: 5,
            rate_per_s: 100,
            in_reach: Some(5),
            target: Some(5),
            article: Some(article),
            others: Vec::new(),
        }],
        ..Facts::default()
    }
}

/// What is found after a change of the facts of a sale that is ready.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<(Light, String, String)> {
    let mut facts = ready();
    change(&mut facts);
    findings(&facts).into_iter().map(|finding| (finding.light, finding.code, finding.field)).collect()
}

fn one(light: Light, code: &str, field: &str) -> Vec<(Light, String, String)> {
    vec![(light, code.to_owned(), field.to_owned())]
}

fn ledger(facts: &mut Facts) -> &mut LedgerLane {
    facts.lanes[0].ledger.as_mut().unwrap()
}

fn stock(facts: &mut Facts) -> &mut StockLane {
    facts.lanes[0].stock.as_mut().unwrap()
}

fn article(facts: &mut Facts) -> &mut Article {
    facts.offers[0].article.as_mut().unwrap()
}

#[test]
fn a_sale_whose_facts_agree_is_ready() {
    assert_eq!(found(|_| {}), []);
    assert!(is_ready(&findings(&ready())));
}

#[test]
fn each_red_rule_finds_its_fact_and_nothing_else() {
    use Light::Red;
    let (lane, offer) = ("lanes[0]", "lanes[0].offers[0]");
    assert_eq!(found(|facts| facts.now_ms = 20_000)[0], one(Red, "window_over", "closes_at")[0]);
    assert_eq!(found(|facts| facts.is_due = true), one(Red, "not_delivered", ""));
    assert_eq!(found(|facts| facts.is_suspended = true), one(Red, "tenant_suspended", ""));
    assert_eq!(found(|facts| facts.ledger_now_ms = 11_001), one(Red, "clock_skew", ""));
    assert_eq!(found(|facts| facts.ledger_now_ms = 11_000), []);
    assert_eq!(found(|facts| facts.lanes[0].ledger = None), one(Red, "lane_missing", lane));
    assert_eq!(found(|facts| ledger(facts).is_retired = true), one(Red, "lane_retired", lane));
    assert_eq!(found(|facts| ledger(facts).is_distrusted = true), one(Red, "lane_rebuilt", lane));
    let limit = one(Red, "limit_pending", "lanes[0].limit_per_buyer");
    assert_eq!(found(|facts| ledger(facts).limit_per_buyer = 3), limit);
    let allotment = format!("{offer}.allotment");
    assert_eq!(found(|facts| facts.offers[0].in_reach = Some(4)), one(Red, "stock_missing", &allotment));
    assert_eq!(found(|facts| facts.offers[0].in_reach = Some(-6)), one(Red, "stock_missing", &allotment));
    assert_eq!(found(|facts| facts.offers[0].target = Some(4)), one(Red, "allotment_pending", &allotment));
    assert_eq!(found(|facts| article(facts).is_active = false), one(Red, "sku_archived", &format!("{offer}.sku")));
    let currency = one(Red, "price_currency", &format!("{offer}.price"));
    assert_eq!(found(|facts| article(facts).currency = "EUR".into()), currency);
}

#[test]
fn each_red_rule_of_engines_stock_and_payment_finds_its_fact_and_nothing_else() {
    use Light::Red;
    let (lane, offer) = ("lanes[0]", "lanes[0].offers[0]");
    assert_eq!(found(|facts| facts.engines.clear()), one(Red, "no_engine", ""));
    let silent = one(Red, "engine_silent", "");
    assert_eq!(found(|facts| facts.engines[0].silent_ms = None), silent);
    assert_eq!(found(|facts| facts.engines[0].silent_ms = Some(5_001)), silent);
    assert_eq!(found(|facts| facts.engines[0].silent_ms = Some(5_000)), []);
    assert_eq!(found(|facts| facts.engines[0].version = None), one(Red, "engine_behind", ""));
    assert_eq!(found(|facts| facts.engines[0].version = Some(2)), one(Red, "engine_behind", ""));
    assert_eq!(found(|facts| facts.engines[0].version = Some(4)), [], "the row hears of it later");
    assert_eq!(found(|facts| facts.engines[0].skew_ms = 1_001), one(Red, "engine_clock", ""));
    assert_eq!(found(|facts| facts.stock_away = Some("gone".into())), one(Red, "stock_away", ""));
    assert_eq!(found(|facts| stock(facts).is_open = false), one(Red, "lane_closed", lane));
    let differs = one(Red, "stock_differs", offer);
    assert_eq!(found(|facts| stock(facts).units[0].stock = None), differs);
    assert_eq!(found(|facts| stock(facts).units[0].stock = Some((3, 6))), differs);
    assert_eq!(found(|facts| stock(facts).units[0].stock = Some((2, 5))), differs);
    assert_eq!(
        found(|facts| (stock(facts).units[0].stock, facts.now_ms) = (Some((2, 5)), 15_000)),
        [
            // The ledger's clock stands still here.
            one(Red, "clock_skew", "")[0].clone()
        ]
    );
    assert_eq!(found(|facts| (stock(facts).units[0].stock, stock(facts).journal) = (Some((2, 5)), 1)), []);
    assert_eq!(found(|facts| facts.payable = Payable::No), one(Red, "payment_account", ""));
    assert_eq!(found(|facts| facts.payable = Payable::Silent("no answer".into())), one(Red, "orders_away", ""));
    for payable in [Payable::No, Payable::Silent("no answer".into()), Payable::Unasked] {
        let gift = |facts: &mut Facts| (facts.payable, facts.offers[0].amount) = (payable, 0);
        assert_eq!(found(gift), [], "nobody pays for what is given away");
    }
}

#[test]
fn what_is_only_worth_a_look_is_amber() {
    use Light::Amber;
    let offer = "lanes[0].offers[0]";
    assert_eq!(found(|facts| facts.has_token_key = false), one(Amber, "token_key", ""));
    assert_eq!(found(|facts| facts.payable = Payable::Unasked), one(Amber, "payment_unknown", ""));
    assert_eq!(found(|facts| facts.offers[0].rate_per_s = 43_001), one(Amber, "rates", ""));
    assert_eq!(found(|facts| article(facts).amount = 89), one(Amber, "price_above", &format!("{offer}.price")));
    assert_eq!(found(|facts| facts.offers[0].others.push("spring".into())), one(Amber, "overlap", offer));
}

#[test]
fn a_draft_has_no_lanes_in_the_ledger_yet() {
    let draft = |facts: &mut Facts| {
        (facts.is_published, facts.lanes[0].ledger, facts.lanes[0].stock) = (false, None, None);
        facts.engines.clear();
    };
    assert_eq!(found(draft), []);
}

#[test]
fn a_publication_is_refused_for_what_can_be_known_before_it() {
    let mut facts = ready();
    (facts.is_suspended, facts.ledger_now_ms, facts.has_token_key) = (true, 0, false);
    let codes: Vec<_> = before_publishing(findings(&facts)).into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["tenant_suspended"]);
}
