//! Every command of the command line, found by walking over it.

use clap::Command as Clap;

use super::*;

/// Commands that print no answer, and what they do instead.
const NO_ANSWER: [(&str, &str); 5] = [
    ("serve", "serves"),
    ("config", "prints a file of its own format"),
    ("example", "prints a file of its own format"),
    ("completions", "prints a file of its own format"),
    ("load", "writes its report as JSON to the file that `--json FILE` names"),
];

/// All commands that do something, by their words.
fn leaves(of: &Clap, words: &str, found: &mut Vec<(String, Clap)>) {
    let mut is_leaf = true;
    for command in of.get_subcommands().filter(|command| command.get_name() != "help") {
        is_leaf = false;
        leaves(command, &format!("{words} {}", command.get_name()), found);
    }
    if is_leaf {
        found.push((words.trim().to_owned(), of.clone()));
    }
}

fn all() -> Vec<(String, Clap)> {
    let (mut cli, mut found) = (Cli::command(), Vec::new());
    cli.build();
    leaves(&cli, "", &mut found);
    found
}

#[test]
fn every_command_prints_its_answer_as_json_when_asked_to() {
    let found = all();
    assert!(found.len() > 25, "{}", found.len());
    for (words, command) in &found {
        let json = command.get_arguments().find(|argument| argument.get_long() == Some("json"));
        let is_flag = json.is_some_and(|json| !json.get_action().takes_values());
        let is_excused = NO_ANSWER.iter().any(|(name, _)| name == words);
        assert!(is_flag != is_excused, "`{words}`: --json is {is_flag}, excused is {is_excused}");
    }
}

#[test]
fn every_file_that_is_read_may_be_standard_input() {
    let mut files = 0;
    for (words, command) in all() {
        for argument in
            command.get_arguments().filter(|argument| ["file", "config"].contains(&argument.get_id().as_str()))
        {
            let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("`-` reads standard input"), "`{words}`: {help}");
            files += 1;
        }
    }
    assert!(files > 25, "{files}");
}

#[test]
fn an_answer_is_json_or_words() {
    let told = |json| AsJson { json }.said("cancelled 5\n".to_owned());
    assert_eq!((told(false).as_str(), told(true).as_str()), ("cancelled 5\n", "{\n  \"done\": \"cancelled 5\"\n}\n"));
    let found = verdict(AsJson { json: true }, Audit { text: "fine".into(), holds: true }).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), json!({ "holds": true, "text": "fine" }));
    let damaged = verdict(AsJson { json: false }, Audit { text: "damage".into(), holds: false });
    assert!(matches!(damaged, Err(Failure::Damaged(text)) if text == "damage"));
}
