//! Which answers the client tries again beside those that it knows itself.

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::put_object::PutObjectError;

/// Puts that the server could not decide, as somebody else is at the object, and puts that came to harm on the way. Uploads in
/// parts are not among them: after a 409 they begin anew from the first part.
#[derive(Debug)]
pub(crate) struct UndecidedPuts;

impl ClassifyRetry for UndecidedPuts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failed = context.output_or_error().and_then(|result| result.err());
        let put = failed.and_then(|error| error.as_operation_error()?.downcast_ref::<PutObjectError>());
        let (Some(put), Some(answer)) = (put, context.response()) else {
            return RetryAction::NoActionIndicated;
        };
        match (answer.status().as_u16(), put.code()) {
            (409, _) | (400, Some("BadDigest" | "XAmzContentChecksumMismatch" | "IncompleteBody")) => {
                RetryAction::server_error()
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "undecided puts"
    }
}
