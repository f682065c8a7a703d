//! The cashier page: plain HTML without scripts, in Chinese where the browser asks for it and in
//! English elsewhere.

use kit::http::{HeaderMap, header};

use super::bank::{NoticePlan, Trade};
use crate::payment::PaymentState;

/// Ways to pay that the page offers, by the query of the form: a shop is tried with notices as they
/// really come.
const WAYS: [&str; 5] = ["", "notices=twice", "notices=late", "notices=forged", "notices=none"];

/// The plan that a query asks for: one word or several with a comma between. `None` for a word that
/// is not known, and for the plain form, by which the bank's own plan holds.
pub(super) fn plan(query: Option<&str>) -> Option<NoticePlan> {
    let mut words = query?.strip_prefix("notices=")?.split(',');
    words.try_fold(NoticePlan::PLAIN, |plan, word| {
        Some(match word {
            "twice" => NoticePlan { copies: 2, ..plan },
            "late" => NoticePlan { delay_ms: 60_000, ..plan },
            "forged" => NoticePlan { forged: 1, ..plan },
            "none" => NoticePlan { copies: 0, ..plan },
            "after_the_end" => NoticePlan { takes_late: true, ..plan },
            _ => return None,
        })
    })
}

/// How the page looks; it refers to nothing outside of itself.
const STYLE: &str = ":root{color-scheme:light dark}body{max-width:26rem;margin:0 auto;padding:1.5rem 1rem;\
                     font:1rem/1.5 system-ui,sans-serif}strong{font-size:1.5rem}form{margin:.5rem 0}\
                     button,a{display:block;width:100%;box-sizing:border-box;min-height:3rem;padding:.7rem 1rem;border:1px solid;\
                     border-radius:.75rem;background:none;color:inherit;font:inherit;text-align:center}\
                     form:first-of-type button,a{border-color:#166534;background:#166534;color:#fff;font-weight:700;\
                     text-decoration:none}";

/// The words of a page.
struct Words {
    language: &'static str,
    title: &'static str,
    amount: &'static str,
    /// In the order of [`WAYS`].
    pay: [&'static str; WAYS.len()],
    close: &'static str,
    paid: &'static str,
    closed: &'static str,
    back: &'static str,
    note: &'static str,
}

const ENGLISH: Words = Words {
    language: "en",
    title: "Simulated cashier",
    amount: "Amount",
    pay: [
        "Pay",
        "Pay, and the shop is told twice",
        "Pay, and the shop is told a minute later",
        "Pay, and a forged notice comes too",
        "Pay, and the shop is not told",
    ],
    close: "Do not pay",
    paid: "Paid.",
    closed: "This payment is closed.",
    back: "Back to the shop",
    note: "No real money is moved here.",
};

const CHINESE: Words = Words {
    language: "zh-CN",
    title: "模拟收银台",
    amount: "金额",
    pay: ["支付", "支付并重复通知商店", "支付并在一分钟后通知商店", "支付并附带伪造通知", "支付但不通知商店"],
    close: "放弃支付",
    paid: "已支付。",
    closed: "该支付已关闭。",
    back: "返回商店",
    note: "此处不会产生真实交易。",
};

fn words(headers: &HeaderMap) -> &'static Words {
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if asked.is_some_and(|asked| asked.starts_with("zh")) { &CHINESE } else { &ENGLISH }
}

/// Text that may stand anywhere in a page.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut page, character| {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            other => page.push(other),
        }
        page
    })
}

/// The path of a trade's page.
pub(super) fn path(account: &str, trade: &Trade) -> String {
    format!("/simulated/cashier/{account}/{}", trade.opening.number)
}

/// The page of a trade.
pub(super) fn page(account: &str, trade: &Trade, headers: &HeaderMap) -> String {
    let words = words(headers);
    let path = path(account, trade);
    let button = |action: &str, text: &str| {
        format!("<form method=\"post\" action=\"{path}/{action}\"><button>{text}</button></form>\n")
    };
    let ways = WAYS.iter().zip(words.pay);
    let mut buttons: String = ways.map(|(way, text)| button(&format!("pay?{way}"), text)).collect();
    buttons.push_str(&button("close", words.close));
    let back = &trade.opening.return_url;
    // Only a web page: a link of another scheme would be run by whoever follows it. A charge that
    // names none came from the shop at this very address.
    let is_web = back.starts_with("https://") || back.starts_with("http://");
    let back = if is_web { escaped(back) } else { "/".to_owned() };
    let back = format!("<p><a href=\"{back}\">{}</a></p>\n", words.back);
    let body = match trade.state {
        PaymentState::Waiting => buttons,
        PaymentState::Paid => format!("<p role=\"status\">{}</p>\n{back}", words.paid),
        PaymentState::Closed => format!("<p role=\"status\">{}</p>\n{back}", words.closed),
    };
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n\
         <body>\n<h1>{title}</h1>\n<p>{}</p>\n<p>{}: <strong>{}</strong></p>\n{body}<p><small>{}</small></p>\n\
         </body>\n</html>\n",
        words.language,
        escaped(&trade.opening.description),
        words.amount,
        trade.opening.amount,
        words.note,
        title = words.title,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_asked_for_by_words_and_an_unknown_word_asks_for_nothing() {
        let asked = |query: &str| plan(Some(query));
        assert!(WAYS.iter().skip(1).all(|way| asked(way).is_some()), "what the page offers is known");
        assert_eq!((plan(None), asked(""), asked("notices="), asked("notices=twice,odd")), (None, None, None, None));
        let both = NoticePlan { copies: 2, forged: 1, ..NoticePlan::PLAIN };
        assert_eq!(asked("notices=twice,forged"), Some(both));
        assert!(asked("notices=after_the_end").is_some_and(|plan| plan.takes_late));
    }
}
