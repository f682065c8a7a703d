//! Whose the folder is and who may read it; and that the same cause ends every command with the
//! same status and its own words.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    process::Command,
};

use kit::exit::Exit;
use verify::embedded::Embedded;

/// Nobody's, which no test runs as.
const OTHER_USER: u32 = 65_534;

/// Exit status and everything that a command said.
pub(crate) fn says(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A folder that was served, and is at rest.
fn served() -> Embedded {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    server.terminate().unwrap();
    assert!(server.wait(std::time::Duration::from_secs(60)).unwrap().success());
    embedded
}

/// The commands that need the folder.
fn commands(embedded: &Embedded) -> Vec<(&'static str, Command)> {
    let file = embedded.scratch().join("sale.toml");
    fs::write(&file, embedded.program_says("example").unwrap()).unwrap();
    let with = |name: &'static str, arguments: &[&str]| {
        let mut command = embedded.command(name);
        command.args(arguments);
        (name, command)
    };
    vec![
        with("serve", &embedded.ports().each_ref().map(String::as_str)),
        with("token", &["42"]),
        with("publish", &[&file.to_string_lossy()]),
        with("cancel", &["77"]),
        with("expire", &["--older-than", "1"]),
        with("audit", &[]),
    ]
}

/// Every command that needs the folder ends with this status, and says these words and none of
/// those.
fn all_refuse(embedded: &Embedded, exit: Exit, words: &[&str], not: &[&str]) {
    for (name, mut command) in commands(embedded) {
        let (status, text) = says(&mut command);
        assert_eq!(status, Some(exit.status().into()), "{name}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{name}: {text}");
        assert!(!not.iter().any(|word| text.contains(word)), "{name}: {text}");
    }
}

/// Databases hold who bought what, and the keys sign for anybody.
#[test]
fn nothing_in_the_folder_is_for_other_users() {
    let embedded = Embedded::new().unwrap();
    fs::create_dir(embedded.data()).unwrap();
    fs::set_permissions(embedded.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 022; exec \"$0\" \"$@\""]).arg(embedded.program());
    let mut command = embedded.command_by(shell, "serve");
    command.args(embedded.ports());
    let mut server = verify::child::Child::start("flashsale", command, embedded.scratch()).unwrap();
    embedded.wait_selling(&mut server).unwrap();
    assert_eq!(embedded.buy(&embedded.token(42).unwrap(), "first").unwrap().0, 202);
    let mut seen = vec![(embedded.data(), fs::metadata(embedded.data()).unwrap().mode())];
    for entry in fs::read_dir(embedded.data()).unwrap() {
        let entry = entry.unwrap();
        seen.push((entry.path(), entry.metadata().unwrap().mode()));
    }
    assert!(seen.len() > 8, "{seen:?}");
    for (path, mode) in seen {
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_folder_of_another_user_is_called_that_by_every_command() {
    let embedded = served();
    if chown(embedded.data(), Some(OTHER_USER), None).is_err() {
        return; // Only root may give files away.
    }
    all_refuse(&embedded, Exit::Permission, &["belongs to user 65534"], &["there is no data folder", "room"]);
}

#[test]
fn a_folder_that_others_may_write_to_is_refused_by_every_command() {
    let embedded = served();
    fs::set_permissions(embedded.data(), fs::Permissions::from_mode(0o777)).unwrap();
    all_refuse(&embedded, Exit::Permission, &["may be written to by other users", "chmod"], &[]);
}

#[test]
fn a_folder_of_a_newer_format_is_called_that_by_every_command() {
    let embedded = served();
    fs::write(embedded.data().join("format"), "99\n").unwrap();
    all_refuse(&embedded, Exit::Mismatch, &["newer"], &[]);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let embedded = served();
    fs::set_permissions(embedded.data().join("token.key"), fs::Permissions::from_mode(0o644)).unwrap();
    for mut command in commands(&embedded).into_iter().filter(|(name, _)| matches!(*name, "serve" | "token")) {
        let (status, text) = says(&mut command.1);
        assert_eq!(status, Some(Exit::Permission.status().into()), "{text}");
        assert!(text.contains("other users may read it") && text.contains("chmod 600"), "{text}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_called_that() {
    let embedded = Embedded::new().unwrap();
    for (name, mut command) in commands(&embedded).into_iter().filter(|(name, _)| *name != "serve") {
        let (status, text) = says(&mut command);
        assert_eq!(status, Some(Exit::NoInput.status().into()), "{name}: {text}");
        assert!(text.contains("there is no data folder"), "{name}: {text}");
    }
}

/// Runs a command on the folder in a world of mounts of its own, after this line of shell.
fn says_mounted(embedded: &Embedded, line: &str, name: &str) -> (Option<i32>, String) {
    let mut starter = Command::new("unshare");
    let script = format!("set -e; data={}; {line}; exec \"$0\" \"$@\"", embedded.data().display());
    starter.args(["--mount", "sh", "-c", &script]).arg(embedded.program());
    let mut command = embedded.command_by(starter, name);
    match name {
        "serve" => command.args(embedded.ports()),
        "cancel" => command.arg("77"),
        _ => &mut command,
    };
    says(&mut command)
}

/// Only root may mount.
fn may_mount() -> bool {
    Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success())
}

#[test]
fn a_read_only_copy_is_called_that() {
    if !may_mount() {
        return;
    }
    let embedded = served();
    for name in ["serve", "cancel", "audit"] {
        let (status, text) = says_mounted(&embedded, "mount --bind -o ro \"$data\" \"$data\"", name);
        assert_eq!(status, Some(Exit::Disk.status().into()), "{name}: {text}");
        assert!(text.contains("read-only") && !text.contains("room"), "{name}: {text}");
    }
}

#[test]
fn a_full_disk_is_called_that() {
    if !may_mount() {
        return;
    }
    let fill = "mkdir \"$data\"; mount -t tmpfs -o size=SIZE,mode=700 none \"$data\"; df \"$data\" >&2";
    // From no room for the format to hardly any for the databases.
    for size in ["4k", "64k", "128k", "256k"] {
        let (status, text) = says_mounted(&Embedded::new().unwrap(), &fill.replace("SIZE", size), "serve");
        assert_eq!(status, Some(Exit::Disk.status().into()), "{size}: {text}");
        assert!(text.contains("is full") && !text.contains("this user"), "{size}: {text}");
    }
}

/// A token on a terminal is a secret for all to see: with the demo, once; the line that is shown
/// instead works as it is typed.
#[test]
fn a_token_is_printed_with_a_new_demo_only() {
    let embedded = Embedded::new().unwrap();
    let greeting = |embedded: &Embedded| {
        let mut server = embedded.serve().unwrap();
        embedded.wait_selling(&mut server).unwrap();
        let text = server.tail();
        let token = text.lines().find_map(|line| line.trim().strip_prefix("TOKEN=")).unwrap().to_owned();
        (server, token, text)
    };
    let (mut server, token, _) = greeting(&embedded);
    assert!(token.starts_with("eyJ"), "{token}");
    server.terminate().unwrap();
    server.wait(std::time::Duration::from_secs(60)).unwrap();
    let (_server, shown, text) = greeting(&embedded);
    assert!(!text.contains("eyJ"), "{text}");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("TOKEN={shown}; echo \"$TOKEN\""));
    let (status, token) = says(&mut shell);
    assert_eq!(status, Some(0), "{token}");
    assert_eq!(embedded.buy(token.trim(), "typed").unwrap().0, 202);
}
