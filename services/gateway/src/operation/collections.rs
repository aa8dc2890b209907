//! DescribeCollection, ListCollections, DeleteCollection.

use serde::{Deserialize, Serialize};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, PAGE_SIZE, PAGE_TOKEN, page_size};
use crate::constraint::{Member, optional};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services, answered, collection_name, collection_ref};
use crate::token::Listing;

/// Names one collection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    collection_id: String,
}

pub(super) struct DescribeCollection;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Description {
    face_count: u64,
    user_count: u64,
    face_model_version: String,
    #[serde(rename = "CollectionARN")]
    collection_arn: String,
    /// Seconds since the epoch.
    creation_timestamp: f64,
}

impl Operation for DescribeCollection {
    const NAME: &'static str = "DescribeCollection";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID];
    type Input = Named;
    type Output = Description;

    async fn answer(services: &Services, context: &Context, input: Named) -> Result<Description, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::CountFacesRequest { collection: Some(collection_ref(&collection)) };
        let counted = answered(services.deps.query.count_faces(tonic::Request::new(request)).await)?;
        Ok(Description {
            face_count: counted.faces,
            user_count: 0,
            face_model_version: collection.face_model_version.clone(),
            collection_arn: context.collection_arn(&collection.name),
            creation_timestamp: collection.created_at.get() as f64 / 1000.0,
        })
    }
}

pub(super) struct ListCollections;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListInput {
    next_token: Option<String>,
    max_results: Option<u32>,
}

/// Parallel arrays: the n-th version is the n-th collection's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    collection_ids: Vec<String>,
    face_model_versions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for ListCollections {
    const NAME: &'static str = "ListCollections";
    const MEMBERS: &'static [Member] =
        &[optional("NextToken", PAGE_TOKEN), optional("MaxResults", PAGE_SIZE)];
    type Input = ListInput;
    type Output = Page;

    async fn answer(services: &Services, context: &Context, input: ListInput) -> Result<Page, ApiError> {
        let tenant = context.tenant();
        let listing = Listing { tenant, operation: Self::NAME, collection: None };
        let place = services.open(&listing, input.next_token.as_deref())?;
        let after = place.map(|place| key_at(&BlobPrefix::collections(tenant), &place)).transpose()?;
        let size = page_size(input.max_results) as usize;
        // One more than the page has, to know whether there is another.
        let found = services.deps.catalog.collections(tenant, after.as_ref(), size + 1).await?;
        let shown = &found[..found.len().min(size)];
        let last = shown.last().filter(|_| found.len() > size);
        Ok(Page {
            collection_ids: shown.iter().map(|(_, collection)| collection.name.to_string()).collect(),
            face_model_versions: shown.iter().map(|(_, found)| found.face_model_version.clone()).collect(),
            next_token: last.map(|(key, _)| services.seal(&listing, key.name().as_bytes())).transpose()?,
        })
    }
}

/// The key that a token's place names.
fn key_at(prefix: &BlobPrefix, place: &[u8]) -> Result<BlobKey, ApiError> {
    let invalid = || ApiError::new(ErrorType::InvalidPaginationToken, "Invalid Pagination Token");
    let name = std::str::from_utf8(place).map_err(|_| invalid())?;
    BlobKey::listed(&format!("{}{name}", prefix.as_str())).map_err(|_| invalid())
}

pub(super) struct DeleteCollection;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Deleted {
    status_code: u16,
}

impl Operation for DeleteCollection {
    const NAME: &'static str = "DeleteCollection";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID];
    type Input = Named;
    type Output = Deleted;

    async fn answer(services: &Services, context: &Context, input: Named) -> Result<Deleted, ApiError> {
        let name = collection_name(&input.collection_id)?;
        services.deps.catalog.delete_collection(context.tenant(), &name).await?;
        Ok(Deleted { status_code: 200 })
    }
}
