//! Points: ids, payloads, vectors.

use std::collections::HashMap;

use qdrant_client::Payload;
use qdrant_client::qdrant as api;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::vectors_output::VectorsOptions as VectorsOutputOptions;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions as PayloadOptions;
use qdrant_client::qdrant::with_vectors_selector::SelectorOptions as VectorOptions;
use qdrant_client::qdrant::{vector, vector_output};
use qdrant_edge as engine;
use qdrant_edge::external::uuid::Uuid;

use super::refusal::{Answer, unsupported, wrong};

/// Reads a point's id.
///
/// # Errors
/// Where there is none, or it is no UUID.
pub fn point_id(id: api::PointId) -> Answer<engine::PointId> {
    match id.point_id_options {
        None => Err(wrong("an id is missing")),
        Some(PointIdOptions::Num(number)) => Ok(engine::PointId::NumId(number)),
        Some(PointIdOptions::Uuid(text)) => Uuid::parse_str(&text)
            .map(engine::PointId::Uuid)
            .map_err(|_| wrong(format!("Unable to parse UUID: {text}"))),
    }
}

fn id_of(id: engine::PointId) -> api::PointId {
    let options = match id {
        engine::PointId::NumId(number) => PointIdOptions::Num(number),
        engine::PointId::Uuid(uuid) => PointIdOptions::Uuid(uuid.to_string()),
    };
    api::PointId { point_id_options: Some(options) }
}

/// Where the next page begins.
pub fn next_page(next: Option<engine::PointId>) -> Option<api::PointId> {
    next.map(id_of)
}

/// Reads a payload field's name.
///
/// # Errors
/// Where it is none.
pub fn json_path(name: &str) -> Answer<engine::JsonPath> {
    name.parse().map_err(|()| wrong(format!("{name:?} names no field")))
}

/// Reads a point that is to be written.
///
/// # Errors
/// Where it is wrong, or has vectors that are not supported.
pub fn written(point: api::PointStruct) -> Answer<engine::PointStructPersisted> {
    let id = point_id(point.id.ok_or_else(|| wrong("an id is missing"))?)?;
    let options = point.vectors.and_then(|vectors| vectors.vectors_options);
    let named = match options {
        None => return Err(wrong("Expected some vectors")),
        Some(VectorsOptions::Vector(_)) => return Err(wrong("Not existing vector name error: ")),
        Some(VectorsOptions::Vectors(named)) => named,
    };
    let mut vectors = HashMap::new();
    for (name, given) in named.vectors {
        vectors.insert(name, engine::VectorPersisted::Dense(dense(given)?));
    }
    let payload = if point.payload.is_empty() {
        None
    } else {
        let map: serde_json::Map<String, serde_json::Value> = Payload::from(point.payload).into();
        Some(engine::Payload(map))
    };
    Ok(engine::PointStructPersisted { id, vector: engine::VectorStructPersisted::Named(vectors), payload })
}

/// Old clients put a dense vector's components where there was no choice of kinds yet.
#[expect(deprecated, reason = "the protocol's older form is still taken")]
fn dense(given: api::Vector) -> Answer<Vec<f32>> {
    match given.vector {
        Some(vector::Vector::Dense(dense)) => Ok(dense.data),
        Some(_) => Err(unsupported("vectors that are not dense")),
        None if given.indices.is_some() || given.vectors_count.is_some() => {
            Err(unsupported("vectors that are not dense"))
        }
        None => Ok(given.data),
    }
}

/// Which of the payload an answer is to have.
///
/// # Errors
/// Where a field's name is none.
pub fn with_payload(
    selector: Option<api::WithPayloadSelector>,
    by_default: bool,
) -> Answer<engine::WithPayloadInterface> {
    let paths = |names: Vec<String>| names.iter().map(|name| json_path(name)).collect::<Answer<Vec<_>>>();
    Ok(match selector.and_then(|selector| selector.selector_options) {
        None => engine::WithPayloadInterface::Bool(by_default),
        Some(PayloadOptions::Enable(enable)) => engine::WithPayloadInterface::Bool(enable),
        Some(PayloadOptions::Include(include)) => {
            engine::WithPayloadInterface::Fields(paths(include.fields)?)
        }
        Some(PayloadOptions::Exclude(_)) => return Err(unsupported("leaving fields out")),
    })
}

/// Which vectors an answer is to have.
pub fn with_vectors(selector: Option<api::WithVectorsSelector>) -> engine::WithVector {
    match selector.and_then(|selector| selector.selector_options) {
        None => engine::WithVector::Bool(false),
        Some(VectorOptions::Enable(enable)) => engine::WithVector::Bool(enable),
        Some(VectorOptions::Include(names)) => engine::WithVector::Selector(names.names),
    }
}

/// A point that was got.
///
/// # Errors
/// Where it has vectors that are not supported.
pub fn retrieved(record: engine::Record) -> Answer<api::RetrievedPoint> {
    Ok(api::RetrievedPoint {
        id: Some(id_of(record.id)),
        payload: payload(record.payload),
        vectors: vectors(record.vector)?,
        ..api::RetrievedPoint::default()
    })
}

/// A point that was found.
///
/// # Errors
/// Where it has vectors that are not supported.
pub fn scored(point: engine::ScoredPoint) -> Answer<api::ScoredPoint> {
    Ok(api::ScoredPoint {
        id: Some(id_of(point.id)),
        payload: payload(point.payload),
        score: point.score,
        version: point.version,
        vectors: vectors(point.vector)?,
        ..api::ScoredPoint::default()
    })
}

fn payload(payload: Option<engine::Payload>) -> HashMap<String, api::Value> {
    payload.map(|payload| Payload::from(payload.0).into()).unwrap_or_default()
}

fn vectors(vectors: Option<engine::VectorStructInternal>) -> Answer<Option<api::VectorsOutput>> {
    let named = match vectors {
        None => return Ok(None),
        Some(engine::VectorStructInternal::Named(named)) => named,
        Some(_) => return Err(unsupported("vectors without names")),
    };
    let mut output = HashMap::new();
    for (name, vector) in named {
        let engine::VectorInternal::Dense(data) = vector else {
            return Err(unsupported("vectors that are not dense"));
        };
        let dense = vector_output::Vector::Dense(api::DenseVector { data });
        output.insert(name, api::VectorOutput { vector: Some(dense), ..api::VectorOutput::default() });
    }
    let options = VectorsOutputOptions::Vectors(api::NamedVectorsOutput { vectors: output });
    Ok(Some(api::VectorsOutput { vectors_options: Some(options) }))
}
