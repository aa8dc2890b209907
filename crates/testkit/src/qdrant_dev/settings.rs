//! How a collection is set up: what was asked for, as the engine takes it, and as it is told.

use std::collections::HashMap;

use qdrant_client::qdrant as api;
use qdrant_client::qdrant::quantization_config::Quantization;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_edge as engine;

use super::refusal::{Answer, require_positive, require_understood, unsupported, wrong};

/// Components of a vector at most.
const DIMENSION_MAX: u64 = 65_536;
/// How often the server flushes where it is not told otherwise.
const FLUSH_INTERVAL_SECONDS: u64 = 5;
/// Segments of a collection's name that would be those of a path, and what else the server does not take.
const NOT_IN_NAMES: [char; 11] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1f}'];

/// Refuses names that the server refuses.
///
/// # Errors
/// Where the name is empty, too long, or has a character that no file's name may have.
pub fn check_name(name: &str) -> Answer<()> {
    if name.is_empty() || name.len() > 255 {
        return Err(wrong("collection_name: must be from 1 to 255 characters long"));
    }
    if name.contains(NOT_IN_NAMES) {
        return Err(wrong("collection_name: cannot contain any of <>:\"/\\|?*"));
    }
    Ok(())
}

/// What the engine is told. Refuses what is wrong and what is not supported.
///
/// # Errors
/// The refusal.
pub fn engine_config(asked: &api::CreateCollection) -> Answer<engine::EdgeConfig> {
    let understood = api::CreateCollection {
        collection_name: asked.collection_name.clone(),
        hnsw_config: asked.hnsw_config,
        optimizers_config: asked.optimizers_config,
        shard_number: asked.shard_number,
        timeout: asked.timeout,
        vectors_config: asked.vectors_config.clone(),
        replication_factor: asked.replication_factor,
        write_consistency_factor: asked.write_consistency_factor,
        quantization_config: asked.quantization_config,
        ..api::CreateCollection::default()
    };
    require_understood(asked, &understood, "a collection")?;
    require_positive(asked.timeout, "timeout")?;
    require_positive(asked.shard_number.map(u64::from), "shard_number")?;
    require_positive(asked.replication_factor.map(u64::from), "replication_factor")?;
    require_positive(asked.write_consistency_factor.map(u64::from), "write_consistency_factor")?;
    if asked.shard_number.is_some_and(|shards| shards > 1) {
        return Err(unsupported("several shards"));
    }
    let mut builder = engine::EdgeConfig::builder()
        .hnsw_config(hnsw(asked.hnsw_config.unwrap_or_default())?)
        .optimizers(optimizers(asked.optimizers_config.unwrap_or_default())?)
        .vectors(vectors(asked.vectors_config.as_ref())?);
    if let Some(quantization) = asked.quantization_config {
        builder = builder.quantization_config(scalar(quantization)?);
    }
    Ok(builder.build())
}

fn vectors(asked: Option<&api::VectorsConfig>) -> Answer<HashMap<String, engine::EdgeVectorParams>> {
    let map = match asked.and_then(|asked| asked.config.as_ref()) {
        None => return Ok(HashMap::new()),
        Some(Config::Params(_)) => return Err(unsupported("vectors without names")),
        Some(Config::ParamsMap(map)) => &map.map,
    };
    let mut vectors = HashMap::new();
    for (name, params) in map {
        let understood = api::VectorParams {
            size: params.size,
            distance: params.distance,
            ..api::VectorParams::default()
        };
        require_understood(params, &understood, "a vector")?;
        vectors.insert(name.clone(), vector(params.size, params.distance())?);
    }
    Ok(vectors)
}

/// A dense vector of 32-bit components.
///
/// # Errors
/// Where there is no such size or distance.
pub fn vector(size: u64, distance: api::Distance) -> Answer<engine::EdgeVectorParams> {
    if !(1..=DIMENSION_MAX).contains(&size) {
        return Err(wrong(format!("size: value {size} invalid, must be from 1 to {DIMENSION_MAX}")));
    }
    let size = usize::try_from(size).map_err(|_| wrong("size"))?;
    Ok(engine::EdgeVectorParams::builder(size, engine_distance(distance)?).build())
}

/// A distance as the engine has it.
///
/// # Errors
/// Where none is named.
pub fn engine_distance(distance: api::Distance) -> Answer<engine::Distance> {
    match distance {
        api::Distance::UnknownDistance => Err(wrong("distance: unknown")),
        api::Distance::Cosine => Ok(engine::Distance::Cosine),
        api::Distance::Euclid => Ok(engine::Distance::Euclid),
        api::Distance::Dot => Ok(engine::Distance::Dot),
        api::Distance::Manhattan => Ok(engine::Distance::Manhattan),
    }
}

fn told_distance(distance: engine::Distance) -> api::Distance {
    match distance {
        engine::Distance::Cosine => api::Distance::Cosine,
        engine::Distance::Euclid => api::Distance::Euclid,
        engine::Distance::Dot => api::Distance::Dot,
        engine::Distance::Manhattan => api::Distance::Manhattan,
    }
}

fn hnsw(asked: api::HnswConfigDiff) -> Answer<engine::HnswIndexConfig> {
    let understood = api::HnswConfigDiff {
        m: asked.m,
        ef_construct: asked.ef_construct,
        full_scan_threshold: asked.full_scan_threshold,
        max_indexing_threads: asked.max_indexing_threads,
        payload_m: asked.payload_m,
        ..api::HnswConfigDiff::default()
    };
    require_understood(&asked, &understood, "graphs")?;
    if asked.ef_construct.is_some_and(|ef| ef < 4) {
        return Err(wrong("ef_construct: must be 4 or larger"));
    }
    let size = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    let default = engine::HnswIndexConfig::default();
    Ok(engine::HnswIndexConfig {
        m: size(asked.m, default.m),
        ef_construct: size(asked.ef_construct, default.ef_construct),
        full_scan_threshold: size(asked.full_scan_threshold, default.full_scan_threshold),
        max_indexing_threads: size(asked.max_indexing_threads, default.max_indexing_threads),
        payload_m: asked.payload_m.map(|links| usize::try_from(links).unwrap_or(usize::MAX)),
        ..default
    })
}

fn optimizers(asked: api::OptimizersConfigDiff) -> Answer<engine::EdgeOptimizersConfig> {
    let understood = api::OptimizersConfigDiff {
        deleted_threshold: asked.deleted_threshold,
        vacuum_min_vector_number: asked.vacuum_min_vector_number,
        default_segment_number: asked.default_segment_number,
        max_segment_size: asked.max_segment_size,
        indexing_threshold: asked.indexing_threshold,
        flush_interval_sec: asked.flush_interval_sec,
        ..api::OptimizersConfigDiff::default()
    };
    require_understood(&asked, &understood, "optimisers")?;
    let size = |value: Option<u64>| value.map(|value| usize::try_from(value).unwrap_or(usize::MAX));
    Ok(engine::EdgeOptimizersConfig {
        deleted_threshold: asked.deleted_threshold,
        vacuum_min_vector_number: size(asked.vacuum_min_vector_number),
        default_segment_number: size(asked.default_segment_number),
        max_segment_size: size(asked.max_segment_size),
        indexing_threshold: size(asked.indexing_threshold),
        ..engine::EdgeOptimizersConfig::default()
    })
}

#[expect(deprecated, reason = "the engine's struct has a deprecated field and no constructor")]
fn scalar(asked: api::QuantizationConfig) -> Answer<engine::QuantizationConfig> {
    let Some(Quantization::Scalar(scalar)) = asked.quantization else {
        return Err(unsupported("quantization that is not scalar"));
    };
    if scalar.r#type() != api::QuantizationType::Int8 {
        return Err(wrong("quantization: unknown type"));
    }
    if scalar.quantile.is_some_and(|quantile| !(0.5..=1.0).contains(&quantile)) {
        return Err(wrong("quantile: must be from 0.5 to 1.0"));
    }
    let memory = match scalar.memory() {
        api::Memory::Unknown => None,
        api::Memory::Cold => Some(engine::Memory::Cold),
        api::Memory::Cached => Some(engine::Memory::Cached),
        api::Memory::Pinned => Some(engine::Memory::Pinned),
    };
    let config = engine::ScalarQuantizationConfig {
        r#type: engine::ScalarType::Int8,
        quantile: scalar.quantile,
        always_ram: scalar.always_ram,
        memory,
    };
    Ok(config.into())
}

/// The configuration as the server tells it: what was asked for, its defaults, and vectors that were added.
pub fn told(asked: &api::CreateCollection, config: &engine::EdgeConfig) -> api::CollectionConfig {
    let told_vector = |params: &engine::EdgeVectorParams| {
        let mut told = api::VectorParams { size: params.size as u64, ..api::VectorParams::default() };
        told.set_distance(told_distance(params.distance));
        told
    };
    let map = config.vectors.iter().map(|(name, params)| (name.clone(), told_vector(params))).collect();
    let vectors = api::VectorsConfig { config: Some(Config::ParamsMap(api::VectorParamsMap { map })) };
    let hnsw = config.hnsw_config();
    api::CollectionConfig {
        params: Some(api::CollectionParams {
            shard_number: 1,
            vectors_config: Some(vectors),
            replication_factor: Some(asked.replication_factor.unwrap_or(1)),
            write_consistency_factor: Some(asked.write_consistency_factor.unwrap_or(1)),
            ..api::CollectionParams::default()
        }),
        hnsw_config: Some(api::HnswConfigDiff {
            m: Some(hnsw.m as u64),
            ef_construct: Some(hnsw.ef_construct as u64),
            full_scan_threshold: Some(hnsw.full_scan_threshold as u64),
            max_indexing_threads: Some(hnsw.max_indexing_threads as u64),
            payload_m: hnsw.payload_m.map(|links| links as u64),
            ..api::HnswConfigDiff::default()
        }),
        optimizer_config: Some(api::OptimizersConfigDiff {
            flush_interval_sec: Some(flush_interval_seconds(asked)),
            ..asked.optimizers_config.unwrap_or_default()
        }),
        quantization_config: asked.quantization_config,
        ..api::CollectionConfig::default()
    }
}

/// How often the collection is flushed.
pub fn flush_interval_seconds(asked: &api::CreateCollection) -> u64 {
    let asked = asked.optimizers_config.and_then(|optimizers| optimizers.flush_interval_sec);
    asked.unwrap_or(FLUSH_INTERVAL_SECONDS).max(1)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn asked(params: api::VectorParams) -> api::CreateCollection {
        let map = api::VectorParamsMap { map: [("face".to_owned(), params)].into() };
        api::CreateCollection {
            collection_name: "c".to_owned(),
            vectors_config: Some(api::VectorsConfig { config: Some(Config::ParamsMap(map)) }),
            ..Default::default()
        }
    }

    fn params() -> api::VectorParams {
        api::VectorParams { size: 4, distance: api::Distance::Dot as i32, ..Default::default() }
    }

    #[test]
    fn what_was_asked_for_is_told() {
        let mut asked = asked(params());
        asked.hnsw_config =
            Some(api::HnswConfigDiff { m: Some(0), payload_m: Some(8), ..Default::default() });
        asked.replication_factor = Some(3);
        let told = told(&asked, &engine_config(&asked).unwrap());
        let hnsw = told.hnsw_config.unwrap();
        assert_eq!((hnsw.m, hnsw.payload_m, hnsw.ef_construct), (Some(0), Some(8), Some(100)));
        assert_eq!(told.optimizer_config.unwrap().flush_interval_sec, Some(5));
        let collection = told.params.unwrap();
        assert_eq!((collection.replication_factor, collection.write_consistency_factor), (Some(3), Some(1)));
        assert_eq!(collection.vectors_config, asked.vectors_config);
    }

    #[test]
    fn what_is_wrong_or_not_supported_is_refused() {
        let (on_disk, cosine) = (Some(api::Memory::Cold as i32), api::Distance::UnknownDistance as i32);
        let strict = Some(api::StrictModeConfig::default());
        for (asked, code) in [
            (asked(api::VectorParams { size: 0, ..params() }), Code::InvalidArgument),
            (asked(api::VectorParams { distance: cosine, ..params() }), Code::InvalidArgument),
            (asked(api::VectorParams { memory: on_disk, ..params() }), Code::Unimplemented),
            (api::CreateCollection { shard_number: Some(2), ..asked(params()) }, Code::Unimplemented),
            (api::CreateCollection { replication_factor: Some(0), ..asked(params()) }, Code::InvalidArgument),
            (api::CreateCollection { strict_mode_config: strict, ..asked(params()) }, Code::Unimplemented),
        ] {
            assert_eq!(engine_config(&asked).err().map(|status| status.code()), Some(code), "{asked:?}");
        }
        for name in ["", "a/b", "a:b", &"a".repeat(256)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("vidimus-..").unwrap();
    }
}
