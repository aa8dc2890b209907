//! The date of a signed request.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use vidimus_domain::UnixMillis;

use crate::error::{ApiError, ErrorType};

/// How far a client's clock may be from ours.
pub(super) const SKEW_MAX: Duration = Duration::from_secs(300);

/// Reads `yyyymmddThhmmssZ`, the only form of dates that is signed.
pub(super) fn parse(text: &str) -> Option<UnixMillis> {
    let bytes = text.as_bytes();
    let is_right = |(place, byte): (usize, &u8)| match place {
        8 => *byte == b'T',
        15 => *byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    if bytes.len() != 16 || !bytes.iter().enumerate().all(is_right) {
        return None;
    }
    let date_time = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let timestamp = date_time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(UnixMillis::new(timestamp.as_millisecond()))
}

fn shown(time: UnixMillis) -> String {
    let timestamp = Timestamp::from_millisecond(time.get()).unwrap_or_default();
    timestamp.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Refuses a date that is more than [`SKEW_MAX`] from `now`.
pub(super) fn check_skew(signed_at: UnixMillis, now: UnixMillis) -> Result<(), ApiError> {
    let (signed, current) = (shown(signed_at), shown(now));
    let message = if now.since(signed_at) > SKEW_MAX {
        let earliest = shown(now.minus(SKEW_MAX));
        format!("Signature expired: {signed} is now earlier than {earliest} ({current} - 5 min.)")
    } else if signed_at.since(now) > SKEW_MAX {
        let latest = shown(now.plus(SKEW_MAX));
        format!("Signature not yet current: {signed} is still later than {latest} ({current} + 5 min.)")
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorType::InvalidSignature, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_exactly() {
        assert_eq!(parse("20261122T200500Z"), Some(UnixMillis::new(1_795_377_900_000)));
        assert_eq!(parse("19700101T000000Z"), Some(UnixMillis::new(0)));
        for bad in
            ["", "20261122", "20261122T200500", "20261322T200500Z", "20261122T250500Z", "2026-1122T200500Z"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for bad in ["20261122 200500Z", "20261122T200500z", "+0261122T200500Z", "20260230T200500Z"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(shown(UnixMillis::new(1_795_377_900_999)), "20261122T200500Z");
    }

    #[test]
    fn five_minutes_either_way_are_let_through() {
        let now = UnixMillis::new(1_795_377_900_000);
        let more = SKEW_MAX + Duration::from_secs(1);
        for fine in [now, now.minus(SKEW_MAX), now.plus(SKEW_MAX)] {
            assert_eq!(check_skew(fine, now), Ok(()));
        }
        let expired = check_skew(now.minus(more), now).unwrap_err();
        assert!(expired.message.starts_with("Signature expired: 20261122T195959Z"), "{expired}");
        let early = check_skew(now.plus(more), now).unwrap_err();
        assert!(early.message.starts_with("Signature not yet current: 20261122T201001Z"), "{early}");
    }
}
