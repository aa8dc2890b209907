//! How much runs at once. What does not fit is refused at once, with a hint when to try again: nothing queues here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::GatewayConfig;
use crate::error::ApiError;

/// When to try again after having been refused.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The limits on requests and on bytes in flight.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// Room that a request has; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    held: OwnedSemaphorePermit,
}

impl Permit {
    /// This room and `other`'s, of the same limit.
    pub(crate) fn merge(&mut self, other: Self) {
        self.held.merge(other.held);
    }
}

impl Admission {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            bytes: Arc::new(Semaphore::new(config.bytes_in_flight_max)),
        }
    }

    /// Room for one request.
    pub(crate) fn request(&self) -> Result<Permit, ApiError> {
        Self::permit(&self.requests, 1)
    }

    /// Room for a body.
    pub(crate) fn bytes(&self, bytes: usize) -> Result<Permit, ApiError> {
        Self::permit(&self.bytes, bytes)
    }

    fn permit(room: &Arc<Semaphore>, amount: usize) -> Result<Permit, ApiError> {
        let amount = u32::try_from(amount).map_err(|_| ApiError::throttled(RETRY_AFTER))?;
        let held = Arc::clone(room).try_acquire_many_owned(amount);
        held.map(|held| Permit { held }).map_err(|_| ApiError::throttled(RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorType;

    #[test]
    fn what_does_not_fit_is_refused_until_room_is_given_back() {
        let config =
            GatewayConfig { requests_in_flight_max: 2, bytes_in_flight_max: 100, ..GatewayConfig::default() };
        let admission = Admission::new(&config);
        let first = admission.request().unwrap();
        let _second = admission.request().unwrap();
        let refused = admission.request().unwrap_err();
        assert_eq!(refused.error_type, ErrorType::Throttling);
        assert_eq!(refused.retry_after, Some(RETRY_AFTER));
        drop(first);
        assert!(admission.request().is_ok());
        let most = admission.bytes(99).unwrap();
        assert!(admission.bytes(2).is_err());
        drop(most);
        assert!(admission.bytes(100).is_ok());
        assert!(admission.bytes(usize::MAX).is_err());
    }
}
