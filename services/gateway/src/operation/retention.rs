//! GetRetention and SetRetention. They have no twin in the Rekognition API.

use vidimus_proto::api;

use super::Operation;
use super::shapes::COLLECTION_ID;
use crate::constraint::{Member, Rule, optional};
use crate::error::ApiError;
use crate::services::{Context, Services};

/// Seconds: one second to a thousand years.
const KEPT: Rule = Rule::Float { min: 1.0, max: 31_557_600_000.0 };

pub(crate) struct GetRetention;
pub(crate) struct SetRetention;

impl Operation for GetRetention {
    const NAME: &'static str = "GetRetention";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID];
    type Input = api::GetRetentionRequest;
    type Output = api::GetRetentionResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let _collection = services.collection(context, &input.collection_id).await?;
        Ok(api::GetRetentionResponse { faces_kept_seconds: None, photos_kept_seconds: None })
    }
}

impl Operation for SetRetention {
    const NAME: &'static str = "SetRetention";
    const MEMBERS: &'static [Member] =
        &[COLLECTION_ID, optional("FacesKeptSeconds", KEPT), optional("PhotosKeptSeconds", KEPT)];
    type Input = api::SetRetentionRequest;
    type Output = api::SetRetentionResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let _collection = services.collection(context, &input.collection_id).await?;
        Err(ApiError::internal())
    }
}
