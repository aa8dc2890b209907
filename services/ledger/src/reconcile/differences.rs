//! Records against points, as a merge of two sorted listings: records by image id, points by face id.

use std::collections::VecDeque;

use futures::stream::{FuturesUnordered, StreamExt};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::codec::Stored;
use vidimus_domain::event::Change;
use vidimus_domain::record::{Record, must_be_remembered, projection};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::time::ERASED_KEPT;
use vidimus_domain::{ErrorCode, FaceId, FaceNumber, Failure, ImageId, Version};
use vidimus_ports::face_index::ListedPoint;
use vidimus_ports::{BlobEntry, Listing, PortError, PortErrorKind, PortResult, PutCondition};
use vidimus_runtime::errors::failure_from_port;

use crate::expiry::{Due, Erased};
use crate::retries::persist;

use super::{CONCURRENT_READS, PAGE, Reconciled, Reconciler, Scope};

/// Points of a page when one image is looked at once more.
const POINTS_PAGE: usize = 1000;

/// A collection's record objects, in the order of their image ids.
struct RecordWalk {
    prefix: BlobPrefix,
    after: Option<BlobKey>,
    page: VecDeque<BlobEntry>,
    more: bool,
}

/// A collection's points, erased ones too, in the order of their ids.
struct PointWalk {
    after: Option<FaceId>,
    page: VecDeque<ListedPoint>,
    more: bool,
}

/// An image with its record object and its points, either of which may be missing.
struct Side {
    image: ImageId,
    entry: Option<BlobEntry>,
    points: Vec<ListedPoint>,
}

impl Reconciler {
    /// Finds the collection's differences and says them on the log.
    pub(super) async fn compare(&self, scope: &Scope<'_>, found: &mut Reconciled) -> Result<(), Failure> {
        let prefix = BlobPrefix::records(&scope.collection.part());
        let records = RecordWalk { prefix, after: None, page: VecDeque::new(), more: true };
        let points = PointWalk { after: None, page: VecDeque::new(), more: true };
        let (mut walks, mut more) = ((records, points), true);
        let mut comparing = FuturesUnordered::new();
        loop {
            while more && comparing.len() < CONCURRENT_READS {
                match self.next_side(scope, &mut walks).await? {
                    Some(side) => comparing.push(self.compare_side(scope, side)),
                    None => more = false,
                }
            }
            match comparing.next().await {
                Some(of_image) => found.add(&of_image?),
                None => return Ok(()),
            }
        }
    }

    /// The next image that has a record or points.
    async fn next_side(
        &self,
        scope: &Scope<'_>,
        (records, points): &mut (RecordWalk, PointWalk),
    ) -> Result<Option<Side>, Failure> {
        let entry = self.peek_record(records).await.map_err(failure_from_port)?;
        let point = self.peek_point(points, scope).await.map_err(failure_from_port)?;
        let entry = entry.map(|entry| image_of(&entry)).transpose()?;
        let image = match (entry, point) {
            (None, None) => return Ok(None),
            (Some(image), None) | (None, Some(image)) => image,
            (Some(left), Some(right)) => left.min(right),
        };
        let entry = if entry == Some(image) { records.page.pop_front() } else { None };
        let mut side = Side { image, entry, points: Vec::new() };
        while self.peek_point(points, scope).await.map_err(failure_from_port)? == Some(image) {
            side.points.extend(points.page.pop_front());
        }
        Ok(Some(side))
    }

    /// Compares one image, as often as it takes; one that cannot be read is counted.
    async fn compare_side(&self, scope: &Scope<'_>, side: Side) -> Result<Reconciled, Failure> {
        match persist!(self.retries, self.compare_image(scope, &side)) {
            Ok(found) => {
                scope.counts.inspect(|counts| counts.compared(found.compared_records));
                Ok(found)
            }
            Err(error) if is_unreadable(&error) => {
                tracing::error!(%error, image = %side.image, "a record cannot be compared");
                self.metrics.unreadable.inc();
                Ok(Reconciled { unreadable_records: 1, ..Reconciled::default() })
            }
            Err(error) => Err(failure_from_port(error)),
        }
    }

    async fn peek_record(&self, walk: &mut RecordWalk) -> PortResult<Option<BlobEntry>> {
        if walk.page.is_empty() && walk.more {
            walk.page = self.next_page(&walk.prefix, &mut walk.after).await?.into();
            walk.more = walk.page.len() == PAGE;
        }
        Ok(walk.page.front().cloned())
    }

    async fn peek_point(&self, walk: &mut PointWalk, scope: &Scope<'_>) -> PortResult<Option<ImageId>> {
        if walk.page.is_empty() && walk.more {
            let (index, listing) = (&self.deps.index, Listing::Everything);
            let page = persist!(self.retries, index.scroll(&scope.gallery, listing, walk.after, PAGE))?;
            walk.more = page.len() == PAGE;
            walk.after = page.last().map(|point| point.face);
            walk.page = page.into();
        }
        Ok(walk.page.front().map(|point| point.face.image()))
    }

    /// What is found of one image. It may fail anywhere and be done again: that it differs is counted last.
    async fn compare_image(&self, scope: &Scope<'_>, side: &Side) -> PortResult<Reconciled> {
        let mut found = Reconciled::default();
        let stale =
            |point: &ListedPoint| point.erased_at.is_some_and(|at| scope.now.since(at) >= ERASED_KEPT);
        let recent = side.entry.as_ref().is_none_or(|entry| scope.is_recent(entry));
        if !recent && !side.points.is_empty() && !side.points.iter().any(stale) {
            return Ok(found);
        }
        found.compared_records += 1;
        let part = scope.collection.part();
        let read = self.records.read(&part, side.image).await?;
        let Some(record) = &read.record else {
            self.say_missing(scope, side, &mut found).await?;
            return Ok(found);
        };
        self.expirer.remove_photos(record).await?;
        // Whoever erased from it may have died before it did this.
        if record.faces.iter().any(|face| face.live().is_none()) {
            self.records.forget_older(record).await?;
        }
        // What has expired and the index does not show, so that no sweep has found it.
        let cutoffs = scope.collection.retention.cutoffs(scope.now);
        let due = Due { collection: scope.collection, cutoffs };
        if self.expirer.expire(&due, &read).await? != Erased::default() {
            found.expired_records += 1;
            // It has changed: how its other faces stand is looked at later.
            scope.counts.inspect(|counts| counts.differed(side.image));
            return Ok(found);
        }
        if record.is_husk_to_remove(scope.now) && side.points.is_empty() && scope.counts.is_none() {
            self.remove_husk(record, cutoffs, &mut found).await?;
            return Ok(found);
        }
        self.say_waiting(scope, record, &mut found).await?;
        self.say_incomplete(scope, record).await?;
        self.drop_others(scope, &read).await?;
        if differs(record, &side.points, scope) && self.still_differs(scope, side.image).await? {
            let seen = side.points.iter().filter_map(seen_point).collect();
            self.say(scope, (side.image, seen), &mut found).await?;
        }
        Ok(found)
    }

    /// Removes a husk. That there was one is remembered first: an older export may have its faces yet.
    async fn remove_husk(&self, husk: &Record, cutoffs: Cutoffs, found: &mut Reconciled) -> PortResult<()> {
        let (part, image) = (&husk.origin.part, husk.origin.image);
        if must_be_remembered(husk, cutoffs) {
            let gone = BlobKey::gone(part, image);
            let put = self.deps.blobs.put(&gone, husk.encode().into(), PutCondition::IfAbsent);
            // Whoever died between the two has put it before.
            put.await.map(drop).or_else(|error| match error.kind() {
                PortErrorKind::Conflict => Ok(()),
                _ => Err(error),
            })?;
        }
        self.deps.blobs.delete(&BlobKey::record(part, image)).await?;
        self.metrics.removed.inc();
        found.removed_husks += 1;
        Ok(())
    }

    /// Points without a record: they are to go, on condition of the versions that were seen.
    async fn say_missing(&self, scope: &Scope<'_>, side: &Side, found: &mut Reconciled) -> PortResult<()> {
        if side.points.is_empty() {
            return Ok(());
        }
        let seen = side.points.iter().filter_map(seen_point).collect();
        self.say(scope, (side.image, seen), found).await
    }

    /// Reads points and record once more: between the two listings much may have been written. Points come first: what is
    /// projected between the two reads is then older than the record, never newer.
    pub(super) async fn still_differs(&self, scope: &Scope<'_>, image: ImageId) -> PortResult<bool> {
        let of_image = self.points_of(scope, image).await?;
        let Some(record) = self.records.read(&scope.collection.part(), image).await?.record else {
            return Ok(!of_image.is_empty());
        };
        Ok(differs(&record, &of_image, scope))
    }

    /// Whether anybody writes to the placement: a move may have left it since the walk began, and then there is nothing to say of it.
    async fn is_written_to(&self, scope: &Scope<'_>) -> PortResult<bool> {
        let live = self.deps.catalog.collection_by_part(&scope.collection.part()).await;
        let failed = |failure| PortError::new(PortErrorKind::Unavailable, "read collection").because(failure);
        let placements = live.map_err(failed)?.map(|collection| collection.placements.clone());
        Ok(placements
            .is_some_and(|of| of.written().any(|(placement, _)| *placement == scope.gallery.placement)))
    }

    /// An image's points, erased ones too.
    async fn points_of(&self, scope: &Scope<'_>, image: ImageId) -> PortResult<Vec<ListedPoint>> {
        let mut after = FaceId::from_bytes(&image.to_bytes()).ok();
        let mut of_image = Vec::new();
        loop {
            let listing = Listing::Everything;
            let page = self.deps.index.scroll(&scope.gallery, listing, after, POINTS_PAGE).await?;
            let is_last = page.len() < POINTS_PAGE || page.iter().any(|point| point.face.image() != image);
            after = page.last().map(|point| point.face);
            of_image.extend(page.into_iter().filter(|point| point.face.image() == image));
            if is_last {
                return Ok(of_image);
            }
        }
    }

    async fn say(
        &self,
        scope: &Scope<'_>,
        (image, seen): (ImageId, Vec<(FaceNumber, Version)>),
        found: &mut Reconciled,
    ) -> PortResult<()> {
        if !self.is_written_to(scope).await? {
            return Ok(());
        }
        let at = self.deps.clock.now();
        self.changes.append(&Change { part: scope.collection.part(), image, seen, at }).await?;
        scope.counts.inspect(|counts| counts.differed(image));
        self.metrics.differences.inc();
        found.differences += 1;
        Ok(())
    }
}

/// Whether it would fail again, here, for this record alone: it keeps no other from being looked at.
pub(crate) fn is_unreadable(error: &PortError) -> bool {
    matches!(error.kind(), PortErrorKind::Corrupt | PortErrorKind::TooNew)
}

fn seen_point(point: &ListedPoint) -> Option<(FaceNumber, Version)> {
    point.face.number().map(|number| (number, point.version))
}

/// Whether the points are not what the record says.
fn differs(record: &Record, points: &[ListedPoint], scope: &Scope<'_>) -> bool {
    // A target is not whole before every face has its template; there is nothing to say of others that lack one.
    if scope.wanted.other.is_some() && !record.has_models(&scope.wanted) {
        return true;
    }
    let model = scope.collection.placements.face_model_in(&scope.gallery.placement);
    let wanted = projection(record, model, scope.now);
    let version_of = |face: FaceId| points.iter().find(|point| point.face == face).map(|point| point.version);
    let missing = wanted.write.iter().any(|point| version_of(point.face) != Some(point.version));
    let stale = wanted.remove.iter().any(|(face, _)| version_of(*face).is_some());
    missing || stale
}

pub(crate) fn image_of(entry: &BlobEntry) -> Result<ImageId, Failure> {
    entry.key.name().parse().map_err(|error| {
        tracing::error!(key = %entry.key, %error, "an object among the records is no record");
        Failure::new(ErrorCode::Internal, "internal error")
    })
}
