//! The file of accounts, read whole or not at all. It is a function of texts: who reads them from
//! the disk is `accounts`.

use std::collections::HashSet;
use std::sync::Arc;

use domain::id::TenantId;
use kit::settings::Secret;
use toml::de::DeTable;

use super::table::{Flaw, Reader, Table};
use crate::payment::keys::{Certificate, SealKey, SigningKey, VerifyingKey};
use crate::payment::{ProviderKind, alipay, wechat};

const KEYS: &[&str] = &["public_url", "wechat_url", "platform_url", "alipay_url", "wechat", "alipay"];
const WECHAT_KEYS: &[&str] = &[
    "tenant",
    "merchant",
    "app_id",
    "certificate_serial",
    "private_key",
    "seal_key",
    "public_keys",
    "platform_certificates",
    "answers_signed_by",
    "platform_secret",
];
const ALIPAY_KEYS: &[&str] = &["tenant", "app_id", "seller_id", "private_key", "alipay_keys"];

const WECHAT_URL: &str = "https://api.mch.weixin.qq.com";
/// Of the open platform, which is told that goods were sent.
const PLATFORM_URL: &str = "https://api.weixin.qq.com";
const ALIPAY_URL: &str = "https://openapi.alipay.com";
/// Before the id of a public key, as WeChat names it.
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) wechat_url: String,
    pub(super) platform_url: String,
    pub(super) alipay_url: String,
    pub(super) wechat: Vec<Arc<wechat::Account>>,
    pub(super) wechat_ring: wechat::Ring,
    pub(super) alipay: Vec<Arc<alipay::Account>>,
    pub(super) alipay_ring: alipay::Ring,
}

/// Reads it; `files` gives the content of a file that it names.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub(super) fn read(text: &str, files: &dyn Fn(&str) -> Result<String, String>) -> Result<Said, Vec<Flaw>> {
    let mut reader = Reader::new(text, files);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut said = Said::default();
    if errors.is_empty() {
        let mut root = Table::open(&mut reader, (String::new(), 0), root.get_ref(), KEYS);
        read_root(&mut root, &mut said);
    } else {
        errors.iter().for_each(|error| reader.syntax(error));
    }
    if reader.flaws.is_empty() {
        return Ok(said);
    }
    reader.flaws.sort_by_key(|flaw| flaw.line);
    Err(reader.flaws)
}

fn read_root(root: &mut Table<'_, '_, '_>, said: &mut Said) {
    // Checked without accounts too: a file that is being written is told what is wrong with it.
    let public_url = root.text("public_url").and_then(|url| origin(root, "public_url", url)).unwrap_or_default();
    said.wechat_url = root.optional_text("wechat_url").unwrap_or(WECHAT_URL).to_owned();
    said.platform_url = root.optional_text("platform_url").unwrap_or(PLATFORM_URL).to_owned();
    said.alipay_url = root.optional_text("alipay_url").unwrap_or(ALIPAY_URL).to_owned();
    let urls = [
        ("wechat_url", said.wechat_url.clone()),
        ("platform_url", said.platform_url.clone()),
        ("alipay_url", said.alipay_url.clone()),
    ];
    for (key, url) in urls {
        origin(root, key, &url);
    }
    let notify_url = |provider: ProviderKind| format!("{public_url}/v1/payments/{}/notify", provider.as_str());
    let mut tenants = HashSet::new();
    root.each("wechat", WECHAT_KEYS, |table| {
        read_wechat(table, &notify_url(ProviderKind::Wechat), &mut tenants, said);
    });
    tenants.clear();
    root.each("alipay", ALIPAY_KEYS, |table| {
        read_alipay(table, &notify_url(ProviderKind::Alipay), &mut tenants, said);
    });
}

/// Notices and requests go over TLS; without it only on this machine, where a simulator may stand.
fn origin(table: &mut Table<'_, '_, '_>, key: &str, url: &str) -> Option<String> {
    let url = url.trim_end_matches('/');
    let (scheme, authority) = url.split_once("://").unwrap_or_default();
    let is_here = ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|host| authority.strip_prefix(host).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    let is_plain = !authority.is_empty() && !authority.contains(['/', '?', '#', '@']);
    if is_plain && (scheme == "https" || scheme == "http" && is_here) {
        return Some(url.to_owned());
    }
    table
        .flaw(key, "is no origin: give https://HOST, or http://127.0.0.1:PORT for a proxy or simulator on this machine")
}

fn tenant(table: &mut Table<'_, '_, '_>, tenants: &mut HashSet<TenantId>) -> Option<TenantId> {
    let text = table.text("tenant")?;
    let Ok(tenant) = text.parse::<TenantId>() else {
        return table.flaw("tenant", "is no tenant's id: give its digits as a string, such as \"7\"");
    };
    if tenants.insert(tenant) {
        return Some(tenant);
    }
    table.flaw("tenant", format!("{tenant} has an account at this provider above: a tenant has one at each"))
}

/// Whether this public key is the merchant's own half, which merchants mistake for the provider's:
/// nothing that the provider signs would be believed.
fn is_own(key: &SigningKey, other: &VerifyingKey) -> bool {
    const PROOF: &[u8] = b"whose key is this";
    key.sign(PROOF).is_ok_and(|signature| other.verifies(PROOF, &signature))
}

const OWN: &str = "names the public half of private_key: give the key of the provider, from its site";

fn read_wechat(table: &mut Table<'_, '_, '_>, notify_url: &str, tenants: &mut HashSet<TenantId>, said: &mut Said) {
    let tenant = tenant(table, tenants);
    let (merchant, app_id) = (table.text("merchant"), table.text("app_id"));
    let certificate_serial = table.text("certificate_serial");
    let (key, seal) = (table.file("private_key", SigningKey::from_pem), table.file("seal_key", SealKey::new));
    let public_keys = table.named_files("public_keys", VerifyingKey::from_pem);
    let certificates = table.files("platform_certificates", Certificate::from_pem);
    let answers = table.optional_text("answers_signed_by");
    let platform_secret = table.optional_text("platform_secret").is_some();
    let platform_secret = if platform_secret { table.file("platform_secret", str::parse::<Secret>) } else { None };
    if let Some(merchant) = merchant.filter(|merchant| !merchant.bytes().all(|byte| byte.is_ascii_digit())) {
        table.tell("merchant", format!("is {merchant:?}: a merchant's number has digits alone"));
    }
    let (Some(public_keys), Some(certificates)) = (public_keys, certificates) else { return };
    if public_keys.is_empty() && certificates.is_empty() {
        table.tell("public_keys", "and platform_certificates are missing: give the keys that WeChat signs with");
    }
    for (id, _) in public_keys.iter().filter(|(id, _)| !id.starts_with(PUBLIC_KEY_ID)) {
        table.tell("public_keys", format!("has {id:?}: give each key under its id, {PUBLIC_KEY_ID}…"));
    }
    if let Some(answers) = answers.filter(|answers| !public_keys.iter().any(|(id, _)| id == answers)) {
        table.tell("answers_signed_by", format!("is {answers:?}, which is not among public_keys"));
    }
    if key.as_ref().is_some_and(|key| public_keys.iter().any(|(_, other)| is_own(key, other))) {
        table.tell("public_keys", OWN);
    }
    let (Some(tenant), Some(merchant), Some(app_id)) = (tenant, merchant, app_id) else { return };
    let (Some(certificate_serial), Some(key), Some(seal)) = (certificate_serial, key, seal) else { return };
    let account = Arc::new(wechat::Account {
        tenant,
        merchant: merchant.to_owned(),
        app_id: app_id.to_owned(),
        certificate_serial: certificate_serial.to_owned(),
        key,
        seal,
        answers_signed_by: answers.map(str::to_owned),
        notify_url: notify_url.to_owned(),
        platform_secret,
    });
    for (id, key) in public_keys {
        if let Err(error) = said.wechat_ring.add_public_key(&account, &id, key) {
            table.tell("public_keys", format!("cannot be told apart: {error}"));
        }
    }
    for certificate in certificates {
        if let Err(error) = said.wechat_ring.add_certificate(&account, certificate) {
            table.tell("platform_certificates", format!("cannot be told apart: {error}"));
        }
    }
    said.wechat.push(account);
}

fn read_alipay(table: &mut Table<'_, '_, '_>, notify_url: &str, tenants: &mut HashSet<TenantId>, said: &mut Said) {
    let tenant = tenant(table, tenants);
    let (app_id, seller_id) = (table.text("app_id"), table.text("seller_id"));
    let key = table.file("private_key", SigningKey::from_pem);
    let Some(alipay_keys) = table.files("alipay_keys", VerifyingKey::from_pem) else { return };
    if alipay_keys.is_empty() {
        table.tell("alipay_keys", "are missing: give Alipay's public key for this app, from its site");
    }
    if key.as_ref().is_some_and(|key| alipay_keys.iter().any(|other| is_own(key, other))) {
        table.tell("alipay_keys", OWN);
    }
    let (Some(tenant), Some(app_id), Some(seller_id), Some(key)) = (tenant, app_id, seller_id, key) else { return };
    let account = Arc::new(alipay::Account {
        tenant,
        app_id: app_id.to_owned(),
        seller_id: seller_id.to_owned(),
        key,
        alipay_keys,
        gateway: format!("{}/gateway.do", said.alipay_url.trim_end_matches('/')),
        notify_url: notify_url.to_owned(),
    });
    if let Err(error) = said.alipay_ring.add(&account) {
        table.tell("app_id", format!("cannot be told apart: {error}"));
    }
    said.alipay.push(account);
}
