//! Writing and removing points.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    DeletePoints, DenseVector, Filter, NamedVectors, PointStruct, PointsSelector, UpsertPoints, Vector,
    Vectors, vector,
};
use vidimus_domain::point::{Gallery, Point, PointBody};
use vidimus_domain::{FaceId, Part, Version};
use vidimus_ports::RemoveIf;

use crate::error::{QdrantError, QdrantResult};
use crate::filter::{self, Replace, Versioned};
use crate::index::QdrantIndex;
use crate::layout::VECTOR;
use crate::payload;
use crate::request::{REQUEST_POINTS_MAX, points, require_completed, seconds, strong};

/// Versions of one request at most: the server compares each point with the conditions of all of them.
const REQUEST_VERSIONS_MAX: usize = 64;
/// A collection that went away while it was written to is made anew so often.
const MAKINGS_MAX: u32 = 3;

impl QdrantIndex {
    /// Writes each point where there is none or an older one of the part; erased ones first, so that a full disk holds up
    /// no deletion longer than it must.
    pub(crate) async fn write_points(&self, gallery: &Gallery, points: &[Point]) -> QdrantResult<()> {
        let (mut live, mut erased, mut dimension) = (Vec::new(), Vec::new(), None);
        for point in newest(points) {
            match &point.body {
                PointBody::Live(body) => {
                    let given = body.template.dimension();
                    let expected = *dimension.get_or_insert(given);
                    if given != expected {
                        return Err(QdrantError::Dimension { expected, given });
                    }
                    live.push(point);
                }
                PointBody::Erased { .. } => erased.push(point),
            }
        }
        let batches = [batches(&gallery.part, erased)?, batches(&gallery.part, live)?].concat();
        let replace = if self.is_recovering() { Replace::NotNewer } else { Replace::Older };
        for batch in batches {
            let condition = filter::replaceable(&gallery.part, &batch.versions, replace);
            self.upsert(gallery, dimension, condition, batch.points).await?;
        }
        Ok(())
    }

    async fn upsert(
        &self,
        gallery: &Gallery,
        dimension: Option<usize>,
        condition: Filter,
        written: Vec<PointStruct>,
    ) -> QdrantResult<()> {
        let wait = self.config.try_timeout;
        let message = UpsertPoints {
            collection_name: self.layout.collection(&gallery.placement),
            wait: Some(true),
            points: written,
            ordering: strong(),
            update_filter: Some(condition),
            timeout: seconds(wait),
            ..UpsertPoints::default()
        };
        for _ in 0..MAKINGS_MAX {
            self.layout.require(&gallery.placement, dimension).await?;
            let answer = self
                .connections
                .call(wait, message.clone(), |service, request| async move {
                    points(service).upsert(request).await
                })
                .await;
            match answer {
                Err(error) if error.is_absence() => self.layout.forget(&gallery.placement),
                Err(error) if error.is_missing_vector() => {
                    self.layout.forget(&gallery.placement);
                    return Err(error);
                }
                answer => return require_completed(&answer?),
            }
        }
        Err(QdrantError::Setup {
            collection: self.layout.collection(&gallery.placement),
            what: "it goes away while it is written to".to_owned(),
        })
    }

    /// Removes each point that is the part's and not newer than was seen.
    pub(crate) async fn remove_points(&self, gallery: &Gallery, points: &[RemoveIf]) -> QdrantResult<()> {
        let mut by_version: BTreeMap<Version, Vec<FaceId>> = BTreeMap::new();
        for point in points {
            by_version.entry(point.version_max).or_default().push(point.face);
        }
        for (version_max, faces) in by_version {
            for faces in faces.chunks(REQUEST_POINTS_MAX) {
                let condition = filter::removable(&gallery.part, faces, version_max);
                self.delete(gallery, condition, self.config.try_timeout).await?;
            }
        }
        Ok(())
    }

    /// Removes all points of the part.
    pub(crate) async fn remove_all(&self, gallery: &Gallery) -> QdrantResult<()> {
        self.delete(gallery, filter::any(&gallery.part), self.config.removal_timeout).await
    }

    async fn delete(&self, gallery: &Gallery, condition: Filter, wait: Duration) -> QdrantResult<()> {
        let selector = PointsSelectorOneOf::Filter(condition);
        let message = DeletePoints {
            collection_name: self.layout.collection(&gallery.placement),
            wait: Some(true),
            points: Some(PointsSelector { points_selector_one_of: Some(selector) }),
            ordering: strong(),
            timeout: seconds(wait),
            ..DeletePoints::default()
        };
        let answer = self
            .connections
            .call(wait, message, |service, request| async move { points(service).delete(request).await })
            .await?;
        require_completed(&answer)
    }
}

/// Points of one request, with their versions.
#[derive(Clone, Default)]
struct Batch {
    versions: Vec<Versioned>,
    points: Vec<PointStruct>,
}

/// Points in requests that are not too large, those of one version together.
fn batches(part: &Part, mut points: Vec<&Point>) -> QdrantResult<Vec<Batch>> {
    points.sort_unstable_by_key(|point| point.version);
    let mut batches: Vec<Batch> = Vec::new();
    for point in points {
        let written = point_struct(part, point)?;
        let is_same = |batch: &Batch| batch.versions.last().is_some_and(|(last, _)| *last == point.version);
        let has_room = |batch: &Batch| {
            let another_version = usize::from(!is_same(batch));
            batch.points.len() < REQUEST_POINTS_MAX
                && batch.versions.len() + another_version <= REQUEST_VERSIONS_MAX
        };
        if !batches.last().is_some_and(has_room) {
            batches.push(Batch::default());
        }
        if let Some(batch) = batches.last_mut() {
            batch.points.push(written);
            match batch.versions.last_mut() {
                Some((last, faces)) if *last == point.version => faces.push(point.face),
                _ => batch.versions.push((point.version, vec![point.face])),
            }
        }
    }
    Ok(batches)
}

/// Of points with the same id the newest, the first of those of one version: as if they had been written in turn.
fn newest(points: &[Point]) -> impl Iterator<Item = &Point> {
    let mut newest: HashMap<FaceId, &Point> = HashMap::with_capacity(points.len());
    for point in points {
        match newest.entry(point.face) {
            Entry::Occupied(mut entry) if entry.get().version < point.version => {
                entry.insert(point);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => {
                entry.insert(point);
            }
        }
    }
    newest.into_values()
}

fn point_struct(part: &Part, point: &Point) -> QdrantResult<PointStruct> {
    let mut named = HashMap::new();
    if let PointBody::Live(live) = &point.body {
        let dense = DenseVector { data: live.template.values().to_vec() };
        let vector = Vector { vector: Some(vector::Vector::Dense(dense)), ..Vector::default() };
        named.insert(VECTOR.to_owned(), vector);
    }
    // An erased point has an empty set of named vectors: without any set it would be refused.
    let vectors = VectorsOptions::Vectors(NamedVectors { vectors: named });
    Ok(PointStruct {
        id: Some(filter::point_id(point.face)),
        payload: payload::encode(part, point)?,
        vectors: Some(Vectors { vectors_options: Some(vectors) }),
    })
}

#[cfg(test)]
mod tests {
    use vidimus_domain::{CollectionUid, FaceNumber, ImageId, TenantId, UnixMillis};

    use super::*;

    fn erased(nth: u128, version: u64) -> Point {
        let face = ImageId::from_random((nth << 32).to_be_bytes()).face(FaceNumber::FIRST);
        let body = PointBody::Erased { erased_at: UnixMillis::new(1) };
        Point { face, version: Version::new(version), body }
    }

    fn sizes(points: &[Point]) -> Vec<(usize, usize)> {
        let part =
            Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([2; 16]) };
        let batches = batches(&part, points.iter().collect()).unwrap();
        for batch in &batches {
            let faces: usize = batch.versions.iter().map(|(_, faces)| faces.len()).sum();
            assert_eq!(faces, batch.points.len(), "each point has its condition");
        }
        batches.iter().map(|batch| (batch.points.len(), batch.versions.len())).collect()
    }

    #[test]
    fn requests_are_of_bounded_size() {
        let same: Vec<Point> = (0..2_500).map(|nth| erased(nth, 7)).collect();
        assert_eq!(sizes(&same), [(1_000, 1), (1_000, 1), (500, 1)]);
        let each_its_own: Vec<Point> = (0..100).map(|nth| erased(nth, nth as u64)).collect();
        assert_eq!(sizes(&each_its_own), [(64, 64), (36, 36)]);
        let mixed: Vec<Point> = (0..1_500).map(|nth| erased(nth, nth as u64 % 3)).collect();
        assert_eq!(sizes(&mixed), [(1_000, 2), (500, 1)]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn of_one_id_the_newest_is_written() {
        let points = [erased(1, 5), erased(1, 7), erased(1, 6), erased(2, 1)];
        let mut kept: Vec<u64> = newest(&points).map(|point| point.version.get()).collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 7]);
    }
}
