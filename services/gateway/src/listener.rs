//! Serving a router over TCP within limits that axum's own server does not have: connections, heads, slow clients.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;
use vidimus_runtime::transport::FRAME_BYTES_MAX;

use crate::config::{GatewayConfig, HEAD_BYTES_MAX};
use crate::tls;

/// How long to wait after a connection could not be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, as requests carry it among their extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub is_encrypted: bool,
}

impl Peer {
    /// Whether nobody between the two ends reads along.
    pub(crate) fn is_private(&self) -> bool {
        self.is_encrypted || self.address.ip().to_canonical().is_loopback()
    }
}

/// Tells requests that take long by their nature that the service ends, as they find it among their extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(pub(crate) CancellationToken);

/// Serves `router` on `listener`, HTTP/1.1 and HTTP/2, until `shutdown`; then takes no more connections and returns when
/// those that are open have answered what they were asked. How long to wait for that is the caller's to decide.
///
/// # Errors
/// Where the limits are impossible, or certificate and key cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &GatewayConfig,
    shutdown: CancellationToken,
) -> io::Result<()> {
    config.check().map_err(io::Error::other)?;
    let room = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let door = Door {
        router: router.layer(Extension(Ending(shutdown.clone()))),
        builder: builder(config),
        tls: config.tls.as_ref().map(tls::acceptor).transpose()?,
        head_read_timeout: config.head_read_timeout,
    };
    loop {
        let accepting = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (accept(&listener).await, permit)
        };
        let ((stream, address), permit) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepting => accepted,
        };
        let (door, watcher) = (door.clone(), graceful.watcher());
        tokio::spawn(async move {
            door.serve(stream, address, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// What every connection is served with.
#[derive(Clone)]
struct Door {
    router: Router,
    builder: Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    head_read_timeout: Duration,
}

impl Door {
    /// Serves one connection to its end.
    async fn serve(&self, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        let Some(stream) = self.handshake(stream).await else { return };
        let peer = Peer { address, is_encrypted: self.tls.is_some() };
        let first_request = Arc::new(Notify::new());
        let service = service(self.router.clone(), peer, Arc::clone(&first_request));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            result = watcher.watch(connection) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
            }
            () = silence(first_request, self.head_read_timeout) => {
                tracing::debug!("connection without a request ended");
            }
        }
    }

    /// The stream that HTTP is spoken on; none where TLS was not agreed on in time.
    async fn handshake(&self, stream: TcpStream) -> Option<Either<TcpStream, TlsStream<TcpStream>>> {
        let Some(tls) = &self.tls else { return Some(Either::Left(stream)) };
        match tokio::time::timeout(self.head_read_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(Either::Right(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS was not agreed on");
                None
            }
            Err(_) => None,
        }
    }
}

type Service<F> = TowerToHyperService<MapRequest<Router, F>>;

/// The router as a service that says who asks, and tells of the first request.
fn service(
    router: Router,
    peer: Peer,
    first_request: Arc<Notify>,
) -> Service<impl FnMut(Request<Incoming>) -> Request<Incoming> + Clone> {
    TowerToHyperService::new(MapRequest::new(router, move |mut request: Request<Incoming>| {
        first_request.notify_one();
        request.extensions_mut().insert(peer);
        request
    }))
}

/// Ends where no request has come within `timeout`: while it is not known which HTTP a client speaks, no other timer
/// runs.
async fn silence(first_request: Arc<Notify>, timeout: Duration) {
    if tokio::time::timeout(timeout, first_request.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn builder(config: &GatewayConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_read_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(config.head_read_timeout)
        .keep_alive_timeout(config.head_read_timeout);
    builder
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and complete: nothing is gained by waiting to fill a packet.
                let _ = stream.set_nodelay(true);
                return (stream, address);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
