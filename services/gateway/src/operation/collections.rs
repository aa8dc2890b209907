//! DescribeCollection, ListCollections, DeleteCollection.

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, PAGE_SIZE, PAGE_TOKEN, page_size};
use crate::constraint::{Member, optional};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services, answered, collection_name, collection_ref};
use crate::token::Listing;

pub(crate) struct DescribeCollection;

impl Operation for DescribeCollection {
    const NAME: &'static str = "DescribeCollection";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID];
    type Input = api::DescribeCollectionRequest;
    type Output = api::DescribeCollectionResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::CountFacesRequest { collection: Some(collection_ref(&collection)) };
        let counted = answered(services.deps.query.count_faces(tonic::Request::new(request)).await)?;
        Ok(api::DescribeCollectionResponse {
            face_count: counted.faces,
            user_count: counted.users,
            face_model_version: collection.face_model_version.clone(),
            collection_arn: context.collection_arn(&collection.name),
            creation_timestamp: collection.created_at.get() as f64 / 1000.0,
        })
    }
}

pub(crate) struct ListCollections;

impl Operation for ListCollections {
    const NAME: &'static str = "ListCollections";
    const MEMBERS: &'static [Member] =
        &[optional("NextToken", PAGE_TOKEN), optional("MaxResults", PAGE_SIZE)];
    type Input = api::ListCollectionsRequest;
    type Output = api::ListCollectionsResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let tenant = context.tenant();
        let listing = Listing { tenant, operation: Self::NAME, collection: None };
        let place = services.open(&listing, input.next_token.as_deref())?;
        let after = place.map(|place| key_at(&BlobPrefix::collections(tenant), &place)).transpose()?;
        let size = page_size(input.max_results) as usize;
        // One more than the page has, to know whether there is another.
        let found = services.deps.catalog.collections(tenant, after.as_ref(), size + 1).await?;
        let shown = &found[..found.len().min(size)];
        let last = shown.last().filter(|_| found.len() > size);
        Ok(api::ListCollectionsResponse {
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

pub(crate) struct DeleteCollection;

impl Operation for DeleteCollection {
    const NAME: &'static str = "DeleteCollection";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID];
    type Input = api::DeleteCollectionRequest;
    type Output = api::DeleteCollectionResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let name = collection_name(&input.collection_id)?;
        services.deps.catalog.delete_collection(context.tenant(), &name).await?;
        Ok(api::DeleteCollectionResponse { status_code: 200 })
    }
}
