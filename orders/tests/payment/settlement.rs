//! Bills, and our books beside them.

use orders::payment::amount::write;
use orders::settlement::{BillError, Difference, Entry, Kind, Listed, alipay, compare, wechat};
use proptest::prelude::*;

const WECHAT: &str = include_str!("wechat_bill.csv");
const ALIPAY: &[u8] = include_bytes!("alipay_bill.gbk.csv");

fn entry(kind: Kind, number: &str, provider_number: &str, amount: i64) -> Entry {
    Entry { kind, number: number.to_owned(), provider_number: provider_number.to_owned(), amount }
}

#[test]
fn a_bill_of_wechat_is_read_with_backticks_and_commas_in_names() {
    let bill = wechat::read(WECHAT.as_bytes()).unwrap();
    let expected = [
        entry(Kind::Payment, "order_00000001", "4200000001", 8_888),
        entry(Kind::Refund, "refund_0000001", "4200000001", 888),
    ];
    assert_eq!((bill.entries.as_slice(), bill.fees_e5), (&expected[..], 48_000));
}

#[test]
fn a_bill_of_alipay_is_read_in_gbk_and_in_utf_8() {
    let bill = alipay::read(ALIPAY).unwrap();
    let expected = [
        entry(Kind::Payment, "order_00000001", "2026112822001400001", 8_888),
        entry(Kind::Refund, "refund_0000001", "2026112822001400001", 888),
    ];
    assert_eq!((bill.entries.as_slice(), bill.fees_e5), (&expected[..], 48_000));
    let utf_8 = "支付宝交易号,商户订单号,业务类型,订单金额（元）,退款批次号/请求号,服务费（元）\n\
                 2026112822001400001,order_00000001,交易,88.88,,-0.53\n\
                 #交易合计：1笔，商家实收共88.88元\n#退款合计：0笔，商家实收退款共0.00元\n";
    assert_eq!(alipay::read(utf_8.as_bytes()).unwrap().entries, expected[..1]);
}

#[test]
fn a_bill_that_is_cut_off_or_does_not_add_up_is_not_taken() {
    let lines: Vec<&str> = WECHAT.lines().collect();
    for end in 0..lines.len() - 1 {
        assert_eq!(wechat::read(lines[..end].join("\n").as_bytes()), Err(BillError::CutOff), "{end} lines");
    }
    let without_a_line = [lines[0], lines[1], lines[3], lines[4]].join("\n");
    assert!(matches!(wechat::read(without_a_line.as_bytes()), Err(BillError::Totals { of: "总交易单数", .. })));
    let other_amount = WECHAT.replace("`0.60%,`88.88,", "`0.60%,`88.87,");
    assert!(matches!(wechat::read(other_amount.as_bytes()), Err(BillError::Totals { of: "订单总金额", .. })));
    let other_back = WECHAT.replace("`0.00,`8.88,`\r", "`0.00,`8.87,`\r");
    assert!(matches!(wechat::read(other_back.as_bytes()), Err(BillError::Totals { of: "申请退款总金额", .. })));

    let end = ALIPAY.windows(2).rposition(|pair| pair == b"\r\n").unwrap();
    let ends: Vec<_> = (0..end).filter(|at| ALIPAY[*at] == b'\n').collect();
    for end in &ends[..ends.len() - 2] {
        assert_eq!(alipay::read(&ALIPAY[..*end]), Err(BillError::CutOff), "{end} bytes");
    }
    let (from, to) = (ends[3] + 1, ends[4] + 1);
    let without_a_line = [&ALIPAY[..from], &ALIPAY[to..]].concat();
    assert!(matches!(alipay::read(&without_a_line), Err(BillError::Totals { .. })));
}

#[test]
fn a_bill_that_cannot_be_read_names_the_line() {
    let wrong = |from: &str, to: &str| wechat::read(WECHAT.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert_eq!(wrong("商户订单号", "商户单号"), BillError::NoColumn("商户订单号"));
    assert_eq!(wrong("`SUCCESS", "`WON"), BillError::Kind(2));
    assert_eq!(wrong("`JSAPI,", ""), BillError::Fields(2));
    assert_eq!(wrong("`88.88,`0.00,`0,", "`88.88,`0.00,0,"), BillError::Fields(2));
    assert_eq!(wrong("`0.60%,`88.88", "`0.60%,`8e1"), BillError::Amount(2, "订单金额"));
    assert_eq!(alipay::read(b"a,b\n"), Err(BillError::NoColumn("支付宝交易号")));
}

#[test]
fn differences_are_listed_one_by_one_and_explain_the_totals() {
    let ours = [
        entry(Kind::Payment, "order_1", "", 100),
        entry(Kind::Payment, "order_2", "", 200),
        entry(Kind::Payment, "order_3", "", 300),
        entry(Kind::Refund, "refund_1", "", 50),
    ];
    let theirs = [
        entry(Kind::Payment, "order_1", "p1", 100),
        entry(Kind::Payment, "order_2", "p2", 201),
        entry(Kind::Payment, "order_4", "p4", 400),
        entry(Kind::Refund, "refund_1", "p1", 50),
        // Listed twice: refunded twice.
        entry(Kind::Refund, "refund_1", "p1", 50),
    ];
    let report = compare(&ours, &theirs).unwrap();
    let listed = |kind, number: &str, provider_number: &str, difference| Listed {
        kind,
        number: number.to_owned(),
        provider_number: provider_number.to_owned(),
        difference,
    };
    assert_eq!(
        report.differences,
        [
            listed(Kind::Payment, "order_2", "p2", Difference::AmountDiffers { ours: 200, theirs: 201 }),
            listed(Kind::Payment, "order_3", "", Difference::MissingThere { ours: 300 }),
            listed(Kind::Payment, "order_4", "p4", Difference::MissingHere { theirs: 400 }),
            listed(Kind::Refund, "refund_1", "p1", Difference::AmountDiffers { ours: 50, theirs: 100 }),
        ]
    );
    assert_eq!((report.ours.received, report.theirs.received), (600, 701));
    assert_eq!((report.ours.refunded, report.theirs.refunded), (50, 100));
    assert_eq!(report.difference(), 51);
    assert!(report.adds_up());
    let nothing = compare(&theirs, &theirs).unwrap();
    assert!(nothing.differences.is_empty() && nothing.difference() == 0 && nothing.adds_up());
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (any::<bool>(), 0_u32..40, 1_i64..10_000_000).prop_map(|(is_refund, number, amount)| {
        let (kind, name) = if is_refund { (Kind::Refund, "refund") } else { (Kind::Payment, "order") };
        entry(kind, &format!("{name}_{number:06}"), &format!("42{number}"), amount)
    });
    prop::collection::vec(one, 0..30)
}

fn sum(entries: &[Entry], kind: Kind) -> i64 {
    entries.iter().filter(|entry| entry.kind == kind).map(|entry| entry.amount).sum()
}

/// As WeChat writes it.
fn wechat_bill(entries: &[Entry], name: &str) -> String {
    let mut lines = vec![WECHAT.lines().next().unwrap().to_owned()];
    for entry in entries {
        let amount = write(entry.amount, 2);
        let (order, state, refund, paid, back) = match entry.kind {
            Kind::Payment => (entry.number.as_str(), "SUCCESS", "0", amount.as_str(), "0.00"),
            Kind::Refund => ("order_of_it", "REFUND", entry.number.as_str(), "0.00", amount.as_str()),
        };
        lines.push(format!(
            "`2026-11-28 10:00:00,`wx1,`1,`0,`,`{},`{order},`o,`JSAPI,`{state},`OTHERS,`CNY,`0.00,`0.00,`0,`{refund},\
             `0.00,`0.00,`,`,`{name},`,`0.00000,`0.60%,`{paid},`{back},`",
            entry.provider_number
        ));
    }
    lines.push(
        "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额".to_owned(),
    );
    let (paid, back) = (write(sum(entries, Kind::Payment), 2), write(sum(entries, Kind::Refund), 2));
    lines.push(format!("`{},`0.00,`0.00,`0.00,`0.00000,`{paid},`{back}", entries.len()));
    lines.join("\r\n")
}

/// As Alipay writes it, with the head of a bill in GBK.
fn alipay_bill(entries: &[Entry]) -> Vec<u8> {
    let lines: Vec<&[u8]> = ALIPAY.split(|byte| *byte == b'\n').collect();
    let mut bill = lines[..4].join(&b'\n');
    for entry in entries {
        let at = if entry.kind == Kind::Payment { 4 } else { 5 };
        let kind = lines[at].split(|byte| *byte == b',').nth(2).unwrap();
        let sign = if entry.kind == Kind::Payment { "" } else { "-" };
        let (order, refund) = match entry.kind {
            Kind::Payment => (entry.number.as_str(), ""),
            Kind::Refund => ("order_of_it", entry.number.as_str()),
        };
        bill.extend_from_slice(format!("\n{}\t,{order}\t,", entry.provider_number).as_bytes());
        bill.extend_from_slice(kind);
        let amount = write(entry.amount, 2);
        bill.extend_from_slice(format!(",\"a,b\",,,,,,,,{sign}{amount},,,,,,,,,,{refund}\t,0.00,,").as_bytes());
    }
    let count = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
    for (line, kind) in [(lines[7], Kind::Payment), (lines[8], Kind::Refund)] {
        let digit = line.iter().position(u8::is_ascii_digit).unwrap();
        bill.push(b'\n');
        bill.extend_from_slice(&line[..digit]);
        bill.extend_from_slice(count(kind).to_string().as_bytes());
        bill.extend_from_slice(&line[digit + 1..]);
    }
    bill
}

proptest! {
    #[test]
    fn a_bill_written_is_the_bill_read(entries in entries(), name in "[a-z, '\"|\\\\]{0,12}") {
        prop_assert_eq!(&wechat::read(wechat_bill(&entries, &name).as_bytes()).unwrap().entries, &entries);
        prop_assert_eq!(&alipay::read(&alipay_bill(&entries)).unwrap().entries, &entries);
    }

    #[test]
    fn no_bytes_make_a_reader_fail_otherwise_than_by_an_error(at in 0_usize..900, byte in any::<u8>()) {
        let mut bill = ALIPAY.to_vec();
        let place = at % bill.len();
        bill[place] = byte;
        drop(alipay::read(&bill));
        let mut bill = WECHAT.as_bytes().to_vec();
        let place = at % bill.len();
        bill[place] = byte;
        drop(wechat::read(&bill));
    }

    #[test]
    fn differences_always_explain_the_totals(ours in entries(), theirs in entries()) {
        let report = compare(&ours, &theirs).unwrap();
        prop_assert!(report.adds_up());
        prop_assert_eq!(report.ours.received, i128::from(sum(&ours, Kind::Payment)));
        prop_assert_eq!(report.theirs.refunded, i128::from(sum(&theirs, Kind::Refund)));
    }
}
