//! What stands between the adapter and the server, and loses answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes requests on to a server. Told so, it waits for the server's answer to the next request of one kind, and then
/// closes the connection instead of passing the answer on: the server has acted, and the client does not know.
pub struct Proxy {
    port: u16,
    plan: Arc<Plan>,
    task: JoinHandle<()>,
}

struct Plan {
    /// What a request must begin with.
    method: &'static str,
    /// Answers that are still to be lost.
    to_lose: AtomicUsize,
    /// Requests that began so.
    seen: AtomicUsize,
}

impl Proxy {
    /// Stands before `server_port`, and will lose answers to requests that begin with `method`.
    pub async fn before(server_port: u16, method: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Plan { method, to_lose: AtomicUsize::new(0), seen: AtomicUsize::new(0) });
        let shared = Arc::clone(&plan);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&shared)));
            }
        });
        Self { port, plan, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses the next `count` answers.
    pub fn lose(&self, count: usize) {
        self.plan.to_lose.store(count, Ordering::SeqCst);
        self.plan.seen.store(0, Ordering::SeqCst);
    }

    /// How many such requests there were since.
    pub fn seen(&self) -> usize {
        self.plan.seen.load(Ordering::SeqCst)
    }

    /// How many answers are still to be lost.
    pub fn left(&self) -> usize {
        self.plan.to_lose.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, server: TcpStream, plan: Arc<Plan>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let doomed = Arc::new(AtomicUsize::new(0));
    let requests = tokio::spawn(requests(from_client, to_server, (Arc::clone(&plan), Arc::clone(&doomed))));
    answers(from_server, to_client, &doomed).await;
    requests.abort();
}

/// Passes requests on; dooms the connection where one comes whose answer is to be lost. The client sends a request's head at
/// the beginning of a segment, and no request before it has its answer.
async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    (plan, doomed): (Arc<Plan>, Arc<AtomicUsize>),
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = client.read(&mut buffer).await {
        if buffer[..count].starts_with(plan.method.as_bytes()) {
            plan.seen.fetch_add(1, Ordering::SeqCst);
            let take = |left: usize| left.checked_sub(1);
            if plan.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                doomed.store(1, Ordering::SeqCst);
            }
        }
        if server.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, doomed: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = server.read(&mut buffer).await {
        if doomed.load(Ordering::SeqCst) == 1 {
            return;
        }
        if client.write_all(&buffer[..count]).await.is_err() {
            let _ = copy(&mut server, &mut tokio::io::sink()).await;
            return;
        }
    }
}
