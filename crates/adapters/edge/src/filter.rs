//! Conditions on points. Every one names the part: nothing is read or written without it (I1).

use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition, FieldCondition, Filter, HasIdCondition, JsonPath, Match, PointId, Range, ValueVariants,
};
use uuid::Uuid;
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, Part, UnixMillis, Version};

use crate::payload::field;

/// Versions and times are compared as 64-bit floats, exact up to here.
pub const NUMBER_MAX: u64 = 1 << 53;

/// A face's point id.
pub fn point_id(face: FaceId) -> PointId {
    PointId::Uuid(Uuid::from_u128(face.as_u128()))
}

/// A payload field by its name.
pub fn key(name: &str) -> JsonPath {
    JsonPath { first_key: name.to_owned(), rest: Vec::new() }
}

/// Live points of the part, expired ones too.
pub fn live(part: &Part) -> Filter {
    all(vec![of(field::PART, part)])
}

/// Live points of the part that have a user, expired ones too.
pub fn live_with_user(part: &Part) -> Filter {
    all(vec![of(field::USER_PART, part)])
}

/// Of the points of a filter those that have a user.
pub fn with_user(mut filter: Filter, part: &Part) -> Filter {
    filter.must.get_or_insert_default().push(of(field::USER_PART, part));
    filter
}

/// Points of the part that are live and have not expired by then. There is a condition on age only where there is a rule.
pub fn live_at(part: &Part, horizon: Horizon) -> Filter {
    let after = |time: UnixMillis| Range { gt: Some(OrderedFloat(time.get() as f64)), ..nothing() };
    let age = horizon.faces_cutoff.map(|cutoff| range(field::ENROLLED_AT, after(cutoff)));
    let expiry = range(field::EXPIRES_AT, after(horizon.now));
    all([of(field::PART, part), expiry].into_iter().chain(age).collect())
}

/// Points of the part that are live but for having expired by then.
pub fn expired_at(part: &Part, horizon: Horizon) -> Filter {
    let until = |time: UnixMillis| Range { lte: Some(OrderedFloat(time.get() as f64)), ..nothing() };
    let age = horizon.faces_cutoff.map(|cutoff| range(field::ENROLLED_AT, until(cutoff)));
    let expiry = range(field::EXPIRES_AT, until(horizon.now));
    Filter { should: Some([expiry].into_iter().chain(age).collect()), ..live(part) }
}

/// Every point of the part, live or erased.
pub fn any(part: &Part) -> Filter {
    Filter { should: Some(vec![of(field::PART, part), of(field::DEAD_PART, part)]), ..Filter::default() }
}

/// What a write may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Older versions.
    Older,
    /// Older versions and the same one: what was written before is written again.
    NotNewer,
}

/// Points of the part that a write of `version` may replace (I5).
pub fn replaceable(part: &Part, version: Version, replace: Replace) -> Filter {
    let bound = Some(OrderedFloat(version.get() as f64));
    let range_of_versions = match replace {
        Replace::Older => Range { lt: bound, ..nothing() },
        Replace::NotNewer => Range { lte: bound, ..nothing() },
    };
    Filter { must: Some(vec![range(field::VERSION, range_of_versions)]), ..any(part) }
}

/// Those of `faces` that are points of the part and not newer than `version_max`.
pub fn removable(part: &Part, faces: &[FaceId], version_max: Version) -> Filter {
    let not_newer = Range { lte: Some(OrderedFloat(version_max.get() as f64)), ..nothing() };
    Filter { must: Some(vec![among(faces), range(field::VERSION, not_newer)]), ..any(part) }
}

fn all(conditions: Vec<Condition>) -> Filter {
    Filter { must: Some(conditions), ..Filter::default() }
}

fn of(name: &str, part: &Part) -> Condition {
    let value = Match::new_value(ValueVariants::String(part.index_key().to_string()));
    Condition::Field(FieldCondition::new_match(key(name), value))
}

fn range(name: &str, range: Range<OrderedFloat<f64>>) -> Condition {
    Condition::Field(FieldCondition::new_range(key(name), range))
}

const fn nothing() -> Range<OrderedFloat<f64>> {
    Range { lt: None, gt: None, gte: None, lte: None }
}

fn among(faces: &[FaceId]) -> Condition {
    Condition::HasId(faces.iter().map(|face| point_id(*face)).collect::<HasIdCondition>())
}
