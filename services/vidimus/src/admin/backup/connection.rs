//! Exports and imports through the running service.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use futures::{Stream, StreamExt};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::admin::client;
use crate::backup::service::CHECK_PATH;
use crate::config::Config;

/// How long it may take to reach a process.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a process may say nothing before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Largest refusal, or totals, that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A process of the service that takes exports and imports.
pub(super) struct Connection {
    address: SocketAddr,
    token: String,
}

impl Connection {
    /// The first of the configured processes that is there and takes them.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let (addresses, token) = client::whom_to_ask(config)?;
        let mut refusal = anyhow::anyhow!("admin.addresses names no process");
        for address in addresses {
            let connection = Self { address, token: token.clone() };
            match in_time(connection.send((Method::GET, CHECK_PATH), Body::empty())).await {
                Ok(answer) if answer.status().is_success() => return Ok(connection),
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                    refusal = anyhow::anyhow!("{address} takes no exports and imports");
                }
                Ok(answer) => bail!("{}", said(answer).await?),
                Err(away) => refusal = away,
            }
        }
        Err(refusal)
    }

    /// Posts a body; the answer, which is a success.
    pub(super) async fn post(&self, path: &str, body: Body) -> anyhow::Result<Response<Incoming>> {
        let answer = self.send((Method::POST, path), body).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        bail!("{}", said(answer).await?)
    }

    async fn send(&self, (method, path): (Method, &str), body: Body) -> anyhow::Result<Response<Incoming>> {
        let address = self.address;
        let asking = || format!("ask the service at {address}");
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connecting.map_err(anyhow::Error::from).and_then(|connected| Ok(connected?));
        let stream = TokioIo::new(stream.with_context(asking)?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(body)?;
        sender.send_request(request).await.with_context(asking)
    }
}

/// An answer's chunks, each within the patience for silence.
pub(super) fn chunks(
    answer: Response<Incoming>,
) -> impl Stream<Item = std::io::Result<axum::body::Bytes>> + Unpin {
    let chunks = Body::new(answer.into_body()).into_data_stream();
    Box::pin(futures::stream::unfold(chunks, async |mut chunks| {
        let chunk = match tokio::time::timeout(SILENCE_MAX, chunks.next()).await {
            Ok(chunk) => chunk?.map_err(std::io::Error::other),
            Err(silent) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, silent)),
        };
        Some((chunk, chunks))
    }))
}

/// Waits for an answer to what is short.
pub(super) async fn in_time<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(SILENCE_MAX, work).await.context("wait for the service's answer")?
}

/// All of a short answer.
pub(super) async fn said(answer: Response<Incoming>) -> anyhow::Result<String> {
    let reading = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX);
    let body = in_time(async { reading.await.context("read the service's answer") }).await?;
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}

/// Ends where nothing moves any more: neither this process's reading of `moved` grows nor an answer comes.
pub(super) async fn while_moving<T>(
    work: impl Future<Output = anyhow::Result<T>>,
    moved: impl Fn() -> u64,
) -> anyhow::Result<T> {
    tokio::pin!(work);
    let mut before = moved();
    loop {
        match tokio::time::timeout(SILENCE_MAX, &mut work).await {
            Ok(done) => return done,
            Err(_) if moved() != before => before = moved(),
            Err(_) => bail!("the service has taken nothing for {SILENCE_MAX:?}"),
        }
    }
}
