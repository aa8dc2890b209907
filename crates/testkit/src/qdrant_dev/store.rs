//! All collections of a folder, and what goes on in the background.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use qdrant_client::qdrant as api;
use tokio::sync::{Mutex, RwLock, Semaphore};
use tokio::task::spawn_blocking;
use tonic::Status;
use vidimus_runtime::shutdown::Shutdown;

use super::collection::{Collection, remove_if_there, sync};
use super::refusal::{Answer, internal, no_collection, wrong};
use super::settings;

/// Calls of the engine at a time; more wait. Each takes a thread.
const CALLS_MAX: usize = 64;
/// How often it is looked whether there is something to flush or to optimise.
const LOOK: Duration = Duration::from_millis(500);

/// The collections.
pub struct Store {
    folder: PathBuf,
    collections: RwLock<BTreeMap<String, Arc<Collection>>>,
    /// Held while one is made or dropped.
    changing: Mutex<()>,
    calls: Arc<Semaphore>,
    /// Locked while the process lives.
    _lock: fs::File,
}

impl Store {
    /// Opens every collection under `root`, which is made where it is missing.
    ///
    /// # Errors
    /// Where another process has the folder, or a collection is damaged.
    pub async fn open(root: &Path) -> Result<Arc<Self>> {
        let folder = root.join("collections");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let lock = fs::File::create(root.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another process works in {}", root.display());
        }
        let under = folder.clone();
        let collections = spawn_blocking(move || open_all(&under)).await??;
        Ok(Arc::new(Self {
            folder,
            collections: RwLock::new(collections),
            changing: Mutex::default(),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            _lock: lock,
        }))
    }

    /// The names of all, in order.
    pub async fn names(&self) -> Vec<String> {
        self.collections.read().await.keys().cloned().collect()
    }

    /// A collection.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn collection(&self, name: &str) -> Answer<Arc<Collection>> {
        self.collections.read().await.get(name).cloned().ok_or_else(|| no_collection(name))
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one; else the refusal.
    pub async fn create(&self, asked: api::CreateCollection) -> Answer<()> {
        settings::check_name(&asked.collection_name)?;
        let config = settings::engine_config(&asked)?;
        let _changing = self.changing.lock().await;
        let name = asked.collection_name.clone();
        if self.collections.read().await.contains_key(&name) {
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        let folder = self.folder.join(folder_name(&name));
        let made = self
            .run(move || {
                Collection::create(&folder, &asked, config).map_err(|error| internal(error.to_string()))
            })
            .await?;
        self.collections.write().await.insert(name, Arc::new(made));
        Ok(())
    }

    /// Drops a collection; returns whether there was one. What runs on it runs to its end.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn drop_collection(&self, name: &str) -> Answer<bool> {
        let _changing = self.changing.lock().await;
        let Some(dropped) = self.collections.write().await.remove(name) else { return Ok(false) };
        let parent = self.folder.clone();
        self.run(move || {
            let aside = dropped.folder().with_extension("dropped");
            let removed = remove_if_there(&aside)
                .and_then(|()| fs::rename(dropped.folder(), &aside))
                .and_then(|()| sync(&parent))
                .and_then(|()| remove_if_there(&aside));
            removed.map_err(|error| internal(error.to_string()))
        })
        .await?;
        Ok(true)
    }

    /// Runs what blocks on a thread of its own.
    ///
    /// # Errors
    /// Those of what runs.
    pub async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let blocking = move || {
            let _permit = permit;
            run()
        };
        spawn_blocking(blocking).await.unwrap_or_else(|error| Err(internal(error.to_string())))
    }

    /// Flushes and optimises what was written, until shutdown begins. One is not held up by the other.
    pub fn work_in_background(self: &Arc<Self>, shutdown: &Shutdown) {
        for work in [Collection::flush_when_due, Collection::optimize] {
            let (store, until) = (Arc::clone(self), shutdown.clone());
            shutdown.spawn(async move {
                while !until.has_begun() {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => store.for_all(work).await,
                        () = until.begun() => {}
                    }
                }
            });
        }
    }

    /// Flushes everything.
    pub async fn flush(&self) {
        self.for_all(Collection::flush).await;
    }

    async fn for_all(&self, work: fn(&Collection) -> Answer<()>) {
        let all: Vec<Arc<Collection>> = self.collections.read().await.values().cloned().collect();
        for collection in all {
            let name = collection.name().to_owned();
            let outcome = spawn_blocking(move || work(&collection)).await;
            let outcome = outcome.unwrap_or_else(|error| Err(internal(error.to_string())));
            if let Err(status) = outcome {
                tracing::error!(
                    collection = name,
                    status = status.message(),
                    "work in the background failed"
                );
            }
        }
    }
}

/// A name may be `..`, a folder's may not: hence the ending.
fn folder_name(name: &str) -> String {
    format!("{name}.collection")
}

fn open_all(folder: &Path) -> Result<BTreeMap<String, Arc<Collection>>> {
    let mut collections = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("collection") => {
                let collection =
                    Collection::open(&path).with_context(|| format!("open {}", path.display()))?;
                collections.insert(collection.name().to_owned(), Arc::new(collection));
            }
            // What was being made or dropped when the process died.
            Some("new" | "dropped") => remove_if_there(&path)?,
            _ => bail!("{} does not belong there", path.display()),
        }
    }
    Ok(collections)
}

/// An operation on all points at once is refused where it is not meant.
///
/// # Errors
/// Where there is no selector.
pub fn require_selector<T>(selector: Option<T>) -> Answer<T> {
    selector.ok_or_else(|| wrong("PointsSelector is missing"))
}
