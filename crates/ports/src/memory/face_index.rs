//! An index in memory that scans.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, Part, Placement, Template, UnixMillis};

use crate::error::{PortError, PortErrorKind, PortResult};
use crate::face_index::{Candidate, FaceIndex, Hits, IndexSearch, ListedPoint, Listing, RemoveIf};

/// A [`FaceIndex`] in memory: every search is an exact scan.
#[derive(Default)]
pub struct MemoryFaceIndex {
    placements: Mutex<HashMap<Placement, Points>>,
}

#[derive(Default)]
struct Points {
    /// That of the first template; all others have it.
    dimension: Option<usize>,
    by_face: BTreeMap<FaceId, Stored>,
}

struct Stored {
    part: Part,
    point: Point,
}

impl Stored {
    /// The point, where it can match then.
    fn live_at(&self, horizon: Horizon) -> Option<&LivePoint> {
        match &self.point.body {
            PointBody::Live(live) if live.is_shown_at(horizon) => Some(live),
            _ => None,
        }
    }

    fn is_in(&self, listing: Listing) -> bool {
        match (listing, &self.point.body) {
            (Listing::Everything, _) => true,
            (Listing::LiveAt(horizon), PointBody::Live(live)) => live.is_shown_at(horizon),
            (Listing::ExpiredAt(horizon), PointBody::Live(live)) => !live.is_shown_at(horizon),
            (_, PointBody::Erased { .. }) => false,
        }
    }

    fn listed(&self) -> ListedPoint {
        let Point { face, version, body } = &self.point;
        let (erased_at, shown) = match body {
            PointBody::Live(live) => (None, Some(live.shown.clone())),
            PointBody::Erased { erased_at } => (Some(*erased_at), None),
        };
        ListedPoint { face: *face, version: *version, erased_at, shown }
    }
}

impl Points {
    /// Refuses a template of another dimension than the placement has, or is given herewith (I7).
    fn check(&mut self, template: &Template) -> PortResult<()> {
        if *self.dimension.get_or_insert(template.dimension()) == template.dimension() {
            return Ok(());
        }
        let error = PortError::new(PortErrorKind::Invalid, "check dimension");
        Err(error.because("the placement's templates have another dimension"))
    }

    fn of_part(&self, part: Part) -> impl Iterator<Item = &Stored> {
        self.by_face.values().filter(move |stored| stored.part == part)
    }
}

impl MemoryFaceIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the placement exists.
    #[must_use]
    pub fn has_placement(&self, placement: &Placement) -> bool {
        self.placements().contains_key(placement)
    }

    fn placements(&self) -> MutexGuard<'_, HashMap<Placement, Points>> {
        self.placements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `read` makes of the gallery's points, in the order of their ids.
    fn read<T>(&self, gallery: &Gallery, read: impl FnOnce(&mut dyn Iterator<Item = &Stored>) -> T) -> T {
        let placements = self.placements();
        let points = placements.get(&gallery.placement);
        read(&mut points.into_iter().flat_map(|points| points.of_part(gallery.part)))
    }
}

#[async_trait]
impl FaceIndex for MemoryFaceIndex {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        let mut placements = self.placements();
        let stored = placements.entry(gallery.placement.clone()).or_default();
        for point in points {
            if let PointBody::Live(live) = &point.body {
                stored.check(&live.template)?;
            }
        }
        for point in points {
            let part = gallery.part;
            let stands = |present: &Stored| present.part != part || present.point.version >= point.version;
            if !stored.by_face.get(&point.face).is_some_and(stands) {
                stored.by_face.insert(point.face, Stored { part, point: point.clone() });
            }
        }
        Ok(())
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        Ok(self.read(gallery, |points| {
            let wanted = points.filter(|stored| faces.contains(&stored.point.face));
            wanted.map(|stored| stored.point.clone()).collect()
        }))
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        if let Some(points) = self.placements().get_mut(&search.gallery.placement) {
            points.check(&search.probe)?;
        }
        let mut gallery_faces = 0;
        let mut candidates: Vec<Candidate> = self.read(&search.gallery, |points| {
            let live = points.filter_map(|stored| Some((stored.point.face, stored.live_at(search.horizon)?)));
            let searched = live.filter(|(_, live)| !search.with_user_only || live.shown.user.is_some());
            let counted = searched.inspect(|_| gallery_faces += 1);
            let wanted = counted.filter(|(face, _)| Some(*face) != search.without);
            let scored = wanted.map(|(face, live)| {
                let cosine = live.template.cosine(&search.probe);
                Candidate { face, cosine, shown: live.shown.clone() }
            });
            scored.filter(|candidate| candidate.cosine >= search.cosine_min).collect()
        });
        candidates.sort_by(|left, right| {
            right.cosine.total_cmp(&left.cosine).then_with(|| left.face.cmp(&right.face))
        });
        candidates.truncate(search.limit as usize);
        Ok(Hits { candidates, gallery_faces })
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        Ok(self.read(gallery, |points| {
            let later = points.filter(|stored| after.is_none_or(|after| stored.point.face > after));
            later.filter(|stored| stored.is_in(listing)).take(limit).map(Stored::listed).collect()
        }))
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        Ok(self.read(gallery, |points| points.filter(|stored| stored.is_in(listing)).count() as u64))
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        let mut placements = self.placements();
        let Some(stored) = placements.get_mut(&gallery.placement) else { return Ok(()) };
        for remove in points {
            let goes = |present: &Stored| {
                present.part == gallery.part && present.point.version <= remove.version_max
            };
            if stored.by_face.get(&remove.face).is_some_and(goes) {
                stored.by_face.remove(&remove.face);
            }
        }
        Ok(())
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        if let Some(stored) = self.placements().get_mut(&gallery.placement) {
            stored.by_face.retain(|_, present| present.part != gallery.part);
        }
        Ok(())
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        let mut placements = self.placements();
        let is_empty = placements.get(placement).is_none_or(|points| points.by_face.is_empty());
        if is_empty {
            placements.remove(placement);
        }
        Ok(is_empty)
    }

    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        Ok(called_at)
    }

    /// It lives and dies with its process.
    fn losses(&self) -> u64 {
        0
    }

    fn begun_again(&self, _losses: u64) {}

    fn made_good(&self, _losses: u64) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::face_index::{Subject, conforms};
    use crate::random::SeededRandom;

    #[tokio::test]
    async fn conformity() {
        let subject = Subject {
            index: Arc::new(MemoryFaceIndex::new()),
            random: Box::new(SeededRandom::new(1)),
            placement: "model".parse().unwrap(),
            absent: "absent".parse().unwrap(),
        };
        conforms(&subject).await.unwrap();
    }
}
