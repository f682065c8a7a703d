//! The contract on the server.

use super::server::{Live, LiveWithoutArrays};
use crate::suite::{contract, orders};

/// Many rows in statements of many rows, as every MySQL gets them.
#[tokio::test]
async fn rows_without_arrays() {
    orders::what_is_written_is_found(LiveWithoutArrays).await;
    orders::a_taken_key_leaves_nothing(LiveWithoutArrays).await;
}

mod rules {
    use super::*;

    contract!(Live);
}
