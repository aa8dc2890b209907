//! Indexes on the payload's fields: keywords, UUIDs and integers.

use qdrant_client::qdrant as api;
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_edge as engine;

use super::refusal::{Answer, require_understood, unsupported, wrong};

/// Reads what an index is to be like.
///
/// # Errors
/// Where type and parameters differ, or ask for what is not supported.
pub fn schema(request: &api::CreateFieldIndexCollection) -> Answer<engine::PayloadFieldSchema> {
    let params = request.field_index_params.clone().and_then(|params| params.index_params);
    let params = match (request.field_type.map(api::FieldType::try_from), params) {
        (None | Some(Err(_)), _) => return Err(wrong("field_type is missing or unknown")),
        (Some(Ok(api::FieldType::Keyword)), None) => keyword(api::KeywordIndexParams::default())?,
        (Some(Ok(api::FieldType::Keyword)), Some(IndexParams::KeywordIndexParams(params))) => {
            keyword(params)?
        }
        (Some(Ok(api::FieldType::Uuid)), None) => uuid(api::UuidIndexParams::default())?,
        (Some(Ok(api::FieldType::Uuid)), Some(IndexParams::UuidIndexParams(params))) => uuid(params)?,
        (Some(Ok(api::FieldType::Integer)), None) => integer(api::IntegerIndexParams::default())?,
        (Some(Ok(api::FieldType::Integer)), Some(IndexParams::IntegerIndexParams(params))) => {
            integer(params)?
        }
        (Some(Ok(api::FieldType::Keyword | api::FieldType::Uuid | api::FieldType::Integer)), Some(_)) => {
            return Err(wrong("field_type and field_index_params are of different types"));
        }
        (Some(Ok(_)), _) => return Err(unsupported("indexes on anything but keywords, UUIDs and integers")),
    };
    Ok(engine::PayloadFieldSchema::FieldParams(params))
}

fn keyword(given: api::KeywordIndexParams) -> Answer<engine::PayloadSchemaParams> {
    let understood = api::KeywordIndexParams {
        is_tenant: given.is_tenant,
        enable_hnsw: given.enable_hnsw,
        ..api::KeywordIndexParams::default()
    };
    require_understood(&given, &understood, "an index on keywords")?;
    Ok(engine::PayloadSchemaParams::Keyword(engine::KeywordIndexParams {
        is_tenant: given.is_tenant,
        enable_hnsw: given.enable_hnsw,
        ..engine::KeywordIndexParams::default()
    }))
}

fn uuid(given: api::UuidIndexParams) -> Answer<engine::PayloadSchemaParams> {
    let understood = api::UuidIndexParams {
        is_tenant: given.is_tenant,
        enable_hnsw: given.enable_hnsw,
        ..api::UuidIndexParams::default()
    };
    require_understood(&given, &understood, "an index on UUIDs")?;
    Ok(engine::PayloadSchemaParams::Uuid(engine::UuidIndexParams {
        is_tenant: given.is_tenant,
        enable_hnsw: given.enable_hnsw,
        ..engine::UuidIndexParams::default()
    }))
}

fn integer(given: api::IntegerIndexParams) -> Answer<engine::PayloadSchemaParams> {
    let understood = api::IntegerIndexParams {
        lookup: given.lookup,
        range: given.range,
        enable_hnsw: given.enable_hnsw,
        ..api::IntegerIndexParams::default()
    };
    require_understood(&given, &understood, "an index on integers")?;
    if given.lookup == Some(false) && given.range == Some(false) {
        return Err(wrong("an index on integers must be for look-ups or for ranges"));
    }
    Ok(engine::PayloadSchemaParams::Integer(engine::IntegerIndexParams {
        lookup: given.lookup,
        range: given.range,
        enable_hnsw: given.enable_hnsw,
        ..engine::IntegerIndexParams::default()
    }))
}

/// An index as the server tells it.
///
/// # Errors
/// Where it is one that [`schema`] does not make.
pub fn told(info: engine::PayloadIndexInfo) -> Answer<api::PayloadSchemaInfo> {
    let (data_type, params) = match info.params {
        Some(engine::PayloadSchemaParams::Keyword(params)) => {
            let params = api::KeywordIndexParams {
                is_tenant: params.is_tenant,
                enable_hnsw: params.enable_hnsw,
                ..api::KeywordIndexParams::default()
            };
            (api::PayloadSchemaType::Keyword, IndexParams::KeywordIndexParams(params))
        }
        Some(engine::PayloadSchemaParams::Uuid(params)) => {
            let params = api::UuidIndexParams {
                is_tenant: params.is_tenant,
                enable_hnsw: params.enable_hnsw,
                ..api::UuidIndexParams::default()
            };
            (api::PayloadSchemaType::Uuid, IndexParams::UuidIndexParams(params))
        }
        Some(engine::PayloadSchemaParams::Integer(params)) => {
            let params = api::IntegerIndexParams {
                lookup: params.lookup,
                range: params.range,
                enable_hnsw: params.enable_hnsw,
                ..api::IntegerIndexParams::default()
            };
            (api::PayloadSchemaType::Integer, IndexParams::IntegerIndexParams(params))
        }
        _ => return Err(unsupported("an index that is there")),
    };
    let mut told = api::PayloadSchemaInfo {
        params: Some(api::PayloadIndexParams { index_params: Some(params) }),
        points: Some(info.points as u64),
        ..api::PayloadSchemaInfo::default()
    };
    told.set_data_type(data_type);
    Ok(told)
}
