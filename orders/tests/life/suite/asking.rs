//! Requests of all methods, and what stands beside the rows.

use http_body_util::{BodyExt, Full};
use kit::http::{Bytes, Method, Request};
use serde_json::Value;

use super::{
    mortal::When,
    rig::{Answer, Rig},
};

impl Rig {
    /// A request of the merchant `staff-7` under this key.
    pub(crate) async fn ask_as(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", "k");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| Bytes::from(serde_json::to_vec(&body).unwrap())).unwrap_or_default();
        let response = self.client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.ask_as(Method::PUT, path, token, Some(body)).await
    }

    /// Does it; where the process dies at its n-th write, another does it again a minute later.
    /// Whether it died.
    pub(crate) async fn dying(&self, (nth, when): (u32, When), deed: impl AsyncFn()) -> bool {
        self.fate.is(nth, when);
        let dies = tokio::select! {
            () = deed() => false,
            () = self.fate.met.notified() => true,
        };
        self.fate.is_averted();
        if dies {
            self.pass(62_000);
            deed().await;
        }
        dies
    }

    /// How many rows of a query stand in all shards.
    pub(crate) async fn count(&self, query: &str) -> usize {
        let mut count = 0;
        for shard in self.shards() {
            count += self.store.orders.beside(shard, query, vec![]).await.unwrap().len();
        }
        count
    }

    /// All of the work that the clock does, until there is none left.
    pub(crate) async fn tick(&self) {
        for shard in self.shards() {
            while self.life.complete_due(shard).await.unwrap() {}
            self.life.cancel_wished(shard).await.unwrap();
            self.life.upload_due(shard).await.unwrap();
            self.life.hand_over(shard).await.unwrap();
        }
    }
}
