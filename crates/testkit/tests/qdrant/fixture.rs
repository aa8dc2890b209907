//! Galleries and points of tests.

use anyhow::Result;
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, FaceNumber, ImageId, Template, UnixMillis, Version};
use vidimus_ports::conformance::blob_store::fresh_part;
use vidimus_ports::conformance::galleries::Faces;
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{IndexSearch, Random as _};

/// When everything lives that is enrolled here.
pub const TODAY: Horizon = Horizon::without_rule(UnixMillis::new(2));

/// A gallery with faces of one generator.
pub struct Fixture {
    random: SeededRandom,
    pub drawn: Faces,
    pub gallery: Gallery,
}

impl Fixture {
    /// The same seed draws the same.
    pub fn new(seed: u64) -> Result<Self> {
        let random = SeededRandom::new(seed);
        let gallery = Gallery { part: fresh_part(&random), placement: "sface".parse()? };
        Ok(Self { random, drawn: Faces::new(seed), gallery })
    }

    /// Points of people who are not there yet, in their first version.
    pub fn points(&mut self, count: usize) -> Vec<Point> {
        let face = |random: &SeededRandom| ImageId::from_random(random.bytes16()).face(FaceNumber::FIRST);
        (0..count).map(|_| live(face(&self.random), 1, self.drawn.identity())).collect()
    }

    /// A search of the gallery.
    pub fn search(&self, probe: &Template, cosine_min: f32) -> IndexSearch {
        IndexSearch {
            gallery: self.gallery.clone(),
            probe: probe.clone(),
            without: None,
            with_user_only: false,
            limit: 10,
            cosine_min,
            horizon: TODAY,
        }
    }
}

pub fn live(face: FaceId, version: u64, template: Template) -> Point {
    let shown = ShownFace {
        bounding_box: BoundingBox::default(),
        confidence: 0.5,
        external_image_id: None,
        user: None,
    };
    let body = LivePoint { template, enrolled_at: UnixMillis::new(1), expires_at: UnixMillis::NEVER, shown };
    Point { face, version: Version::new(version), body: PointBody::Live(body) }
}

pub fn erased(face: FaceId, version: u64) -> Point {
    let body = PointBody::Erased { erased_at: UnixMillis::new(1) };
    Point { face, version: Version::new(version), body }
}

/// The template of a live point.
pub fn template(point: &Point) -> Option<&Template> {
    match &point.body {
        PointBody::Live(live) => Some(&live.template),
        PointBody::Erased { .. } => None,
    }
}
