//! Goal: a publication is made once, when it may, whoever publishes beside it, and what is known
//! about it is said. Method: the real ledger in a file; a topic and a follower that record and
//! obey.

#[cfg(test)]
mod publishing {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use catalog::{
        EXAMPLE,
        file::{Draft, parse},
        publish::{Announced, Publication, PublishError, Settings, plan, publish},
        published::{Unknowable, Unreadable},
    };
    use domain::{id::PartitionId, sale::Sale};
    use store::{
        ledger::Ledger,
        log::{ReadError, SalesFollower, SalesPublisher, Unacknowledged},
        shards::{self, Namespace},
        sql::{
            Sql,
            sqlite::{self, Sqlite, SqliteServer},
        },
    };

    const SETTINGS: Settings =
        Settings { partitions: 4, now_ms: 1_795_000_000_000, read_within: Duration::from_secs(60), dry_run: false };
    /// Rounds of publishers at the same moment.
    const ROUNDS: u32 = 200;

    /// A ledger, and the topic that is fed from it.
    struct Deployment<S> {
        ledger: Ledger<S>,
        appended: Mutex<Vec<Sale>>,
        is_silent: bool,
        _folder: tempfile::TempDir,
    }

    impl<S: Sql> SalesPublisher for Deployment<S> {
        async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
            if self.is_silent {
                return Err(Unacknowledged("timed out".into()));
            }
            self.appended.lock().unwrap().push(sale.clone());
            Ok(())
        }
    }

    /// Tells these answers, then nothing for ever.
    struct Told(Vec<Result<Vec<Sale>, ReadError>>);

    impl SalesFollower for Told {
        async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
            if self.0.is_empty() { std::future::pending().await } else { self.0.remove(0) }
        }
    }

    impl Deployment<Sqlite> {
        /// In a folder of its own.
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let server = SqliteServer::new(folder.path().into(), Arc::new(|| 1), sqlite::Settings::default()).unwrap();
            let ledger = shards::open_ledger(&server, &Namespace::new("shop").unwrap()).await.unwrap();
            Self { ledger, appended: Mutex::default(), is_silent: false, _folder: folder }
        }
    }

    impl<S: Sql> Deployment<S> {
        async fn run(
            &self,
            draft: &Draft,
            told: Vec<Result<Vec<Sale>, ReadError>>,
            settings: &Settings,
        ) -> Result<Announced, PublishError> {
            publish(draft, (self.ledger.publications(), self, &mut Told(told)), settings).await
        }

        /// Publishes the example when the topic holds these.
        async fn example(&self, topic: Vec<Sale>) -> Result<Publication, PublishError> {
            let told = if topic.is_empty() { vec![Ok(vec![])] } else { vec![Ok(topic), Ok(vec![])] };
            Ok(self.run(&parse(EXAMPLE).unwrap(), told, &SETTINGS).await?.publication)
        }

        async fn published(&self) -> Vec<Sale> {
            self.ledger.publications().all().await.unwrap()
        }

        fn appended(&self) -> Vec<Sale> {
            self.appended.lock().unwrap().clone()
        }
    }

    fn example() -> Sale {
        plan(&parse(EXAMPLE).unwrap(), &[], SETTINGS.partitions, SETTINGS.now_ms).unwrap()
    }

    #[tokio::test]
    async fn a_new_sale_is_published_and_appended_once() {
        let shop = Deployment::new().await;
        let publication = shop.example(vec![]).await.unwrap();
        assert_eq!((publication.sale, publication.previous), (example(), None));
        assert_eq!((shop.published().await, shop.appended()), (vec![example()], vec![example()]));
        assert!(shop.example(vec![example()]).await.unwrap().is_repeat());
        assert_eq!(shop.appended(), [example()]);
    }

    /// Published by an older program, past the database.
    #[tokio::test]
    async fn what_only_the_topic_holds_is_published_too_and_the_newest_version_counts() {
        let shop = Deployment::new().await;
        let older = Sale { title: "Older".into(), ..example() };
        let newer = Sale { version: 3, title: "Newer".into(), ..example() };
        let told = vec![Ok(vec![older.clone()]), Ok(vec![newer.clone(), older]), Ok(vec![])];
        let announced = shop.run(&parse(EXAMPLE).unwrap(), told, &SETTINGS).await.unwrap();
        assert_eq!((announced.publication.sale.version, announced.publication.previous), (4, Some(newer)));
    }

    #[tokio::test]
    async fn a_dry_run_changes_nothing() {
        let shop = Deployment::new().await;
        let (dry, draft) = (Settings { dry_run: true, ..SETTINGS }, parse(EXAMPLE).unwrap());
        assert!(!shop.run(&draft, vec![Ok(vec![])], &dry).await.unwrap().publication.is_repeat());
        assert!(shop.run(&draft, vec![Ok(vec![example()]), Ok(vec![])], &dry).await.unwrap().publication.is_repeat());
        assert_eq!((shop.published().await, shop.appended()), (vec![], vec![]));
    }

    #[tokio::test]
    async fn a_broken_rule_publishes_nothing() {
        let shop = Deployment::new().await;
        let mut other = example();
        other.lanes[0].offers[0].price.currency = "EUR".parse().unwrap();
        let error = shop.example(vec![other.clone()]).await.unwrap_err();
        assert!(matches!(error, PublishError::Flawed(flaws) if flaws.len() == 1));
        assert_eq!((shop.published().await, shop.appended()), (vec![other], vec![]));
    }

    /// Once it is committed it is published, whatever the log says; the next one who comes feeds
    /// the topic.
    #[tokio::test]
    async fn a_log_that_is_silent_does_not_undo_a_publication() {
        let mut shop = Deployment { is_silent: true, ..Deployment::new().await };
        let announced = shop.run(&parse(EXAMPLE).unwrap(), vec![Ok(vec![])], &SETTINGS).await.unwrap();
        assert!(announced.note().contains("engines hear of it once the log is back"), "{}", announced.note());
        assert_eq!(shop.published().await, [example()]);
        shop.is_silent = false;
        let again = shop.run(&parse(EXAMPLE).unwrap(), vec![Ok(vec![])], &SETTINGS).await.unwrap();
        assert!(again.publication.is_repeat() && again.note().is_empty());
        assert_eq!(shop.appended(), [example()]);
    }

    /// One broker of several that is away is told as an error too, and passes.
    #[tokio::test]
    async fn a_log_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_away_is_named() {
        let away = || Err(ReadError::Unavailable("no broker".into()));
        let (shop, draft) = (Deployment::new().await, parse(EXAMPLE).unwrap());
        let told = vec![away(), Ok(vec![example()]), away(), Ok(vec![])];
        assert!(shop.run(&draft, told, &SETTINGS).await.unwrap().publication.is_repeat());
        let hasty = Settings { read_within: Duration::from_millis(300), ..SETTINGS };
        let error = shop.run(&draft, vec![away()], &hasty).await.unwrap_err();
        assert_eq!(error.to_string(), "not read to its end within 300ms: the log cannot be read: no broker");
        let stalled = shop.run(&draft, vec![Ok(vec![example()])], &hasty).await.unwrap_err();
        assert!(matches!(
            stalled,
            PublishError::Unknowable(Unknowable::Topic(Unreadable::TooSlow { trouble: None, .. }))
        ));
        let lost = ReadError::OutOfRange { partition: PartitionId(0), offset: 7 };
        let broken = shop.run(&draft, vec![Ok(vec![example()]), Err(lost)], &SETTINGS).await.unwrap_err();
        assert!(matches!(broken, PublishError::Unknowable(Unknowable::Topic(Unreadable::Read(_)))));
    }

    /// The example with another id for everything it names, where asked.
    fn text(sale: u32, lane: u32, offer: u32, title: &str) -> Draft {
        let text = EXAMPLE.replace("\"1001\"", &format!("\"{sale}\"")).replace("\"5001\"", &format!("\"{lane}\""));
        let text = text.replace("\"9001\"", &format!("\"{offer}\"")).replace("\"9002\"", &format!("\"{}\"", offer + 1));
        parse(&text.replace("Winter", title)).unwrap()
    }

    fn flaws(error: PublishError) -> Vec<String> {
        match error {
            PublishError::Flawed(flaws) => flaws.iter().map(ToString::to_string).collect(),
            other => panic!("{other}"),
        }
    }

    /// Each round: two sales that name the same offers, then two edits of the one that was first,
    /// all at the same moment. The loser is told at its line what it lost to; an edit that was told
    /// published is in the sale.
    async fn race<S: Sql>(shop: &Deployment<S>) {
        for round in 0..ROUNDS {
            let (ids, offer) = ([10_000 + 2 * round, 10_001 + 2 * round], 100_000 + 2 * round);
            let [a, b] = ids.map(|id| text(id, id, offer, "Winter"));
            let told = || vec![Ok(shop.appended()), Ok(vec![])];
            let told = || if shop.appended().is_empty() { vec![Ok(vec![])] } else { told() };
            let (a, b) = tokio::join!(shop.run(&a, told(), &SETTINGS), shop.run(&b, told(), &SETTINGS));
            let (winner, lost) = match (a, b) {
                (Ok(winner), Err(lost)) | (Err(lost), Ok(winner)) => (winner.publication.sale, flaws(lost)),
                other => panic!("{other:?}"),
            };
            let expected = format!("lanes[0].offers[0].id: {offer} is an offer of sale {}", winner.id);
            assert!(lost[0].starts_with("line ") && lost[0].ends_with(&expected), "{lost:?}");

            let id = u32::try_from(winner.id.get()).unwrap();
            let [a, b] = ["Spring", "Autumn"].map(|title| text(id, id, offer, title));
            let (a, b) = tokio::join!(shop.run(&a, told(), &SETTINGS), shop.run(&b, told(), &SETTINGS));
            let published = shop.ledger.publications().find(winner.id).await.unwrap().unwrap();
            match (a, b) {
                (Ok(edit), Err(lost)) | (Err(lost), Ok(edit)) => {
                    assert_eq!(edit.publication.sale, published);
                    assert_eq!(flaws(lost), ["version: version 2 was published meanwhile"]);
                }
                // One came after the other.
                (Ok(a), Ok(b)) => {
                    let mut versions = [a.publication.sale.version, b.publication.sale.version];
                    versions.sort_unstable();
                    assert_eq!((versions, published.version), ([2, 3], 3));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(shop.published().await.len(), ROUNDS as usize);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_publishers_one_is_told_what_it_lost_to() {
        race(&Deployment::new().await).await;
    }

    #[cfg(feature = "live")]
    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_publishers_on_mysql_one_is_told_what_it_lost_to() {
        use store::sql::mysql::{MySqlServer, Settings};
        let url = std::env::var("FLASHSALE_MYSQL_URL").expect("FLASHSALE_MYSQL_URL is set: run `. stack/env`");
        let server = MySqlServer::new(&url, Settings::default()).unwrap();
        let namespace = Namespace::new(&format!("test_{:016x}", rand::random::<u64>())).unwrap();
        let ledger = shards::open_ledger(&server, &namespace).await.unwrap();
        let _folder = tempfile::tempdir().unwrap();
        let shop = Deployment { ledger, appended: Mutex::default(), is_silent: false, _folder };
        race(&shop).await;
        shards::drop_all(&server, &namespace).await.unwrap();
    }
}
