//! Who asks: people by their tokens, programs by their API keys, and the deployment's operator by
//! his secret.

use kit::{access::Actor, problem::Problem};

use crate::{ports::Ports, service::Catalog};

/// Who this token or key stands for.
///
/// # Errors
/// `unauthenticated` when for nobody.
pub(crate) async fn actor<P: Ports>(catalog: &Catalog<P>, token: &str) -> Result<Actor, Box<Problem>> {
    catalog.operator(token).ok_or_else(|| {
        let problem = Problem::new(kit::problem::Code::Unauthenticated, "this token or key is not known here");
        Box::new(problem.with_token_error("not known here"))
    })
}
