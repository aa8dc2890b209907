//! How long a collection keeps faces and photos, and what has expired by that.
//!
//! A rule says how long; a cutoff is what it comes to at a moment: what came at or before it has expired. A cutoff never
//! goes back, whatever becomes of the rule: a lengthened one keeps the old cutoff as a floor for good (rule 8), so what
//! had expired stays expired. Hence a cutoff that was right once may be acted upon later: it expires too little then,
//! never too much.

use std::time::Duration;

use crate::limits::{RETENTION_MAX, RETENTION_MIN};
use crate::time::UnixMillis;

/// How long faces are kept after their enrolment and photos after they were put, separately; none: until they are
/// deleted. Whole milliseconds, each from [`RETENTION_MIN`] to [`RETENTION_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionRule {
    faces_kept: Option<Duration>,
    photos_kept: Option<Duration>,
}

/// A duration that no rule may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a retention rule keeps for at least one second and at most a hundred years")]
pub struct InvalidRetention;

/// A rule, and what rules before it have let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The rule in force.
    pub rule: RetentionRule,
    /// Faces enrolled at or before this have expired for good; the epoch where no rule has been lengthened.
    pub faces_floor: UnixMillis,
    /// Photos put at or before this have expired for good; the epoch where no rule has been lengthened.
    pub photos_floor: UnixMillis,
}

/// What has expired for its age: what came at or before the cutoff. None: nothing has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// For a face, by its enrolment.
    pub faces: Option<UnixMillis>,
    /// For a photo, by when it was put.
    pub photos: Option<UnixMillis>,
}

/// Which faces can match at a moment: all that a search, a listing or a count has to know of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Faces whose own expiry has come by then have expired.
    pub now: UnixMillis,
    /// So have faces that were enrolled at or before this.
    pub faces_cutoff: Option<UnixMillis>,
}

impl RetentionRule {
    /// A rule; what is less than a millisecond is cut off.
    ///
    /// # Errors
    /// Where a duration is shorter than [`RETENTION_MIN`] or longer than [`RETENTION_MAX`].
    pub fn new(
        faces_kept: Option<Duration>,
        photos_kept: Option<Duration>,
    ) -> Result<Self, InvalidRetention> {
        Ok(Self { faces_kept: valid(faces_kept)?, photos_kept: valid(photos_kept)? })
    }

    /// How long faces are kept.
    #[must_use]
    pub const fn faces_kept(&self) -> Option<Duration> {
        self.faces_kept
    }

    /// How long photos are kept.
    #[must_use]
    pub const fn photos_kept(&self) -> Option<Duration> {
        self.photos_kept
    }
}

fn valid(kept: Option<Duration>) -> Result<Option<Duration>, InvalidRetention> {
    let Some(kept) = kept else { return Ok(None) };
    if !(RETENTION_MIN..=RETENTION_MAX).contains(&kept) {
        return Err(InvalidRetention);
    }
    let millis = u64::try_from(kept.as_millis()).map_err(|_| InvalidRetention)?;
    Ok(Some(Duration::from_millis(millis)))
}

impl Retention {
    /// The same collection under another rule that is set at `now`. What the rule before lets go until `believed_until`
    /// is let go for good where the new one is longer: until then the change may be on its way, and others may believe the
    /// rule before. Nothing that comes after `now` is touched by that.
    #[must_use]
    pub fn changed(&self, rule: RetentionRule, now: UnixMillis, believed_until: UnixMillis) -> Self {
        let floor = |before: Option<Duration>, after: Option<Duration>, floor: UnixMillis| match before {
            Some(before) if after.is_none_or(|after| after > before) => {
                floor.max(believed_until.minus(before).min(now))
            }
            _ => floor,
        };
        Self {
            rule,
            faces_floor: floor(self.rule.faces_kept, rule.faces_kept, self.faces_floor),
            photos_floor: floor(self.rule.photos_kept, rule.photos_kept, self.photos_floor),
        }
    }

    /// What has expired for its age at `now`.
    #[must_use]
    pub fn cutoffs(&self, now: UnixMillis) -> Cutoffs {
        Cutoffs {
            faces: cutoff(self.rule.faces_kept, self.faces_floor, now),
            photos: cutoff(self.rule.photos_kept, self.photos_floor, now),
        }
    }

    /// Which faces can match at `now`.
    #[must_use]
    pub fn horizon(&self, now: UnixMillis) -> Horizon {
        self.cutoffs(now).horizon(now)
    }
}

fn cutoff(kept: Option<Duration>, floor: UnixMillis, now: UnixMillis) -> Option<UnixMillis> {
    let cutoff = kept.map_or(floor, |kept| now.minus(kept).max(floor));
    (cutoff > UnixMillis::default()).then_some(cutoff)
}

impl Cutoffs {
    /// Which faces can match at `now`, by these cutoffs.
    #[must_use]
    pub const fn horizon(&self, now: UnixMillis) -> Horizon {
        Horizon { now, faces_cutoff: self.faces }
    }

    /// Whether a photo that was put then has expired.
    #[must_use]
    pub fn has_photo_expired(&self, put_at: UnixMillis) -> bool {
        self.photos.is_some_and(|cutoff| put_at <= cutoff)
    }
}

impl Horizon {
    /// At `now` where there is no rule: only a face's own expiry counts.
    #[must_use]
    pub const fn without_rule(now: UnixMillis) -> Self {
        Self { now, faces_cutoff: None }
    }

    /// Whether a face can match that was enrolled then and whose own expiry is `expires_at`
    /// ([`UnixMillis::NEVER`]: it has none).
    #[must_use]
    pub fn shows(&self, enrolled_at: UnixMillis, expires_at: UnixMillis) -> bool {
        self.now < expires_at && self.faces_cutoff.is_none_or(|cutoff| enrolled_at > cutoff)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);

    fn faces(seconds: Option<u64>) -> RetentionRule {
        RetentionRule::new(seconds.map(Duration::from_secs), None).unwrap()
    }

    #[test]
    fn a_rule_keeps_from_a_second_to_a_hundred_years() {
        for (kept, fine) in [
            (Duration::ZERO, false),
            (Duration::from_millis(999), false),
            (RETENTION_MIN, true),
            (RETENTION_MAX, true),
            (RETENTION_MAX + SECOND, false),
            (Duration::MAX, false),
        ] {
            assert_eq!(RetentionRule::new(Some(kept), None).is_ok(), fine, "{kept:?}");
            assert_eq!(RetentionRule::new(None, Some(kept)).is_ok(), fine, "{kept:?}");
        }
        let cut = RetentionRule::new(Some(Duration::from_nanos(1_000_999_999)), None).unwrap();
        assert_eq!(cut.faces_kept(), Some(SECOND));
    }

    #[test]
    fn faces_and_photos_expire_to_the_millisecond_and_apart() {
        let rule = RetentionRule::new(Some(SECOND * 60), Some(SECOND * 10)).unwrap();
        let retention = Retention { rule, ..Retention::default() };
        let cutoffs = retention.cutoffs(T0);
        assert_eq!(cutoffs.faces, Some(T0.minus(SECOND * 60)));
        assert!(cutoffs.has_photo_expired(T0.minus(SECOND * 10)));
        assert!(!cutoffs.has_photo_expired(T0.minus(Duration::from_millis(9_999))));
        let horizon = retention.horizon(T0);
        let shows = |age_ms| horizon.shows(T0.minus(Duration::from_millis(age_ms)), UnixMillis::NEVER);
        assert_eq!((shows(59_999), shows(60_000)), (true, false));
        assert!(!horizon.shows(T0, T0), "its own expiry has come");
    }

    #[test]
    fn without_a_rule_nothing_expires_for_its_age() {
        assert_eq!(Retention::default().cutoffs(T0), Cutoffs::default());
        assert_eq!(
            Retention { rule: faces(Some(60)), ..Retention::default() }.cutoffs(UnixMillis::new(5)).faces,
            None
        );
    }

    #[test]
    fn a_lengthened_rule_keeps_what_the_old_one_lets_go_while_it_is_believed() {
        let minute = Retention { rule: faces(Some(60)), ..Retention::default() };
        let believed = T0.plus(SECOND * 5);
        for longer in [None, Some(61), Some(3600)] {
            assert_eq!(minute.changed(faces(longer), T0, believed).faces_floor, T0.minus(SECOND * 55));
        }
        for shorter in [Some(60), Some(59)] {
            assert_eq!(minute.changed(faces(shorter), T0, believed).faces_floor, UnixMillis::default());
        }
        let short = Retention { rule: faces(Some(2)), ..Retention::default() };
        assert_eq!(short.changed(faces(None), T0, believed).faces_floor, T0, "what comes later is kept");
    }

    proptest! {
        #[test]
        fn a_cutoff_never_goes_back(
            changes in prop::collection::vec((prop::option::of(1_u64..5_000), 0_u64..2_000, 0_u64..5), 1..20),
        ) {
            let (mut retention, mut now, mut highest) = (Retention::default(), T0, None);
            for (kept, wait, flight) in changes {
                now = now.plus(SECOND * u32::try_from(wait).unwrap());
                highest = highest.max(retention.cutoffs(now).faces);
                let before = retention;
                retention = retention.changed(faces(kept), now, now.plus(SECOND * 5));
                // The rule before is in force until the change is there.
                let there = now.plus(SECOND * u32::try_from(flight).unwrap());
                let believed = before.cutoffs(there).faces.map(|cutoff| cutoff.min(now));
                highest = highest.max(believed);
                prop_assert!(retention.cutoffs(there).faces >= highest);
                now = there;
            }
        }

        #[test]
        fn nothing_overflows(kept in prop::option::of(1_u64..3_000_000_000), now in any::<i64>(), floor in any::<i64>()) {
            let rule = RetentionRule::new(kept.map(Duration::from_secs), None).unwrap();
            let retention = Retention { rule, faces_floor: UnixMillis::new(floor), photos_floor: UnixMillis::new(floor) };
            let now = UnixMillis::new(now);
            let lengthened = retention.changed(RetentionRule::default(), now, now.plus(SECOND));
            prop_assert!(lengthened.cutoffs(now).faces >= retention.cutoffs(now).faces);
        }
    }
}
