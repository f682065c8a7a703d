//! Cells of CSV files (RFC 4180), which spreadsheets open.

/// Adds a text as a cell. One that a spreadsheet would take for a formula begins with an
/// apostrophe, which it shows as text.
pub fn cell(text: &str, out: &mut String) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !text.contains([',', '"', '\n', '\r']) {
        return out.push_str(text);
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let of = |text| {
            let mut out = String::new();
            cell(text, &mut out);
            out
        };
        assert_eq!(of("plain 7"), "plain 7");
        assert_eq!(of(r#"{"a":1}"#), r#""{""a"":1}""#);
        assert_eq!(of("a,b\nc"), "\"a,b\nc\"");
        for formula in ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"] {
            assert_eq!(of(formula), format!("\"'{formula}\""));
        }
        assert_eq!(of(""), "");
    }
}
