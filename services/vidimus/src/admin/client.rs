//! Asks the running service, with the token that lies in the data directory or that the configuration names.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::service::AdminCommand;
use crate::config::Config;
use crate::keys::{self, Keys};
use crate::operators::ADMIN_PATH;
use crate::serve::{Running, SERVICE_FILE};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long it may take to reach a process.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends a command and returns the answer: of the configured processes the first one's that is there and can do it.
pub(super) async fn execute(config: &Config, command: &AdminCommand) -> anyhow::Result<Value> {
    let (addresses, token) = whom_to_ask(config)?;
    let mut refusal = None;
    for address in addresses {
        match ask(address, &token, command).await {
            Ok(Answer::Given(value)) => return Ok(value),
            Ok(Answer::NotHere(why)) => refusal = Some(anyhow::anyhow!("{address}: {why}")),
            Err(Unanswered::NotThere(error)) => refusal = Some(error),
            Err(Unanswered::Refused(error)) => return Err(error),
        }
    }
    Err(refusal.unwrap_or_else(|| anyhow::anyhow!("admin.addresses names no process")))
}

/// The operators' addresses and the token: of the configuration, else of the service that has the data directory.
pub(super) fn whom_to_ask(config: &Config) -> anyhow::Result<(Vec<SocketAddr>, String)> {
    let addresses = match config.admin.addresses.as_slice() {
        [] => {
            let path = config.data()?.join(SERVICE_FILE);
            let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let running: Running =
                serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
            vec![running.operators]
        }
        addresses => addresses.to_vec(),
    };
    let token = match &config.admin.token_file {
        Some(file) => keys::token_of(file)?,
        None => Keys::new(config.data()?).existing_admin_token()?,
    };
    Ok((addresses, token))
}

/// What a process said.
enum Answer {
    Given(Value),
    /// It cannot do it; another one may.
    NotHere(String),
}

/// Why there is no answer.
enum Unanswered {
    /// Nothing was asked of it: another one may be there.
    NotThere(anyhow::Error),
    /// It was, so no other is asked.
    Refused(anyhow::Error),
}

async fn ask(address: SocketAddr, token: &str, command: &AdminCommand) -> Result<Answer, Unanswered> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connecting.map_err(anyhow::Error::from).and_then(|connected| Ok(connected?));
    let asking = || format!("ask the service at {address}");
    let stream = stream.with_context(asking).map_err(Unanswered::NotThere)?;
    send(stream, (address, token), command).await.with_context(asking).map_err(Unanswered::Refused)
}

async fn send(
    stream: TcpStream,
    (address, token): (SocketAddr, &str),
    command: &AdminCommand,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(ADMIN_PATH)
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(serde_json::to_vec(command)?))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await?;
    let said = || String::from_utf8_lossy(&body).trim().to_owned();
    if status == StatusCode::MISDIRECTED_REQUEST {
        return Ok(Answer::NotHere(said()));
    }
    if !status.is_success() {
        bail!("{}", said());
    }
    Ok(Answer::Given(serde_json::from_slice(&body).context("read the service's answer")?))
}
