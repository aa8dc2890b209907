//! What the fuzz target of the JSON edge runs.

use serde_json::{Map, Value};

use super::*;

/// Longest message that a client is told: ten broken constraints, each with the start of a value and a pattern or a list of
/// values.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Reads a request and writes what was read, without its photos.
type Read = fn(&[u8]) -> Result<Value, ApiError>;

fn reading<O: Operation>(body: &[u8]) -> Result<Value, ApiError> {
    let input = parse::<O>(body)?;
    let written = serde_json::to_value(&input).unwrap_or_else(|error| unreachable!("it is no JSON: {error}"));
    // As gRPC has it: an empty list is absent there, so one that must be there is refused.
    if check_message::<O>(&input).is_ok() {
        let again = parse::<O>(&bytes(&written)).ok().and_then(|again| serde_json::to_value(&again).ok());
        assert_eq!(again.as_ref(), Some(&written), "{}: what was read is not read again", O::NAME);
    }
    Ok(written)
}

/// How every operation reads its request.
static READERS: [(&str, Read); 21] = [
    (CreateCollection::NAME, reading::<CreateCollection>),
    (DescribeCollection::NAME, reading::<DescribeCollection>),
    (ListCollections::NAME, reading::<ListCollections>),
    (DeleteCollection::NAME, reading::<DeleteCollection>),
    (IndexFaces::NAME, reading::<IndexFaces>),
    (ListFaces::NAME, reading::<ListFaces>),
    (SearchFaces::NAME, reading::<SearchFaces>),
    (SearchFacesByImage::NAME, reading::<SearchFacesByImage>),
    (DeleteFaces::NAME, reading::<DeleteFaces>),
    (DetectFaces::NAME, reading::<DetectFaces>),
    (CompareFaces::NAME, reading::<CompareFaces>),
    (CreateUser::NAME, reading::<CreateUser>),
    (DeleteUser::NAME, reading::<DeleteUser>),
    (ListUsers::NAME, reading::<ListUsers>),
    (AssociateFaces::NAME, reading::<AssociateFaces>),
    (DisassociateFaces::NAME, reading::<DisassociateFaces>),
    (SearchUsers::NAME, reading::<SearchUsers>),
    (SearchUsersByImage::NAME, reading::<SearchUsersByImage>),
    (TagResource::NAME, reading::<TagResource>),
    (UntagResource::NAME, reading::<UntagResource>),
    (ListTagsForResource::NAME, reading::<ListTagsForResource>),
];

/// Reads a request: the first byte says of which operation. What is accepted is an object, reads as the same when it is
/// written another way or has members that nobody knows, and is the same when it is written from what was read; what is
/// refused is refused with a message of a bounded length.
pub fn json(data: &[u8]) {
    let Some((operation, body)) = data.split_first() else { return };
    let (name, read) = READERS[usize::from(*operation) % READERS.len()];
    match read(body) {
        Ok(input) => accepted((name, read), body, &input),
        Err(error) => refused(&error),
    }
}

fn accepted((name, read): (&str, Read), body: &[u8], input: &Value) {
    let parsed = serde_json::from_slice::<Map<String, Value>>(body);
    let mut request = parsed.unwrap_or_else(|_| {
        assert!(body.is_empty(), "{name} accepted what is no object");
        Map::new()
    });
    let again = |request: &Map<String, Value>| read(&bytes(&Value::Object(request.clone()))).ok();
    assert_eq!(again(&request).as_ref(), Some(input), "{name}: written another way");
    request.insert("A member that nobody knows".to_owned(), Value::Array(vec![Value::Null]));
    assert_eq!(again(&request).as_ref(), Some(input), "{name}: with a member that nobody knows");
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| unreachable!("it was JSON"))
}

fn refused(error: &ApiError) {
    let known = [ErrorType::Serialization, ErrorType::InvalidParameter, ErrorType::ImageTooLarge];
    assert!(known.contains(&error.error_type), "{error}");
    assert!((1..=MESSAGE_BYTES_MAX).contains(&error.message.len()), "{} bytes", error.message.len());
}

#[test]
fn every_operation_is_read() {
    let names = READERS.map(|(name, _)| name);
    assert!(OPERATIONS.iter().map(|row| row.name).eq(names), "{names:?}");
}
