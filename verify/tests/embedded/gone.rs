//! A server whose data folder goes away, and one whose terminal does.

use std::{fs, process::Command, time::Duration};

use kit::exit::Exit;
use verify::embedded::Embedded;

const PATIENCE: Duration = Duration::from_secs(60);

/// Removed, or another one in its place: whatever is accepted from then on would be lost with the
/// process, so it ends and says so.
#[test]
fn a_shop_whose_folder_is_removed_or_replaced_ends_and_says_so() {
    for replaced in [false, true] {
        let embedded = Embedded::new().unwrap();
        let mut server = embedded.serve().unwrap();
        embedded.wait_selling(&mut server).unwrap();
        assert_eq!(embedded.buy(&embedded.token(42).unwrap(), "first").unwrap().0, 202);
        if replaced {
            fs::rename(embedded.data(), embedded.scratch().join("aside")).unwrap();
            let copied =
                Command::new("cp").arg("-a").arg(embedded.scratch().join("aside")).arg(embedded.data()).status();
            assert!(copied.unwrap().success());
        } else {
            fs::remove_dir_all(embedded.data()).unwrap();
        }
        let status = server.wait(PATIENCE).unwrap();
        let text = server.tail();
        assert_eq!(status.code(), Some(Exit::Disk.status().into()), "{text}");
        assert!(text.contains("removed or replaced while it sold"), "{text}");
        // What stands in the folder's place is not ours: not even the note of this server is taken
        // from it.
        assert_eq!(embedded.data().join("server.json").exists(), replaced);
    }
}

/// The terminal is closed: what was accepted is written, and the note of the server is gone, as
/// after SIGTERM.
#[test]
fn a_hangup_drains_as_sigterm_does() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    for _ in 0..2 {
        let sent = Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    assert!(!embedded.data().join("server.json").exists());
}

/// The same where nobody is left to read: the program's last words go to a terminal that is closed.
#[test]
fn a_shop_whose_terminal_is_closed_drains() {
    let embedded = Embedded::new().unwrap();
    // `script` is the terminal; with it the other side of the server's output goes.
    let mut terminal = Command::new("script");
    let ports = embedded.ports().join(" ");
    let (program, data) = (embedded.program(), embedded.data());
    let line = format!("RUST_LOG=info exec {} serve --data {} {ports}", program.display(), data.display());
    terminal.args(["-q", "-c", &line, "/dev/null"]);
    let mut terminal = verify::child::Child::start("script", terminal, embedded.scratch()).unwrap();
    embedded.wait_selling(&mut terminal).unwrap();
    let server = embedded.running().unwrap();
    terminal.kill().unwrap();
    verify::child::wait_until("the server has ended", PATIENCE, || Ok(!fs::exists(format!("/proc/{server}"))?))
        .unwrap();
    assert!(!embedded.data().join("server.json").exists(), "it drained");
}
