//! What may not stand on a poster. The rules are data, `poster-rules.json`, each with the words
//! that it refuses and why. Engineering defaults, not legal advice.

use serde::Deserialize;

/// The rules that are in force, as published.
pub const RULES: &str = include_str!("../poster-rules.json");

/// Rules of one version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosterRules {
    /// Rises with each change.
    pub version: u32,
    /// All of them.
    pub rules: Vec<PosterRule>,
}

/// A rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosterRule {
    /// Its name.
    pub rule: String,
    /// Why, and what to write instead.
    pub why: String,
    /// What it refuses, whatever stands between the characters.
    pub words: Vec<String>,
}

/// Words that a rule refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw<'a> {
    /// The rule.
    pub rule: &'a str,
    /// Why, and what to write instead.
    pub why: &'a str,
    /// As the poster has it.
    pub found: String,
    /// Characters before it.
    pub at: usize,
}

/// The rules do not read.
#[derive(Debug, thiserror::Error)]
#[error("the rules of posters do not read: {0}")]
pub struct BadRules(#[from] serde_json::Error);

/// Reads the rules that this version brings.
///
/// # Errors
/// A damaged file.
pub fn rules() -> Result<PosterRules, BadRules> {
    Ok(serde_json::from_str(RULES)?)
}

impl PosterRules {
    /// All that the rules refuse in a text, in the order of the text. Blanks, punctuation and marks
    /// between characters hide nothing, nor do capitals and characters of full width.
    pub fn flaws(&self, text: &str) -> Vec<Flaw<'_>> {
        let plain = plain(text);
        let mut flaws = Vec::new();
        for rule in &self.rules {
            for word in &rule.words {
                let word: Vec<char> = self::plain(word).into_iter().map(|(character, _)| character).collect();
                let windows = plain.windows(word.len().max(1)).enumerate();
                for (begins, found) in windows.filter(|(_, found)| found.iter().map(|(one, _)| one).eq(&word)) {
                    let (Some((_, first)), Some((_, last))) = (found.first(), found.last()) else { continue };
                    if is_inside_word(text, *first, *last) {
                        continue;
                    }
                    let found = text.chars().skip(*first).take(last + 1 - first).collect();
                    flaws.push((begins, Flaw { rule: &rule.rule, why: &rule.why, found, at: *first }));
                }
            }
        }
        flaws.sort_by_key(|(begins, flaw)| (*begins, flaw.rule));
        flaws.into_iter().map(|(_, flaw)| flaw).collect()
    }
}

/// The letters and digits of a text, small and of usual width, each with its place.
fn plain(text: &str) -> Vec<(char, usize)> {
    let usual = |character: char| match u32::from(character) {
        // The block of full-width forms repeats ASCII from `!` on.
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(character),
        _ => character,
    };
    let small = text.chars().map(usual).enumerate();
    let small = small.flat_map(|(at, character)| character.to_lowercase().map(move |small| (small, at)));
    small.filter(|(character, _)| character.is_alphanumeric()).collect()
}

/// Whether a find in Latin letters is a part of a longer word.
fn is_inside_word(text: &str, first: usize, last: usize) -> bool {
    let is_latin =
        |at: Option<usize>| at.and_then(|at| text.chars().nth(at)).is_some_and(|one| one.is_ascii_alphabetic());
    is_latin(Some(first)) && is_latin(first.checked_sub(1)) || is_latin(Some(last)) && is_latin(last.checked_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_each_rule_is_refused_by_that_rule() {
        let rules = rules().unwrap();
        for rule in &rules.rules {
            assert!(!rule.why.is_empty() && !rule.words.is_empty(), "{}", rule.rule);
            for word in &rule.words {
                let flaws = rules.flaws(&format!("好茶 {word}, 99"));
                assert!(flaws.iter().any(|flaw| flaw.rule == rule.rule && flaw.found == *word), "{word}: {flaws:?}");
            }
        }
    }

    #[test]
    fn what_is_hidden_between_marks_capitals_and_wide_letters_is_found_where_it_stands() {
        let rules = rules().unwrap();
        let flaws = rules.flaws("新茶上市。躺 . 赚！ＰＡＳＳＩＶＥ\u{200b}Income");
        let found: Vec<_> = flaws.iter().map(|flaw| (flaw.rule, &*flaw.found, flaw.at)).collect();
        let expected = [("effortless-income", "躺 . 赚", 5), ("effortless-income", "ＰＡＳＳＩＶＥ\u{200b}Income", 11)];
        assert_eq!(found, expected);
    }

    #[test]
    fn plain_sentences_about_goods_pass() {
        let rules = rules().unwrap();
        for text in [
            "",
            "分享好茶，朋友买了你得 8% 佣金",
            "Recruiter's tea: 10% off",
            "Share tea and earn 8 % of what friends buy",
        ] {
            assert!(rules.flaws(text).is_empty(), "{text}");
        }
    }
}
