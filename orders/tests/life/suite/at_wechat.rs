//! The tests of the service with WeChat Pay as the shop's provider, over HTTP.

/// The same, with that provider.
pub(crate) mod rig {
    use std::ops::{Deref, DerefMut};

    use super::super::rig;
    pub(crate) use rig::{DiesAfter, TOTAL, Till, WINDOW_MS};

    pub(crate) struct Rig(rig::Rig);

    impl Rig {
        pub(crate) async fn start() -> Self {
            Self(rig::Rig::start_at(Till::Wechat).await)
        }
    }

    impl Deref for Rig {
        type Target = rig::Rig;

        fn deref(&self) -> &rig::Rig {
            &self.0
        }
    }

    impl DerefMut for Rig {
        fn deref_mut(&mut self) -> &mut rig::Rig {
            &mut self.0
        }
    }
}

use super::mortal;

#[path = "cancel.rs"]
mod cancel;
#[path = "crash.rs"]
mod crash;
#[path = "over_http.rs"]
mod over_http;
#[path = "pay.rs"]
mod pay;
#[path = "refunds.rs"]
mod refunds;
#[path = "uploads.rs"]
mod uploads;
#[path = "wechat_only.rs"]
mod wechat_only;
#[path = "writes.rs"]
mod writes;
