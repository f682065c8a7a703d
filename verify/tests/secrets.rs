//! Goal: no secret stands where other users of the machine read it: in the arguments of a program.
//! Method: every program that is started is watched (strace); and each program is handed a secret
//! as a flag and must refuse it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

use std::{fs, path::Path, process::Command};

use kit::{
    clock::{Clock, SystemClock},
    exit::Exit,
    token::{BuyerClaims, Tenants, TokenKey, TokenVerifier},
};

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
/// The bytes of [`SECRET`] in the digits that tools for signing take.
const DIGITS: &str = "30313233343536373839616263646566";

#[test]
fn signing_a_token_by_hand_shows_the_secret_to_no_program() {
    let temp = tempfile::tempdir().unwrap();
    let trace = temp.path().join("trace");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack/token");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "4096", "-e", "trace=execve", "-e", "signal=none", "-o"]).arg(&trace);
    strace.arg(script).args(["7", "42"]);
    strace.env("FLASHSALE_TOKEN_KID", "a").env("FLASHSALE_TOKEN_SECRET", SECRET);
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verifier = TokenVerifier::new(vec![TokenKey::new("a", SECRET, Tenants::All).unwrap()]).unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    let claims = verifier.verify(token.trim(), SystemClock::new().now_ms()).unwrap();
    assert!(matches!(claims, BuyerClaims { tenant: 7, buyer: 42, .. }), "{claims:?}");
    let started = fs::read_to_string(&trace).unwrap();
    assert!(started.contains("sha256sum"), "{started}");
    for secret in [SECRET, DIGITS] {
        assert!(!started.to_lowercase().contains(&secret.to_lowercase()), "{started}");
    }
}

#[test]
fn every_program_refuses_a_secret_among_its_arguments() {
    let programs = verify::services::built_programs().unwrap();
    let refused = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(programs.join(program));
        let given = ["FLASHSALE_REDIS_URL", "FLASHSALE_MYSQL_URL", "FLASHSALE_KAFKA_BROKERS"];
        command.envs(given.map(|name| (name, "x://nowhere")));
        command
            .env("FLASHSALE_TOKEN_KID", "a")
            .env("FLASHSALE_TOKEN_SECRET", SECRET)
            .env("FLASHSALE_TOKEN_TENANTS", "*");
        let output = command.args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(Exit::Usage.status().into()), "{program}: {text}");
        assert!(text.contains("file:PATH") && !text.contains("hunter2"), "{program}: {text}");
    };
    refused("engine", &["--token-secret", "hunter2hunter2hunter2"]);
    refused("engine", &["--redis-url", "redis://:hunter2@127.0.0.1:1"]);
    refused("order-writer", &["--mysql-url", "mysql://root:hunter2@127.0.0.1:1"]);
    refused("loadtest", &["orders", "--mysql-url", "mysql://root:hunter2@127.0.0.1:1"]);
}
