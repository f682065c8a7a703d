//! Profit sharing: share, unfreeze what is left, give back before a refund. All three are accepted
//! first and done later; each is harmless to repeat with its number.
//! (D) <https://pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter8_1_1.shtml>

use kit::clock::Clock;
use kit::http::Method as HttpMethod;
use kit::random::Random;
use serde::Deserialize;
use serde_json::json;

use super::Wechat;
use crate::payment::sharing::{GiveBack, SharingOrder};
use crate::payment::{Failed, Number, RefundState};

#[derive(Deserialize)]
struct Told {
    /// Of sharing and unfreezing.
    state: Option<String>,
    /// Of giving back.
    result: Option<String>,
    #[serde(default)]
    receivers: Vec<Receiver>,
}

#[derive(Deserialize)]
struct Receiver {
    result: Option<String>,
}

impl Told {
    fn state(&self) -> RefundState {
        // Finished says that nothing is pending; a receiver who could not be given it is `CLOSED`.
        let is_refused = self.receivers.iter().any(|receiver| receiver.result.as_deref() == Some("CLOSED"));
        match self.state.as_deref().or(self.result.as_deref()) {
            Some("FINISHED") if is_refused => RefundState::Abnormal,
            Some("FINISHED" | "SUCCESS") => RefundState::Done,
            Some("FAILED") => RefundState::Closed,
            _ => RefundState::Accepted,
        }
    }
}

impl<C: Clock, R: Random> Wechat<C, R> {
    /// Shares a payment that was opened for it; with [`SharingOrder::is_last`] the rest is
    /// unfrozen. Asked again with the same number it says where it stands;
    /// [`RefundState::Abnormal`]: done, and not all receivers have got theirs. Only merchants
    /// receive: only they can give back.
    ///
    /// # Errors
    ///
    /// [`Failed`]; an unknown outcome is asked again with the same number.
    pub async fn share(&self, order: &SharingOrder) -> Result<RefundState, Failed> {
        let receivers: Vec<_> = order
            .shares
            .iter()
            .map(|share| {
                json!({
                    "type": "MERCHANT_ID",
                    "account": share.receiver,
                    "amount": share.amount,
                    "description": "share",
                })
            })
            .collect();
        let body = json!({
            "appid": self.account.app_id,
            "transaction_id": order.provider_number,
            "out_order_no": order.sharing_number.as_str(),
            "receivers": receivers,
            "unfreeze_unsplit": order.is_last,
        });
        self.sharing("/v3/profitsharing/orders", &body).await
    }

    /// Gives what is not shared to the shop, before the freeze ends.
    ///
    /// # Errors
    ///
    /// As [`Wechat::share`].
    pub async fn unfreeze(&self, sharing: &Number, provider_number: &str) -> Result<RefundState, Failed> {
        let body = json!({
            "transaction_id": provider_number,
            "out_order_no": sharing.as_str(),
            "description": "unfreeze",
        });
        self.sharing("/v3/profitsharing/orders/unfreeze", &body).await
    }

    /// Takes a share back, to be done before a refund; `number` is the give-back's own.
    ///
    /// # Errors
    ///
    /// As [`Wechat::share`].
    pub async fn give_back(&self, sharing: &Number, number: &Number, back: &GiveBack) -> Result<RefundState, Failed> {
        let body = json!({
            "out_order_no": sharing.as_str(),
            "out_return_no": number.as_str(),
            "return_mchid": back.receiver,
            "amount": back.amount,
            "description": "refund",
        });
        self.sharing("/v3/profitsharing/return-orders", &body).await
    }

    async fn sharing(&self, path: &str, body: &serde_json::Value) -> Result<RefundState, Failed> {
        let told: Told = self.call(HttpMethod::POST, path.to_owned(), Some(body)).await?;
        Ok(told.state())
    }
}
