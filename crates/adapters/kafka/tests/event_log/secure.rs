//! The log over TLS, and for those alone who show a certificate or know a password.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vidimus_kafka::{
    KafkaConfig, KafkaDeps, KafkaEventLog, KafkaMetrics, Mechanism, OpenError, Sasl, Security,
};
use vidimus_ports::{Append, EventLog, SystemRandom, Topic};

use crate::support::{Broker, after, config, read_until};

const USER: &str = "vidimus";
const PASSWORD: &str = "pa55-word";
/// What a call may take where it is refused, and what a busy machine takes besides.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const REFUSED_WITHIN: Duration = Duration::from_secs(90);

/// A broker with a listener for each way in, and what its clients need.
struct Fixture {
    broker: Broker,
    /// Encrypted, for anybody.
    tls: u16,
    /// Encrypted, for who shows a certificate.
    mutual: u16,
    /// Encrypted, for who knows a password.
    sasl: u16,
}

/// A port, how it is asked, and what must be said of it.
struct Refusal {
    port: u16,
    security: Security,
    sasl: Option<Sasl>,
    /// Any of these: a peer may say why it hangs up, or hang up before that is read.
    said: &'static [&'static str],
}

fn openssl(folder: &Path, words: &[&str]) {
    let ran = Command::new("openssl").args(words).current_dir(folder).output().expect("openssl is there");
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// A key and a certificate for it, `NAME.key` and `NAME.pem`: an authority's own where no authority signs it.
fn certificate(folder: &Path, name: &str, authority: Option<&str>) {
    let (key, file, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
    let mut words =
        vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    words.extend(["-days", "2", "-keyout", &key, "-out", &file, "-subj", &subject]);
    let signer = authority.map(|authority| (format!("{authority}.pem"), format!("{authority}.key")));
    if let Some((signer, signer_key)) = &signer {
        words.extend(["-CA", signer, "-CAkey", signer_key]);
        words.extend([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
    }
    openssl(folder, &words);
}

/// The ports of the listeners besides the one that every broker has, and its controller's.
fn listeners(port: u16) -> [u16; 3] {
    [port + 2, port + 3, port + 4]
}

/// The broker's settings besides those that every broker has.
fn properties(folder: &Path, port: u16) -> String {
    let [tls, mutual, sasl] = listeners(port);
    let ports = [("PLAINTEXT", port), ("TLS", tls), ("MUTUAL", mutual), ("SASL", sasl)];
    let listeners = ports.map(|(name, port)| format!("{name}://127.0.0.1:{port}")).join(",");
    let controller = port + 1;
    let place = folder.display();
    let mut text = format!(
        "listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners={listeners}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MUTUAL:SSL,SASL:SASL_SSL\n\
         ssl.keystore.type=PEM\nssl.keystore.location={place}/both.pem\n\
         ssl.truststore.type=PEM\nssl.truststore.location={place}/ours.pem\n\
         listener.name.mutual.ssl.client.auth=required\n\
         listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n"
    );
    let module = "org.apache.kafka.common.security";
    for mechanism in ["scram-sha-256", "scram-sha-512"] {
        let setting = format!("listener.name.sasl.{mechanism}.sasl.jaas.config");
        writeln!(text, "{setting}={module}.scram.ScramLoginModule required;").unwrap();
    }
    let plain = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
    writeln!(text, "listener.name.sasl.plain.sasl.jaas.config={plain}").unwrap();
    text
}

impl Fixture {
    fn start() -> Self {
        let broker = Broker::start_with(5, |folder, port| {
            for (name, authority) in
                [("ours", None), ("theirs", None), ("broker", Some("ours")), ("client", Some("ours"))]
            {
                certificate(folder, name, authority);
            }
            certificate(folder, "stranger", Some("theirs"));
            let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
            std::fs::write(folder.join("both.pem"), read("broker.key") + &read("broker.pem")).unwrap();
            std::fs::write(folder.join("right"), format!("{PASSWORD}\n")).unwrap();
            std::fs::write(folder.join("wrong"), "guessed\n").unwrap();
            let file = folder.join("secure.properties");
            std::fs::write(&file, properties(folder, port)).unwrap();
            let users = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
                .map(|mechanism| format!("--add-scram {mechanism}=[name={USER},password={PASSWORD}]"));
            vec![("KAFKA_PROPERTIES", file.display().to_string()), ("KAFKA_FORMAT", users.join(" "))]
        });
        let [tls, mutual, sasl] = listeners(broker.port);
        Self { broker, tls, mutual, sasl }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.broker.folder.join(name)
    }

    fn trusting(&self, authority: &str) -> Security {
        Security { tls: true, ca_file: Some(self.file(authority)), ..Security::default() }
    }

    fn showing(&self, name: &str) -> Security {
        let [certificate_file, key_file] =
            [".pem", ".key"].map(|end| Some(self.file(&format!("{name}{end}"))));
        Security { certificate_file, key_file, ..self.trusting("ours.pem") }
    }

    fn knowing(&self, mechanism: Mechanism, username: &str, password: &str) -> Option<Sasl> {
        Some(Sasl { mechanism, username: username.to_owned(), password_file: self.file(password) })
    }

    async fn refuses(&self, refusal: Refusal) {
        let Refusal { port, security, sasl, said } = refusal;
        let secure = KafkaConfig { call_timeout: CALL_TIMEOUT, security, sasl, ..config() };
        let began = Instant::now();
        let error = open(&format!("127.0.0.1:{port}"), secure).await.err();
        let error = error.unwrap_or_else(|| panic!("it was let in, and {said:?} was to be said"));
        println!("{error}, after {:?}", began.elapsed());
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
        let error = format!("{error} {error:?}");
        assert!(said.iter().any(|said| error.contains(said)), "{error}: {said:?} was to be said");
        assert!(!error.contains(PASSWORD) && !error.contains("guessed"), "{error}");
        assert!(began.elapsed() < REFUSED_WITHIN, "{error}: after {:?}", began.elapsed());
    }
}

async fn open(address: &str, config: KafkaConfig) -> Result<KafkaEventLog, OpenError> {
    let deps = KafkaDeps { random: Arc::new(SystemRandom), metrics: KafkaMetrics::default() };
    KafkaEventLog::open(&format!("kafka://{address}"), config, deps).await
}

/// Appends, reads and commits.
async fn works(port: u16, config: KafkaConfig) {
    let log = open(&format!("127.0.0.1:{port}"), config).await.unwrap();
    let position = log.append(Topic::Changes, Append::new(b"key", "sealed")).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, super::GROUP).await.unwrap();
    let read = read_until(&mut *consumer, |records| !records.is_empty()).await;
    assert_eq!((read[0].position, &read[0].payload[..]), (position, &b"sealed"[..]));
    consumer.commit(after(position)).await.unwrap();
    assert_eq!(log.committed(Topic::Changes, super::GROUP).await.unwrap(), [after(position)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_may_are_let_in_and_others_are_told_why_not() {
    let fixture = Fixture::start();
    let trusting = || fixture.trusting("ours.pem");
    let sasl = |mechanism| fixture.knowing(mechanism, USER, "right");
    for (port, security, sasl) in [
        (fixture.tls, trusting(), None),
        (fixture.mutual, fixture.showing("client"), None),
        (fixture.sasl, trusting(), sasl(Mechanism::Plain)),
        (fixture.sasl, trusting(), sasl(Mechanism::ScramSha256)),
        (fixture.sasl, trusting(), sasl(Mechanism::ScramSha512)),
    ] {
        works(port, KafkaConfig { security, sasl, ..config() }).await;
    }

    let guessed = |mechanism| fixture.knowing(mechanism, USER, "wrong");
    let unknown = fixture.knowing(Mechanism::ScramSha512, "nobody", "right");
    let untrusted = &["certificate verify failed"][..];
    let refused = &["Authentication failed"][..];
    let without_certificate = &["certificate", "Disconnected"][..];
    let refusals = [
        (fixture.sasl, trusting(), guessed(Mechanism::Plain), refused),
        (fixture.sasl, trusting(), guessed(Mechanism::ScramSha512), refused),
        (fixture.sasl, trusting(), unknown, refused),
        (fixture.sasl, fixture.trusting("theirs.pem"), sasl(Mechanism::ScramSha512), untrusted),
        (fixture.tls, fixture.trusting("theirs.pem"), None, untrusted),
        (fixture.tls, Security { tls: true, ..Security::default() }, None, untrusted),
        (fixture.tls, Security::default(), None, &["asked without TLS"]),
        (fixture.sasl, trusting(), None, &["asked without a password"]),
        (fixture.mutual, trusting(), None, without_certificate),
        (fixture.mutual, fixture.showing("stranger"), None, without_certificate),
        (fixture.broker.port, trusting(), None, &["SSL handshake failed", "SSL_HANDSHAKE"]),
    ];
    let refusals =
        refusals.map(|(port, security, sasl, said)| fixture.refuses(Refusal { port, security, sasl, said }));
    futures::future::join_all(refusals).await;
    // The certificate is for 127.0.0.1 alone.
    let another_name =
        KafkaConfig { call_timeout: CALL_TIMEOUT, security: fixture.trusting("ours.pem"), ..config() };
    let error = open(&format!("localhost:{}", fixture.tls), another_name).await.err().unwrap().to_string();
    assert!(error.contains("certificate verify failed"), "{error}");
}
