//! What a process's roles are served with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_health::{ServingStatus, pb};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use vidimus_domain::{ErrorCode, Failure};

use super::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES, TransportConfig, TransportError};
use crate::deadline;
use crate::errors::status_from_failure;
use crate::traces;

/// When a caller that was refused may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long that is believed which is said for a while only.
pub const GOOD_FOR: Duration = Duration::from_secs(1);
/// Health is asked for by whoever decides whether this process lives: it is answered however much there is to do.
const HEALTH: &str = "grpc.health.v1.Health";

type BoxedService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The roles of one process on one port.
pub struct RoleServer {
    config: TransportConfig,
    services: BTreeMap<&'static str, BoxedService>,
    health: Health,
    refused: Counter,
}

/// Says of each service whether it can answer, as `grpc.health.v1.Health` tells it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    reporter: HealthReporter,
    /// Until when that is believed which is said of a service for a while only.
    good_until: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Health {
    /// What tells it.
    #[must_use]
    pub fn service(&self) -> HealthServer<FreshHealth> {
        let inner = HealthService::from_health_reporter(self.reporter.clone());
        HealthServer::new(FreshHealth { inner, good_until: Arc::clone(&self.good_until) })
    }

    /// Says whether a service can answer; one of which nothing was said is unknown.
    pub async fn set(&self, service: &str, can_answer: bool) {
        let status = if can_answer { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(service, status).await;
    }

    /// As [`Health::set`], for [`GOOD_FOR`] alone: where it is not said again, nothing is known. A process that was stopped for a while
    /// does not know what has become of it.
    async fn set_for_now(&self, service: &str, can_answer: bool) {
        let until = Instant::now() + GOOD_FOR;
        self.good_until.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned(), until);
        self.set(service, can_answer).await;
    }

    /// As [`Health::follow`], of a service of which `can_answer` says it again and again: what was said last is good for [`GOOD_FOR`].
    pub async fn follow_closely(
        &self,
        service: &str,
        mut can_answer: watch::Receiver<bool>,
        ending: impl Future<Output = ()>,
    ) {
        let following = async {
            loop {
                let value = *can_answer.borrow_and_update();
                self.set_for_now(service, value).await;
                if can_answer.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = ending => {}
        }
        self.set(service, false).await;
    }

    /// Says of services what `can_answer` says now, until `ending`; then that they cannot.
    pub async fn follow(
        &self,
        services: &[&str],
        mut can_answer: watch::Receiver<bool>,
        ending: impl Future<Output = ()>,
    ) {
        let following = async {
            loop {
                let value = *can_answer.borrow_and_update();
                self.set_all(services, value).await;
                if can_answer.changed().await.is_err() {
                    // It stays as it is.
                    return std::future::pending().await;
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = ending => {}
        }
        self.set_all(services, false).await;
    }

    /// Forgets what was said of services, and so lets go whoever watches one.
    pub async fn forget(&self, services: &[&str]) {
        for service in services {
            self.reporter.clone().clear_service_status(service).await;
        }
    }

    async fn set_all(&self, services: &[&str], can_answer: bool) {
        for service in services {
            self.set(service, can_answer).await;
        }
    }
}

/// [`HealthService`], which does not repeat what was said for a while that is over.
#[derive(Debug)]
pub struct FreshHealth {
    inner: HealthService,
    good_until: Arc<Mutex<BTreeMap<String, Instant>>>,
}

#[tonic::async_trait]
impl pb::health_server::Health for FreshHealth {
    type WatchStream = <HealthService as pb::health_server::Health>::WatchStream;

    async fn check(
        &self,
        request: tonic::Request<pb::HealthCheckRequest>,
    ) -> Result<tonic::Response<pb::HealthCheckResponse>, Status> {
        let is_over = {
            let good_until = self.good_until.lock().unwrap_or_else(PoisonError::into_inner);
            good_until.get(&request.get_ref().service).is_some_and(|until| *until < Instant::now())
        };
        if is_over {
            return Err(Status::unavailable("it is not known any more"));
        }
        self.inner.check(request).await
    }

    async fn watch(
        &self,
        request: tonic::Request<pb::HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        self.inner.watch(request).await
    }
}

impl RoleServer {
    /// One that answers nothing but for its health.
    #[must_use]
    pub fn new(config: TransportConfig, registry: &mut Registry) -> Self {
        let health = Health::default();
        let refused = Counter::default();
        registry.register(
            "vidimus_role_calls_shed",
            "Calls of other processes that were refused because too many ran already",
            refused.clone(),
        );
        let services = BTreeMap::from([(HEALTH, BoxCloneSyncService::new(health.service()))]);
        Self { config, services, health, refused }
    }

    /// Answers the calls of a role's service too.
    pub fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.services.insert(S::NAME, BoxCloneSyncService::new(service));
    }

    /// Where health is said. Every service is well at first.
    pub async fn health(&self) -> Health {
        let health = self.health.clone();
        for name in self.services.keys().filter(|name| **name != HEALTH) {
            health.set(name, true).await;
        }
        health
    }

    /// Answers until `ending`; returns when what was asked before is answered.
    ///
    /// # Errors
    /// Where a certificate cannot be used, or the port fails.
    pub async fn serve(self, listener: TcpListener, ending: CancellationToken) -> Result<(), TransportError> {
        let mut server = tonic::transport::Server::builder()
            .timeout(self.config.call_timeout)
            .http2_keepalive_interval(Some(self.config.keepalive_interval))
            .http2_keepalive_timeout(Some(self.config.keepalive_interval))
            .max_frame_size(FRAME_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        if let Some(tls) = &self.config.tls {
            let tls = tls.load()?.server();
            server = server.tls_config(tls).map_err(TransportError::tonic("use certificates"))?;
        }
        let services = self.services.keys().copied().collect::<Vec<_>>();
        let health = self.health.clone();
        let router = Router {
            room: Arc::new(Semaphore::new(self.config.calls_in_flight_max)),
            call_timeout: self.config.call_timeout,
            services: Arc::new(self.services),
            refused: self.refused,
        };
        let ended = async move {
            ending.cancelled().await;
            for service in services {
                health.set(service, false).await;
            }
        };
        // Where the listener is given, the server's own setting of it counts for nothing: an answer's last frame would wait for the
        // acknowledgement of the one before, 40 ms.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = server.serve_with_incoming_shutdown(router, incoming, ended);
        serving.await.map_err(TransportError::tonic("serve roles"))
    }
}

/// Finds the service of a call's path, where there is room for one more.
#[derive(Clone)]
struct Router {
    room: Arc<Semaphore>,
    call_timeout: Duration,
    services: Arc<BTreeMap<&'static str, BoxedService>>,
    refused: Counter,
}

impl Router {
    /// The service, or what is answered instead.
    fn find(&self, path: &str) -> Result<(&'static str, BoxedService), Status> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let found = self.services.get_key_value(name);
        let found = found.map(|(name, service)| (*name, service.clone()));
        found.ok_or_else(|| Status::unimplemented("this process has no such role"))
    }
}

impl Service<Request<Body>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (name, service) = match self.find(request.uri().path()) {
            Ok(found) => found,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        if name == HEALTH {
            return Box::pin(service.oneshot(request));
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.refused.inc();
            return Box::pin(async { Ok(busy().into_http()) });
        };
        let patience = caller_patience(request.headers());
        let patience = patience.map_or(self.call_timeout, |patience| patience.min(self.call_timeout));
        let span = traces::served(request.uri().path().trim_start_matches('/'), request.headers());
        Box::pin(async move {
            let _permit = permit;
            traces::answering(span, deadline::within(patience, service.oneshot(request))).await
        })
    }
}

fn caller_patience(headers: &HeaderMap) -> Option<Duration> {
    deadline::parse(headers.get("grpc-timeout")?.to_str().ok()?)
}

fn busy() -> Status {
    let message = "the service is busy; try again".to_owned();
    status_from_failure(&Failure { code: ErrorCode::Throttled, message, retry_after: Some(RETRY_AFTER) })
}
