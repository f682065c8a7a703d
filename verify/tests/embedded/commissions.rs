//! Commissions, as a person would try them: the page that tells how is run.

use std::{fs, process::Command};

use verify::{child::Child, embedded::Embedded};

const PAGE: &str = include_str!("../../../docs/commissions.md");

/// The fenced blocks of a language on the page, one after the other.
fn blocks(language: &str) -> String {
    let fence = format!("```{language}\n");
    PAGE.split(&*fence).skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect()
}

/// A shared link, a flash-sale purchase, payment, refund of one of three units, maturity and
/// withdrawal: the page's commands print what the page says they print.
#[test]
fn the_page_of_commissions_does_what_it_says() {
    let embedded = Embedded::new().unwrap();
    let home = embedded.scratch().to_owned();
    let mut server = Command::new(embedded.program());
    server.arg("serve").args(embedded.ports()).current_dir(&home).env("RUST_LOG", "info");
    let mut server = Child::start("flashsale", server, &home).unwrap();
    embedded.wait_ready(&mut server).unwrap();

    let script = home.join("page.sh");
    fs::write(&script, format!("set -euo pipefail\n{}", blocks("sh"))).unwrap();
    let mut shell = Command::new("timeout");
    shell.args(["300", "bash"]).arg(&script).current_dir(&home).env("URL", format!("http://{}", embedded.address()));
    let programs = embedded.program().parent().unwrap().display().to_string();
    shell.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap_or_default()));
    let ran = shell.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}: {errors}\n{said}\n{}", ran.status, server.tail());
    assert_eq!(said, blocks("text"), "{errors}");
}
