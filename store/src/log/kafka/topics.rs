//! Creates the topics that are missing and checks those that exist. It never changes one.

use std::{error::Error, sync::Arc, time::Duration};

use domain::record::Topic as Named;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::FromClientConfigAndContext,
    error::{IsError, RDKafkaErrorCode},
    metadata::Metadata,
};
use tokio::time::sleep;

use super::{Held, KafkaSettings, KafkaSetupError, Quiet, blocking};
use crate::{cause::Cause, elapsed::Since, log::retention_ms};

/// A topic without leaders after this time has no brokers to carry it.
const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(50);
/// Parked records wait for people.
const DEAD_RETENTION_MS: u64 = 90 * 24 * 60 * 60 * 1000;

struct Topic {
    name: String,
    partitions: u32,
    cleanup: &'static str,
    retention_ms: String,
}

/// Makes sure that each [`Topic`](Named), `orders.dead` and `sales` exist and are ready. Doing it
/// again changes nothing.
///
/// # Errors
/// [`KafkaSetupError`]: another number of partitions, a refused topic, no brokers. Nothing is taken
/// back.
pub async fn ensure_topics(settings: &KafkaSettings) -> Result<(), KafkaSetupError> {
    let topics = topics(settings);
    let config = settings.client();
    let admin = blocking(move || AdminClient::from_config_and_context(&config, Quiet)).await;
    let admin = Held::new(admin.map_err(not_run)??);
    let client = admin.get().map_err(not_run)?;
    create(&client, settings, &topics).await?;
    let since = Since::now();
    for topic in &topics {
        await_ready(&client, topic, settings.request_timeout(), since).await?;
    }
    Ok(())
}

fn not_run(error: impl Error + Send + Sync + 'static) -> KafkaSetupError {
    KafkaSetupError::Thread(Cause::of(error))
}

fn topics(settings: &KafkaSettings) -> Vec<Topic> {
    let topic = |name, partitions, cleanup, retention_ms: u64| Topic {
        name,
        partitions,
        cleanup,
        retention_ms: retention_ms.to_string(),
    };
    let partitioned = Named::ALL.map(|named| {
        let partitions = if named == Named::Counts { 1 } else { settings.partitions };
        topic(settings.topic(named), partitions, "delete", retention_ms(named, settings.retention_ms))
    });
    let single = [
        topic(settings.dead_topic(), 1, "delete", DEAD_RETENTION_MS),
        topic(settings.sales_topic(), 1, "compact", settings.retention_ms),
    ];
    partitioned.into_iter().chain(single).collect()
}

async fn create(admin: &AdminClient<Quiet>, settings: &KafkaSettings, topics: &[Topic]) -> Result<(), KafkaSetupError> {
    let min_insync = settings.min_insync.to_string();
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(settings.replication.into()))
                .set("cleanup.policy", topic.cleanup)
                .set("retention.ms", &topic.retention_ms)
                .set("min.insync.replicas", &min_insync)
                // A replica that lags never leads: it would take back acknowledged records.
                .set("unclean.leader.election.enable", "false")
                // The broker's clock dates records, so that no engine's clock decides when they are
                // deleted.
                .set("message.timestamp.type", "LogAppendTime")
        })
        .collect();
    let timeout = Some(settings.request_timeout());
    let options = AdminOptions::new().request_timeout(timeout).operation_timeout(timeout);
    for outcome in admin.create_topics(&wanted, &options).await? {
        match outcome {
            Ok(topic) => tracing::info!(topic, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            // Created, or soon: the wait for its leaders tells.
            Err((_, RDKafkaErrorCode::RequestTimedOut)) => {}
            Err((topic, code)) => return Err(KafkaSetupError::Topic { topic, code }),
        }
    }
    Ok(())
}

async fn await_ready(
    admin: &Arc<AdminClient<Quiet>>,
    topic: &Topic,
    request_timeout: Duration,
    since: Since,
) -> Result<(), KafkaSetupError> {
    loop {
        let (admin, name) = (Arc::clone(admin), topic.name.clone());
        let answer = blocking(move || admin.inner().fetch_metadata(Some(&name), request_timeout));
        let why = match answer.await.map_err(not_run)? {
            Ok(metadata) => match check(&metadata, topic)? {
                None => return Ok(()),
                Some(why) => why,
            },
            Err(error) => error.to_string(),
        };
        if since.elapsed() >= READY_WITHIN {
            return Err(KafkaSetupError::NotReady { topic: topic.name.clone(), why });
        }
        sleep(READY_PAUSE).await;
    }
}

/// `None` when the topic is ready, else what is missing.
fn check(metadata: &Metadata, topic: &Topic) -> Result<Option<String>, KafkaSetupError> {
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.name) else {
        return Ok(Some("the brokers do not know it".into()));
    };
    if let Some(error) = found.error().filter(IsError::is_error) {
        return Ok(Some(RDKafkaErrorCode::from(error).to_string()));
    }
    let partitions = found.partitions();
    if u32::try_from(partitions.len()) != Ok(topic.partitions) {
        let (topic, expected) = (topic.name.clone(), topic.partitions);
        return Err(KafkaSetupError::Partitions { topic, found: partitions.len(), expected });
    }
    let leaderless = partitions.iter().filter(|partition| partition.leader() < 0).count();
    Ok((leaderless > 0).then(|| format!("{leaderless} of its partitions have no leader")))
}
