//! A server of one's own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vidimus_ports::SystemRandom;
use vidimus_s3::{S3BlobStore, S3Bucket, S3Config};

/// The bucket that every server has; it keeps no versions.
pub const PLAIN: &str = "plain";
/// One that does, once [`Server::versioned`] has been called.
pub const VERSIONED: &str = "versioned";

const KEY: &str = "test";
const SECRET: &str = "secret-of-the-test";
const STARTS: usize = 5;

/// A running SeaweedFS. It ends, and its files go, when this is dropped.
pub struct Server {
    child: Child,
    folder: TempDir,
    ports: Ports,
}

/// Its ports; `weed`'s worker seeks the admin server's gRPC 10,000 above its port.
struct Ports {
    any: [u16; 8],
    admin: u16,
}

impl Server {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        for _ in 0..STARTS {
            let mut server = Self::spawn(Ports::free());
            // A port may have been taken meanwhile; then it does not come up.
            if server.comes_up().await {
                return server;
            }
        }
        panic!("SeaweedFS did not start {STARTS} times in a row");
    }

    fn spawn(ports: Ports) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("credentials"), credentials_file(KEY, SECRET)).unwrap();
        let log = File::create(folder.path().join("server.log")).unwrap();
        let child = Command::new(program())
            .args(arguments(folder.path(), &ports))
            .envs([("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)])
            .envs([("WEED_S3_SSE_KEY", "test"), ("S3_BUCKET", PLAIN)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder, ports }
    }

    async fn comes_up(&mut self) -> bool {
        let client = self.client();
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if client.head_bucket().bucket(PLAIN).send().await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Where its S3 is.
    pub fn port(&self) -> u16 {
        self.ports.any[0]
    }

    /// A client without the adapter: for what only a test does.
    pub fn client(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(KEY, SECRET, None, None, "test"))
            .region(Region::from_static("us-east-1"))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port()))
            .force_path_style(true);
        Client::from_conf(config.build())
    }

    /// How the adapter reaches it.
    pub fn config(&self) -> S3Config {
        self.config_through(self.port())
    }

    /// How the adapter reaches it through what listens on another port.
    pub fn config_through(&self, port: u16) -> S3Config {
        S3Config {
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            force_path_style: true,
            credentials_file: Some(self.folder.path().join("credentials")),
            ..S3Config::default()
        }
    }

    /// A store in one of its buckets.
    pub async fn store(&self, bucket: &str) -> S3BlobStore {
        S3BlobStore::new(connect(&self.config(), bucket).await)
    }

    /// Makes the bucket that keeps versions.
    pub async fn versioned(&self) {
        let client = self.client();
        client.create_bucket().bucket(VERSIONED).send().await.unwrap();
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let put = client.put_bucket_versioning().bucket(VERSIONED).versioning_configuration(enabled);
        put.send().await.unwrap();
    }

    /// Stops it without ending it: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // It names these itself, whatever it is told.
        let named = ["s3", "master", "volume", "filer"];
        let ports = self.ports.any.iter().skip(1).step_by(2);
        for (name, port) in named.into_iter().zip(ports) {
            let _ = fs::remove_file(format!("/tmp/seaweedfs-{name}-grpc-{port}.sock"));
        }
        let _ = fs::remove_file(format!("/tmp/seaweedfs-admin-grpc-{}.sock", self.ports.admin + 10_000));
    }
}

impl Ports {
    fn free() -> Self {
        let held: Vec<TcpListener> = (0..8).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let any = std::array::from_fn(|index| port(&held[index]));
        let admin = (20_000..30_000_u16).find(|candidate| {
            let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
            // Beginning anywhere, so that servers started at a time do not all try the same.
            let candidate = 20_000 + (candidate - 20_000 + any[0] % 10_000) % 10_000;
            is_free(candidate) && is_free(candidate + 10_000)
        });
        let admin = 20_000 + (admin.unwrap() - 20_000 + any[0] % 10_000) % 10_000;
        Self { any, admin }
    }
}

fn arguments(folder: &Path, ports: &Ports) -> Vec<String> {
    let [s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] = ports.any;
    let folder = folder.display();
    let text = format!(
        "-logtostderr mini -dir={folder} -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -admin.ui=false \
         -webdav=false -s3.port={s3} -s3.port.grpc={s3_grpc} -s3.port.iceberg=0 -s3.port.lance=0 \
         -s3.autoCreateBucket=false -s3.allowDeleteBucketNotEmpty=false -s3.localSocket={folder}/s3.sock \
         -filer.localSocket={folder}/filer.sock -master.port={master} -master.port.grpc={master_grpc} \
         -volume.port={volume} -volume.port.grpc={volume_grpc} -volume.preStopSeconds=0 -filer.port={filer} \
         -filer.port.grpc={filer_grpc} -admin.port={} -admin.port.grpc={}",
        ports.admin,
        ports.admin + 10_000
    );
    text.split(' ').map(str::to_owned).collect()
}

/// Where `scripts/stack/seaweedfs.sh` puts it.
fn program() -> PathBuf {
    let cache = std::env::var_os("VIDIMUS_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/vidimus");
    let program = cache.unwrap_or_else(home).join("stack/seaweedfs/weed");
    assert!(program.exists(), "{} is missing; install it: scripts/stack/seaweedfs.sh", program.display());
    program
}

/// In AWS's format.
pub fn credentials_file(key: &str, secret: &str) -> String {
    format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
}

/// A connection to a bucket, below a prefix.
pub async fn connect(config: &S3Config, bucket: &str) -> S3Bucket {
    let location = format!("s3://{bucket}/below/a-prefix").parse().unwrap();
    S3Bucket::connect(config, location, Arc::new(SystemRandom)).await.unwrap()
}
