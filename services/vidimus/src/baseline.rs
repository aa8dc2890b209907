//! What the index is known to have: a marker that names the life of the log of which it has everything.
//!
//! An index in this process has it in its folder from an orderly end to the next start, since a process that is killed may leave
//! less. An index on servers has it as a point of no tenant, which goes when the index goes: servers outlive this process, and
//! what they lose of the last moments is told again from the commit on. Where the marker is not there, or is of another life of
//! the log, everything is compared, and what differs is said on the log.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::{
    CollectionUid, ErrorCode, FaceId, FaceNumber, ImageId, Nonce, Part, Placement, Template, TenantId,
    UnixMillis, Version,
};
use vidimus_edge::EdgeIndex;
use vidimus_indexing::Baseline;
use vidimus_ledger::{Ledger, Walk};
use vidimus_ports::{EventLog, FaceIndex, PortError, PortErrorKind, PortResult};

/// In the index's folder.
const MARKER_FILE: &str = "log-incarnation";

/// What the index is compared with, and where it is remembered.
pub(crate) struct IndexBaseline {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) marker: Marker,
}

/// Where the marker is.
pub(crate) enum Marker {
    /// Beside an index that lives in this process.
    File(FileMarker),
    /// In an index that lives elsewhere.
    Point(PointMarker),
}

/// A file; it is there only while no process has the index.
pub(crate) struct FileMarker {
    path: PathBuf,
    edge: Arc<EdgeIndex>,
    /// The life of the log that it was ensured for.
    ensured: Mutex<Option<Nonce>>,
}

/// A point of no tenant, whose id is of the log's life.
pub(crate) struct PointMarker {
    pub(crate) index: Arc<dyn FaceIndex>,
    pub(crate) placement: Placement,
    pub(crate) dimension: usize,
}

impl FileMarker {
    pub(crate) fn new(folder: PathBuf, edge: Arc<EdgeIndex>) -> Self {
        Self { path: folder.join(MARKER_FILE), edge, ensured: Mutex::default() }
    }

    fn ensured(&self) -> MutexGuard<'_, Option<Nonce>> {
        self.ensured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is there for this life; it is gone after.
    fn take(&self, incarnation: &Nonce) -> anyhow::Result<bool> {
        let known = std::fs::read_to_string(&self.path).is_ok_and(|known| known == incarnation.to_string());
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(known),
        }
    }
}

impl PointMarker {
    /// The gallery of no tenant and no collection.
    fn gallery(&self) -> Gallery {
        let part =
            Part { tenant: TenantId::from_random([0; 16]), collection: CollectionUid::from_random([0; 16]) };
        Gallery { part, placement: self.placement.clone() }
    }

    fn id(incarnation: &Nonce) -> FaceId {
        let digest = blake3::hash(format!("index baseline {incarnation}").as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        ImageId::from_random(bytes).face(FaceNumber::FIRST)
    }

    async fn is_there(&self, incarnation: &Nonce) -> PortResult<bool> {
        let face = Self::id(incarnation);
        Ok(!self.index.get(&self.gallery(), &[face]).await?.is_empty())
    }

    /// Puts it there, alone: those of earlier lives go.
    async fn put(&self, incarnation: &Nonce) -> PortResult<()> {
        let gallery = self.gallery();
        self.index.remove_part(&gallery).await?;
        let point = self.point(Self::id(incarnation))?;
        self.index.write(&gallery, &[point]).await
    }

    /// It has expired since ever, and so is no candidate of anybody.
    fn point(&self, face: FaceId) -> PortResult<Point> {
        let mut direction = vec![0.0; self.dimension];
        if let Some(first) = direction.first_mut() {
            *first = 1.0;
        }
        let wrong = |_| PortError::new(PortErrorKind::Internal, "make the index's marker");
        let live = LivePoint {
            template: Template::stored(direction).map_err(wrong)?,
            enrolled_at: UnixMillis::new(0),
            expires_at: UnixMillis::new(0),
            shown: ShownFace {
                bounding_box: BoundingBox { left: 0.0, top: 0.0, width: 0.0, height: 0.0 },
                confidence: 0.0,
                external_image_id: None,
                user: None,
            },
        };
        Ok(Point { face, version: Version::new(1), body: PointBody::Live(live) })
    }
}

impl IndexBaseline {
    /// After an orderly end an index of this process needs no comparing at the next start.
    pub(crate) async fn ended_in_order(&self) -> anyhow::Result<()> {
        let Marker::File(marker) = &self.marker else { return Ok(()) };
        // Where nothing was ensured, the next start compares.
        let Some(incarnation) = *marker.ensured() else { return Ok(()) };
        std::fs::write(&marker.path, incarnation.to_string())
            .with_context(|| format!("write {}", marker.path.display()))
    }

    async fn is_known(&self, incarnation: &Nonce) -> PortResult<bool> {
        match &self.marker {
            Marker::Point(marker) => marker.is_there(incarnation).await,
            Marker::File(marker) => marker.take(incarnation).map_err(|error| {
                PortError::new(PortErrorKind::Internal, "read the index's marker").because(error.to_string())
            }),
        }
    }

    /// What is damaged cannot be compared, today or tomorrow; what is away can be later.
    async fn compare(&self) -> PortResult<()> {
        match self.ledger.reconcile(Walk::Full).await {
            Ok(found) => tracing::info!(?found, "the index was new to the log: everything was compared"),
            Err(failure) if failure.code == ErrorCode::Internal => {
                tracing::error!(%failure, "not everything could be compared with the index");
            }
            Err(failure) => {
                return Err(PortError::new(PortErrorKind::Unavailable, "compare the index").because(failure));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Baseline for IndexBaseline {
    async fn ensure(&self) -> PortResult<Nonce> {
        let incarnation = self.log.incarnation().await?;
        if let Marker::File(marker) = &self.marker
            && *marker.ensured() == Some(incarnation)
        {
            return Ok(incarnation);
        }
        if !self.is_known(&incarnation).await? {
            self.compare().await?;
        }
        if let Marker::File(marker) = &self.marker {
            *marker.ensured() = Some(incarnation);
        }
        Ok(incarnation)
    }

    fn is_elsewhere(&self) -> bool {
        matches!(self.marker, Marker::Point(_))
    }

    async fn reached(&self, incarnation: &Nonce) -> PortResult<()> {
        match &self.marker {
            Marker::Point(marker) => {
                if !marker.is_there(incarnation).await? {
                    marker.put(incarnation).await?;
                }
            }
            // What the index lacked of the last moments before this start is projected again by now.
            Marker::File(marker) => marker.edge.recovered(),
        }
        Ok(())
    }
}
