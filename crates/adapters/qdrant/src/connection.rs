//! Connections to the hosts, and calls over them: to which host, how long, how often.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Uri;
use hyper_util::rt::TokioIo;
use qdrant_client::qdrant::HealthCheckRequest;
use qdrant_client::qdrant::qdrant_client::QdrantClient as HealthClient;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use vidimus_domain::UnixMillis;
use vidimus_ports::{Clock, Random};

use crate::address::Address;
use crate::config::QdrantConfig;
use crate::error::{QdrantError, QdrantResult, is_passing};

/// An idle connection is asked so often whether it still is one, and given up when it does not answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// For so long a host that failed is asked after the others.
const REST: Duration = Duration::from_secs(2);
/// How long it is waited for one of several hosts to say that it is there.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// The pause before the second try, doubled before each next one, of which a random share of at least half is waited.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// Where the API key goes.
const API_KEY_HEADER: &str = "api-key";

/// What a call's stub is made over.
pub type Service = InterceptedService<Channel, ApiKey>;

/// Puts the API key, where there is one, into each call.
#[derive(Clone)]
pub struct ApiKey(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert(API_KEY_HEADER, key.clone());
        }
        Ok(request)
    }
}

/// One host: a connection that is made again when it is needed and lost.
struct Host {
    name: String,
    channel: Channel,
    /// Connections that were made, the first one among them.
    connections: Arc<AtomicU64>,
    /// The reading of a caller's clock, before it was asked whether it is there and said so. Before it, all connections
    /// had been one, as long as there was no other.
    proven_at_ms: AtomicI64,
    /// Milliseconds since `Connections::began` until which it is asked after the others.
    rests_until_ms: AtomicU64,
}

/// All hosts.
pub struct Connections {
    hosts: Vec<Host>,
    next: AtomicUsize,
    api_key: ApiKey,
    calls: Semaphore,
    config: QdrantConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    began: Instant,
}

/// What waits and pauses are made of.
#[derive(Clone)]
pub struct QdrantDeps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for the pauses between tries.
    pub random: Arc<dyn Random>,
}

impl Connections {
    /// Reads the key and the certificates. Connections are made by the first calls.
    ///
    /// # Errors
    /// [`QdrantError::Config`] where a file cannot be read, or a setting cannot be.
    pub async fn open(address: &Address, config: QdrantConfig, deps: QdrantDeps) -> QdrantResult<Self> {
        config.check()?;
        let api_key = ApiKey(api_key(&config).await?);
        let mut hosts = Vec::with_capacity(address.hosts().len());
        for name in address.hosts() {
            let tls = if address.is_encrypted() { Some(tls(&config).await?) } else { None };
            hosts.push(Host::new(name, tls, &config)?);
        }
        Ok(Self {
            hosts,
            next: AtomicUsize::new(0),
            api_key,
            calls: Semaphore::new(config.calls_max),
            config,
            clock: deps.clock,
            random: deps.random,
            began: Instant::now(),
        })
    }

    /// Makes a call, and again where that may help. `make` is given what to make a stub over, and the request.
    ///
    /// # Errors
    /// [`QdrantError::Server`] with the last failure, [`QdrantError::Busy`] where too many calls are under way.
    pub async fn call<M, R, T, F>(&self, try_timeout: Duration, message: M, make: F) -> QdrantResult<T>
    where
        M: Clone,
        F: Fn(Service, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let permit = timeout(self.config.try_timeout, self.calls.acquire()).await;
        let _permit = permit.ok().and_then(Result::ok).ok_or(QdrantError::Busy)?;
        let mut pause = PAUSE_FIRST;
        let order = self.order();
        let mut tries_left = self.config.tries_max;
        loop {
            let nth = (self.config.tries_max - tries_left) as usize % order.len();
            let host = &self.hosts[order[nth]];
            tries_left = tries_left.saturating_sub(1);
            let service = InterceptedService::new(host.channel.clone(), self.api_key.clone());
            let mut request = Request::new(message.clone());
            request.set_timeout(try_timeout);
            let outcome = timeout(try_timeout, make(service, request)).await;
            let status = match outcome {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if is_passing(status.code()) {
                self.let_rest(host, &status);
            }
            if tries_left == 0 || !is_passing(status.code()) {
                return Err(QdrantError::server(&host.name, &status));
            }
            self.clock.sleep(self.with_jitter(pause)).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// The hosts in the order in which a call tries them: in turn, those that failed a moment ago last.
    fn order(&self) -> Vec<usize> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut order: Vec<usize> =
            (0..self.hosts.len()).map(|nth| first.wrapping_add(nth) % self.hosts.len()).collect();
        let now_ms = self.running_ms();
        order.sort_by_key(|host| self.hosts[*host].rests_until_ms.load(Ordering::Relaxed) > now_ms);
        order
    }

    fn let_rest(&self, host: &Host, status: &Status) {
        // What is only slow or wants fewer calls is not away.
        if !matches!(status.code(), Code::ResourceExhausted | Code::Aborted) {
            let until_ms = self.running_ms().saturating_add(REST.as_millis() as u64);
            host.rests_until_ms.store(until_ms, Ordering::Relaxed);
        }
    }

    fn running_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Between half of the pause and all of it.
    fn with_jitter(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        self.random.fill(&mut byte);
        pause.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
    }

    /// Connections that were made besides the first one to each host: before each of them the server may have died.
    pub fn losses(&self) -> u64 {
        let again = |host: &Host| host.connections.load(Ordering::Acquire).saturating_sub(1);
        self.hosts.iter().map(again).sum()
    }

    /// Asks every host whether it is there. Returns the latest time at which all of them were, or had not yet gone when
    /// they were last asked; none where a host never was.
    ///
    /// # Errors
    /// Where none of them is there.
    pub async fn prove(&self, called_at: UnixMillis) -> QdrantResult<Option<UnixMillis>> {
        let proofs = join_all(self.hosts.iter().map(|host| self.ask(host))).await;
        let mut is_any_there = false;
        let mut failure = QdrantError::Busy;
        for (host, proof) in self.hosts.iter().zip(proofs) {
            match proof {
                Ok(()) => {
                    is_any_there = true;
                    host.proven_at_ms.fetch_max(called_at.get(), Ordering::AcqRel);
                }
                Err(status) => failure = QdrantError::server(&host.name, &status),
            }
        }
        if !is_any_there {
            return Err(failure);
        }
        let proven = self.hosts.iter().map(|host| host.proven_at_ms.load(Ordering::Acquire)).min();
        Ok(proven.filter(|millis| *millis != i64::MIN).map(UnixMillis::new))
    }

    /// Asks every host whether it is there, and connects to those that went. One of several that does not answer soon keeps nobody waiting.
    ///
    /// # Errors
    /// Where none of them is there.
    pub async fn look(&self) -> QdrantResult<()> {
        let patience = if self.hosts.len() > 1 { LOOK_PATIENCE } else { self.config.try_timeout };
        let late = |_| Err(Status::deadline_exceeded("no answer in time"));
        let asked = self.hosts.iter().map(async |host| {
            let answer = timeout(patience, self.ask(host)).await.unwrap_or_else(late);
            answer.map_err(|status| QdrantError::server(&host.name, &status))
        });
        let answers = join_all(asked).await;
        for host in &self.hosts {
            // One that could not be reached may have been there before, and lose something until it is.
            host.connections.fetch_max(1, Ordering::AcqRel);
        }
        answers.into_iter().reduce(Result::or).unwrap_or(Err(QdrantError::Busy))
    }

    async fn ask(&self, host: &Host) -> Result<(), Status> {
        let service = InterceptedService::new(host.channel.clone(), self.api_key.clone());
        let mut client = HealthClient::new(service);
        let asked = timeout(self.config.try_timeout, client.health_check(HealthCheckRequest {})).await;
        asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))).map(drop)
    }
}

impl Host {
    fn new(name: &str, tls: Option<ClientTlsConfig>, config: &QdrantConfig) -> QdrantResult<Self> {
        let wrong = |error: &dyn std::error::Error| QdrantError::Config(format!("{name}: {error}"));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{name}"))
            .map_err(|error| wrong(&error))?
            .connect_timeout(config.connect_timeout)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls).map_err(|error| wrong(&error))?;
        }
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
            connect(uri, Arc::clone(&counted))
        }));
        Ok(Self {
            name: name.to_owned(),
            channel,
            connections,
            proven_at_ms: AtomicI64::new(i64::MIN),
            rests_until_ms: AtomicU64::new(0),
        })
    }
}

async fn connect(uri: Uri, counted: Arc<AtomicU64>) -> std::io::Result<TokioIo<TcpStream>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or_default())).await?;
    stream.set_nodelay(true)?;
    let before = counted.fetch_add(1, Ordering::AcqRel);
    if before > 0 {
        tracing::warn!(host = %uri, "Qdrant was connected to again: its last writes may be gone");
    }
    Ok(TokioIo::new(stream))
}

async fn api_key(config: &QdrantConfig) -> QdrantResult<Option<MetadataValue<Ascii>>> {
    let Some(path) = &config.api_key_file else { return Ok(None) };
    let wrong = |what: String| QdrantError::Config(format!("{}: {what}", path.display()));
    let text = tokio::fs::read_to_string(path).await.map_err(|error| wrong(error.to_string()))?;
    let mut key: MetadataValue<Ascii> =
        text.trim().parse().map_err(|_| wrong("the API key must be of ASCII characters".to_owned()))?;
    if key.is_empty() {
        return Err(wrong("it has no API key".to_owned()));
    }
    key.set_sensitive(true);
    Ok(Some(key))
}

async fn tls(config: &QdrantConfig) -> QdrantResult<ClientTlsConfig> {
    let Some(path) = &config.ca_file else { return Ok(ClientTlsConfig::new().with_native_roots()) };
    let pem = tokio::fs::read(path).await;
    let pem = pem.map_err(|error| QdrantError::Config(format!("{}: {error}", path.display())))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}
