//! Servers that tests run against.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qdrant_client::Qdrant;
use tempfile::TempDir;
use tokio::time::sleep;
use vidimus_ports::clock::SystemClock;
use vidimus_ports::random::SystemRandom;
use vidimus_ports::{FaceIndex as _, Random as _};
use vidimus_qdrant::{Address, QdrantConfig, QdrantDeps, QdrantIndex};

/// A server that is already there, and its key.
const URL: &str = "QDRANT_URL";
const KEY: &str = "QDRANT_API_KEY";
/// How long starting and ending may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and the names under which a test makes its collections there.
pub struct Target {
    url: String,
    key_file: Option<PathBuf>,
    pub prefix: String,
    /// That of this test, where none is named.
    pub own: Option<DevServer>,
    _keys: TempDir,
}

impl Target {
    /// The server that is named, else a `qdrant-dev`.
    pub async fn start() -> Result<Self> {
        match env::var(URL) {
            Ok(url) => Self::of(url, env::var(KEY).ok(), None),
            Err(_) => Self::own(None).await,
        }
    }

    /// A `qdrant-dev` in any case, which may want a key.
    pub async fn own(key: Option<&str>) -> Result<Self> {
        let server = DevServer::start(key).await?;
        Self::of(format!("http://{}", server.address), key.map(str::to_owned), Some(server))
    }

    fn of(url: String, key: Option<String>, own: Option<DevServer>) -> Result<Self> {
        let keys = TempDir::new()?;
        let key_file = match key {
            None => None,
            Some(key) => {
                let path = keys.path().join("key");
                std::fs::write(&path, key)?;
                Some(path)
            }
        };
        let nonce = u64::from_be_bytes(SystemRandom.bytes16()[..8].try_into()?);
        Ok(Self { url, key_file, prefix: format!("test-{nonce:016x}-"), own, _keys: keys })
    }

    /// The address as the adapter takes it.
    pub fn address(&self) -> Result<Address> {
        let url = self.url.trim_end_matches('/');
        let text = match url.split_once("://") {
            Some(("https", rest)) => format!("qdrants://{rest}"),
            Some(("http", rest)) => format!("qdrant://{rest}"),
            _ => url.to_owned(),
        };
        Ok(text.parse()?)
    }

    /// Settings for this test's collections.
    pub fn config(&self) -> QdrantConfig {
        QdrantConfig {
            collection_prefix: self.prefix.clone(),
            api_key_file: self.key_file.clone(),
            ..QdrantConfig::default()
        }
    }

    /// An index as it is after its start, when it does not recover any more.
    pub async fn index(&self) -> Result<Arc<QdrantIndex>> {
        let index = open(&self.address()?, self.config()).await?;
        index.made_good(0);
        Ok(index)
    }

    /// The client as it is, for what the adapter does not do.
    pub fn client(&self) -> Result<Qdrant> {
        let key = self.key_file.as_ref().map(std::fs::read_to_string).transpose()?;
        let builder = Qdrant::from_url(&self.url).skip_compatibility_check().timeout(PATIENCE);
        Ok(match key {
            Some(key) => builder.api_key(key).build()?,
            None => builder.build()?,
        })
    }

    /// Drops this test's collections where others' may be there too.
    pub async fn end(self) -> Result<()> {
        if self.own.is_some() {
            return Ok(());
        }
        let client = self.client()?;
        for collection in client.list_collections().await?.collections {
            if collection.name.starts_with(&self.prefix) {
                client.delete_collection(collection.name).await?;
            }
        }
        Ok(())
    }
}

/// An index of these servers, which recovers.
pub async fn open(address: &Address, config: QdrantConfig) -> Result<Arc<QdrantIndex>> {
    let deps = QdrantDeps { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
    Ok(Arc::new(QdrantIndex::open(address, config, 1_000_000, deps).await?))
}

/// A `qdrant-dev` of its own, on a free port and in a folder that goes with it. It is killed with the test.
pub struct DevServer {
    process: Child,
    pub address: SocketAddr,
    folder: TempDir,
    key: Option<String>,
}

impl DevServer {
    /// Starts one.
    pub async fn start(key: Option<&str>) -> Result<Self> {
        let folder = TempDir::new()?;
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let process = spawn(folder.path(), free, key)?;
        let mut server = Self { process, address: free, folder, key: key.map(str::to_owned) };
        server.address = server.ready().await?;
        Ok(server)
    }

    /// Where its collections lie.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Kills it, as a power switch would not: what it wrote is in the page cache.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Tells it to end, and waits until it has.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            ensure!(began.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it again at the same address and in the same folder.
    pub async fn start_again(&mut self) -> Result<()> {
        let ready = ready_file(self.folder.path());
        std::fs::remove_file(ready)?;
        self.process = spawn(self.folder.path(), self.address, self.key.as_deref())?;
        self.ready().await?;
        Ok(())
    }

    async fn ready(&mut self) -> Result<SocketAddr> {
        let (file, began) = (ready_file(self.folder.path()), Instant::now());
        loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                return Ok(text.parse()?);
            }
            ensure!(self.process.try_wait()?.is_none(), "it ended before it was ready");
            ensure!(began.elapsed() < PATIENCE, "it does not get ready");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Starts the program on a folder.
pub fn spawn(folder: &Path, listen: SocketAddr, key: Option<&str>) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qdrant-dev"));
    command.arg("--data").arg(folder.join("data"));
    command.arg("--listen").arg(listen.to_string());
    command.arg("--ready-file").arg(ready_file(folder));
    if let Some(key) = key {
        command.arg("--api-key").arg(key);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start qdrant-dev")
}

fn ready_file(folder: &Path) -> PathBuf {
    folder.join("ready")
}
