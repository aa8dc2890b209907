//! Makes an export, as a stream of its bytes.
//!
//! It is not of one moment: each object is as it is when it is read. Users come before the records that claim faces for them, so a claim that
//! came in between finds its user without it, and an import leaves it out; husks of records that are gone come last, so what is
//! removed meanwhile is told of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::{Collection, Tenant};
use vidimus_domain::codec::Stored;
use vidimus_domain::record::Record;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::requests::no_such_collection;

use super::format::{Entry, Kind, Writer};
use super::{BackupDeps, Manifest, Scope, decoded};

/// Objects that one page of a listing of the store has.
const PAGE: usize = 1000;
/// Records, each with its photo, that are read at a time.
const CONCURRENT_READS: usize = 8;
/// How often a record is read again whose photo went meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// What is to be exported, found.
pub struct Plan {
    scope: Scope,
    tenant: Tenant,
    collections: Vec<Arc<Collection>>,
}

/// Makes exports.
#[derive(Clone)]
pub struct Exporter {
    deps: BackupDeps,
}

/// Where an export's bytes go.
struct Sink {
    writer: Writer,
    chunks: mpsc::Sender<Bytes>,
}

impl Sink {
    async fn put(&mut self, entry: &Entry) -> Result<(), Failure> {
        let bytes = self.writer.entry(entry)?;
        self.send(bytes).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Failure> {
        let gone = |_| Failure::new(ErrorCode::Unavailable, "nobody takes the export any more");
        self.chunks.send(bytes).await.map_err(gone)
    }
}

impl Exporter {
    /// Exports from these stores.
    #[must_use]
    pub const fn new(deps: BackupDeps) -> Self {
        Self { deps }
    }

    /// Finds what is to be exported.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant or collection.
    pub async fn plan(&self, scope: Scope) -> Result<Plan, Failure> {
        let catalog = &self.deps.catalog;
        let tenant = catalog.tenant(&scope.tenant.parse()?).await?;
        let collections = match &scope.collection {
            Some(name) => {
                let name = name.parse()?;
                let found = catalog.collection(tenant.id, &name).await?;
                vec![found.ok_or_else(|| no_such_collection(&name))?]
            }
            None => catalog.all_collections(tenant.id).await?.into_iter().map(Arc::new).collect(),
        };
        Ok(Plan { scope, tenant, collections })
    }

    /// Sends an export's bytes. Where it cannot go on, the last entry says why, and no reader takes it for an export.
    pub async fn run(&self, plan: Plan, chunks: mpsc::Sender<Bytes>) {
        let mut sink = Sink { writer: Writer::default(), chunks };
        let last = match self.write(&plan, &mut sink).await {
            Ok(()) => sink.writer.end().map_err(Failure::from),
            Err(failure) => {
                tracing::warn!(%failure, "an export failed");
                let body = Bytes::from(failure.message);
                let entry = Entry { kind: Kind::Failed, key: String::new(), body };
                sink.writer.entry(&entry).map_err(Failure::from)
            }
        };
        if let Ok(last) = last {
            // Whoever has gone needs no end.
            let _ = sink.chunks.send(last).await;
        }
    }

    async fn write(&self, plan: &Plan, sink: &mut Sink) -> Result<(), Failure> {
        sink.send(Writer::start()).await?;
        let manifest = Manifest { scope: plan.scope.clone(), taken_at_ms: self.deps.clock.now().get() };
        let body = serde_json::to_vec(&manifest);
        let body = body.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
        sink.put(&Entry { kind: Kind::Manifest, key: "manifest".to_owned(), body: body.into() }).await?;
        let tenant = &plan.tenant;
        sink.put(&entry(Kind::Tenant, &BlobKey::tenant(&tenant.name), tenant)).await?;
        if plan.scope.collection.is_none() {
            for key in self.deps.catalog.keys(&tenant.name).await? {
                sink.put(&entry(Kind::AccessKey, &BlobKey::access_key(&key.id), &key)).await?;
            }
            for bucket in self.deps.catalog.buckets(&tenant.name).await? {
                let key = BlobKey::bucket(tenant.id, &bucket.name);
                sink.put(&entry(Kind::Bucket, &key, &bucket)).await?;
            }
        }
        for collection in &plan.collections {
            self.write_collection(collection, sink).await?;
        }
        Ok(())
    }

    async fn write_collection(&self, collection: &Collection, sink: &mut Sink) -> Result<(), Failure> {
        let part = collection.part();
        let key = BlobKey::collection(part.tenant, &collection.name);
        sink.put(&entry(Kind::Collection, &key, collection)).await?;
        self.write_all(Kind::User, &BlobPrefix::users(&part), sink).await?;
        self.write_all(Kind::Record, &BlobPrefix::records(&part), sink).await?;
        self.write_all(Kind::Gone, &BlobPrefix::gone(&part), sink).await?;
        // Records that were read after it turned may have no templates of the model that the export says.
        let now = self.deps.catalog.read_by_part(&part).await?;
        match now.is_none_or(|now| now.face_model() == collection.face_model()) {
            true => Ok(()),
            false => {
                let message =
                    format!("the collection {} turned to another face model meanwhile", collection.name);
                Err(Failure::unavailable(message, Duration::from_secs(1)))
            }
        }
    }

    /// Every object under a prefix, in the order of the keys; a record with its photo.
    async fn write_all(&self, kind: Kind, prefix: &BlobPrefix, sink: &mut Sink) -> Result<(), Failure> {
        let mut after: Option<BlobKey> = None;
        loop {
            let listed = self.deps.blobs.list(prefix, after.as_ref(), PAGE).await;
            let page = listed.map_err(failure_from_port)?;
            let keys = page.iter().map(|listed| listed.key.clone()).collect::<Vec<_>>();
            let reads = keys.into_iter().map(|key| self.read(kind, key)).collect::<Vec<_>>();
            let mut read = stream::iter(reads).buffered(CONCURRENT_READS);
            while let Some(entries) = read.try_next().await? {
                for entry in &entries {
                    sink.put(entry).await?;
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|listed| listed.key.clone());
        }
    }

    /// The object as it is stored, and its photo; nothing where it went meanwhile.
    async fn read(&self, kind: Kind, key: BlobKey) -> Result<Vec<Entry>, Failure> {
        for attempt in 1..=ATTEMPTS_MAX {
            let Some(body) = self.get(&key).await? else { return Ok(Vec::new()) };
            let object = Entry { kind, key: key.as_str().to_owned(), body };
            if kind != Kind::Record {
                return Ok(vec![object]);
            }
            let record = decoded::<Record>(&object.key, &object.body)?;
            let Some(photo) = &record.photo else { return Ok(vec![object]) };
            let photo_key = BlobKey::photo(&record.origin.part, record.origin.image, photo);
            match self.get(&photo_key).await? {
                Some(body) => {
                    let photo = Entry { kind: Kind::Photo, key: photo_key.as_str().to_owned(), body };
                    return Ok(vec![object, photo]);
                }
                None if attempt == ATTEMPTS_MAX => {
                    tracing::warn!(%key, "a record's photo is missing; it is exported without");
                    return Ok(vec![object]);
                }
                None => {}
            }
        }
        Ok(Vec::new())
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, Failure> {
        let read = self.deps.blobs.get(key).await.map_err(failure_from_port)?;
        Ok(read.map(|blob| blob.bytes))
    }
}

fn entry<T: Stored>(kind: Kind, key: &BlobKey, value: &T) -> Entry {
    Entry { kind, key: key.as_str().to_owned(), body: value.encode().into() }
}
