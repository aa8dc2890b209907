//! What requests have in common.

use std::time::Duration;

use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::read_consistency::Value;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions as PayloadOptions;
use qdrant_client::qdrant::with_vectors_selector::SelectorOptions as VectorOptions;
use qdrant_client::qdrant::{
    PointsOperationResponse, ReadConsistency, ReadConsistencyType, UpdateStatus, WithPayloadSelector,
    WithVectorsSelector, WriteOrdering, WriteOrderingType,
};

use crate::connection::Service;
use crate::error::{QdrantError, QdrantResult};

/// An answer has at most so many bytes: two thousand points are a hundredth of it.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Points of one request at most.
pub const REQUEST_POINTS_MAX: usize = 1_000;

/// The stub of the calls about points.
pub fn points(service: Service) -> PointsClient<Service> {
    PointsClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The stub of the calls about collections.
pub fn collections(service: Service) -> CollectionsClient<Service> {
    CollectionsClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// What a majority of the replicas says.
pub fn majority() -> Option<ReadConsistency> {
    Some(ReadConsistency { value: Some(Value::Type(ReadConsistencyType::Majority as i32)) })
}

/// Through the shard's leader, so that all replicas take writes in the same order.
pub fn strong() -> Option<WriteOrdering> {
    Some(WriteOrdering { r#type: WriteOrderingType::Strong as i32 })
}

/// How long the server itself is to try: in whole seconds.
pub fn seconds(timeout: Duration) -> Option<u64> {
    Some(timeout.as_secs().max(1))
}

/// The whole payload, or nothing of it.
pub fn payload(enable: bool) -> Option<WithPayloadSelector> {
    Some(WithPayloadSelector { selector_options: Some(PayloadOptions::Enable(enable)) })
}

/// All vectors, or none.
pub fn vectors(enable: bool) -> Option<WithVectorsSelector> {
    Some(WithVectorsSelector { selector_options: Some(VectorOptions::Enable(enable)) })
}

/// A write is one only when the server has carried it out.
///
/// # Errors
/// [`QdrantError::Unfinished`] where it has only taken it.
pub fn require_completed(response: &PointsOperationResponse) -> QdrantResult<()> {
    let result = response.result.ok_or(QdrantError::Incomplete("a result"))?;
    if result.status() == UpdateStatus::Completed { Ok(()) } else { Err(QdrantError::Unfinished) }
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::UpdateResult;

    use super::*;

    #[test]
    fn only_what_is_carried_out_is_written() {
        let answer = |status: UpdateStatus| {
            let result = UpdateResult { operation_id: None, status: status as i32 };
            require_completed(&PointsOperationResponse { result: Some(result), ..Default::default() })
        };
        assert!(answer(UpdateStatus::Completed).is_ok());
        for status in [UpdateStatus::Acknowledged, UpdateStatus::WaitTimeout, UpdateStatus::ClockRejected] {
            assert!(matches!(answer(status), Err(QdrantError::Unfinished)), "{status:?}");
        }
        assert!(require_completed(&PointsOperationResponse::default()).is_err());
    }
}
