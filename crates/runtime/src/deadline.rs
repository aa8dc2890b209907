//! How long the answer to a call is still of use.
//!
//! The task that answers a call carries its deadline, so that what it asks of other processes says how long it will wait
//! (`grpc-timeout`) and none of them works for nobody. It is carried beside the arguments, and not among them, because every
//! function on the way would only hand it on; it belongs to one task, so any number of services fit into one process.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `work`, which knows that its answer is of use for `patience` at most, or for less where the task had less before. It is
/// not ended then: whoever waits does that.
pub async fn within<F: Future>(patience: Duration, work: F) -> F::Output {
    let patience = remaining().map_or(patience, |left| left.min(patience));
    DEADLINE.scope(Instant::now() + patience, work).await
}

/// How long the answer of the call that this task works for is still of use; none where it works for no call.
#[must_use]
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// Reads a `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, "Requests"); none where it is malformed.
#[must_use]
pub fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().saturating_sub(1))?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount = digits.parse::<u64>().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        for (value, millis) in
            [("1S", 1000), ("250m", 250), ("2M", 120_000), ("1H", 3_600_000), ("5000u", 5), ("99999999n", 99)]
        {
            assert_eq!(parse(value).unwrap().as_millis(), millis, "{value}");
        }
        for bad in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S"] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    /// Whether about so many seconds are left.
    fn has_seconds(seconds: u64) -> bool {
        let left = remaining().unwrap();
        left <= Duration::from_secs(seconds) && left + Duration::from_secs(3) > Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_deadline_only_ever_comes_nearer() {
        assert_eq!(remaining(), None);
        within(Duration::from_secs(100), async {
            assert!(has_seconds(100));
            within(Duration::from_secs(1000), async { assert!(has_seconds(100)) }).await;
            within(Duration::from_secs(10), async { assert!(has_seconds(10)) }).await;
            within(Duration::ZERO, async { assert_eq!(remaining(), Some(Duration::ZERO)) }).await;
            assert!(has_seconds(100), "what was asked within has its own");
        })
        .await;
        assert_eq!(remaining(), None);
    }
}
