//! What stands between the adapter and the server, and loses, replaces and holds back requests and answers.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

/// Passes requests on to a server. Told so, it loses some of one kind: the client sees its connection closed and does not
/// know what the server has done.
pub struct Proxy {
    port: u16,
    plan: Arc<Plan>,
    task: JoinHandle<()>,
}

/// What is lost of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The request itself: the server never sees it.
    Request,
    /// The server's answer: it has acted, since it answers.
    Answer,
    /// The server's answer, and the client has this one instead.
    Replaced(&'static str),
}

/// A request that waits.
struct Hold {
    number: usize,
    /// Met when it has come, and again when it may go on.
    barrier: Arc<Barrier>,
}

struct Plan {
    /// What requests that count begin with.
    method: &'static str,
    /// What is to be lost of which of them, by their number.
    losses: Mutex<(Loss, Range<usize>)>,
    hold: Mutex<Option<Hold>>,
    seen: AtomicUsize,
}

impl Plan {
    /// Counts what the client sent, waits where it is to be held, and says what is to be lost of it.
    async fn loss(&self, sent: &[u8]) -> Option<Loss> {
        if !sent.starts_with(self.method.as_bytes()) {
            return None;
        }
        let number = self.seen.fetch_add(1, Ordering::SeqCst);
        let held = self.hold.lock().unwrap().take_if(|hold| hold.number == number);
        if let Some(hold) = held {
            hold.barrier.wait().await;
            hold.barrier.wait().await;
        }
        let (loss, numbers) = self.losses.lock().unwrap().clone();
        numbers.contains(&number).then_some(loss)
    }
}

impl Proxy {
    /// Stands before `server_port`, and counts requests that begin with `method`.
    pub async fn before(server_port: u16, method: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let losses = Mutex::new((Loss::Answer, 0..0));
        let plan = Arc::new(Plan { method, losses, hold: Mutex::default(), seen: AtomicUsize::new(0) });
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

    /// Counts anew, and loses the requests of these numbers, the next one's being 0.
    pub fn lose(&self, loss: Loss, numbers: Range<usize>) {
        *self.plan.losses.lock().unwrap() = (loss, numbers);
        self.plan.seen.store(0, Ordering::SeqCst);
    }

    /// Counts anew, loses nothing, and holds the request of this number back. The barrier is met once when it has come, and
    /// lets it go on when it is met again.
    pub fn hold(&self, number: usize) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(2));
        *self.plan.hold.lock().unwrap() = Some(Hold { number, barrier: Arc::clone(&barrier) });
        self.lose(Loss::Answer, 0..0);
        barrier
    }

    /// How many requests there were since.
    pub fn seen(&self) -> usize {
        self.plan.seen.load(Ordering::SeqCst)
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
    let doomed = Arc::new(OnceLock::new());
    let requests = tokio::spawn(requests(from_client, to_server, (plan, Arc::clone(&doomed))));
    answers(from_server, to_client, &doomed).await;
    requests.abort();
}

/// Passes requests on, until one is to be lost. The client sends a request's head at the beginning of a segment, and no
/// request before the last one has its answer.
async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    (plan, doomed): (Arc<Plan>, Arc<OnceLock<&'static str>>),
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = client.read(&mut buffer).await {
        match plan.loss(&buffer[..count]).await {
            // The server sees its side closed, and closes the other.
            Some(Loss::Request) => return,
            Some(Loss::Answer) => doomed.set("").unwrap(),
            Some(Loss::Replaced(answer)) => doomed.set(answer).unwrap(),
            None => {}
        }
        if server.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Passes answers on; one that is doomed is the connection's last, and another may come in its place.
async fn answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, doomed: &OnceLock<&'static str>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = server.read(&mut buffer).await {
        if let Some(instead) = doomed.get() {
            let _ = client.write_all(instead.as_bytes()).await;
            return;
        }
        if client.write_all(&buffer[..count]).await.is_err() {
            let _ = copy(&mut server, &mut tokio::io::sink()).await;
            return;
        }
    }
}
