//! Copies of what the index has flushed: what a power loss leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use async_trait::async_trait;
use tokio::sync::RwLock;
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::{FaceId, Placement, UnixMillis};
use vidimus_ports::{
    FaceIndex, Hits, IndexSearch, ListedPoint, Listing, PortError, PortErrorKind, PortResult, RemoveIf,
};

/// Names the folder that the index's directory is copied to after every flush.
pub const SNAPSHOT: &str = "VIDIMUS_FLUSHED_INDEX";

/// An index whose directory is copied after every flush, while no write runs. To cut the power, a test kills the process
/// and puts the copy in the directory's place.
pub struct Snapshots {
    inner: Arc<dyn FaceIndex>,
    directory: PathBuf,
    copy: PathBuf,
    /// Writers share it; a flush has it alone.
    quiet: RwLock<()>,
}

impl Snapshots {
    /// Copies `directory`, which is `inner`'s, to `copy`.
    #[must_use]
    pub fn new(inner: Arc<dyn FaceIndex>, directory: PathBuf, copy: PathBuf) -> Self {
        Self { inner, directory, copy, quiet: RwLock::default() }
    }
}

/// Copies a folder, so that `to` is the old copy or the new one, never a part of one.
fn replace_by_copy(from: &Path, to: &Path) -> io::Result<()> {
    let beside = to.with_extension("new");
    let old = to.with_extension("old");
    for leftover in [&beside, &old] {
        if leftover.exists() {
            fs::remove_dir_all(leftover)?;
        }
    }
    copy_folder(from, &beside)?;
    if to.exists() {
        fs::rename(to, &old)?;
    }
    fs::rename(&beside, to)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[async_trait]
impl FaceIndex for Snapshots {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        let _writing = self.quiet.read().await;
        self.inner.write(gallery, points).await
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        self.inner.get(gallery, faces).await
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        self.inner.search(search).await
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        self.inner.scroll(gallery, listing, after, limit).await
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        self.inner.count(gallery, listing).await
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        let _writing = self.quiet.read().await;
        self.inner.remove(gallery, points).await
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        let _writing = self.quiet.read().await;
        self.inner.remove_part(gallery).await
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        let _writing = self.quiet.read().await;
        self.inner.drop_placement(placement).await
    }

    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        let _alone = self.quiet.write().await;
        let durable_before = self.inner.flush(called_at).await?;
        let (from, to) = (self.directory.clone(), self.copy.clone());
        let copied = tokio::task::spawn_blocking(move || replace_by_copy(&from, &to)).await;
        let failed = || PortError::new(PortErrorKind::Internal, "copy the flushed index");
        copied.map_err(|error| failed().because(error))?.map_err(|error| failed().because(error))?;
        Ok(durable_before)
    }

    async fn look(&self) -> PortResult<()> {
        self.inner.look().await
    }

    fn losses(&self) -> u64 {
        self.inner.losses()
    }

    fn begun_again(&self, losses: u64) {
        self.inner.begun_again(losses);
    }

    fn made_good(&self, losses: u64) {
        self.inner.made_good(losses);
    }
}
