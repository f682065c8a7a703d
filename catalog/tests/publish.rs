//! Goal: a publication appends once, when it may, and says what is known about it. Method: ports that record and obey.

#[cfg(test)]
mod publishing {
    use std::{sync::Mutex, time::Duration};

    use catalog::{
        EXAMPLE,
        file::parse,
        publish::{Publication, PublishError, Settings, plan, publish},
        published::Unreadable,
    };
    use domain::{id::PartitionId, sale::Sale};
    use store::log::{ReadError, SalesFollower, SalesPublisher, Unacknowledged};

    const SETTINGS: Settings =
        Settings { partitions: 4, now_ms: 1_795_000_000_000, read_within: Duration::from_secs(5), dry_run: false };

    #[derive(Default)]
    struct Topic {
        appended: Mutex<Vec<Sale>>,
        is_silent: bool,
    }

    impl SalesPublisher for Topic {
        async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
            self.appended.lock().unwrap().push(sale.clone());
            if self.is_silent { Err(Unacknowledged("timed out".into())) } else { Ok(()) }
        }
    }

    /// Tells these answers, then nothing for ever.
    struct Told(Vec<Result<Vec<Sale>, ReadError>>);

    impl SalesFollower for Told {
        async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
            if self.0.is_empty() { std::future::pending().await } else { self.0.remove(0) }
        }
    }

    async fn run(
        topic: &Topic,
        told: Vec<Result<Vec<Sale>, ReadError>>,
        settings: &Settings,
    ) -> Result<Publication, PublishError> {
        publish(&parse(EXAMPLE).unwrap(), (topic, &mut Told(told)), settings).await
    }

    fn example() -> Sale {
        plan(&parse(EXAMPLE).unwrap(), &[], SETTINGS.partitions, SETTINGS.now_ms).unwrap()
    }

    #[tokio::test]
    async fn a_new_sale_is_appended_once() {
        let topic = Topic::default();
        let publication = run(&topic, vec![Ok(vec![])], &SETTINGS).await.unwrap();
        assert_eq!((publication.sale, publication.previous), (example(), None));
        assert_eq!(*topic.appended.lock().unwrap(), [example()]);
    }

    #[tokio::test]
    async fn what_is_published_already_is_not_appended_again() {
        let topic = Topic::default();
        let publication = run(&topic, vec![Ok(vec![example()]), Ok(vec![])], &SETTINGS).await.unwrap();
        assert!(publication.is_repeat());
        assert!(topic.appended.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_whole_topic_is_read_and_the_newest_version_counts() {
        let older = Sale { title: "Older".into(), ..example() };
        let newer = Sale { version: 3, title: "Newer".into(), ..example() };
        let told = vec![Ok(vec![older.clone()]), Ok(vec![newer.clone(), older]), Ok(vec![])];
        let publication = run(&Topic::default(), told, &SETTINGS).await.unwrap();
        assert_eq!((publication.sale.version, publication.previous), (4, Some(newer)));
    }

    #[tokio::test]
    async fn a_dry_run_appends_nothing() {
        let topic = Topic::default();
        let dry = Settings { dry_run: true, ..SETTINGS };
        assert!(!run(&topic, vec![Ok(vec![])], &dry).await.unwrap().is_repeat());
        assert!(topic.appended.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_broken_rule_appends_nothing() {
        let topic = Topic::default();
        let mut other = example();
        other.lanes[0].limit_per_buyer = 2;
        let error = run(&topic, vec![Ok(vec![other]), Ok(vec![])], &SETTINGS).await.unwrap_err();
        assert!(matches!(error, PublishError::Flawed(flaws) if flaws.len() == 1));
        assert!(topic.appended.lock().unwrap().is_empty());
    }

    /// R7: without an acknowledgement nobody knows, and the same publication again settles it, whichever way it went.
    #[tokio::test]
    async fn without_an_acknowledgement_it_is_unknown_and_safe_to_repeat() {
        let topic = Topic { is_silent: true, ..Topic::default() };
        let error = run(&topic, vec![Ok(vec![])], &SETTINGS).await.unwrap_err();
        assert!(matches!(error, PublishError::Unacknowledged { version: 1, .. }));
        let arrived = topic.appended.lock().unwrap().clone();
        assert!(run(&Topic::default(), vec![Ok(arrived), Ok(vec![])], &SETTINGS).await.unwrap().is_repeat());
        assert_eq!(run(&Topic::default(), vec![Ok(vec![])], &SETTINGS).await.unwrap().sale, example());
    }

    /// One broker of several that is away is told as an error too, and passes.
    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_away_is_named() {
        let away = || Err(ReadError::Unavailable("no broker".into()));
        let topic = Topic::default();
        let back = run(&topic, vec![away(), Ok(vec![example()]), away(), Ok(vec![])], &SETTINGS).await.unwrap();
        assert!(back.is_repeat());
        let error = run(&topic, vec![away()], &SETTINGS).await.unwrap_err();
        assert_eq!(error.to_string(), "not read to its end within 5s: the log cannot be read: no broker");
        assert!(topic.appended.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_not_read_to_its_end_appends_nothing() {
        let topic = Topic::default();
        let stalled = run(&topic, vec![Ok(vec![example()])], &SETTINGS).await.unwrap_err();
        assert!(matches!(stalled, PublishError::Unreadable(Unreadable::TooSlow { trouble: None, .. })));
        let lost = ReadError::OutOfRange { partition: PartitionId(0), offset: 7 };
        let broken = run(&topic, vec![Ok(vec![example()]), Err(lost)], &SETTINGS).await.unwrap_err();
        assert!(matches!(broken, PublishError::Unreadable(Unreadable::Read(_))));
        assert!(topic.appended.lock().unwrap().is_empty());
    }
}
