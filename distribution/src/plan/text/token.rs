//! Cuts a text into tokens with their places. `#` begins a comment.

use super::Flaw;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Word,
    Number,
    Quoted,
    Sign,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) what: What,
    pub(super) text: String,
    pub(super) line: usize,
    pub(super) column: usize,
    /// It is the first of its line.
    pub(super) first: bool,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Flaw> {
    let mut all: Vec<Token> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            if c == '#' {
                break;
            }
            if c.is_whitespace() {
                at += 1;
                continue;
            }
            let run = |of: &dyn Fn(char) -> bool| chars[at..].iter().take_while(|c| of(**c)).count();
            let (what, length) = if c.is_ascii_digit() {
                (What::Number, run(&|c| c.is_ascii_digit() || c == '.'))
            } else if c.is_alphabetic() {
                (What::Word, run(&|c| c.is_alphanumeric() || c == '_' || c == '-'))
            } else if c == '"' {
                let inner = chars[at + 1..].iter().take_while(|c| **c != '"').count();
                if at + 1 + inner >= chars.len() {
                    let what = "the quotes are not closed: write \" at the end of the name".to_owned();
                    return Err(Flaw { line: number + 1, column: at + 1, what });
                }
                (What::Quoted, inner + 2)
            } else {
                let two = matches!((c, chars.get(at + 1)), ('>', Some('=')) | ('-', Some('>')));
                (What::Sign, if two { 2 } else { 1 })
            };
            let mut token: String = chars[at..at + length].iter().collect();
            if what == What::Quoted {
                token = token.trim_matches('"').to_owned();
            } else if token == "->" {
                "→".clone_into(&mut token);
            }
            let first = all.last().is_none_or(|last| last.line != number + 1);
            all.push(Token { what, text: token, line: number + 1, column: at + 1, first });
            at += length;
        }
    }
    Ok(all)
}
