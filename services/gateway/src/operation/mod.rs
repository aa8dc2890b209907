//! The operations: for each a table of constraints and a handler. Their messages are those of the public API
//! (`vidimus_proto::api`), which AWS-JSON and gRPC carry alike. Adding one is a type that implements [`Operation`], its line in
//! [`OPERATIONS`] and its method of the gRPC service.

mod absent;
mod collections;
mod compare;
mod create_collection;
mod delete_faces;
pub(crate) mod fuzzing;
mod index_faces;
mod list_faces;
mod parse;
mod photos;
mod retention;
mod search;
mod search_users;
mod shapes;
mod tags;
mod users;

use std::future::Future;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::constraint::{Member, Rule};
use crate::error::{ApiError, ErrorType};
use crate::offload::offload;
use crate::services::{Context, Services};

pub(crate) use collections::{DeleteCollection, DescribeCollection, ListCollections};
pub(crate) use compare::{CompareFaces, DetectFaces};
pub(crate) use create_collection::CreateCollection;
pub(crate) use delete_faces::DeleteFaces;
pub(crate) use index_faces::IndexFaces;
pub(crate) use list_faces::{ListFaces, Page, page as faces_page};
pub(crate) use parse::{check_message, parse};
pub(crate) use photos::GetPhoto;
pub(crate) use retention::{GetRetention, SetRetention};
pub(crate) use search::{SearchFaces, SearchFacesByImage};
pub(crate) use search_users::{SearchUsers, SearchUsersByImage};
pub(crate) use tags::{ListTagsForResource, TagResource, UntagResource};
pub(crate) use users::{
    AssociateFaces, CreateUser, DeleteUser, DisassociateFaces, ListUsers, USERS_PAGE_MAX, page as users_page,
};

#[cfg(test)]
mod tests;

/// What `X-Amz-Target` begins with.
const TARGET_PREFIX: &str = "RekognitionService.";

/// Every operation of AWS-JSON.
static OPERATIONS: [Row; 21] = [
    row::<CreateCollection>(),
    row::<DescribeCollection>(),
    row::<ListCollections>(),
    row::<DeleteCollection>(),
    row::<IndexFaces>(),
    row::<ListFaces>(),
    row::<SearchFaces>(),
    row::<SearchFacesByImage>(),
    row::<DeleteFaces>(),
    row::<DetectFaces>(),
    row::<CompareFaces>(),
    row::<CreateUser>(),
    row::<DeleteUser>(),
    row::<ListUsers>(),
    row::<AssociateFaces>(),
    row::<DisassociateFaces>(),
    row::<SearchUsers>(),
    row::<SearchUsersByImage>(),
    row::<TagResource>(),
    row::<UntagResource>(),
    row::<ListTagsForResource>(),
];

/// What an operation takes of its tenant's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It searches faces.
    Search,
    /// It enrols a photo.
    Enrolment,
    /// Neither.
    Other,
}

/// An operation of the API.
pub(crate) trait Operation: 'static {
    /// Its name.
    const NAME: &'static str;
    /// What its request may be; checked before [`Operation::Input`] is read.
    const MEMBERS: &'static [Member];
    /// What it takes of its tenant's limits.
    const KIND: Kind = Kind::Other;
    /// Its request.
    type Input: Serialize + DeserializeOwned + Send + 'static;
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
    pub(crate) kind: Kind,
    members: &'static [Member],
    run: Run,
}

const fn row<O: Operation>() -> Row {
    Row { name: O::NAME, kind: O::KIND, members: O::MEMBERS, run: run::<O> }
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
