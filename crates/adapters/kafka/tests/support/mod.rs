//! A real broker for a test: started on free ports with a folder of its own, and gone when the test is.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vidimus_kafka::{KafkaConfig, KafkaDeps, KafkaEventLog, KafkaMetrics, OpenError};
use vidimus_ports::{LogRecord, Position, Random, Subscription, SystemRandom};

/// The longest that anything may take: other programs may keep the machine busy.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A cluster of one broker.
pub struct Broker {
    /// Its data, log and process id.
    pub folder: PathBuf,
    pub port: u16,
    /// What runs it.
    pub script: Option<Child>,
    /// What the script is told besides.
    told: Vec<(&'static str, String)>,
}

impl Broker {
    /// Starts a broker with an empty folder.
    pub fn start() -> Self {
        Self::start_with(|_, _| Vec::new())
    }

    /// The same, whose script is told what `tell` makes of folder and port.
    pub fn start_with(tell: impl FnOnce(&Path, u16) -> Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let port = free_port();
        let told = tell(&folder, port);
        let mut broker = Self { folder, port, script: None, told };
        broker.resume();
        broker
    }

    /// Starts it again on its folder, and waits until it accepts connections.
    pub fn resume(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts/stack/kafka.sh");
        let mut command = Command::new(script);
        command.arg(&self.folder).arg("1").arg(self.port.to_string());
        command.envs(self.told.iter().cloned());
        command.env("KAFKA_UNTIL_INPUT_ENDS", "1").env("KAFKA_REMOVE_AT_END", "1").stdin(Stdio::piped());
        let mut script = command.spawn().expect("scripts/stack/kafka.sh starts");
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = script.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "no broker: run scripts/stack/kafka_install.sh, or see what is said above"
            );
            assert!(Instant::now() < deadline, "the broker accepts connections in time");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.script = Some(script);
    }

    pub fn uri(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.port)
    }

    pub async fn open(&self, config: &KafkaConfig) -> Result<KafkaEventLog, OpenError> {
        self.open_counted(config, KafkaMetrics::default()).await
    }

    pub async fn open_counted(
        &self,
        config: &KafkaConfig,
        metrics: KafkaMetrics,
    ) -> Result<KafkaEventLog, OpenError> {
        let random = std::sync::Arc::new(SystemRandom);
        KafkaEventLog::open(&self.uri(), config.clone(), KafkaDeps { random, metrics }).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut script) = self.script.take() {
            drop(script.stdin.take());
            let _ = script.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that is free, and the one after it too.
pub fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let after =
            port.checked_add(1).and_then(|after| TcpListener::bind((Ipv4Addr::LOCALHOST, after)).ok());
        if after.is_some() {
            return port;
        }
    }
}

/// A configuration for one broker, with topics that no other test has.
pub fn config() -> KafkaConfig {
    KafkaConfig {
        topic_prefix: format!("test-{}-", SystemRandom.nonce()),
        partitions: 4,
        replication_factor: 1,
        min_insync_replicas: 1,
        call_timeout: Duration::from_secs(30),
        append_timeout: Duration::from_secs(30),
        ..KafkaConfig::default()
    }
}

/// Reads on until `enough` of what was read.
pub async fn read_until(
    consumer: &mut dyn Subscription,
    enough: impl Fn(&[LogRecord]) -> bool,
) -> Vec<LogRecord> {
    let deadline = Instant::now() + DEADLINE;
    let mut records = Vec::new();
    while !enough(&records) {
        assert!(
            Instant::now() < deadline,
            "{} records were read in time, and more are awaited",
            records.len()
        );
        records.extend(consumer.next(100, Duration::from_millis(200)).await.unwrap());
    }
    records
}

/// The place after a record.
pub fn after(position: Position) -> Position {
    Position { offset: position.offset + 1, ..position }
}
