//! Points in time as the record keeps them.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(i64);

/// The time for which an erased face stays as a point, a request id in its record and a husk without
/// `ExternalImageId` in the store: one day.
pub const ERASED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest that a writer may act upon what it read: one hour. Past it, it reads again.
pub const READ_FRESH: Duration = Duration::from_secs(3600);

impl UnixMillis {
    /// Later than every time: what "no expiry" is in the index.
    pub const NEVER: Self = Self(i64::MAX);

    /// `millis` since the epoch.
    #[must_use]
    pub const fn new(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This time and `duration` more; [`UnixMillis::NEVER`] where that overflows.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// This time less `duration`.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero where it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The day in UTC as `yyyy-mm-dd`, as photo keys name it. Civil-from-days after Howard Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms".
    #[must_use]
    pub fn day(self) -> String {
        let days = self.0.div_euclid(86_400_000) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_is_the_civil_date_in_utc() {
        for (millis, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_709_164_799_999, "2024-02-28"),
            (1_709_164_800_000, "2024-02-29"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(UnixMillis::new(millis).day(), day, "{millis}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(UnixMillis::NEVER.plus(Duration::from_secs(1)), UnixMillis::NEVER);
        assert_eq!(UnixMillis::new(5).since(UnixMillis::new(9)), Duration::ZERO);
        assert_eq!(UnixMillis::new(9).since(UnixMillis::new(5)), Duration::from_millis(4));
    }
}
