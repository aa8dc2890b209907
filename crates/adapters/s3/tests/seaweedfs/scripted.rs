//! Answers that SeaweedFS does not give: a server of one's own words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use vidimus_s3::S3Config;

use crate::server::credentials_file;

/// Gives the answer to a request, by its head and its number.
type Script = dyn Fn(&str, usize) -> String + Send + Sync;

/// A server that answers by a script.
pub struct Scripted {
    endpoint: String,
    folder: TempDir,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Starts one.
    pub async fn start(script: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("credentials"), credentials_file("key", "secret")).unwrap();
        let (script, requests): (Arc<Script>, Arc<AtomicUsize>) = (Arc::new(script), Arc::default());
        let shared = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&script), Arc::clone(&shared)));
            }
        });
        Self { endpoint, folder, requests, task }
    }

    /// How the adapter reaches it.
    pub fn config(&self) -> S3Config {
        S3Config {
            endpoint: Some(self.endpoint.clone()),
            force_path_style: true,
            credentials_file: Some(self.folder.path().join("credentials")),
            ..S3Config::default()
        }
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, script: Arc<Script>, requests: Arc<AtomicUsize>) {
    let mut request = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = connection.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..count]);
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if request.len() - end - 4 < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        let answer = script(&head, requests.fetch_add(1, Ordering::SeqCst));
        let is_cut = answer.contains(CUT);
        if connection.write_all(answer.replace(CUT, "").as_bytes()).await.is_err() || is_cut {
            return;
        }
        request.clear();
    }
}

/// In a body: the connection is closed after it, though more was promised.
pub const CUT: &str = "[cut]";

/// An answer with a body.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}
