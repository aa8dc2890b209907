//! What is refused, with the codes of the real server.

use qdrant_edge::OperationError;
use tonic::Status;

/// What a conversion or a call gives.
pub type Answer<T> = Result<T, Status>;

/// The request is wrong.
pub fn wrong(what: impl AsRef<str>) -> Status {
    Status::invalid_argument(format!("Wrong input: {}", what.as_ref()))
}

/// There is no such collection.
pub fn no_collection(name: &str) -> Status {
    Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))
}

/// The real server can do it; this one says so before anything is done.
pub fn unsupported(what: impl AsRef<str>) -> Status {
    Status::unimplemented(format!("qdrant-dev does not support {}", what.as_ref()))
}

/// A thread ended in a panic, or the disk failed.
pub fn internal(what: impl AsRef<str>) -> Status {
    Status::internal(format!("Service internal error: {}", what.as_ref()))
}

/// What the engine refuses, as the server tells it.
pub fn engine(error: &OperationError) -> Status {
    match error {
        OperationError::WrongVectorDimension { .. }
        | OperationError::VectorNameNotExists { .. }
        | OperationError::MalformedVectorBlob { .. }
        | OperationError::MalformedPayloadBlob { .. }
        | OperationError::TypeError { .. }
        | OperationError::TypeInferenceError { .. }
        | OperationError::ValidationError { .. }
        | OperationError::WrongSparse
        | OperationError::WrongMulti
        | OperationError::MissingRangeIndexForOrderBy { .. }
        | OperationError::MissingMapIndexForFacet { .. }
        | OperationError::VariableTypeError { .. }
        | OperationError::NonFiniteNumber { .. } => wrong(error.to_string()),
        OperationError::PointIdError { .. } => Status::not_found(format!("Not found: {error}")),
        OperationError::Timeout { .. } => Status::deadline_exceeded(error.to_string()),
        OperationError::Cancelled { .. } => Status::cancelled(error.to_string()),
        OperationError::ServiceError { .. }
        | OperationError::InconsistentStorage { .. }
        | OperationError::FileNotFound { .. }
        | OperationError::OutOfMemory { .. }
        | OperationError::OutOfAppendableCapacity { .. } => internal(error.to_string()),
    }
}

/// Refuses a message that says more than was understood of it: `understood` is the message with nothing but that.
pub fn require_understood<T: PartialEq>(message: &T, understood: &T, what: &str) -> Answer<()> {
    if message == understood { Ok(()) } else { Err(unsupported(format!("all that was asked of {what}"))) }
}

/// A limit or a number of seconds: where there is one it is not nothing.
pub fn require_positive(value: Option<u64>, what: &str) -> Answer<()> {
    if value == Some(0) {
        Err(wrong(format!("{what}: value 0 invalid, must be 1 or larger")))
    } else {
        Ok(())
    }
}
