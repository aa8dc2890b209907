//! The operations: for each a shape, a table of constraints and a handler. Adding one is a type that implements
//! [`Operation`] and its line in [`OPERATIONS`].

mod absent;
mod collections;
mod create_collection;
mod delete_faces;
pub(crate) mod fuzzing;
mod index_faces;
mod list_faces;
mod search;
mod shapes;

use std::future::Future;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::constraint::{Member, Rule, check};
use crate::error::{ApiError, ErrorType};
use crate::offload::offload;
use crate::services::{Context, Services};

#[cfg(test)]
mod tests;

/// What `X-Amz-Target` begins with.
const TARGET_PREFIX: &str = "RekognitionService.";

/// Every operation there is.
static OPERATIONS: [Row; 9] = [
    row::<create_collection::CreateCollection>(),
    row::<collections::DescribeCollection>(),
    row::<collections::ListCollections>(),
    row::<collections::DeleteCollection>(),
    row::<index_faces::IndexFaces>(),
    row::<list_faces::ListFaces>(),
    row::<search::SearchFaces>(),
    row::<search::SearchFacesByImage>(),
    row::<delete_faces::DeleteFaces>(),
];

/// An operation of the API.
trait Operation {
    /// Its name.
    const NAME: &'static str;
    /// What its request may be; checked before [`Operation::Input`] is read.
    const MEMBERS: &'static [Member];
    /// Its request.
    type Input: DeserializeOwned + Send + 'static;
    /// Its answer.
    type Output: Serialize + Send;

    /// Answers a request that has passed its constraints.
    fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, ApiError>> + Send;

    /// Response headers that say what the answer says to clients that drop unknown JSON members.
    fn headers(_output: &Self::Output) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// An answer as it is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

type Run = for<'a> fn(&'a Services, &'a Context, Bytes) -> BoxFuture<'a, Result<Answer, ApiError>>;

/// An operation in the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    members: &'static [Member],
    run: Run,
}

const fn row<O: Operation>() -> Row {
    Row { name: O::NAME, members: O::MEMBERS, run: run::<O> }
}

fn run<'a, O: Operation>(
    services: &'a Services,
    context: &'a Context,
    body: Bytes,
) -> BoxFuture<'a, Result<Answer, ApiError>> {
    async move {
        let input = offload(body.len(), move || parse::<O>(&body)).await??;
        let output = O::answer(services, context, input).await?;
        let body = serde_json::to_vec(&output).map_err(|_| ApiError::internal())?;
        Ok(Answer { body, headers: O::headers(&output) })
    }
    .boxed()
}

/// Reads and checks a request. An empty body is an empty request.
fn parse<O: Operation>(body: &[u8]) -> Result<O::Input, ApiError> {
    let not_json = |_| ApiError::new(ErrorType::Serialization, "The request's body is not a JSON object.");
    let request: Map<String, Value> =
        if body.is_empty() { Map::new() } else { serde_json::from_slice(body).map_err(not_json)? };
    check(O::MEMBERS, &request)?;
    // What is left to fail is base64, and no message may show what was sent there.
    serde_json::from_value(Value::Object(request))
        .map_err(|_| ApiError::new(ErrorType::Serialization, "Bytes must be standard base64."))
}

/// The operation that `X-Amz-Target` names.
pub(crate) fn find(target: &str) -> Option<&'static Row> {
    let name = target.strip_prefix(TARGET_PREFIX)?;
    OPERATIONS.iter().find(|row| row.name == name)
}

/// What is answered where [`find`] finds nothing.
pub(crate) fn unknown(target: &str) -> ApiError {
    ApiError::new(ErrorType::UnknownOperation, absent::why(target.strip_prefix(TARGET_PREFIX)))
}

impl Row {
    /// Whether its requests have photos.
    pub(crate) fn takes_photo(&self) -> bool {
        takes_photo(self.members)
    }

    pub(crate) async fn answer(
        &self,
        services: &Services,
        context: &Context,
        body: Bytes,
    ) -> Result<Answer, ApiError> {
        (self.run)(services, context, body).await
    }
}

fn takes_photo(members: &[Member]) -> bool {
    members.iter().any(|member| match member.rule {
        Rule::Photo { .. } => true,
        Rule::Structure(members) => takes_photo(members),
        _ => false,
    })
}
