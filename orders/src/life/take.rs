//! An order taken through a transition, with all that changes with it in the same transaction.

use domain::order::Transition;
use store::orders::Marked;

use super::{
    beside::AFTER_SENT_MS,
    ports::Kinds,
    refused::Refused,
    service::Life,
    shown::OrderNow,
    step::{Step, Told, outbox_row},
};

impl<K: Kinds> Life<K> {
    /// Takes the order through a transition, with its outbox row and its line.
    pub(super) async fn take(
        &self,
        step: &mut Step<K::Sql>,
        transition: Transition,
        told: Told<'_>,
    ) -> Result<(), Refused> {
        let out = outbox_row(&step.row, step.partition, transition, self.record_id(transition, step.now_ms)?);
        match self.orders().step(&mut step.tx, (step.row.order, transition), &out).await? {
            Marked::Done => {}
            Marked::NotFound => return Err(Refused::not_found()),
            Marked::Conflict(_) | Marked::Held => {
                let detail = "the order stands otherwise than this needs; `current` shows it";
                return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
            }
        }
        step.row.status = transition.to();
        step.tell(Told { what: transition.to().as_str(), ..told }).await?;
        self.follow_up(step, transition).await
    }

    /// What else changes with a transition, in its transaction.
    async fn follow_up(&self, step: &mut Step<K::Sql>, transition: Transition) -> Result<(), Refused> {
        match transition {
            Transition::Pay => {
                self.tell_voucher(step).await?;
                self.begin_upload(step).await?;
                self.begin_handover(step).await
            }
            Transition::Fulfil => {
                step.hold_recipient().await?;
                step.upload_now().await?;
                Ok(step.complete_at(step.now_ms + AFTER_SENT_MS).await?)
            }
            Transition::Complete => Ok(step.complete_never().await?),
            Transition::RefundPaid | Transition::RefundFulfilled | Transition::RefundCompleted => {
                step.complete_never().await?;
                if transition == Transition::RefundPaid {
                    step.upload_never().await?;
                }
                Ok(step.withdraw_codes().await?)
            }
            _ => Ok(()),
        }
    }
}
