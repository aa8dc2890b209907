//! Record → points: into the index collection that is searched, and while a collection moves into the other one too.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::Change;
use vidimus_domain::point::Gallery;
use vidimus_domain::record::{Projection, Record, is_fresh, projection};
use vidimus_domain::{
    ErrorCode, FaceId, FaceModelName, FaceNumber, Failure, ImageId, Part, UnixMillis, Version,
};
use vidimus_ports::{PortError, PortErrorKind, PortResult, RemoveIf};
use vidimus_runtime::records::Records;
use vidimus_runtime::traces;

use crate::IndexingDeps;
use crate::metrics::Metrics;

/// Records that are read at a time.
const CONCURRENT_READS: usize = 16;
/// How often a projection begins again because its read had grown old.
const ATTEMPTS_MAX: usize = 8;

/// Faces that a change names, for where the record is gone.
type Seen = Vec<(FaceNumber, Version)>;

/// Reads records and writes their points.
pub(crate) struct Projector {
    deps: IndexingDeps,
    records: Records,
    metrics: Arc<Metrics>,
}

impl Projector {
    pub(crate) fn new(deps: IndexingDeps, metrics: Arc<Metrics>) -> Self {
        let records = Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        Self { deps, records, metrics }
    }

    /// Projects these images' records as they are now. On return every later search sees them.
    pub(crate) async fn project(&self, part: &Part, images: &[ImageId]) -> PortResult<()> {
        let images = images.iter().map(|image| (*image, Seen::new())).collect();
        self.project_part(part, &images).await
    }

    /// Projects the records that these changes name, each once.
    pub(crate) async fn project_changes(&self, changes: &[Change]) -> PortResult<()> {
        let mut parts = BTreeMap::<Part, BTreeMap<ImageId, Seen>>::new();
        for change in changes {
            let images = parts.entry(change.part).or_default();
            images.entry(change.image).or_default().extend(change.seen.iter().copied());
        }
        for (part, images) in &parts {
            self.project_part(part, images).await?;
        }
        Ok(())
    }

    async fn project_part(&self, part: &Part, images: &BTreeMap<ImageId, Seen>) -> PortResult<()> {
        for _ in 0..ATTEMPTS_MAX {
            let read_at = self.deps.clock.now();
            // A dead collection's part is asked for by nobody: there is nothing to project.
            let Some(collection) = self.collection(part).await? else { return Ok(()) };
            let wanted = self.read_all(part, images).await?;
            // A writer that slept through a deletion reads again (rule 9).
            if !is_fresh(read_at, self.deps.clock.now()) {
                continue;
            }
            self.metrics.projected_records.inc_by(images.len() as u64);
            for (gallery, model) in collection.written_galleries() {
                self.write(&gallery, wanted.iter().map(|wanted| wanted.projection(model, read_at))).await?;
            }
            // One that slept through the beginning of a move has written to one index collection alone. The move
            // says that record itself, later; this way it is there when this returns.
            let Some(now) = self.collection(part).await? else { return Ok(()) };
            let is_written = |gallery| collection.written_galleries().any(|written| written == gallery);
            if now.written_galleries().all(is_written) {
                return Ok(());
            }
        }
        Err(PortError::new(PortErrorKind::Unavailable, "read records within the hour"))
    }

    /// The collection as it is believed now, which says where its points are written to; none where it is dead.
    async fn collection(&self, part: &Part) -> PortResult<Option<Arc<Collection>>> {
        self.deps.catalog.collection_by_part(part).await.map_err(catalog_failed)
    }

    async fn read_all(&self, part: &Part, images: &BTreeMap<ImageId, Seen>) -> PortResult<Vec<Wanted>> {
        let reads: Vec<_> = images.iter().map(|(image, seen)| self.read(part, (*image, seen))).collect();
        stream::iter(reads).buffer_unordered(CONCURRENT_READS).try_collect().await
    }

    /// An image's record. Where it is gone, what the change has seen is to go.
    async fn read(&self, part: &Part, (image, seen): (ImageId, &Seen)) -> PortResult<Wanted> {
        let read = self.records.read(part, image).await?;
        Ok(match read.record {
            Some(record) => Wanted::Record(Box::new(record)),
            None => {
                Wanted::Gone(seen.iter().map(|(number, version)| (image.face(*number), *version)).collect())
            }
        })
    }

    async fn write(&self, gallery: &Gallery, wanted: impl Iterator<Item = Projection>) -> PortResult<()> {
        let (mut points, mut removals) = (Vec::new(), Vec::new());
        for projection in wanted {
            self.metrics.lacking.inc_by(projection.lacking.len() as u64);
            points.extend(projection.write);
            let removal = |(face, version_max)| RemoveIf { face, version_max };
            removals.extend(projection.remove.into_iter().map(removal));
        }
        if !points.is_empty() {
            traces::step("write to index", self.deps.index.write(gallery, &points)).await?;
        }
        if !removals.is_empty() {
            traces::step("remove from index", self.deps.index.remove(gallery, &removals)).await?;
        }
        Ok(())
    }
}

/// What the index is to be made of.
enum Wanted {
    Record(Box<Record>),
    /// The record is gone: these faces go, up to these versions.
    Gone(Vec<(FaceId, Version)>),
}

impl Wanted {
    /// For an index collection of that face model.
    fn projection(&self, model: &FaceModelName, now: UnixMillis) -> Projection {
        match self {
            Self::Record(record) => projection(record, model, now),
            Self::Gone(faces) => Projection { remove: faces.clone(), ..Projection::default() },
        }
    }
}

/// The catalog lies in the blob store: what failed there may succeed later, unless it is damaged.
fn catalog_failed(failure: Failure) -> PortError {
    let kind = match failure.code {
        ErrorCode::Internal => PortErrorKind::Internal,
        _ => PortErrorKind::Unavailable,
    };
    PortError::new(kind, "read catalog").because(failure)
}
