//! TLS of the client: the public authorities and those that are given, one provider of
//! cryptography.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Connections over TLS where the URI says `https`, plain ones elsewhere.
///
/// # Errors
/// When one of the authorities is no certificate in DER.
pub(super) fn over(
    connector: HttpConnector,
    authorities: &[&[u8]],
) -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    for authority in authorities {
        roots.add((*authority).into())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(connector))
}
