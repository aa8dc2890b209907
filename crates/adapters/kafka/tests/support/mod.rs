//! A real broker for a test: started on free ports with a folder of its own, and gone when the test is.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use vidimus_kafka::{KafkaConfig, KafkaDeps, KafkaEventLog, KafkaMetrics, OpenError};
use vidimus_ports::{LogRecord, PortErrorKind, Position, Random, Subscription, SystemRandom};

/// The longest that anything may take: other programs may keep the machine busy.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Starts before it is given up: another program may take a port between the look at it and the broker.
const STARTS_MAX: usize = 5;
/// Ports that are looked at: below those that the system gives to connections.
const PORTS: std::ops::Range<u16> = 15_000..30_000;
/// Lines of a broker's log that are shown where it ends.
const LOG_LINES: usize = 20;

/// What the script is told besides, as variables, for a folder and a first port.
type Tell = fn(&Path, u16) -> Vec<(&'static str, String)>;

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
    /// Starts a broker with an empty folder. It makes topics that it is asked for, as Kafka does by default.
    pub fn start() -> Self {
        Self::start_with(2, |folder, _| {
            let file = folder.join("more.properties");
            std::fs::write(&file, "auto.create.topics.enable=true\n").unwrap();
            vec![("KAFKA_PROPERTIES", file.display().to_string())]
        })
    }

    /// The same with so many ports, one after the other, whose script is told what `tell` makes of folder and first port.
    pub fn start_with(ports: u16, tell: Tell) -> Self {
        for _ in 0..STARTS_MAX {
            let folder = tempfile::tempdir().unwrap().keep();
            let port = free_ports(ports);
            let told = tell(&folder, port);
            let mut broker = Self { folder, port, script: None, told };
            match broker.resume() {
                Ok(()) => return broker,
                Err(reason) => println!("no broker on port {port}, another try: {reason}"),
            }
        }
        panic!("no broker: run scripts/stack/kafka_install.sh, or see what is said above");
    }

    /// Starts it again on its folder, and waits until it accepts connections.
    pub fn resume(&mut self) -> Result<(), String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts/stack/kafka.sh");
        let mut command = Command::new(script);
        command.arg(&self.folder).arg("1").arg(self.port.to_string());
        command.envs(self.told.iter().cloned());
        command.env("KAFKA_UNTIL_INPUT_ENDS", "1").env("KAFKA_REMOVE_AT_END", "1").stdin(Stdio::piped());
        let _ = std::fs::remove_file(self.folder.join("broker-0.pid"));
        self.script = Some(command.spawn().expect("scripts/stack/kafka.sh starts"));
        let deadline = Instant::now() + DEADLINE;
        loop {
            if self.has_ended() {
                return Err(format!("it has ended; its log ends with\n{}", self.log_end()));
            }
            if self.pid().is_some() && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "it accepts no connections in time; its log ends with\n{}",
                    self.log_end()
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The broker's process; none before it is started.
    pub fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.join("broker-0.pid")).ok()?;
        text.parse().ok().and_then(Pid::from_raw)
    }

    /// Whether the script, or the broker that it started, has ended.
    fn has_ended(&mut self) -> bool {
        let script = self.script.as_mut().expect("it was started");
        let is_gone = |pid: Pid| {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            status.map_or(true, |status| status.contains(") Z "))
        };
        script.try_wait().unwrap().is_some() || self.pid().is_some_and(is_gone)
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("broker-0.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
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

/// The first of so many ports, one after the other, that are free.
fn free_ports(count: u16) -> u16 {
    loop {
        let [high, low, ..] = SystemRandom.nonce().to_bytes();
        let first = PORTS.start + u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start - count);
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// Whether nobody listens there.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
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

/// Reads on until a consumer that may be given nothing more ends.
pub async fn until_it_ends(consumer: &mut dyn Subscription) -> PortErrorKind {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match consumer.next(100, Duration::from_millis(200)).await {
            Ok(records) => assert!(records.is_empty() && Instant::now() < deadline, "{records:?}"),
            Err(error) => return error.kind(),
        }
    }
}

/// The place after a record.
pub fn after(position: Position) -> Position {
    Position { offset: position.offset + 1, ..position }
}
