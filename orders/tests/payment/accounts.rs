//! Goal: a shop's accounts are what its file says, or the file is refused whole, with all that is
//! wrong; a key is never shown.

use std::fs;

use kit::clock::ManualClock;
use kit::metrics::Registry;
use kit::random::SystemRandom;
use orders::payment::accounts::{AccountsError, EXAMPLE, FileAccounts, check};
use orders::payment::keys::Certificate;
use orders::payment::{Forged, Method, Provider as _, ProviderKind};
use orders::simulator::NoticePlan;
use tempfile::TempDir;

use super::rig::{APP, MERCHANT, NOW_MS, PUBLIC_KEY_ID, Rig, SEAL, SELLER, charge, key, number, public_text, tenant};

type Accounts = FileAccounts<ManualClock, SystemRandom>;

/// A folder with key files: `own`, `seal`, and each public key by its number.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("own"), key(0).private_base64().unwrap()).unwrap();
    fs::write(folder.path().join("seal"), SEAL).unwrap();
    for at in 0..5 {
        fs::write(folder.path().join(format!("public{at}")), public_text(at)).unwrap();
    }
    folder
}

fn open(folder: &TempDir, text: &str) -> Result<Accounts, AccountsError> {
    let path = folder.path().join("accounts.toml");
    fs::write(&path, text).unwrap();
    FileAccounts::open(Some(path), ManualClock::new(NOW_MS), SystemRandom::default())
}

fn wechat(tenant: u64, merchant: &str, (id, key): (&str, &str)) -> String {
    format!(
        "[[wechat]]\ntenant = \"{tenant}\"\nmerchant = \"{merchant}\"\napp_id = \"wx0000000000000001\"\n\
         certificate_serial = \"A1\"\nprivate_key = \"file:own\"\nseal_key = \"file:seal\"\n\
         public_keys = {{ {id} = \"file:{key}\" }}\n"
    )
}

const HEAD: &str = "public_url = \"https://shop.example\"\n";

fn flaws(error: AccountsError) -> Vec<String> {
    let AccountsError::Flawed { flaws, .. } = error else { panic!("{error}") };
    flaws.into_iter().map(|flaw| flaw.to_string()).collect()
}

/// The file that explains itself is taken as it is, and with its accounts uncommented.
#[tokio::test]
async fn the_example_is_taken() {
    let folder = folder();
    let none = open(&folder, EXAMPLE).unwrap();
    assert!(none.wechat(tenant(7)).is_none() && none.alipay(tenant(7)).is_none());
    let is_key = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("[[") || rest.starts_with("# ") || is_key(rest) => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text = EXAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    for (name, content) in [
        ("wechat-7/apiclient_key.pem", key(0).private_base64().unwrap()),
        ("wechat-7/apiv3.key", SEAL.to_owned() + "\n"),
        ("wechat-7/platform.pem", include_str!("openssl_certificate.pem").to_owned()),
        ("wechat-7/pub_key.pem", public_text(2)),
        ("wechat-7/app.secret", "b6f1c0ffee\n".to_owned()),
        ("alipay-7/app_private.pem", key(0).private_base64().unwrap()),
        ("alipay-7/alipay_public.pem", public_text(3)),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let both = open(&folder, &text).unwrap();
    assert!(both.wechat(tenant(7)).is_some() && both.alipay(tenant(7)).is_some());
    assert!(both.wechat(tenant(8)).is_none() && both.alipay(tenant(8)).is_none());
    // How long its certificate is valid is shown, and nothing where there is none.
    let left = |accounts: &Accounts| {
        let registry = Registry::new().unwrap();
        accounts.show(&registry).unwrap();
        let (text, name) = (registry.render().unwrap(), "flashsale_payment_certificate_left_seconds ");
        text.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    let ends = Certificate::from_pem(include_str!("openssl_certificate.pem")).unwrap().ends_at_ms;
    assert_eq!((left(&none), left(&both)), (None, Some(((ends - NOW_MS) / 1_000) as f64)));
    assert!(both.uploader(tenant(7)).is_some() && both.uploader(tenant(8)).is_none());
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let folder = folder();
    let text = "public_url = \"http://shop.example\"\nspeed = 1\n[[wechat]]\ntenant = \"x\"\nmerchant = \"19a\"\n\
                private_key = \"file:nowhere\"\nseal_key = \"file:own\"\npublic_keys = { A1 = \"file:public0\" }\n\
                answers_signed_by = \"A2\"\n[[alipay]]\ntenant = 7\napp_id = \"\"\nprivate_key = \"file:own\"\n\
                alipay_keys = [\"file:public0\", 5]\n";
    let told = flaws(open(&folder, text).unwrap_err());
    let wanted = [
        ("line 1: public_url ", "https://HOST"),
        ("line 2: speed ", "no key here"),
        ("line 3: wechat[0].app_id ", "missing"),
        ("line 3: wechat[0].certificate_serial ", "missing"),
        ("line 4: wechat[0].tenant ", "no tenant's id"),
        ("line 5: wechat[0].merchant ", "digits"),
        ("line 6: wechat[0].private_key ", "nowhere, which cannot be read"),
        ("line 7: wechat[0].seal_key ", "32 characters"),
        ("line 8: wechat[0].public_keys ", "PUB_KEY_ID_"),
        ("line 9: wechat[0].answers_signed_by ", "not among"),
        ("line 10: alipay[0].seller_id ", "missing"),
        ("line 11: alipay[0].tenant ", "give a string"),
        ("line 12: alipay[0].app_id ", "empty"),
        ("line 14: alipay[0].alipay_keys ", "file:PATH"),
    ];
    for (place, message) in wanted {
        assert!(
            told.iter().any(|told| told.starts_with(place) && told.contains(message)),
            "{place}{message}: {told:#?}"
        );
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    let path = folder.path().join("accounts.toml");
    assert_eq!(flaws(check(&path).unwrap_err()), told, "`orders accounts FILE` says the same");
    fs::write(&path, "public_url = \nx").unwrap();
    assert!(flaws(check(&path).unwrap_err())[0].starts_with("line 1: is no TOML"));
}

/// A key that stands in the file itself is refused, and neither message nor Debug shows one.
#[tokio::test]
async fn a_key_is_never_shown() {
    let folder = folder();
    let secret = key(0).private_base64().unwrap();
    let text = HEAD.to_owned() + &wechat(7, MERCHANT, (PUBLIC_KEY_ID, "public2"));
    let error = open(&folder, &text.replace("file:own", &secret)).unwrap_err();
    assert!(error.to_string().contains("file of its own"), "{error}");
    fs::write(folder.path().join("broken"), format!("{}!", &secret[..400])).unwrap();
    let broken = open(&folder, &text.replace("file:own", "file:broken")).unwrap_err();
    let taken = open(&folder, &text).unwrap();
    let account = format!("{:?}", taken.wechat(tenant(7)).unwrap());
    for shown in [format!("{error} {error:?}"), format!("{broken} {broken:?}"), format!("{taken:?}"), account] {
        assert!(!shown.contains(&secret[100..140]) && !shown.contains(SEAL), "{shown}");
    }
}

#[tokio::test]
async fn what_would_be_mistaken_for_another_account_is_refused() {
    let folder = folder();
    let one = wechat(7, MERCHANT, (PUBLIC_KEY_ID, "public2"));
    let twice = flaws(open(&folder, &format!("{HEAD}{one}{one}")).unwrap_err());
    assert!(twice.iter().any(|told| told.starts_with("line 11: wechat[1].tenant 7 has an account")), "{twice:?}");
    let other = one.replace("tenant = \"7\"", "tenant = \"8\"");
    let shared = flaws(open(&folder, &format!("{HEAD}{one}{other}")).unwrap_err());
    assert!(shared[0].contains("another account's already"), "{shared:?}");
    let own = one.replace("public2", "public0");
    assert!(flaws(open(&folder, &format!("{HEAD}{own}")).unwrap_err())[0].contains("public half of private_key"));
    let alipay = format!(
        "[[alipay]]\ntenant = \"7\"\napp_id = \"{APP}\"\nseller_id = \"{SELLER}\"\nprivate_key = \"file:own\"\n\
         alipay_keys = [\"file:public0\"]\n"
    );
    assert!(flaws(open(&folder, &format!("{HEAD}{alipay}")).unwrap_err())[0].contains("public half of private_key"));
}

/// The serial number of a notice finds the tenant among all; a changed key is taken without a
/// restart, and a file that has become wrong leaves what was read before.
#[tokio::test]
async fn a_changed_key_is_taken_and_a_wrong_file_changes_nothing() {
    let (rig, folder) = (Rig::start(), folder());
    rig.wechat.create(&charge("order_1", 1, Method::WechatNative)).await.unwrap();
    rig.bank.pay_with(MERCHANT, &number("order_1"), NoticePlan { key: 1, ..NoticePlan::PLAIN }).unwrap();
    let notice = rig.notice();
    let other = wechat(8, "1900000002", ("PUB_KEY_ID_8", "public1"));
    let text = format!("{HEAD}{other}{}", wechat(7, MERCHANT, (PUBLIC_KEY_ID, "theirs")));
    let theirs = folder.path().join("theirs");
    fs::write(&theirs, public_text(4)).unwrap();
    let accounts = open(&folder, &text).unwrap();
    let verify = || accounts.verify(ProviderKind::Wechat, notice.received()).map(|notice| notice.tenant);
    assert_eq!(verify(), Err(Forged::WrongSignature), "signed by another key than the file names");
    assert!(!accounts.read_again().unwrap(), "nothing has changed");
    fs::write(&theirs, public_text(2)).unwrap();
    assert!(accounts.read_again().unwrap());
    assert_eq!(verify(), Ok(tenant(7)));
    fs::write(&theirs, "no key").unwrap();
    assert!(accounts.read_again().is_err());
    fs::remove_file(folder.path().join("accounts.toml")).unwrap();
    assert!(matches!(accounts.read_again(), Err(AccountsError::Unreadable { .. })));
    assert_eq!(verify(), Ok(tenant(7)));
    assert_eq!(accounts.verify(ProviderKind::Alipay, notice.received()).unwrap_err(), Forged::NotSigned);
}
