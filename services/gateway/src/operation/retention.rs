//! GetRetention and SetRetention. They have no twin in the Rekognition API.

use std::time::Duration;

use vidimus_domain::event::{Audit, AuditedAction};
use vidimus_domain::limits::{RETENTION_MAX, RETENTION_MIN};
use vidimus_domain::retention::RetentionRule;
use vidimus_proto::api;
use vidimus_runtime::errors::failure_from_port;

use super::Operation;
use super::shapes::COLLECTION_ID;
use crate::constraint::{Member, Rule, optional};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services, collection_name};

/// Seconds: as the domain allows.
const KEPT: Rule = Rule::Float { min: RETENTION_MIN.as_secs() as f64, max: RETENTION_MAX.as_secs() as f64 };

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
        let rule = services.collection(context, &input.collection_id).await?.retention.rule;
        Ok(api::GetRetentionResponse {
            faces_kept_seconds: rule.faces_kept().map(|kept| kept.as_secs_f64()),
            photos_kept_seconds: rule.photos_kept().map(|kept| kept.as_secs_f64()),
        })
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
        let name = collection_name(&input.collection_id)?;
        let kept = |seconds: Option<f64>| seconds.map(Duration::try_from_secs_f64).transpose();
        let (Ok(faces), Ok(photos)) = (kept(input.faces_kept_seconds), kept(input.photos_kept_seconds))
        else {
            return Err(wrong("a duration is out of range"));
        };
        let rule = RetentionRule::new(faces, photos).map_err(|error| wrong(&error.to_string()))?;
        let changed = services.deps.catalog.set_retention(context.tenant(), &name, rule).await?;
        let audit = Audit {
            part: changed.part(),
            collection: changed.name.to_string(),
            request_id: context.request_id.clone(),
            principal: context.access.key.id.to_string(),
            at: services.deps.clock.now(),
            what: AuditedAction::RetentionChange {
                faces_kept: rule.faces_kept(),
                photos_kept: rule.photos_kept(),
            },
        };
        services.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(api::SetRetentionResponse {})
    }
}

fn wrong(message: &str) -> ApiError {
    ApiError::new(ErrorType::InvalidParameter, format!("Request has invalid parameters: {message}"))
}
