//! Points as the server keeps them.

use std::collections::HashMap;

use qdrant_client::Payload;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{PointId, Value as PayloadValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::ids::InvalidId;
use vidimus_domain::point::{LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::{FaceId, Part, UnixMillis, Version};
use vidimus_ports::ListedPoint;

use crate::error::{QdrantError, QdrantResult};
use crate::filter::NUMBER_MAX;

/// The payload's fields that conditions are on.
pub mod field {
    /// Whose the live point is: [`Part::index_key`]. A tenant index: each has a graph of its own.
    pub const PART: &str = "part";
    /// Whose the erased point was. No graph.
    pub const DEAD_PART: &str = "dead_part";
    /// The point's version.
    pub const VERSION: &str = "version";
    /// Whose the live point is that has a user, as `part`. No graph.
    pub const USER_PART: &str = "user_part";
    /// From when on the live point does not match, in Unix milliseconds.
    pub const EXPIRES_AT: &str = "expires_at";
    /// When the live point's face was enrolled, in Unix milliseconds.
    pub const ENROLLED_AT: &str = "enrolled_at";
}

/// A payload as the server takes and gives it.
pub type Fields = HashMap<String, PayloadValue>;

/// How conditions and payloads write a part. Here alone.
pub fn part_value(part: &Part) -> String {
    part.index_key().to_string()
}

#[derive(Serialize, Deserialize)]
struct LivePayload {
    part: String,
    version: u64,
    expires_at: i64,
    enrolled_at: i64,
    /// Left, top, width, height.
    bounding_box: [f32; 4],
    confidence: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_image_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Its bits: the server's integers are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_part: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ErasedPayload {
    dead_part: String,
    version: u64,
    erased_at: i64,
}

/// A point's payload, read.
pub enum Stored {
    /// Of a live point.
    Live {
        /// Its version.
        version: Version,
        /// When the face was enrolled.
        enrolled_at: UnixMillis,
        /// When it ceases to match.
        expires_at: UnixMillis,
        /// What an answer shows of it.
        shown: ShownFace,
    },
    /// Of an erased point.
    Erased {
        /// Its version.
        version: Version,
        /// When the face was erased.
        erased_at: UnixMillis,
    },
}

impl Stored {
    /// The point as a listing tells it.
    pub fn listed(self, face: FaceId) -> ListedPoint {
        match self {
            Self::Live { version, shown, .. } => {
                ListedPoint { face, version, erased_at: None, shown: Some(shown) }
            }
            Self::Erased { version, erased_at } => {
                ListedPoint { face, version, erased_at: Some(erased_at), shown: None }
            }
        }
    }
}

/// A point's payload.
///
/// # Errors
/// [`QdrantError::Number`] where a number cannot be kept.
pub fn encode(part: &Part, point: &Point) -> QdrantResult<Fields> {
    let number = || QdrantError::Number(point.face.to_string());
    if point.version.get() > NUMBER_MAX {
        return Err(number());
    }
    let value = match &point.body {
        PointBody::Live(live) => serde_json::to_value(live_payload(part, point.version, live)),
        PointBody::Erased { erased_at } => serde_json::to_value(ErasedPayload {
            dead_part: part_value(part),
            version: point.version.get(),
            erased_at: erased_at.get(),
        }),
    };
    match value {
        // What is no number becomes null in JSON.
        Ok(Value::Object(map)) if !map.values().any(holds_null) => Ok(Payload::from(map).into()),
        _ => Err(number()),
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(Value::is_null),
        _ => false,
    }
}

fn live_payload(part: &Part, version: Version, live: &LivePoint) -> LivePayload {
    let ShownFace { bounding_box, confidence, external_image_id, user } = &live.shown;
    let BoundingBox { left, top, width, height } = *bounding_box;
    LivePayload {
        part: part_value(part),
        version: version.get(),
        expires_at: live.expires_at.get(),
        enrolled_at: live.enrolled_at.get(),
        bounding_box: [left, top, width, height],
        confidence: *confidence,
        external_image_id: external_image_id.as_ref().map(ToString::to_string),
        user: user.as_ref().map(|(user, _)| user.to_string()),
        user_generation: user.as_ref().map(|(_, generation)| generation.cast_signed()),
        user_part: user.as_ref().map(|_| part_value(part)),
    }
}

/// Reads a payload; none where the point is of another part (I1).
///
/// # Errors
/// [`QdrantError::Payload`] where it is not what [`encode`] writes.
pub fn decode(part: &Part, id: &PointId, fields: Fields) -> QdrantResult<Option<Stored>> {
    let damaged = |reason: String| QdrantError::Payload { point: name(id), reason };
    let map: serde_json::Map<String, Value> = Payload::from(fields).into();
    let is_live = map.contains_key(field::PART);
    let owner = map.get(if is_live { field::PART } else { field::DEAD_PART }).and_then(Value::as_str);
    match owner {
        None => return Err(damaged("it names no part".to_owned())),
        Some(owner) if owner != part_value(part) => return Ok(None),
        Some(_) => {}
    }
    let value = Value::Object(map);
    let stored = if is_live {
        let live: LivePayload = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        stored_live(live).map_err(|error| damaged(error.to_string()))?
    } else {
        let erased: ErasedPayload =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        Stored::Erased { version: Version::new(erased.version), erased_at: UnixMillis::new(erased.erased_at) }
    };
    Ok(Some(stored))
}

fn stored_live(live: LivePayload) -> Result<Stored, InvalidId> {
    let [left, top, width, height] = live.bounding_box;
    let user = match (live.user, live.user_generation) {
        (Some(user), Some(generation)) => Some((user.parse()?, generation.cast_unsigned())),
        _ => None,
    };
    let shown = ShownFace {
        bounding_box: BoundingBox { left, top, width, height },
        confidence: live.confidence,
        external_image_id: live.external_image_id.map(|name| name.parse()).transpose()?,
        user,
    };
    Ok(Stored::Live {
        version: Version::new(live.version),
        enrolled_at: UnixMillis::new(live.enrolled_at),
        expires_at: UnixMillis::new(live.expires_at),
        shown,
    })
}

/// The face that a point is of.
///
/// # Errors
/// [`QdrantError::Payload`] where the id is no face's.
pub fn face_id(id: &PointId) -> QdrantResult<FaceId> {
    let uuid = match &id.point_id_options {
        Some(PointIdOptions::Uuid(uuid)) => Uuid::parse_str(uuid).ok(),
        Some(PointIdOptions::Num(_)) | None => None,
    };
    let face = uuid.and_then(|uuid| FaceId::from_bytes(uuid.as_bytes()).ok());
    face.ok_or_else(|| QdrantError::Payload { point: name(id), reason: "its id is no face's".to_owned() })
}

fn name(id: &PointId) -> String {
    match &id.point_id_options {
        Some(PointIdOptions::Uuid(uuid)) => uuid.clone(),
        Some(PointIdOptions::Num(number)) => number.to_string(),
        None => "without an id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use vidimus_domain::{CollectionUid, ImageId, Template, TenantId};

    use super::*;

    fn part(byte: u8) -> Part {
        Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([byte; 16]) }
    }

    fn live() -> LivePoint {
        LivePoint {
            template: Template::normalised(vec![1.0, 2.0]).unwrap(),
            enrolled_at: UnixMillis::new(5),
            expires_at: UnixMillis::NEVER,
            shown: ShownFace {
                bounding_box: BoundingBox { left: 0.1, top: -0.2, width: 0.3, height: 1e-7 },
                confidence: 0.987_654_3,
                external_image_id: Some("a:b".parse().unwrap()),
                user: Some(("someone".parse().unwrap(), u64::MAX)),
            },
        }
    }

    fn point(body: PointBody) -> Point {
        let face = ImageId::from_random([3; 16]).face(vidimus_domain::FaceNumber::FIRST);
        Point { face, version: Version::new(1_800_000_000_123), body }
    }

    #[test]
    fn a_live_payload_comes_back_as_it_was() {
        let point = point(PointBody::Live(live()));
        let payload = encode(&part(2), &point).unwrap();
        let id = crate::filter::point_id(point.face);
        assert_eq!(face_id(&id).unwrap(), point.face);
        let Some(Stored::Live { version, enrolled_at, expires_at, shown }) =
            decode(&part(2), &id, payload.clone()).unwrap()
        else {
            panic!("it was live");
        };
        assert_eq!(
            (version, enrolled_at, expires_at),
            (point.version, UnixMillis::new(5), UnixMillis::NEVER)
        );
        assert_eq!(shown, live().shown);
        assert!(decode(&part(9), &id, payload).unwrap().is_none(), "I1");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let mut bad = live();
        bad.shown.confidence = f32::NAN;
        let mut wide = live();
        wide.shown.bounding_box.width = f32::INFINITY;
        let mut late = point(PointBody::Erased { erased_at: UnixMillis::new(1) });
        late.version = Version::new(NUMBER_MAX + 1);
        for point in [point(PointBody::Live(bad)), point(PointBody::Live(wide)), late] {
            assert!(matches!(encode(&part(2), &point), Err(QdrantError::Number(_))), "{point:?}");
        }
    }

    #[test]
    fn a_payload_that_names_no_part_is_damage() {
        let id = PointId::from(7);
        assert!(matches!(decode(&part(2), &id, Fields::new()), Err(QdrantError::Payload { .. })));
        assert!(face_id(&id).is_err());
    }
}
