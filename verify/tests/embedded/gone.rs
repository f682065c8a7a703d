//! A shop whose folder goes away, and a shop whose terminal does.

use std::{fs, process::Command, time::Duration};

use kit::exit::Exit;
use verify::folder::Folder;

const PATIENCE: Duration = Duration::from_secs(60);

/// Removed, or another one in its place: whatever is accepted from then on would be lost with the
/// process, so it ends and says so.
#[test]
fn a_shop_whose_folder_is_removed_or_replaced_ends_and_says_so() {
    for replaced in [false, true] {
        let folder = Folder::new().unwrap();
        let mut server = folder.serve().unwrap();
        folder.wait_selling(&mut server).unwrap();
        assert_eq!(folder.buy(&folder.token(42).unwrap(), "first").unwrap().0, 202);
        if replaced {
            fs::rename(folder.data(), folder.room().join("aside")).unwrap();
            let copied = Command::new("cp").arg("-a").arg(folder.room().join("aside")).arg(folder.data()).status();
            assert!(copied.unwrap().success());
        } else {
            fs::remove_dir_all(folder.data()).unwrap();
        }
        let status = server.wait(PATIENCE).unwrap();
        let text = server.tail();
        assert_eq!(status.code(), Some(Exit::Disk.status().into()), "{text}");
        assert!(text.contains("removed or replaced while it sold"), "{text}");
        // What stands in the folder's place is not ours: not even the note of this server is taken
        // from it.
        assert_eq!(folder.data().join("server.json").exists(), replaced);
    }
}

/// The terminal is closed: what was accepted is written, and the note of the server is gone, as
/// after SIGTERM.
#[test]
fn a_hangup_drains_as_sigterm_does() {
    let folder = Folder::new().unwrap();
    let mut server = folder.serve().unwrap();
    folder.wait_selling(&mut server).unwrap();
    for _ in 0..2 {
        let sent = Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    assert!(!folder.data().join("server.json").exists());
}

/// The same where nobody is left to read: the program's last words go to a terminal that is closed.
#[test]
fn a_shop_whose_terminal_is_closed_drains() {
    let folder = Folder::new().unwrap();
    // `script` is the terminal; with it the other side of the shop's output goes.
    let mut terminal = Command::new("script");
    let ports = folder.ports().join(" ");
    let (program, data) = (folder.program(), folder.data());
    let line = format!("RUST_LOG=info exec {} serve --data {} {ports}", program.display(), data.display());
    terminal.args(["-q", "-c", &line, "/dev/null"]);
    let mut terminal = verify::child::Child::start("script", terminal, folder.room()).unwrap();
    folder.wait_selling(&mut terminal).unwrap();
    let shop = folder.running().unwrap();
    terminal.kill().unwrap();
    verify::child::wait_until("the shop has ended", PATIENCE, || Ok(!fs::exists(format!("/proc/{shop}"))?)).unwrap();
    assert!(!folder.data().join("server.json").exists(), "it drained");
}
