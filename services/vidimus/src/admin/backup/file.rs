//! Export files: made whole or not at all, never over another; read in chunks.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{Stream, stream};
use indicatif::ProgressBar;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use vidimus_ports::Random;
use vidimus_ports::random::SystemRandom;

use crate::backup::Manifest;
use crate::backup::format::{Kind, Reader};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A file that is being made beside the place where it will lie; it goes unless it is finished.
pub(super) struct Beside {
    path: PathBuf,
    beside: PathBuf,
    file: File,
}

impl Beside {
    /// Begins it, for its owner alone: it has secrets and biometric data.
    pub(super) fn begin(path: &Path) -> anyhow::Result<Self> {
        if path.try_exists().with_context(|| format!("look at {}", path.display()))? {
            bail!("{} exists: an export overwrites nothing", path.display());
        }
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let beside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), SystemRandom.nonce()));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let file = file.with_context(|| format!("make a file beside {}", path.display()))?;
        Ok(Self { path: path.to_owned(), beside, file: File::from_std(file) })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).await.with_context(|| format!("write {}", self.beside.display()))
    }

    /// Makes what was written durable, reads it all again, and gives the file its name.
    pub(super) async fn finish(mut self) -> anyhow::Result<Contents> {
        let writing = || format!("write {}", self.path.display());
        self.file.flush().await.with_context(writing)?;
        self.file.sync_all().await.with_context(writing)?;
        let contents = check(&self.beside, &ProgressBar::hidden()).await?;
        // A link, since renaming would replace a file that has come meanwhile.
        std::fs::hard_link(&self.beside, &self.path).with_context(writing)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or_else(|| Path::new("."))).and_then(|folder| folder.sync_all())?;
        Ok(contents)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Of a finished file this is the other name.
        let _ = std::fs::remove_file(&self.beside);
    }
}

/// What an export file has.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Contents {
    pub(super) tenant: String,
    pub(super) collections: u64,
    pub(super) users: u64,
    pub(super) records: u64,
    pub(super) photos: u64,
    pub(super) bytes: u64,
}

/// The chunks of a file; `bar` moves on with them.
pub(super) async fn chunks(
    path: &Path,
    bar: &ProgressBar,
) -> anyhow::Result<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<>> {
    let file = File::open(path).await.with_context(|| format!("open {}", path.display()))?;
    let chunks = stream::unfold((file, bar.clone()), async |(mut file, bar)| {
        let mut buffer = vec![0; CHUNK_BYTES];
        let read = file.read(&mut buffer).await;
        let chunk = match read {
            Ok(0) => return None,
            Ok(length) => {
                buffer.truncate(length);
                bar.inc(length as u64);
                Ok(Bytes::from(buffer))
            }
            Err(error) => Err(error),
        };
        Some((chunk, (file, bar)))
    });
    Ok(Box::pin(chunks))
}

/// Reads a whole file and checks it, so that nothing of a damaged one is used.
pub(super) async fn check(path: &Path, bar: &ProgressBar) -> anyhow::Result<Contents> {
    let mut reader = Reader::new(chunks(path, bar).await?);
    let first = reader.next().await?.filter(|entry| entry.kind == Kind::Manifest);
    let first = first.context("the export has no manifest")?;
    let manifest: Manifest = serde_json::from_slice(&first.body).context("read the manifest")?;
    let bytes = tokio::fs::metadata(path).await?.len();
    let tenant = manifest.scope.tenant;
    let mut contents = Contents { tenant, collections: 0, users: 0, records: 0, photos: 0, bytes };
    while let Some(entry) = reader.next().await? {
        match entry.kind {
            Kind::Collection => contents.collections += 1,
            Kind::User => contents.users += 1,
            Kind::Record => contents.records += 1,
            Kind::Photo => contents.photos += 1,
            _ => {}
        }
    }
    Ok(contents)
}
