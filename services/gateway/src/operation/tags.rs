//! TagResource, UntagResource, ListTagsForResource. The only resources that have tags are collections.

use std::collections::BTreeMap;

use vidimus_domain::CollectionName;
use vidimus_proto::api;

use super::Operation;
use crate::constraint::{Member, Rule, TAG_KEY, TAG_VALUE, Text, required};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services};

/// Most tags of a resource (Amazon Rekognition API, TagResource: "up to 50 user tags").
const TAGS_MAX: usize = 50;

const KEY: Text = Text::of(1, 128).like(TAG_KEY);
/// Tags in a request.
pub(super) const TAGS: Rule = Rule::TextMap { keys: KEY, values: Text::of(0, 256).like(TAG_VALUE), max: 200 };
const RESOURCE_ARN: Member = required("ResourceArn", Rule::Text(Text::of(20, 2048)));

pub(crate) struct TagResource;
pub(crate) struct UntagResource;
pub(crate) struct ListTagsForResource;

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    const MEMBERS: &'static [Member] = &[RESOURCE_ARN, required("Tags", TAGS)];
    type Input = api::TagResourceRequest;
    type Output = api::TagResourceResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let name = named_collection(context, &input.resource_arn)?;
        let tagging = services.deps.catalog.change_tags(context.tenant(), &name, |tags| {
            tags.extend(input.tags.clone());
            check_count(tags).is_ok()
        });
        if tagging.await? { Ok(api::TagResourceResponse {}) } else { Err(too_many()) }
    }
}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    const MEMBERS: &'static [Member] =
        &[RESOURCE_ARN, required("TagKeys", Rule::TextList { of: KEY, min: 0, max: 200 })];
    type Input = api::UntagResourceRequest;
    type Output = api::UntagResourceResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let name = named_collection(context, &input.resource_arn)?;
        let untagging = services.deps.catalog.change_tags(context.tenant(), &name, |tags| {
            tags.retain(|key, _| !input.tag_keys.contains(key));
            true
        });
        untagging.await?;
        Ok(api::UntagResourceResponse {})
    }
}

impl Operation for ListTagsForResource {
    const NAME: &'static str = "ListTagsForResource";
    const MEMBERS: &'static [Member] = &[RESOURCE_ARN];
    type Input = api::ListTagsForResourceRequest;
    type Output = api::ListTagsForResourceResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let name = named_collection(context, &input.resource_arn)?;
        let collection = services.collection(context, name.as_str()).await?;
        Ok(api::ListTagsForResourceResponse { tags: collection.tags.clone() })
    }
}

/// Whether a resource may have all these tags.
pub(super) fn check_count(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > TAGS_MAX { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> ApiError {
    let message = format!("A collection has at most {TAGS_MAX} tags.");
    ApiError::new(ErrorType::ServiceQuotaExceeded, message)
}

/// The collection that an ARN of the caller's own account names: `arn:aws:rekognition:REGION:ACCOUNT:collection/NAME`, with or
/// without the leading `arn:`. Somebody else's is answered as what does not exist.
fn named_collection(context: &Context, arn: &str) -> Result<CollectionName, ApiError> {
    let parts = arn.strip_prefix("arn:").unwrap_or(arn).splitn(5, ':').collect::<Vec<_>>();
    let [_partition, "rekognition", _region, account, resource] = parts.as_slice() else {
        return Err(malformed(arn));
    };
    let name = resource.strip_prefix("collection/").and_then(|name| name.parse::<CollectionName>().ok());
    let name = name.ok_or_else(|| malformed(arn))?;
    if *account != context.access.tenant.account {
        let message = format!("The resource {arn} does not exist");
        return Err(ApiError::new(ErrorType::ResourceNotFound, message));
    }
    Ok(name)
}

fn malformed(arn: &str) -> ApiError {
    let shown = arn.chars().take(128).collect::<String>();
    let message = format!("Request has invalid parameters: {shown} is no collection's ARN.");
    ApiError::new(ErrorType::InvalidParameter, message)
}
