//! The ports on Redis: every rule on one node, and on a cluster of one node.

use super::{
    rules::{every_rule, the_lane},
    server::OwnRedis,
    support::{connect, delete, keys, raw, settings, url},
};

macro_rules! on_redis {
    ($($rule:ident)*) => {
        mod on_one_node {
            use super::super::rules;

            $(#[tokio::test]
            async fn $rule() {
                let settings = super::settings(&super::url());
                let (stock, keeping) = super::connect(&settings).await;
                rules::$rule(&stock, &keeping).await;
                super::delete(&mut super::raw(&settings.url).await, &super::keys(&settings, super::the_lane())).await;
            })*
        }

        #[tokio::test]
        async fn all_rules_on_a_cluster() {
            let server = OwnRedis::start_cluster().await;
            $({
                println!("{}", stringify!($rule));
                let (stock, keeping) = connect(&settings(&server.cluster_url())).await;
                Box::pin(super::rules::$rule(&stock, &keeping)).await;
            })*
        }
    };
}

every_rule!(on_redis);
