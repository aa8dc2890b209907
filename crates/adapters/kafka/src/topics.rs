//! The topics: made where they are missing, refused where they would lose records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

use crate::client::{Context, OffThread};
use crate::config::KafkaConfig;
use crate::error::{OpenError, panicked};
use crate::queries::Queries;

/// How long a client may look for which brokers are there.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two looks at whether a new topic is there.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What topics are looked at and made with.
pub(crate) struct Topics<'a> {
    pub(crate) config: &'a KafkaConfig,
    pub(crate) admin: &'a OffThread<AdminClient<Context>>,
    pub(crate) queries: &'a Arc<Queries>,
}

/// A topic that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) partitions: u32,
}

/// A topic as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    partitions: usize,
    replicas_min: usize,
    /// Whether every partition has a leader.
    is_led: bool,
    settings: BTreeMap<String, String>,
}

impl Topics<'_> {
    /// Which topics the cluster has.
    pub(crate) async fn present(&self) -> Result<BTreeSet<String>, OpenError> {
        let metadata = self.metadata().await?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Those that are not there.
    pub(crate) async fn missing<'w>(&self, wanted: &'w [Wanted]) -> Result<Vec<&'w Wanted>, OpenError> {
        let present = self.present().await?;
        Ok(wanted.iter().filter(|wanted| !present.contains(&wanted.name)).collect())
    }

    /// Checks topics; those that were made just now are waited for.
    pub(crate) async fn check(&self, wanted: &[Wanted]) -> Result<(), OpenError> {
        let mut found = self.wait_until_led(wanted).await?;
        self.read_settings(wanted, &mut found).await?;
        let faults: Vec<String> =
            wanted.iter().flat_map(|wanted| faults(wanted, found.get(&wanted.name), self.config)).collect();
        if faults.is_empty() { Ok(()) } else { Err(OpenError::Topics(faults)) }
    }

    async fn metadata(&self) -> Result<Metadata, OpenError> {
        let queries = Arc::clone(self.queries);
        tokio::task::spawn_blocking(move || queries.reach()).await.map_err(panicked)?
    }

    /// Makes topics.
    pub(crate) async fn make(&self, missing: &[&Wanted]) -> Result<(), OpenError> {
        const DOING: &str = "make topics";
        if missing.is_empty() {
            return Ok(());
        }
        let settings = settings(self.config);
        let mut topics = Vec::new();
        for wanted in missing {
            let replication = TopicReplication::Fixed(self.config.replication_factor.cast_signed());
            let mut topic = NewTopic::new(&wanted.name, wanted.partitions.cast_signed(), replication);
            for (name, value) in &settings {
                topic = topic.set(name, value);
            }
            topics.push(topic);
        }
        let results =
            self.admin.create_topics(&topics, &self.options()).await.map_err(OpenError::cluster(DOING))?;
        for result in results {
            match result {
                Ok(topic) => tracing::info!(topic, "made the topic"),
                // Another process was faster; what it made is checked.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(OpenError::Topics(vec![format!("topic {topic} cannot be made: {code}")]));
                }
            }
        }
        Ok(())
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.config.call_timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }

    async fn wait_until_led(&self, wanted: &[Wanted]) -> Result<BTreeMap<String, Found>, OpenError> {
        let deadline = self.queries.deadline();
        loop {
            let metadata = self.metadata().await?;
            let found: BTreeMap<String, Found> = metadata.topics().iter().map(found).collect();
            let is_led = |wanted: &Wanted| found.get(&wanted.name).is_some_and(|found| found.is_led);
            if wanted.iter().all(is_led) {
                return Ok(found);
            }
            if deadline.has_passed() {
                let unled = wanted.iter().filter(|wanted| !is_led(wanted));
                let sentence = |wanted: &Wanted| {
                    format!("topic {} is not there, or has partitions without a leader", wanted.name)
                };
                return Err(OpenError::Topics(unled.map(sentence).collect()));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// A broker to which a new topic has not got around yet answers with no settings at all: it is asked again. So is another one where
    /// the one that the client has in mind for this is away: it looks anew at which are there only when it is told to.
    async fn read_settings(
        &self,
        wanted: &[Wanted],
        found: &mut BTreeMap<String, Found>,
    ) -> Result<(), OpenError> {
        let deadline = self.queries.deadline();
        loop {
            let described = match self.describe(wanted).await {
                Err(OpenError::Cluster { .. }) if !deadline.has_passed() => {
                    let admin = self.admin.shared();
                    // What it says does not matter: the next try tells.
                    let look = move || drop(admin.inner().fetch_metadata(None, LOOK_TIMEOUT));
                    tokio::task::spawn_blocking(look).await.map_err(panicked)?;
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
                described => described?,
            };
            let unknown = described.iter().find(|(_, settings)| settings.is_empty());
            let Some((name, _)) = unknown else {
                for (name, settings) in described {
                    found.entry(name).or_default().settings = settings;
                }
                return Ok(());
            };
            if deadline.has_passed() {
                let fault = format!("the settings of topic {name} cannot be read: a broker does not know it");
                return Err(OpenError::Topics(vec![fault]));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn describe(
        &self,
        wanted: &[Wanted],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, OpenError> {
        const DOING: &str = "read the topics' settings";
        let resources: Vec<ResourceSpecifier<'_>> =
            wanted.iter().map(|wanted| ResourceSpecifier::Topic(&wanted.name)).collect();
        let options = AdminOptions::new().request_timeout(Some(self.config.call_timeout / 5));
        let described = self.admin.describe_configs(&resources, &options).await;
        let described = described.map_err(OpenError::cluster(DOING))?;
        let mut settings = BTreeMap::new();
        for (Wanted { name, .. }, described) in wanted.iter().zip(described) {
            let described = described.map_err(|code| {
                OpenError::Topics(vec![format!("the settings of topic {name} cannot be read: {code}")])
            })?;
            let entries = described.entries.into_iter();
            let of_topic = entries.map(|entry| (entry.name, entry.value.unwrap_or_default()));
            settings.insert(name.clone(), of_topic.collect());
        }
        Ok(settings)
    }
}

fn found(topic: &rdkafka::metadata::MetadataTopic) -> (String, Found) {
    let partitions = topic.partitions();
    let found = Found {
        partitions: partitions.len(),
        replicas_min: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
        is_led: !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0),
        settings: BTreeMap::new(),
    };
    (topic.name().to_owned(), found)
}

/// What a topic is made with.
fn settings(config: &KafkaConfig) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("min.insync.replicas", config.min_insync_replicas.to_string()),
        ("max.message.bytes", config.record_bytes_max().to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    if config.replication_factor == 1 {
        // No other replica has what a power loss takes from the only one: it syncs before it answers.
        settings.push(("flush.messages", "1".to_owned()));
    }
    settings
}

/// What is wrong with a topic, one sentence each.
fn faults(wanted: &Wanted, found: Option<&Found>, config: &KafkaConfig) -> Vec<String> {
    let name = &wanted.name;
    let Some(found) = found else { return vec![format!("topic {name} is not there")] };
    let mut faults = Vec::new();
    if found.partitions < wanted.partitions as usize {
        let (has, asked) = (found.partitions, wanted.partitions);
        faults.push(format!(
            "topic {name} has {has} partitions, and {asked} are asked for: add some, or ask for fewer"
        ));
    }
    if found.replicas_min < config.replication_factor as usize {
        let (has, asked) = (found.replicas_min, config.replication_factor);
        faults.push(format!(
            "topic {name} has a partition of {has} replicas, and {asked} are asked for: add some"
        ));
    }
    let in_sync = found.settings.get("min.insync.replicas").and_then(|has| has.parse::<usize>().ok());
    if let Some(in_sync) = in_sync.filter(|in_sync| *in_sync > found.replicas_min) {
        let replicas = found.replicas_min;
        faults.push(format!(
            "topic {name} has min.insync.replicas = {in_sync}, and a partition of {replicas} replicas: nothing can ever be appended to it"
        ));
    }
    for (setting, value) in settings(config) {
        let has = found.settings.get(setting).map_or("nothing", String::as_str);
        let at_least = |reason| {
            let enough = has.parse::<u64>().ok() >= value.parse::<u64>().ok();
            (!enough).then(|| {
                format!("topic {name} has {setting} = {has}, and must have at least {value}: {reason}")
            })
        };
        let exactly = |reason| {
            (has != value)
                .then(|| format!("topic {name} has {setting} = {has}, and must have {value}: {reason}"))
        };
        faults.extend(match setting {
            "min.insync.replicas" => at_least("records could be on one broker alone"),
            "max.message.bytes" => at_least("long records would be refused"),
            "cleanup.policy" => exactly("records would be lost"),
            "unclean.leader.election.enable" => exactly("acknowledged records could be lost"),
            "retention.ms" | "retention.bytes" => {
                exactly("records would be deleted before they are consumed")
            }
            "flush.messages" if found.replicas_min == 1 => {
                exactly("a power loss could take acknowledged records from its only replica")
            }
            _ => None,
        });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_would_lose_records_are_refused_in_a_sentence_each() {
        let config = KafkaConfig::default();
        let wanted = Wanted { name: "vidimus.photos".to_owned(), partitions: 12 };
        let settings: BTreeMap<String, String> =
            settings(&config).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let sound = Found { partitions: 12, replicas_min: 3, is_led: true, settings };
        let more = Found { partitions: 24, replicas_min: 5, ..sound.clone() };
        assert!(faults(&wanted, Some(&sound), &config).is_empty());
        assert!(faults(&wanted, Some(&more), &config).is_empty());
        let with = |setting: &str, value: &str| {
            let mut settings = sound.settings.clone();
            settings.insert(setting.to_owned(), value.to_owned());
            Found { settings, ..sound.clone() }
        };
        for (found, about) in [
            (
                with("min.insync.replicas", "4"),
                "min.insync.replicas = 4, and a partition of 3 replicas: nothing",
            ),
            (Found { partitions: 11, ..sound.clone() }, "has 11 partitions, and 12 are asked for"),
            (Found { replicas_min: 2, ..sound.clone() }, "has a partition of 2 replicas, and 3"),
            (
                with("cleanup.policy", "compact,delete"),
                "cleanup.policy = compact,delete, and must have delete",
            ),
            (with("retention.ms", "604800000"), "retention.ms = 604800000, and must have -1"),
            (with("retention.bytes", "1"), "retention.bytes = 1, and must have -1"),
            (with("min.insync.replicas", "1"), "min.insync.replicas = 1, and must have at least 2"),
            (
                with("max.message.bytes", "1048588"),
                "max.message.bytes = 1048588, and must have at least 2097152",
            ),
            (with("unclean.leader.election.enable", "true"), "unclean.leader.election.enable = true"),
        ] {
            let faults = faults(&wanted, Some(&found), &config);
            assert!(faults.len() == 1 && faults[0].contains(about), "{faults:?}");
            assert!(faults[0].starts_with("topic vidimus.photos has "), "{faults:?}");
        }
        assert_eq!(faults(&wanted, None, &config).len(), 1);
        assert!(faults(&wanted, Some(&with("min.insync.replicas", "3")), &config).is_empty());
    }

    #[test]
    fn an_only_replica_must_sync_before_it_answers() {
        let config = KafkaConfig { replication_factor: 1, min_insync_replicas: 1, ..KafkaConfig::default() };
        let wanted = Wanted { name: "vidimus.photos".to_owned(), partitions: 12 };
        let settings: BTreeMap<String, String> =
            settings(&config).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut found = Found { partitions: 12, replicas_min: 1, is_led: true, settings };
        assert!(faults(&wanted, Some(&found), &config).is_empty());
        found.settings.insert("flush.messages".to_owned(), "9223372036854775807".to_owned());
        let told = faults(&wanted, Some(&found), &config);
        assert!(told.len() == 1 && told[0].contains("must have 1: a power loss"), "{told:?}");
        let several = Found { replicas_min: 3, ..found };
        assert!(faults(&wanted, Some(&several), &config).is_empty(), "others have it too");
    }
}
