//! Serving a router over TCP within limits that axum's own server does not have: connections, heads, slow clients.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use crate::config::{GatewayConfig, HEAD_BYTES_MAX};

/// How long to wait after a connection could not be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener`, HTTP/1.1 and HTTP/2, until `shutdown`; then takes no more connections and returns when
/// those that are open have answered what they were asked. How long to wait for that is the caller's to decide.
///
/// # Errors
/// Where the limits are impossible.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &GatewayConfig,
    shutdown: CancellationToken,
) -> io::Result<()> {
    config.check().map_err(io::Error::other)?;
    let room = Arc::new(Semaphore::new(config.connections_max));
    let builder = builder(config);
    let graceful = GracefulShutdown::new();
    loop {
        let accepting = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (accept(&listener).await, permit)
        };
        let (stream, permit) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepting => accepted,
        };
        let first_request = Arc::new(Notify::new());
        let service = service(router.clone(), Arc::clone(&first_request));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        let silence = silence(first_request, config.head_read_timeout);
        tokio::spawn(async move {
            tokio::select! {
                result = connection => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                () = silence => tracing::debug!("connection without a request ended"),
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

type Service<F> = TowerToHyperService<MapRequest<Router, F>>;

/// The router as a service that tells of the first request.
fn service(
    router: Router,
    first_request: Arc<Notify>,
) -> Service<impl FnMut(Request<Incoming>) -> Request<Incoming> + Clone> {
    TowerToHyperService::new(MapRequest::new(router, move |request| {
        first_request.notify_one();
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
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(config.head_read_timeout)
        .keep_alive_timeout(config.head_read_timeout);
    builder
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and complete: nothing is gained by waiting to fill a packet.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
