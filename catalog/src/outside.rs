//! What is asked of providers of logins: over TLS, or in plain text through a proxy that adds it on
//! the way out of the cluster. Secrets of shops stand in these requests, so that no address of one,
//! and no answer, is ever logged; each request is sent once, because a code is good for one use.

use std::{sync::Arc, time::Duration};

use clap::Args;
use kit::{
    client::{Answer, Ask, Client, ClientError, ClientLimits},
    problem::{Code, Problem},
};
use tokio::sync::Semaphore;

/// Requests under way to all providers, at most.
const REQUESTS_MAX: usize = 64;

/// Longest wait for an answer of theirs: who logs in waits for it.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// When to come back to a provider that is away.
const AWAY_AFTER: Duration = Duration::from_secs(2);

/// When to come back to an overloaded service.
const BUSY_AFTER: Duration = Duration::from_secs(1);

/// Where the providers are.
#[derive(Debug, Clone, Default, Args)]
pub struct OutsideArgs {
    /// Where WeChat's API is reached: `https://api.weixin.qq.com`, or host and port of an egress
    /// proxy that speaks for it, without TLS. Left out: no login by WeChat.
    #[arg(long, env = "FLASHSALE_WECHAT_AUTHORITY")]
    pub wechat_authority: Option<String>,

    /// Where codes for phones are sent: `https://HOST`, or without TLS host and port, of a gateway
    /// that takes `POST /v1/messages`. Left out: no login by phone.
    #[arg(long, env = "FLASHSALE_SMS_AUTHORITY")]
    pub sms_authority: Option<String>,
}

/// The providers of logins.
#[derive(Debug, Clone)]
pub struct Outside {
    /// WeChat's API.
    pub(crate) wechat: Option<Client>,
    /// What sends codes to phones.
    pub(crate) sms: Option<Client>,
    under_way: Arc<Semaphore>,
}

impl Default for Outside {
    fn default() -> Self {
        Self { wechat: None, sms: None, under_way: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }
}

impl Outside {
    /// The providers that these settings name. `answer_deadline`: the longest wait for one answer.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for what is no origin.
    pub fn new(args: &OutsideArgs, answer_deadline: Duration) -> Result<Self, ClientError> {
        let limits =
            ClientLimits { answer_deadline, attempts_max: 1, body_bytes_max: 64 * 1024, ..ClientLimits::default() };
        let client = |authority: &Option<String>| {
            authority.as_deref().map(|authority| Client::new(authority, limits)).transpose()
        };
        let (wechat, sms) = (client(&args.wechat_authority)?, client(&args.sms_authority)?);
        Ok(Self { wechat, sms, ..Self::default() })
    }

    /// Asks a provider, when not too many ask.
    pub(crate) async fn ask(&self, provider: &Client, ask: &Ask) -> Result<Answer, Missed> {
        let _permit = self.under_way.try_acquire().map_err(|_full| Missed::Busy)?;
        provider.ask(ask).await.map_err(|error| match error {
            ClientError::Refused(refusal) => Missed::Refused(refusal.status.as_u16()),
            ClientError::Timeout(_) => Missed::Away("no answer in time"),
            ClientError::Away(_) => Missed::Away("it cannot be reached"),
            ClientError::Invalid(_) => Missed::Away("the request could not be written"),
            ClientError::Broken(_) => Missed::Away("the connection broke"),
            ClientError::TooLarge(_) | ClientError::Malformed(_) => Missed::Away("its answer cannot be read"),
        })
    }
}

/// Why a provider gave no answer. It holds nothing of request or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Too many ask.
    Busy,
    /// It refused, with this status.
    Refused(u16),
    /// It is away, or nobody can read what it says.
    Away(&'static str),
}

impl Missed {
    /// What the buyer is told of what was not for this code to say.
    pub(crate) fn into_problem(self, provider: &'static str) -> Problem {
        let detail = match self {
            Self::Busy => {
                let detail = "too many log in at once; come back";
                return Problem::new(Code::Overloaded, detail).with_retry_after(BUSY_AFTER);
            }
            Self::Refused(status) => {
                tracing::warn!(provider, status, "a provider of logins refused");
                "the provider of this login has a fault; come back"
            }
            Self::Away(why) => {
                tracing::warn!(provider, why, "a provider of logins did not answer");
                "the provider of this login does not answer; come back"
            }
        };
        Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(AWAY_AFTER)
    }
}
