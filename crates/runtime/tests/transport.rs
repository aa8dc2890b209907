//! Calls between processes: real servers and clients on ports of this machine.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::random::SeededRandom;
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::{Embedding, EmbeddingServer};
use vidimus_proto::internal::v1::ingestion_server::Ingestion;

use vidimus_runtime::deadline;
use vidimus_runtime::errors::{failure_from_status, status_from_failure};
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::transport::remote::Remote;
use vidimus_runtime::transport::{
    CallMetrics, GOOD_FOR, Health, MESSAGE_BYTES_MAX, Pool, PoolDeps, RoleServer, SEARCHABLE,
    TransportConfig, follow,
};

/// Says how large the photo was; what else it does is up to the test.
#[derive(Default)]
struct Fake {
    calls: AtomicUsize,
    patience: Mutex<Option<Duration>>,
    busy: AtomicBool,
    held: AtomicBool,
    released: Notify,
}

#[derive(Clone)]
struct Service(Arc<Fake>);

#[async_trait]
impl Embedding for Service {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        *self.0.patience.lock().unwrap() = deadline::remaining();
        if self.0.busy.load(Ordering::SeqCst) {
            let retry_after = Some(Duration::from_secs(7));
            let message = "the encoder is busy".to_owned();
            return Err(status_from_failure(&Failure { code: ErrorCode::Throttled, message, retry_after }));
        }
        while self.0.held.load(Ordering::SeqCst) {
            self.0.released.notified().await;
        }
        let photo = request.into_inner().photo;
        Ok(Response::new(v1::EmbedResponse { width_px: photo.len() as u32, ..Default::default() }))
    }

    async fn embed_at(
        &self,
        _: Request<v1::EmbedAtRequest>,
    ) -> Result<Response<v1::EmbedAtResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

/// A process with the embedding role, which ends with it.
struct Process {
    fake: Arc<Fake>,
    address: SocketAddr,
    ending: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Process {
    async fn start(config: TransportConfig) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), config).await
    }

    async fn start_at(address: SocketAddr, config: TransportConfig) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Arc::new(Fake::default());
        let ending = CancellationToken::new();
        let service = EmbeddingServer::new(Service(Arc::clone(&fake)));
        let service = service.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut server = RoleServer::new(config, &mut Registry::default());
        server.add(service);
        server.health().await.set(SEARCHABLE, true).await;
        let serving = server.serve(listener, ending.clone());
        let served = tokio::spawn(async move { serving.await.unwrap() });
        Self { fake, address, ending, served }
    }

    fn calls(&self) -> usize {
        self.fake.calls.load(Ordering::SeqCst)
    }

    async fn end(self) -> SocketAddr {
        self.ending.cancel();
        self.served.await.unwrap();
        self.address
    }
}

fn pool(addresses: &[SocketAddr], config: TransportConfig) -> Arc<Pool> {
    let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let deps = PoolDeps {
        config,
        random: Arc::new(SeededRandom::new(1)),
        metrics: CallMetrics::new(&mut Registry::default()),
    };
    Pool::new("embedding", &format!("http://{addresses}").parse().unwrap(), deps).unwrap()
}

async fn embed(remote: &Remote, bytes: usize) -> Result<u32, Failure> {
    let request = v1::EmbedRequest { photo: Bytes::from(vec![7; bytes]), ..Default::default() };
    let answer = remote.embed(Request::new(request)).await;
    answer.map(|answer| answer.into_inner().width_px).map_err(|status| failure_from_status(&status))
}

/// A port that nobody listens on.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn config() -> TransportConfig {
    TransportConfig { lookup_interval: Duration::from_millis(50), ..TransportConfig::default() }
}

#[tokio::test]
async fn the_largest_photos_pass_and_calls_are_shared_out() {
    let (first, second) = (Process::start(config()).await, Process::start(config()).await);
    let remote = Remote::new(pool(&[first.address, second.address], config()));
    let largest = vidimus_domain::limits::PHOTO_OBJECT_BYTES_MAX;
    assert_eq!(embed(&remote, largest).await, Ok(largest as u32));
    for _ in 0..19 {
        embed(&remote, 10).await.unwrap();
    }
    assert!(first.calls() >= 5 && second.calls() >= 5, "{} and {}", first.calls(), second.calls());
    first.end().await;
    second.end().await;
}

#[tokio::test]
async fn the_process_that_is_busy_is_asked_last() {
    let (first, second) = (Process::start(config()).await, Process::start(config()).await);
    let remote = Remote::new(pool(&[first.address, second.address], config()));
    first.fake.held.store(true, Ordering::SeqCst);
    second.fake.held.store(true, Ordering::SeqCst);
    let held = tokio::spawn({
        let remote = remote.clone();
        async move { embed(&remote, 1).await }
    });
    while first.calls() + second.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let (busy, idle) = if first.calls() == 1 { (&first, &second) } else { (&second, &first) };
    idle.fake.held.store(false, Ordering::SeqCst);
    for _ in 0..10 {
        embed(&remote, 1).await.unwrap();
    }
    assert_eq!((busy.calls(), idle.calls()), (1, 10));
    busy.fake.held.store(false, Ordering::SeqCst);
    busy.fake.released.notify_one();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_process_that_goes_away_fails_no_call_that_may_be_repeated() {
    let (first, second) = (Process::start(config()).await, Process::start(config()).await);
    let remote = Remote::new(pool(&[first.address, second.address, nobody().await], config()));
    for _ in 0..10 {
        embed(&remote, 10).await.unwrap();
    }
    let address = first.end().await;
    for _ in 0..20 {
        embed(&remote, 10).await.unwrap();
    }
    let again = Process::start_at(address, config()).await;
    let before = tokio::time::Instant::now();
    while again.calls() == 0 {
        embed(&remote, 10).await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(20), "it is not asked again");
    }
}

#[tokio::test]
async fn where_nobody_is_the_caller_is_told_when_to_come_again() {
    let remote = Remote::new(pool(&[nobody().await], config()));
    let failure = embed(&remote, 10).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.retry_after.is_some());
    // What enrols is told the same, and may be tried again since nobody has heard of it.
    let status = remote.index_faces(Request::new(v1::IndexFacesRequest::default())).await.unwrap_err();
    assert_eq!(failure_from_status(&status).code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_refusal_is_asked_elsewhere_and_else_told_as_it_was_said() {
    let (first, second) = (Process::start(config()).await, Process::start(config()).await);
    first.fake.busy.store(true, Ordering::SeqCst);
    let both = Remote::new(pool(&[first.address, second.address], config()));
    for _ in 0..10 {
        embed(&both, 10).await.unwrap();
    }
    let alone = Remote::new(pool(&[first.address], config()));
    let before = first.calls();
    let failure = embed(&alone, 10).await.unwrap_err();
    let retry_after = Some(Duration::from_secs(7));
    let said = Failure { code: ErrorCode::Throttled, message: "the encoder is busy".to_owned(), retry_after };
    assert_eq!(failure, said);
    assert_eq!(first.calls(), before + 1);
}

#[tokio::test]
async fn too_many_calls_are_shed_with_a_hint_and_health_is_not() {
    let process = Process::start(TransportConfig { calls_in_flight_max: 2, ..config() }).await;
    let pool = pool(&[process.address], config());
    let remote = Remote::new(Arc::clone(&pool));
    process.fake.held.store(true, Ordering::SeqCst);
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { embed(&remote, 1).await })
        })
        .collect();
    while process.calls() < 2 {
        tokio::task::yield_now().await;
    }
    let failure = embed(&remote, 1).await.unwrap_err();
    assert_eq!((failure.code, failure.retry_after), (ErrorCode::Throttled, Some(Duration::from_secs(1))));
    assert_eq!(process.calls(), 2, "a call that was shed reached the role");

    let shutdown = Shutdown::new();
    let (sender, mut known) = watch::channel(false);
    let following = tokio::spawn(follow(pool, SEARCHABLE, sender, shutdown.clone()));
    known.wait_for(|known| *known).await.unwrap();

    process.fake.held.store(false, Ordering::SeqCst);
    process.fake.released.notify_waiters();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    embed(&remote, 1).await.unwrap();
    shutdown.begin();
    following.await.unwrap();
}

#[tokio::test]
async fn the_callers_deadline_travels_along() {
    let process = Process::start(config()).await;
    let remote = Remote::new(pool(&[process.address], config()));
    embed(&remote, 1).await.unwrap();
    let unbounded = process.fake.patience.lock().unwrap().unwrap();
    assert!(unbounded > Duration::from_secs(50), "{unbounded:?}");

    deadline::within(Duration::from_secs(9), embed(&remote, 1)).await.unwrap();
    let seen = process.fake.patience.lock().unwrap().unwrap();
    assert!(seen <= Duration::from_secs(9) && seen > Duration::from_secs(5), "{seen:?}");

    process.fake.held.store(true, Ordering::SeqCst);
    let failure = deadline::within(Duration::from_millis(200), embed(&remote, 1)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn what_was_known_stays_where_nobody_answers() {
    let process = Process::start(config()).await;
    let pool = pool(&[process.address], config());
    let shutdown = Shutdown::new();
    let (sender, mut known) = watch::channel(false);
    let following = tokio::spawn(follow(pool, SEARCHABLE, sender, shutdown.clone()));
    known.wait_for(|known| *known).await.unwrap();
    process.end().await;
    let changed = tokio::time::timeout(Duration::from_millis(1500), known.changed()).await;
    assert!(changed.is_err(), "it was forgotten when the process went away");
    assert!(*known.borrow());
    shutdown.begin();
    following.await.unwrap();
}

#[tokio::test]
async fn a_word_that_is_not_said_again_is_not_repeated() {
    let health = Health::default();
    let (known, word) = watch::channel(true);
    let told = health.clone();
    let telling = tokio::spawn(async move {
        told.follow_closely(SEARCHABLE, word, std::future::pending()).await;
    });
    let mut client = HealthClient::new(health.service());
    let mut ask = async || {
        let asked = client.check(HealthCheckRequest { service: SEARCHABLE.to_owned() }).await;
        asked.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while ask().await != Ok(ServingStatus::Serving) {
        assert!(tokio::time::Instant::now() < deadline, "it is said");
        known.send_replace(true);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(GOOD_FOR + Duration::from_millis(100)).await;
    assert_eq!(ask().await, Err(Code::Unavailable));
    known.send_replace(false);
    while ask().await != Ok(ServingStatus::NotServing) {
        assert!(tokio::time::Instant::now() < deadline, "it is said again");
        known.send_replace(false);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    telling.abort();
}
