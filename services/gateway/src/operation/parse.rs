//! Requests, checked and read.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Operation;
use crate::constraint::{Refusal, check};
use crate::error::{ApiError, ErrorType};

/// Reads and checks a request in JSON. An empty body is an empty request.
pub(crate) fn parse<O: Operation>(body: &[u8]) -> Result<O::Input, ApiError> {
    let not_json = |_| ApiError::new(ErrorType::Serialization, "The request's body is not a JSON object.");
    let mut request: Map<String, Value> =
        if body.is_empty() { Map::new() } else { serde_json::from_slice(body).map_err(not_json)? };
    check(O::MEMBERS, &request)?;
    remove_nulls(&mut request);
    // What is left to fail is base64, and no message may show what was sent there.
    serde_json::from_value(Value::Object(request))
        .map_err(|_| ApiError::new(ErrorType::Serialization, "Bytes must be standard base64."))
}

/// Null counts as absent.
fn remove_nulls(members: &mut Map<String, Value>) {
    members.retain(|_, value| !value.is_null());
    for value in members.values_mut() {
        if let Value::Object(members) = value {
            remove_nulls(members);
        }
    }
}

/// Checks a request that came as a message. Photos are not part of it: whoever takes them checks them.
pub(crate) fn check_message<O: Operation>(input: &impl Serialize) -> Result<(), Refusal> {
    match serde_json::to_value(input) {
        Ok(Value::Object(request)) => check(O::MEMBERS, &request),
        // A float that is no number has no JSON.
        _ => Err(Refusal::WrongType("a number is not finite".to_owned())),
    }
}
