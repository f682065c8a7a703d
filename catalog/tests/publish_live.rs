//! Goal: sales reach the real MySQL and Kafka, and those who follow. Method: the real binary on
//! topics and databases of its own, which are deleted however a test ends.

#[cfg(test)]
mod live {
    use std::{
        future::Future,
        process::{Command, Output},
        sync::Arc,
        time::Duration,
    };

    use catalog::{EXAMPLE, file, publish::plan, published::read_published};
    use domain::sale::Sale;
    use rdkafka::{
        ClientConfig,
        admin::{AdminClient, AdminOptions},
        client::DefaultClientContext,
    };
    use store::{
        log::{
            SalesFollower,
            kafka::{KafkaSalesFollower, KafkaSettings, ensure_topics},
        },
        shards::{Namespace, drop_all},
        sql::mysql::{MySqlServer, Settings},
    };

    const PARTITIONS: u32 = 3;
    /// Long enough for a slow machine; a test that needs it has failed.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Topics and files of one test.
    struct Deployment {
        kafka: KafkaSettings,
        files: tempfile::TempDir,
    }

    impl Deployment {
        /// The binary, run on these topics. It blocks, so that it stands on a thread of its own.
        async fn catalog(self: &Arc<Self>, arguments: &[&str]) -> Output {
            let mut command = Command::new(env!("CARGO_BIN_EXE_catalog"));
            command.env_clear().args(arguments).env("FLASHSALE_KAFKA_BROKERS", &self.kafka.brokers);
            command
                .env("FLASHSALE_NAMESPACE", &self.kafka.namespace)
                .env("FLASHSALE_MYSQL_URL", variable("FLASHSALE_MYSQL_URL"));
            command.env("FLASHSALE_PARTITIONS", self.kafka.partitions.to_string());
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
        }

        async fn publish(self: &Arc<Self>, text: &str) -> Output {
            let path = self.files.path().join(format!("{:016x}.toml", rand::random::<u64>()));
            std::fs::write(&path, text).unwrap();
            self.catalog(&["publish", path.to_str().unwrap()]).await
        }

        async fn published(&self) -> Vec<Sale> {
            read_published(&mut KafkaSalesFollower::new(&self.kafka).unwrap(), PATIENCE).await.unwrap()
        }
    }

    fn variable(name: &str) -> String {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is set: run `. stack/env`"))
    }

    async fn on_fresh_topics<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Deployment>) -> F) {
        let kafka = KafkaSettings::new(
            variable("FLASHSALE_KAFKA_BROKERS"),
            format!("test_{:016x}", rand::random::<u64>()),
            PARTITIONS,
        );
        ensure_topics(&kafka).await.unwrap();
        let deployment = Arc::new(Deployment { kafka: kafka.clone(), files: tempfile::tempdir().unwrap() });
        let outcome = tokio::spawn(tokio::time::timeout(PATIENCE, test(deployment))).await;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
        let topics = kafka.topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        admin.delete_topics(&topics, &AdminOptions::new()).await.unwrap();
        let server = MySqlServer::new(&variable("FLASHSALE_MYSQL_URL"), Settings::default()).unwrap();
        drop_all(&server, &Namespace::new(&kafka.namespace).unwrap()).await.unwrap();
        match outcome {
            Ok(in_time) => in_time.expect("the test ends in time"),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    fn example(version: u32) -> Sale {
        Sale { version, ..plan(&file::parse(EXAMPLE).unwrap(), &[], PARTITIONS, 0).unwrap() }
    }

    fn succeeded(output: &Output) -> String {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout.clone()).unwrap()
    }

    fn refused(output: &Output, status: i32) -> String {
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr.clone()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_follower_learns_of_a_sale_and_of_its_next_version() {
        on_fresh_topics(async |deployment| {
            // As an engine does: it follows from before the first sale on.
            let mut engine = KafkaSalesFollower::new(&deployment.kafka).unwrap();
            assert_eq!(engine.next().await.unwrap(), [], "the end of an empty topic");
            let told = succeeded(&deployment.publish(EXAMPLE).await);
            assert!(told.starts_with("published sale 1001 version 1, "), "{told}");
            assert_eq!(engine.next().await.unwrap(), [example(1)]);
            let paused = EXAMPLE.replace("# paused = false", "paused = true");
            succeeded(&deployment.publish(&paused).await);
            assert_eq!(engine.next().await.unwrap(), [Sale { paused: true, ..example(2) }]);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_same_again_succeeds_and_appends_nothing() {
        on_fresh_topics(async |deployment| {
            let mut engine = KafkaSalesFollower::new(&deployment.kafka).unwrap();
            let text = EXAMPLE.replace("# version = 1", "version = 1");
            succeeded(&deployment.publish(&text).await);
            for _ in 0..2 {
                let told = succeeded(&deployment.publish(&text).await);
                assert!(told.starts_with("already published, nothing to do: sale 1001 version 1, "), "{told}");
            }
            let mut seen = Vec::new();
            loop {
                let sales = engine.next().await.unwrap();
                if sales.is_empty() {
                    break;
                }
                seen.extend(sales);
            }
            assert_eq!(seen, [example(1)]);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_version_than_the_next_is_refused() {
        on_fresh_topics(async |deployment| {
            succeeded(&deployment.publish(EXAMPLE).await);
            let told = refused(&deployment.publish(&EXAMPLE.replace("# version = 1", "version = 3")).await, 65);
            assert!(told.contains("line 9: version: is 3, but 1 is published; give 2, or leave it out"), "{told}");
            let other = EXAMPLE.replace("# version = 1", "version = 1").replace("Winter", "Spring");
            let told = refused(&deployment.publish(&other).await, 65);
            assert!(told.contains("line 9: version: 1 is published with other content"), "{told}");
            assert_eq!(deployment.published().await, [example(1)]);
        })
        .await;
    }

    /// Two programs at the same moment, each with a sale that names the same offers: one is told
    /// what it lost to.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_programs_at_once_one_is_told_what_it_lost_to() {
        on_fresh_topics(async |deployment| {
            for round in 0..5 {
                let [a, b] = [2 * round + 1, 2 * round + 2].map(|id| {
                    let text =
                        EXAMPLE.replace("\"1001\"", &format!("\"{id}\"")).replace("\"5001\"", &format!("\"{id}\""));
                    text.replace("\"9001\"", &format!("\"1{round}\"")).replace("\"9002\"", &format!("\"2{round}\""))
                });
                let (a, b) = tokio::join!(deployment.publish(&a), deployment.publish(&b));
                let loser = if a.status.success() { b } else { a };
                let told = refused(&loser, 65);
                assert!(
                    told.contains(&format!("line 37: lanes[0].offers[0].id: 1{round} is an offer of sale ")),
                    "{told}"
                );
            }
            assert_eq!(deployment.published().await.len(), 5);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dry_run_publishes_nothing_and_what_is_shown_can_be_published() {
        on_fresh_topics(async |deployment| {
            let file = deployment.files.path().join("dry.toml");
            std::fs::write(&file, EXAMPLE).unwrap();
            let told = succeeded(&deployment.catalog(&["publish", "--dry-run", file.to_str().unwrap()]).await);
            assert!(told.starts_with("not published (dry run): sale 1001"), "{told}");
            assert_eq!(deployment.published().await, []);
            let told = refused(&deployment.catalog(&["show", "1001"]).await, 1);
            assert!(told.contains("sale 1001 is not published"), "{told}");
            succeeded(&deployment.publish(EXAMPLE).await);
            let shown = succeeded(&deployment.catalog(&["show", "1001"]).await);
            let told = succeeded(&deployment.publish(&shown).await);
            assert!(told.starts_with("already published"), "{told}");
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn other_partitions_than_the_logs_are_a_mismatch() {
        on_fresh_topics(async |deployment| {
            let file = deployment.files.path().join("sale.toml");
            std::fs::write(&file, EXAMPLE).unwrap();
            let told = refused(&deployment.catalog(&["publish", "--partitions=4", file.to_str().unwrap()]).await, 78);
            assert!(told.contains("has 3 partitions"), "{told}");
        })
        .await;
    }
}
