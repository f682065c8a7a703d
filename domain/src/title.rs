//! What may be a title: text that people see. Lengths are counted in characters, as people count.

/// Characters of a title, at most. Titles are stored in no database column.
pub const TITLE_MAX: usize = 200;

/// Characters that take no ink although they are no blanks: `Default_Ignorable_Code_Point` of
/// Unicode 17 (joiners, marks of direction, variation selectors, tags, fillers) and the blank
/// Braille pattern.
#[rustfmt::skip]
const INVISIBLE: [(char, char); 18] = [
    ('\u{00ad}', '\u{00ad}'), ('\u{034f}', '\u{034f}'), ('\u{061c}', '\u{061c}'), ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'), ('\u{180b}', '\u{180f}'), ('\u{200b}', '\u{200f}'), ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'), ('\u{2800}', '\u{2800}'), ('\u{3164}', '\u{3164}'), ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'), ('\u{ffa0}', '\u{ffa0}'), ('\u{fff0}', '\u{fff8}'), ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'), ('\u{e0000}', '\u{e0fff}'),
];

/// What is wrong with a title, and what would be right.
pub(crate) fn flaw(title: &str) -> Option<String> {
    let length = title.chars().count();
    if length > TITLE_MAX {
        Some(format!("has {length} characters; give 1 to {TITLE_MAX}"))
    } else if title.chars().any(breaks_a_line) {
        Some("holds a control character or a line break; give text in one line".into())
    } else if !title.chars().any(is_visible) {
        Some(format!("shows nothing; give 1 to {TITLE_MAX} characters, one of them visible"))
    } else {
        None
    }
}

fn breaks_a_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn is_visible(character: char) -> bool {
    let is_ignorable = || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&character));
    !character.is_whitespace() && !is_ignorable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw_of(title: &str) -> String {
        flaw(title).unwrap_or_default()
    }

    /// A title shows something: blanks, joiners, marks of direction and fillers alone do not.
    #[test]
    fn a_title_of_invisible_characters_is_refused() {
        for title in ["", " ", "\u{a0}\u{3000}", "\u{200b}\u{200d}", "\u{202e}\u{2066}", "\u{3164}", "\u{feff}\u{2800}"]
        {
            assert_eq!(flaw_of(title), "shows nothing; give 1 to 200 characters, one of them visible", "{title:?}");
        }
        for title in ["x", "元", "🎁", "\u{200f}שלום", "👨\u{200d}👩"] {
            assert_eq!(flaw_of(title), "", "{title:?}");
        }
    }

    #[test]
    fn a_title_of_several_lines_or_with_controls_is_refused() {
        for title in ["a\nb", "a\u{0}", "\u{1b}[31mred", "a\u{85}b", "a\u{2028}b", "\u{7f}"] {
            assert!(flaw_of(title).starts_with("holds a control character"), "{title:?}");
        }
    }

    /// Characters are counted, not bytes: a title in Chinese may be as long as one in English.
    #[test]
    fn a_title_is_as_long_in_every_script() {
        for character in ["x", "é", "元", "🎁"] {
            assert_eq!(flaw_of(&character.repeat(TITLE_MAX)), "", "{character}");
            assert_eq!(flaw_of(&character.repeat(TITLE_MAX + 1)), "has 201 characters; give 1 to 200");
        }
    }
}
