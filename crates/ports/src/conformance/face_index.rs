//! What every [`FaceIndex`] must do.
//!
//! The suite works in two placements that it is given and in parts of its own, so the index may hold other points; none
//! of them may ever show.

mod reads;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, FaceNumber, ImageId, Placement, Template, UnixMillis, Version};

use super::blob_store::fresh_part;
use crate::error::PortResult;
use crate::face_index::{FaceIndex, Hits, IndexSearch, ListedPoint, Listing};
use crate::random::Random;

/// Components of the suite's templates: as many as SFace's.
const DIMENSION: usize = 128;
/// The suite's now.
const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);
/// The suite's now, and no retention rule.
const TODAY: Horizon = Horizon::without_rule(NOW);
/// What can match at the suite's now.
const LIVE: Listing = Listing::LiveAt(TODAY);
/// An hour.
const HOUR: Duration = Duration::from_secs(3600);

/// What the suite runs on.
pub struct Subject {
    /// The index.
    pub index: Arc<dyn FaceIndex>,
    /// Where ids come from.
    pub random: Box<dyn Random>,
    /// Where the suite's points lie; templates have 128 components there.
    pub placement: Placement,
    /// A placement that does not exist yet.
    pub absent: Placement,
}

/// Runs the whole suite.
///
/// # Errors
/// Whatever error the index gives where it may give none.
///
/// # Panics
/// Where the index breaks the contract.
pub async fn conforms(subject: &Subject) -> PortResult<()> {
    writes::absent_placements_are_empty(subject).await?;
    writes::an_erased_point_makes_a_placement(subject).await?;
    writes::points_come_back_as_they_were(subject).await?;
    writes::versions_only_rise(subject).await?;
    writes::a_batch_is_as_good_as_its_points_in_turn(subject).await?;
    writes::the_highest_version_wins_a_race(subject).await?;
    writes::parts_do_not_touch_each_other(subject).await?;
    writes::faces_of_another_part_are_left_alone(subject).await?;
    reads::scores_are_exact_and_in_order(subject).await?;
    reads::thresholds_and_limits_hold(subject).await?;
    reads::faces_with_a_user_are_found_among_others(subject).await?;
    reads::stored_faces_are_searched_by(subject).await?;
    reads::expiry_holds_to_the_millisecond(subject).await?;
    reads::age_expires_to_the_millisecond(subject).await?;
    reads::expired_faces_take_no_place(subject).await?;
    reads::listings_page_in_order(subject).await?;
    reads::what_has_expired_is_listed_in_batches(subject).await?;
    writes::removal_keeps_its_condition(subject).await?;
    writes::a_part_goes_as_a_whole(subject).await?;
    writes::only_an_empty_placement_is_dropped(subject).await?;
    writes::flush_covers_what_returned(subject).await?;
    writes::other_dimensions_are_refused(subject).await
}

impl Subject {
    fn gallery(&self) -> Gallery {
        Gallery { part: fresh_part(&*self.random), placement: self.placement.clone() }
    }

    fn face(&self) -> FaceId {
        ImageId::from_random(self.random.bytes16()).face(FaceNumber::FIRST)
    }

    fn faces(&self, count: usize) -> Vec<FaceId> {
        (0..count).map(|_| self.face()).collect()
    }

    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        self.index.write(gallery, points).await
    }

    async fn stored(&self, gallery: &Gallery, face: FaceId) -> PortResult<Option<Point>> {
        let mut points = self.index.get(gallery, &[face]).await?;
        assert!(points.len() <= 1, "one point a face");
        Ok(points.pop())
    }

    async fn found(&self, gallery: &Gallery, probe: &Template) -> PortResult<Vec<FaceId>> {
        Ok(faces_of(&self.index.search(search(gallery, probe)).await?))
    }
}

/// The unit vector along `axis`.
fn along(axis: usize) -> Template {
    blend(&[(axis, 1.0)])
}

/// A template with these components.
fn blend(components: &[(usize, f32)]) -> Template {
    let mut values = vec![0.0; DIMENSION];
    for (axis, value) in components {
        values[*axis] = *value;
    }
    Template::normalised(values).unwrap_or_else(|error| unreachable!("{error}"))
}

fn live(face: FaceId, version: u64, template: Template) -> Point {
    live_until(face, version, template, UnixMillis::NEVER)
}

fn live_since(face: FaceId, version: u64, template: Template, enrolled_at: UnixMillis) -> Point {
    let mut point = live(face, version, template);
    if let PointBody::Live(live) = &mut point.body {
        live.enrolled_at = enrolled_at;
    }
    point
}

fn live_until(face: FaceId, version: u64, template: Template, expires_at: UnixMillis) -> Point {
    let shown = ShownFace {
        bounding_box: BoundingBox { left: 0.25, top: -0.1, width: 0.5, height: 0.3 },
        confidence: 0.987_654,
        external_image_id: "badge:17".parse().ok(),
        user: "someone".parse().ok().map(|user| (user, version)),
    };
    let body = LivePoint { template, enrolled_at: NOW, expires_at, shown };
    Point { face, version: Version::new(version), body: PointBody::Live(body) }
}

fn erased(face: FaceId, version: u64) -> Point {
    Point { face, version: Version::new(version), body: PointBody::Erased { erased_at: NOW } }
}

fn search(gallery: &Gallery, probe: &Template) -> IndexSearch {
    IndexSearch {
        gallery: gallery.clone(),
        probe: probe.clone(),
        without: None,
        with_user_only: false,
        limit: 100,
        cosine_min: -1.0,
        horizon: TODAY,
    }
}

fn faces_of(hits: &Hits) -> Vec<FaceId> {
    hits.candidates.iter().map(|candidate| candidate.face).collect()
}

fn sorted(mut faces: Vec<FaceId>) -> Vec<FaceId> {
    faces.sort_unstable();
    faces
}

fn listed(point: &Point) -> ListedPoint {
    let (erased_at, shown) = match &point.body {
        PointBody::Live(live) => (None, Some(live.shown.clone())),
        PointBody::Erased { erased_at } => (Some(*erased_at), None),
    };
    ListedPoint { face: point.face, version: point.version, erased_at, shown }
}
