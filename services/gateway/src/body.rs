//! Reading a request's body within limits of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::admission::{Permit, TenantAdmission};
use crate::config::{BODY_BYTES_MAX, DRAINED_BYTES_MAX};
use crate::error::{ApiError, ErrorType};

/// A body that was read, with the room that it takes.
#[derive(Debug)]
pub(crate) struct HeldBody {
    pub(crate) bytes: Bytes,
    pub(crate) room: Permit,
}

/// Reads a body. Room is taken for each piece as it comes, so that a slow client holds no more than it has sent.
///
/// # Errors
/// `RequestEntityTooLargeException` where there is more than [`BODY_BYTES_MAX`], after it has been thrown away;
/// throttling where there is no room; `RequestTimeoutException` where it comes too slowly; `SerializationException`
/// where it breaks off.
pub(crate) async fn read(
    mut body: Body,
    admission: &TenantAdmission,
    timeout: Duration,
) -> Result<HeldBody, ApiError> {
    let reading = tokio::time::timeout(timeout, collect(&mut body, admission)).await;
    let too_slow = || ApiError::new(ErrorType::RequestTimeout, "The request's body came too slowly.");
    let result = reading.unwrap_or_else(|_| Err(too_slow()));
    if result.as_ref().is_err_and(|error| error.error_type == ErrorType::RequestEntityTooLarge) {
        drain(body, timeout).await;
    }
    result
}

/// Reads what is left of a body and throws it away, up to [`DRAINED_BYTES_MAX`]: a client that is still sending would not
/// read the answer otherwise.
pub(crate) async fn drain(mut body: Body, timeout: Duration) {
    let reading = async {
        let mut bytes = 0;
        while bytes <= DRAINED_BYTES_MAX {
            let Some(Ok(frame)) = body.frame().await else { return };
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whether the client was done or not, it is answered now.
    let _ = tokio::time::timeout(timeout, reading).await;
}

async fn collect(body: &mut Body, admission: &TenantAdmission) -> Result<HeldBody, ApiError> {
    let mut room = admission.bytes(0)?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken_off())?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        room.merge(admission.bytes(data.len())?);
        bytes.extend_from_slice(&data);
    }
    Ok(HeldBody { bytes: bytes.freeze(), room })
}

fn broken_off() -> ApiError {
    ApiError::new(ErrorType::Serialization, "The request's body broke off.")
}

fn too_large() -> ApiError {
    let message = format!("The request is larger than {BODY_BYTES_MAX} bytes.");
    ApiError::new(ErrorType::RequestEntityTooLarge, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::stream;
    use vidimus_domain::{TenantId, UnixMillis};
    use vidimus_ports::ManualClock;

    use super::*;
    use crate::admission::Admission;
    use crate::config::{GatewayConfig, TenantLimits};

    fn admission(config: &GatewayConfig) -> Arc<TenantAdmission> {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(0)));
        Admission::new(config, clock).tenant(TenantId::from_random([1; 16]))
    }

    const SOON: Duration = Duration::from_millis(50);

    fn pieces(count: usize, bytes: usize) -> Body {
        let piece = move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]));
        Body::from_stream(stream::iter((0..count).map(piece)))
    }

    async fn refusal(body: Body, admission: &TenantAdmission) -> ErrorType {
        read(body, admission, SOON).await.unwrap_err().error_type
    }

    #[tokio::test]
    async fn bodies_are_read_within_their_limits() {
        let room = BODY_BYTES_MAX + 10;
        let tenant_limits = TenantLimits { bytes_in_flight_max: room, ..TenantLimits::default() };
        let config = GatewayConfig { bytes_in_flight_max: room, tenant_limits, ..GatewayConfig::default() };
        let admission = admission(&config);
        let held = read(pieces(3, 1_000), &admission, SOON).await.unwrap();
        assert_eq!(held.bytes.len(), 3_000);
        assert_eq!(refusal(Body::from(vec![0; BODY_BYTES_MAX]), &admission).await, ErrorType::Throttling);
        drop(held);
        assert!(read(Body::from(vec![0; BODY_BYTES_MAX]), &admission, SOON).await.is_ok());
        let too_large = Body::from(vec![0; BODY_BYTES_MAX + 1]);
        assert_eq!(refusal(too_large, &admission).await, ErrorType::RequestEntityTooLarge);
        assert!(admission.bytes(BODY_BYTES_MAX + 10).is_ok(), "all room is given back");
    }

    #[tokio::test]
    async fn slow_and_broken_bodies_are_refused() {
        let admission = admission(&GatewayConfig::default());
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(refusal(never, &admission).await, ErrorType::RequestTimeout);
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(refusal(broken, &admission).await, ErrorType::Serialization);
    }
}
