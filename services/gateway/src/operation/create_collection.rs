//! CreateCollection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vidimus_runtime::catalog::NewCollection;

use super::Operation;
use super::shapes::COLLECTION_ID;
use crate::constraint::{Member, Rule, TAG_KEY, TAG_VALUE, Text, optional};
use crate::error::ApiError;
use crate::services::{Context, Services, collection_name};

pub(super) struct CreateCollection;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    collection_id: String,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    status_code: u16,
    collection_arn: String,
    face_model_version: String,
}

impl Operation for CreateCollection {
    const NAME: &'static str = "CreateCollection";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        optional(
            "Tags",
            Rule::TextMap {
                keys: Text::of(1, 128).like(TAG_KEY),
                values: Text::of(0, 256).like(TAG_VALUE),
                max: 200,
            },
        ),
    ];
    type Input = Input;
    type Output = Output;

    async fn answer(services: &Services, context: &Context, input: Input) -> Result<Output, ApiError> {
        let models = &services.deps.face_models;
        let new = NewCollection {
            tenant: context.tenant(),
            name: collection_name(&input.collection_id)?,
            placement: models.placement.clone(),
            face_model_version: models.face_model_version.clone(),
            tags: input.tags.unwrap_or_default(),
        };
        let collection = services.deps.catalog.create_collection(new).await?;
        Ok(Output {
            status_code: 200,
            collection_arn: context.collection_arn(&collection.name),
            face_model_version: collection.face_model_version.clone(),
        })
    }
}
