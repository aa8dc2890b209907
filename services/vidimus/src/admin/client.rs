//! Asks the running service, with the token that lies in the data directory.

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::service::AdminCommand;
use crate::config::Config;
use crate::keys::Keys;
use crate::operators::ADMIN_PATH;
use crate::serve::{Running, SERVICE_FILE};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the service runs, and what opens its administration.
pub(super) fn running(config: &Config) -> anyhow::Result<(Running, String)> {
    let data = config.data()?;
    let path = data.join(SERVICE_FILE);
    let text = std::fs::read(&path).with_context(|| format!("no service runs: read {}", path.display()))?;
    let running: Running =
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
    Ok((running, Keys::new(data).existing_admin_token()?))
}

/// Sends a command and returns the answer.
pub(super) async fn execute(config: &Config, command: &AdminCommand) -> anyhow::Result<Value> {
    let (running, token) = running(config)?;
    let asking = || format!("ask the service at {} (process {})", running.operators, running.pid);
    let stream = TcpStream::connect(running.operators).await.with_context(asking)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(asking)?;
    tokio::spawn(connection);
    let request = Request::post(ADMIN_PATH)
        .header(header::HOST, running.operators.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(serde_json::to_vec(command)?))?;
    let answer = sender.send_request(request).await.with_context(asking)?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await.with_context(asking)?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    serde_json::from_slice(&body).context("read the service's answer")
}
