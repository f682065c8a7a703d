//! The active currencies of ISO 4217 (list one, maintained by SIX Financial Information, as of
//! November 2026) by the decimal places of their minor unit. Codes without a minor unit are left
//! out: metals, bond units, `XDR`, `XSU`, `XUA`, `XTS`, `XXX`.

/// Each list in alphabetical order.
const BY_DECIMALS: [(u8, &[&str]); 4] = [(0, NONE), (2, TWO), (3, THREE), (4, FOUR)];

#[rustfmt::skip]
const NONE: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
];
#[rustfmt::skip]
const TWO: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB", "BOV",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CNY", "COP", "COU", "CRC", "CUP",
    "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD",
    "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR",
    "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP",
    "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "USN", "UYU",
    "UZS", "VED", "VES", "WST", "XAD", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
];
const THREE: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
const FOUR: &[&str] = &["CLF", "UYW"];

/// Decimal places of this code's minor unit; `None` for a code that the lists do not hold.
pub(super) fn decimals(code: &str) -> Option<u8> {
    let holds = |list: &[&str]| list.binary_search(&code).is_ok();
    BY_DECIMALS.iter().find(|(_, list)| holds(list)).map(|(decimals, _)| *decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search is by halves, so that a list out of order would forget currencies.
    #[test]
    fn each_list_is_in_order_and_no_code_stands_twice() {
        let mut all: Vec<&str> = BY_DECIMALS.iter().flat_map(|(_, list)| *list).copied().collect();
        assert!(BY_DECIMALS.iter().all(|(_, list)| list.is_sorted()));
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(all.iter().all(|code| decimals(code).is_some()));
    }

    #[test]
    fn what_was_withdrawn_or_is_no_money_is_not_known() {
        for code in ["DEM", "HRK", "BGN", "ZWL", "ANG", "XAU", "XXX", "XTS", "ZZZ", "AAA"] {
            assert_eq!(decimals(code), None, "{code}");
        }
        assert_eq!(["CNY", "JPY", "KWD", "CLF"].map(decimals), [Some(2), Some(0), Some(3), Some(4)]);
    }
}
