//! Conditions on points. Every one names the part: nothing is read or written without it (I1).

use qdrant_client::qdrant::{Condition, Filter, PointId, Range};
use uuid::Uuid;
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, Part, UnixMillis, Version};

use crate::payload::{field, part_value};

/// Versions and times are compared as 64-bit floats, exact up to here.
pub const NUMBER_MAX: u64 = 1 << 53;

/// A face's point id.
pub fn point_id(face: FaceId) -> PointId {
    PointId::from(Uuid::from_u128(face.as_u128()).to_string())
}

/// Live points of the part, expired ones too.
pub fn live(part: &Part) -> Filter {
    Filter::must([of(field::PART, part)])
}

/// Live points of the part that have a user, expired ones too.
pub fn live_with_user(part: &Part) -> Filter {
    Filter::must([of(field::USER_PART, part)])
}

/// Of the points of a filter those that have a user.
pub fn with_user(mut filter: Filter, part: &Part) -> Filter {
    filter.must.push(of(field::USER_PART, part));
    filter
}

/// Points of the part that are live and have not expired by then. There is a condition on age only where there is a rule.
pub fn live_at(part: &Part, horizon: Horizon) -> Filter {
    let after = |time: UnixMillis| Range { gt: Some(time.get() as f64), ..Range::default() };
    let age = horizon.faces_cutoff.map(|cutoff| Condition::range(field::ENROLLED_AT, after(cutoff)));
    let expiry = Condition::range(field::EXPIRES_AT, after(horizon.now));
    Filter::must([of(field::PART, part), expiry].into_iter().chain(age))
}

/// Points of the part that are live but for having expired by then.
pub fn expired_at(part: &Part, horizon: Horizon) -> Filter {
    let until = |time: UnixMillis| Range { lte: Some(time.get() as f64), ..Range::default() };
    let age = horizon.faces_cutoff.map(|cutoff| Condition::range(field::ENROLLED_AT, until(cutoff)));
    let expiry = Condition::range(field::EXPIRES_AT, until(horizon.now));
    Filter { should: [expiry].into_iter().chain(age).collect(), ..live(part) }
}

/// Every point of the part, live or erased.
pub fn any(part: &Part) -> Filter {
    Filter::should([of(field::PART, part), of(field::DEAD_PART, part)])
}

/// What a write may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Older versions.
    Older,
    /// Older versions and the same one: what was written before is written again.
    NotNewer,
}

/// Faces whose points are written in one version.
pub type Versioned = (Version, Vec<FaceId>);

/// Points of the part that a write of these faces in these versions may replace (I5). One condition for faces of many
/// versions: each counts for its own faces.
pub fn replaceable(part: &Part, versions: &[Versioned], replace: Replace) -> Filter {
    let older = |version: Version| {
        let bound = Some(version.get() as f64);
        let range = match replace {
            Replace::Older => Range { lt: bound, ..Range::default() },
            Replace::NotNewer => Range { lte: bound, ..Range::default() },
        };
        Condition::range(field::VERSION, range)
    };
    let condition = match versions {
        [(version, _)] => older(*version),
        versions => {
            let own = |(version, faces): &Versioned| Filter::must([among(faces), older(*version)]).into();
            Filter::should(versions.iter().map(own).collect::<Vec<Condition>>()).into()
        }
    };
    Filter { must: vec![condition], ..any(part) }
}

/// Those of `faces` that are points of the part and not newer than `version_max`.
pub fn removable(part: &Part, faces: &[FaceId], version_max: Version) -> Filter {
    let not_newer = Range { lte: Some(version_max.get() as f64), ..Range::default() };
    Filter { must: vec![among(faces), Condition::range(field::VERSION, not_newer)], ..any(part) }
}

fn of(name: &str, part: &Part) -> Condition {
    Condition::matches(name, part_value(part))
}

fn among(faces: &[FaceId]) -> Condition {
    Condition::has_id(faces.iter().map(|face| point_id(*face)))
}

#[cfg(test)]
mod tests {
    use vidimus_domain::{CollectionUid, FaceNumber, ImageId, TenantId};

    use super::*;

    /// Whether a filter is of the part: by a condition that must hold, or by one of its own that should and nothing else may.
    fn is_of_part(filter: &Filter, part: &Part) -> bool {
        let own = [field::PART, field::DEAD_PART, field::USER_PART].map(|name| of(name, part));
        let always = filter.must.iter().any(|condition| own.contains(condition));
        let at_least =
            !filter.should.is_empty() && filter.should.iter().all(|condition| own.contains(condition));
        always || at_least
    }

    #[test]
    fn every_filter_names_the_part() {
        let part =
            Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([2; 16]) };
        let face = ImageId::from_random([3; 16]).face(FaceNumber::FIRST);
        let horizon = Horizon { now: UnixMillis::new(5), faces_cutoff: Some(UnixMillis::new(1)) };
        let versions = [(Version::new(1), vec![face]), (Version::new(2), vec![face])];
        for filter in [
            live(&part),
            live_with_user(&part),
            with_user(live_at(&part, horizon), &part),
            live_at(&part, Horizon::without_rule(UnixMillis::new(5))),
            expired_at(&part, horizon),
            any(&part),
            replaceable(&part, &versions, Replace::Older),
            replaceable(&part, &versions[..1], Replace::NotNewer),
            removable(&part, &[face], Version::new(1)),
        ] {
            assert!(is_of_part(&filter, &part), "I1: {filter:?}");
        }
    }
}
