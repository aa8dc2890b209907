//! What the fuzz target of the JSON edge runs.

use serde_json::{Map, Value};

use super::*;

/// Longest message that a client is told: ten broken constraints, each with the start of a value and a pattern or a list of
/// values.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

type Read = fn(&[u8]) -> Result<(), ApiError>;

const fn reading<O: Operation>() -> (&'static str, Read) {
    (O::NAME, |body| parse::<O>(body).map(drop))
}

/// How every operation reads its request, in the order of [`OPERATIONS`].
static READERS: [(&str, Read); 9] = [
    reading::<create_collection::CreateCollection>(),
    reading::<collections::DescribeCollection>(),
    reading::<collections::ListCollections>(),
    reading::<collections::DeleteCollection>(),
    reading::<index_faces::IndexFaces>(),
    reading::<list_faces::ListFaces>(),
    reading::<search::SearchFaces>(),
    reading::<search::SearchFacesByImage>(),
    reading::<delete_faces::DeleteFaces>(),
];

/// Reads a request: the first byte says of which operation. What is accepted is an object, and is accepted as well when it is
/// written another way and has members that nobody knows; what is refused is refused with a message of a bounded length.
pub fn json(data: &[u8]) {
    let Some((operation, body)) = data.split_first() else { return };
    let (name, read) = READERS[usize::from(*operation) % READERS.len()];
    match read(body) {
        Ok(()) => accepted(name, read, body),
        Err(error) => refused(&error),
    }
}

fn accepted(name: &str, read: Read, body: &[u8]) {
    let parsed = serde_json::from_slice::<Map<String, Value>>(body);
    let mut request = parsed.unwrap_or_else(|_| {
        assert!(body.is_empty(), "{name} accepted what is no object");
        Map::new()
    });
    assert!(read(&written(&request)).is_ok(), "{name} refused what it had accepted");
    request.insert("A member that nobody knows".to_owned(), Value::Array(vec![Value::Null]));
    assert!(read(&written(&request)).is_ok(), "{name} refused a member that it does not know");
}

fn written(request: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(request).unwrap_or_else(|_| unreachable!("it was JSON"))
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
