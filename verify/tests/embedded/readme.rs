//! The commands of the README, run as they stand there: copied line by line into a shell, beside a
//! server that began on an empty folder. What a person copies from an answer (`fsk_...`) is taken
//! from what the commands before it said.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child as Process, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use verify::{child::Child, embedded::Embedded, merchants::Merchants};

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
const ENGLISH: &str = include_str!("../../../README.md");
const CHINESE: &str = include_str!("../../../README.zh-CN.md");

/// What the shell says when a block is done.
const DONE: &str = "the block is done";

/// The blocks of commands of the section with this heading.
fn blocks<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section.split("\n```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap()).collect()
}

/// Commands without their remarks, which are in the language of the page.
fn commands(block: &str) -> Vec<&str> {
    block.lines().map(|line| line.split(" #").next().unwrap().trim_end()).collect()
}

/// A shell in a folder, as somebody has it open all the while; it ends at the first command that
/// fails.
struct Shell {
    process: Process,
    input: ChildStdin,
    said: BufReader<File>,
    /// All that it said.
    text: String,
}

impl Shell {
    /// `program`: what it calls `flashsale`.
    fn open(folder: &Path, program: &Path) -> Self {
        let output = folder.join("shell.log");
        let file = File::create(&output).unwrap();
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-s"]).current_dir(folder).env_remove("FLASHSALE_API_KEY");
        command.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let said = BufReader::new(File::open(&output).unwrap());
        let mut shell = Self { process, input, said, text: String::new() };
        // A refusal ends the shell, as a wrong command does.
        let program = program.display();
        shell.types(&format!(
            "flashsale() {{ {program} \"$@\"; }}\ncurl() {{ command curl --fail-with-body --silent --show-error \"$@\"; echo; }}"
        ));
        shell
    }

    fn types(&mut self, block: &str) {
        writeln!(self.input, "{block}\necho; echo {DONE}").unwrap();
        let (begin, mut silent) = (self.text.len(), Duration::ZERO);
        while !self.text[begin..].ends_with(&format!("\n{DONE}\n")) {
            if self.said.read_line(&mut self.text).unwrap() == 0 {
                assert!(self.process.try_wait().unwrap().is_none(), "{block}\n\n{}", &self.text[begin..]);
                assert!(silent < PATIENCE, "nothing for a minute: {block}\n\n{}", &self.text[begin..]);
                silent += POLL;
                thread::sleep(POLL);
            } else {
                silent = Duration::ZERO;
            }
        }
    }

    /// The last word that began so: what a person would copy.
    fn copied(&self, begin: &str) -> &str {
        let from = self.text.rfind(begin).unwrap_or_else(|| panic!("no {begin} in {}", self.text));
        let word = &self.text[from..];
        word.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_-".contains(letter)).next().unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _is_gone = self.process.kill();
        let _status = self.process.wait();
    }
}

/// From the empty folder to two further shops: one by the program, one by `curl` alone; each has a
/// user, a key and ten products.
#[test]
fn the_readmes_second_shop_is_made_by_its_commands() {
    let english = blocks(ENGLISH, "A second shop, its people and its products");
    let chinese = blocks(CHINESE, "第二家店：人员、密钥与商品");
    for (english, chinese) in english.iter().zip(&chinese) {
        assert_eq!(commands(english), commands(chinese), "one page per language, the same commands");
    }
    assert_eq!(english.len(), chinese.len());

    let embedded = Embedded::new().unwrap();
    let folder = embedded.scratch();
    let mut serve = Command::new(embedded.program());
    serve.arg("serve").args(embedded.ports()).current_dir(folder).env("RUST_BACKTRACE", "0");
    let mut server = Child::start("flashsale", serve, folder).unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let mut shell = Shell::open(folder, &embedded.program());
    let url = format!("http://{}", embedded.address());
    for block in english {
        let mut block = block.replace("http://127.0.0.1:8080", &url).replace("/etc/bash_completion.d/", "");
        for begin in ["fsk_", "fsi_"] {
            let blank = format!("{begin}...");
            if block.contains(&blank) {
                block = block.replace(&blank, shell.copied(begin));
            }
        }
        shell.types(&block);
    }
    assert!(shell.text.contains("\"tokens\""), "a buyer has a token: {}", shell.text);
    assert!(fs::read_to_string(folder.join("flashsale")).unwrap().contains("complete"), "completions");

    let key = fs::read_to_string(folder.join("flashsale-data/control.key")).unwrap().trim().to_owned();
    let merchants = Merchants { address: embedded.address(), key };
    for (tenant, code) in [("8", "kettles"), ("9", "pots")] {
        let shown = merchants.ask("GET", &format!("/v1/tenants/{tenant}"), "", &Value::Null).unwrap().1;
        assert_eq!((&shown["code"], &shown["state"]), (&json!(code), &json!("open")), "{shown}");
        for (list, count) in [("users", 1), ("keys", 1), ("products?limit=100", 10)] {
            let page = merchants.ask("GET", &format!("/v1/{list}"), tenant, &Value::Null).unwrap().1;
            assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{code}: {list}: {page}");
        }
    }
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
}
