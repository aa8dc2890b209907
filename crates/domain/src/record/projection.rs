//! What the index should hold of a record.

use super::{Face, FaceBody, LiveFace, Record};
use crate::ids::{FaceId, FaceModelName, Version};
use crate::point::{LivePoint, Point, PointBody, ShownFace};
use crate::template::Template;
use crate::time::{ERASED_KEPT, UnixMillis};

/// A record's points as they should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// To be written, each over older versions only.
    pub write: Vec<Point>,
    /// Erased for longer than a day: to be removed where their version is this or less.
    pub remove: Vec<(FaceId, Version)>,
    /// Live, and without a template of the model that was asked for: there is nothing to be written of them yet.
    pub lacking: Vec<FaceId>,
}

/// The points of `record` as of `now`, for an index collection of that face model: a live face's point, an erased face's mark for a
/// day, then nothing.
#[must_use]
pub fn projection(record: &Record, model: &FaceModelName, now: UnixMillis) -> Projection {
    let mut projection = Projection::default();
    for face in &record.faces {
        let id = record.face_id(face.number);
        match &face.body {
            FaceBody::Erased { at } if now.since(*at) >= ERASED_KEPT => {
                projection.remove.push((id, face.version));
            }
            FaceBody::Erased { at } => {
                let body = PointBody::Erased { erased_at: *at };
                projection.write.push(Point { face: id, version: face.version, body });
            }
            FaceBody::Live(live) => match record.template_of(live, model) {
                Some(template) => {
                    let body = PointBody::Live(live_point(record, (face, live), template));
                    projection.write.push(Point { face: id, version: face.version, body });
                }
                None => projection.lacking.push(id),
            },
        }
    }
    projection
}

fn live_point(record: &Record, (face, live): (&Face, &LiveFace), template: &Template) -> LivePoint {
    LivePoint {
        template: template.clone(),
        enrolled_at: face.enrolled_at,
        expires_at: live.expires_at.unwrap_or(UnixMillis::NEVER),
        shown: ShownFace {
            bounding_box: live.detected.bounding_box,
            confidence: live.detected.confidence,
            external_image_id: record.external_image_id_of(live).cloned(),
            user: live.user.clone(),
        },
    }
}
