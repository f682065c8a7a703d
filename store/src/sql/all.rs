//! Waits for several calls at once, on the caller's task.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Runs all futures concurrently; their results in the same order.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    // A wake-up does not tell whom it is for, so each polls all that still run: they are as many as
    // there are tables.
    poll_fn(|context| {
        let mut done = true;
        for (future, output) in running.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => done = false,
            }
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn results_come_in_order_and_at_once() {
        let started = tokio::time::Instant::now();
        let sleeps = (0..5_u64).map(|n| async move {
            tokio::time::sleep(Duration::from_secs(5 - n)).await;
            n
        });
        assert_eq!(all(sleeps).await, [0, 1, 2, 3, 4]);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
    }
}
