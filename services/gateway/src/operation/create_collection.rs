//! CreateCollection.

use vidimus_proto::api;
use vidimus_runtime::catalog::NewCollection;

use super::Operation;
use super::shapes::COLLECTION_ID;
use super::tags::{TAGS, check_count};
use crate::constraint::{Member, optional};
use crate::error::ApiError;
use crate::services::{Context, Services, collection_name};

pub(crate) struct CreateCollection;

impl Operation for CreateCollection {
    const NAME: &'static str = "CreateCollection";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, optional("Tags", TAGS)];
    type Input = api::CreateCollectionRequest;
    type Output = api::CreateCollectionResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        check_count(&input.tags)?;
        let models = &services.deps.face_models.first;
        let name = collection_name(&input.collection_id)?;
        let (face_model, version) = (models.face_model.clone(), models.face_model_version.clone());
        let new = NewCollection::new(context.tenant(), name, face_model, version);
        let new = NewCollection { tags: input.tags, ..new };
        let collection = services.deps.catalog.create_collection(new).await?;
        Ok(api::CreateCollectionResponse {
            status_code: 200,
            collection_arn: context.collection_arn(&collection.name),
            face_model_version: collection.face_model_version.clone(),
        })
    }
}
