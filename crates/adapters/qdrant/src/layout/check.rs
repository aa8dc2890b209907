//! What a collection of the server must be like.

use std::time::Duration;

use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{CollectionInfo, Datatype, Distance, VectorParams};

use super::field_index::{FIELD_INDEXES, FieldIndex};

/// The vector's name.
pub const VECTOR: &str = "face";

/// What configuration asks for.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Replicas at least.
    pub replication_factor: u32,
    /// Replicas that must have a write, at least.
    pub write_consistency_factor: u32,
    /// By then the server must have flushed.
    pub durable_after: Duration,
}

/// What is there, where nothing is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The templates' dimension; none where there is no vector yet.
    pub dimension: Option<usize>,
    /// Indexes that are not there yet.
    pub missing: Vec<&'static FieldIndex>,
}

/// Looks at a collection.
///
/// # Errors
/// What is otherwise and cannot be mended without the operator, as the end of a sentence.
pub fn check(info: &CollectionInfo, expected: Expected) -> Result<Found, String> {
    let config = info.config.as_ref().ok_or("it does not tell its configuration")?;
    let params = config.params.as_ref().ok_or("it does not tell its parameters")?;
    let dimension = match params.vectors_config.as_ref().and_then(|vectors| vectors.config.as_ref()) {
        None => None,
        Some(Config::Params(_)) => return Err("its vector has no name".to_owned()),
        Some(Config::ParamsMap(map)) => map.map.get(VECTOR).map(dimension).transpose()?,
    };
    if config.hnsw_config.as_ref().is_none_or(|hnsw| hnsw.m != Some(0) || hnsw.payload_m.unwrap_or(0) == 0) {
        return Err("its graphs are not by part (m = 0, payload_m above 0)".to_owned());
    }
    let replicas = params.replication_factor.unwrap_or(1);
    if replicas < expected.replication_factor {
        return Err(format!("it has {replicas} replicas and not {}", expected.replication_factor));
    }
    let writes = params.write_consistency_factor.unwrap_or(1);
    if writes < expected.write_consistency_factor {
        return Err(format!(
            "a write counts with {writes} replicas and not {}",
            expected.write_consistency_factor
        ));
    }
    let flush_seconds = config.optimizer_config.as_ref().and_then(|optimizers| optimizers.flush_interval_sec);
    if flush_seconds
        .is_some_and(|seconds| Duration::from_secs(seconds.saturating_mul(2)) > expected.durable_after)
    {
        return Err(format!(
            "it is flushed every {} seconds, too seldom for durable_after",
            flush_seconds.unwrap_or_default()
        ));
    }
    Ok(Found { dimension, missing: missing_indexes(info)? })
}

fn dimension(vector: &VectorParams) -> Result<usize, String> {
    if vector.distance() != Distance::Dot {
        return Err(format!("its distance is {:?} and not Dot", vector.distance()));
    }
    if vector.multivector_config.is_some() {
        return Err("its vectors are several a point".to_owned());
    }
    if !matches!(vector.datatype(), Datatype::Default | Datatype::Float32) {
        return Err(format!("its vectors are kept as {:?} and not as Float32", vector.datatype()));
    }
    usize::try_from(vector.size).map_err(|_| "its vectors are too long".to_owned())
}

fn missing_indexes(info: &CollectionInfo) -> Result<Vec<&'static FieldIndex>, String> {
    let mut missing = Vec::new();
    for index in &FIELD_INDEXES {
        match info.payload_schema.get(index.name) {
            None => missing.push(index),
            Some(present) if index.is(present) => {}
            Some(present) => {
                return Err(format!("the index on {} is another one: {:?}", index.name, present.data_type()));
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::{
        CollectionConfig, CollectionParams, HnswConfigDiff, OptimizersConfigDiff, PayloadIndexParams,
        PayloadSchemaInfo, PayloadSchemaType, UuidIndexParams, VectorParamsMap, VectorsConfig,
        payload_index_params::IndexParams,
    };

    use super::*;

    const EXPECTED: Expected = Expected {
        replication_factor: 2,
        write_consistency_factor: 2,
        durable_after: Duration::from_secs(30),
    };

    fn info() -> CollectionInfo {
        let vector = VectorParams { size: 128, distance: Distance::Dot as i32, ..Default::default() };
        let map = VectorParamsMap { map: [(VECTOR.to_owned(), vector)].into() };
        let params = CollectionParams {
            vectors_config: Some(VectorsConfig { config: Some(Config::ParamsMap(map)) }),
            replication_factor: Some(2),
            write_consistency_factor: Some(2),
            ..Default::default()
        };
        let schema = |index: &FieldIndex| {
            let mut info = PayloadSchemaInfo { params: Some(index.params()), ..Default::default() };
            info.set_data_type(match index.params().index_params {
                Some(IndexParams::IntegerIndexParams(_)) => PayloadSchemaType::Integer,
                _ => PayloadSchemaType::Uuid,
            });
            (index.name.to_owned(), info)
        };
        CollectionInfo {
            config: Some(CollectionConfig {
                params: Some(params),
                hnsw_config: Some(HnswConfigDiff { m: Some(0), payload_m: Some(16), ..Default::default() }),
                optimizer_config: Some(OptimizersConfigDiff {
                    flush_interval_sec: Some(5),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            payload_schema: FIELD_INDEXES.iter().map(schema).collect(),
            ..Default::default()
        }
    }

    fn vector(info: &mut CollectionInfo) -> &mut VectorParams {
        let params = info.config.as_mut().unwrap().params.as_mut().unwrap();
        match params.vectors_config.as_mut().unwrap().config.as_mut().unwrap() {
            Config::ParamsMap(map) => map.map.get_mut(VECTOR).unwrap(),
            Config::Params(_) => panic!("one without a name"),
        }
    }

    #[test]
    fn what_we_make_is_what_we_expect() {
        assert_eq!(check(&info(), EXPECTED), Ok(Found { dimension: Some(128), missing: Vec::new() }));
    }

    #[test]
    fn missing_indexes_are_named() {
        let mut lacking = info();
        lacking.payload_schema.remove("version");
        let found = check(&lacking, EXPECTED).unwrap();
        assert_eq!(found.missing.iter().map(|index| index.name).collect::<Vec<_>>(), ["version"]);
    }

    #[test]
    fn what_is_otherwise_is_refused() {
        type Harm = fn(&mut CollectionInfo);
        let harms: [(&str, Harm); 8] = [
            ("distance", |info| vector(info).set_distance(Distance::Cosine)),
            ("Float16", |info| vector(info).set_datatype(Datatype::Float16)),
            ("graphs", |info| info.config.as_mut().unwrap().hnsw_config.as_mut().unwrap().m = Some(16)),
            ("replicas", |info| {
                info.config.as_mut().unwrap().params.as_mut().unwrap().replication_factor = Some(1);
            }),
            ("a write counts", |info| {
                info.config.as_mut().unwrap().params.as_mut().unwrap().write_consistency_factor = None;
            }),
            ("flushed", |info| {
                let config = info.config.as_mut().unwrap();
                config.optimizer_config.as_mut().unwrap().flush_interval_sec = Some(60);
            }),
            ("index on part", |info| {
                let untenanted = IndexParams::UuidIndexParams(UuidIndexParams::default());
                info.payload_schema.get_mut("part").unwrap().params =
                    Some(PayloadIndexParams { index_params: Some(untenanted) });
            }),
            ("index on version", |info| {
                info.payload_schema.get_mut("version").unwrap().set_data_type(PayloadSchemaType::Text);
            }),
        ];
        for (what, harm) in harms {
            let mut harmed = info();
            harm(&mut harmed);
            let refusal = check(&harmed, EXPECTED).unwrap_err();
            assert!(refusal.contains(what), "{what}: {refusal}");
        }
    }
}
