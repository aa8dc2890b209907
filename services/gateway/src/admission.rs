//! How much runs at once, and how fast: of all requests, and of each tenant's. What does not fit is refused at once, with a hint when
//! to try again: nothing queues here.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vidimus_domain::TenantId;
use vidimus_ports::Clock;

use crate::config::{GatewayConfig, TenantLimits};
use crate::error::ApiError;
use crate::operation::Kind;

/// When to try again after having been refused for want of room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Rate = RateLimiter<NotKeyed, InMemoryState, PortClock, NoOpMiddleware<Duration>>;

/// The gateway's limits.
pub(crate) struct Admission {
    all: Room,
    limits: TenantLimits,
    clock: Arc<dyn Clock>,
    tenants: Mutex<HashMap<TenantId, Arc<TenantAdmission>>>,
}

/// One tenant's limits.
pub(crate) struct TenantAdmission {
    all: Room,
    own: Room,
    searches: Rate,
    enrolments: Rate,
    clock: PortClock,
}

/// Requests and bytes that fit at once.
#[derive(Clone, Debug)]
struct Room {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// Room that a request has, of all and of its tenant's own; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    all: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

impl Permit {
    /// This room and `other`'s, of the same limits.
    pub(crate) fn merge(&mut self, other: Self) {
        self.all.merge(other.all);
        self.own.merge(other.own);
    }
}

/// The clock's port as the rates read it: the time since the epoch.
#[derive(Clone)]
struct PortClock(Arc<dyn Clock>);

impl governor::clock::Clock for PortClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().get()).unwrap_or(0))
    }
}

impl Room {
    fn new(requests: usize, bytes: usize) -> Self {
        Self { requests: Arc::new(Semaphore::new(requests)), bytes: Arc::new(Semaphore::new(bytes)) }
    }
}

impl Admission {
    pub(crate) fn new(config: &GatewayConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            all: Room::new(config.requests_in_flight_max, config.bytes_in_flight_max),
            limits: config.tenant_limits.clone(),
            clock,
            tenants: Mutex::default(),
        }
    }

    /// A tenant's limits. Only tenants of the catalog may be asked for: each is remembered.
    pub(crate) fn tenant(&self, tenant: TenantId) -> Arc<TenantAdmission> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tenants.entry(tenant).or_insert_with(|| Arc::new(self.begun())))
    }

    fn begun(&self) -> TenantAdmission {
        let limits = &self.limits;
        let clock = PortClock(Arc::clone(&self.clock));
        let rate = |per_second: NonZeroU32| {
            RateLimiter::direct_with_clock(Quota::per_second(per_second), clock.clone())
        };
        TenantAdmission {
            all: self.all.clone(),
            own: Room::new(limits.requests_in_flight_max, limits.bytes_in_flight_max),
            searches: rate(limits.searches_per_second),
            enrolments: rate(limits.enrolments_per_second),
            clock: clock.clone(),
        }
    }
}

impl TenantAdmission {
    /// Room for one request.
    pub(crate) fn request(&self) -> Result<Permit, ApiError> {
        Self::permit((&self.all.requests, &self.own.requests), 1)
    }

    /// Room for bytes of a body.
    pub(crate) fn bytes(&self, bytes: usize) -> Result<Permit, ApiError> {
        Self::permit((&self.all.bytes, &self.own.bytes), bytes)
    }

    /// Counts an operation against its rate.
    pub(crate) fn operation(&self, kind: Kind) -> Result<(), ApiError> {
        let rate = match kind {
            Kind::Search => &self.searches,
            Kind::Enrolment => &self.enrolments,
            Kind::Other => return Ok(()),
        };
        let now = governor::clock::Clock::now(&self.clock);
        rate.check().map_err(|not_until| ApiError::rate_exceeded(not_until.wait_time_from(now)))
    }

    fn permit((all, own): (&Arc<Semaphore>, &Arc<Semaphore>), amount: usize) -> Result<Permit, ApiError> {
        let amount = u32::try_from(amount).map_err(|_| ApiError::throttled(RETRY_AFTER))?;
        let take = |room: &Arc<Semaphore>| {
            Arc::clone(room).try_acquire_many_owned(amount).map_err(|_| ApiError::throttled(RETRY_AFTER))
        };
        // The tenant's own first: a tenant that has used its share up takes nothing of the others'.
        Ok(Permit { own: take(own)?, all: take(all)? })
    }
}

#[cfg(test)]
mod tests {
    use vidimus_domain::UnixMillis;
    use vidimus_ports::ManualClock;

    use super::*;
    use crate::error::ErrorType;

    fn admission(config: GatewayConfig) -> (Admission, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_795_377_900_000)));
        (Admission::new(&config, clock.clone()), clock)
    }

    fn tenant(byte: u8) -> TenantId {
        TenantId::from_random([byte; 16])
    }

    #[test]
    fn what_does_not_fit_is_refused_until_room_is_given_back() {
        let (admission, _) = admission(GatewayConfig {
            requests_in_flight_max: 2,
            bytes_in_flight_max: 100,
            ..GatewayConfig::default()
        });
        let one = admission.tenant(tenant(1));
        let first = one.request().unwrap();
        let _second = one.request().unwrap();
        let refused = admission.tenant(tenant(2)).request().unwrap_err();
        assert_eq!(refused.error_type, ErrorType::Throttling);
        assert_eq!(refused.retry_after, Some(RETRY_AFTER));
        drop(first);
        assert!(one.request().is_ok());
        let most = one.bytes(99).unwrap();
        assert!(one.bytes(2).is_err());
        drop(most);
        assert!(one.bytes(100).is_ok());
        assert!(one.bytes(usize::MAX).is_err());
    }

    #[test]
    fn a_tenants_flood_leaves_room_for_the_others() {
        let tenant_limits = TenantLimits {
            requests_in_flight_max: 3,
            bytes_in_flight_max: 50,
            searches_per_second: NonZeroU32::new(5).unwrap(),
            enrolments_per_second: NonZeroU32::new(2).unwrap(),
        };
        let (admission, clock) = admission(GatewayConfig { tenant_limits, ..GatewayConfig::default() });
        let (flood, other) = (admission.tenant(tenant(1)), admission.tenant(tenant(2)));
        let held = (0..3).map(|_| flood.request().unwrap()).collect::<Vec<_>>();
        assert!(flood.request().is_err() && other.request().is_ok());
        assert!(flood.bytes(51).is_err() && other.bytes(50).is_ok());
        drop(held);
        for kind in [Kind::Search, Kind::Enrolment] {
            let allowed = (0..100).filter(|_| flood.operation(kind).is_ok()).count();
            assert_eq!(allowed, if kind == Kind::Search { 5 } else { 2 });
            let refused = flood.operation(kind).unwrap_err();
            assert_eq!(refused.error_type, ErrorType::ProvisionedThroughputExceeded);
            assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_millis(500)));
            assert!(other.operation(kind).is_ok() && flood.operation(Kind::Other).is_ok());
        }
        clock.advance(Duration::from_secs(1));
        assert!(flood.operation(Kind::Search).is_ok());
        assert!(Arc::ptr_eq(&flood, &admission.tenant(tenant(1))));
    }
}
