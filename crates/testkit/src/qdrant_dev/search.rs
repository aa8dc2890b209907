//! Searches, in the forms of `Query` and of `Search`.

use qdrant_client::qdrant as api;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::vector_input;
use qdrant_edge as engine;

use super::filter::filter;
use super::point::{with_payload, with_vectors};
use super::refusal::{Answer, require_positive, require_understood, unsupported, wrong};

/// Points that a query gives where it does not say how many.
const LIMIT: u64 = 10;

/// A search for neighbours of one dense vector.
pub struct Search {
    /// The vector's name.
    pub using: String,
    /// The probe's components.
    pub dimension: usize,
    /// As the engine takes it.
    pub request: engine::QueryRequest,
}

/// Reads a query.
///
/// # Errors
/// Where it is wrong, or asks for anything but neighbours of a dense vector.
pub fn of_query(query: api::QueryPoints) -> Answer<Search> {
    let understood = api::QueryPoints {
        prefetch: Vec::new(),
        lookup_from: None,
        shard_key_selector: None,
        ..query.clone()
    };
    require_understood(&query, &understood, "a query")?;
    require_positive(query.limit, "limit")?;
    require_positive(query.timeout, "timeout")?;
    let probe = match query.query.and_then(|query| query.variant) {
        Some(Variant::Nearest(api::VectorInput { variant: Some(vector_input::Variant::Dense(dense)) })) => {
            dense.data
        }
        _ => return Err(unsupported("queries for anything but neighbours of a dense vector")),
    };
    let mut request =
        request(probe.clone(), query.using.clone().unwrap_or_default(), query.limit.unwrap_or(LIMIT));
    request.filter = query.filter.map(filter).transpose()?;
    request.params = query.params.map(params).transpose()?;
    request.score_threshold = query.score_threshold;
    request.offset = usize::try_from(query.offset.unwrap_or_default()).unwrap_or(usize::MAX);
    request.with_payload = with_payload(query.with_payload, false)?;
    request.with_vector = with_vectors(query.with_vectors);
    Ok(Search { using: query.using.unwrap_or_default(), dimension: probe.len(), request })
}

/// Reads a search in the older form.
///
/// # Errors
/// Where it is wrong, or asks for anything but neighbours of a dense vector.
pub fn of_search(search: api::SearchPoints) -> Answer<Search> {
    if search.sparse_indices.is_some() {
        return Err(unsupported("searches of sparse vectors"));
    }
    of_query(api::QueryPoints {
        collection_name: search.collection_name,
        query: Some(api::Query { variant: Some(Variant::Nearest(api::VectorInput::from(search.vector))) }),
        using: search.vector_name,
        filter: search.filter,
        params: search.params,
        score_threshold: search.score_threshold,
        limit: Some(search.limit),
        offset: search.offset,
        with_vectors: search.with_vectors,
        with_payload: search.with_payload,
        read_consistency: search.read_consistency,
        shard_key_selector: search.shard_key_selector,
        timeout: search.timeout,
        ..api::QueryPoints::default()
    })
}

fn request(probe: Vec<f32>, using: String, limit: u64) -> engine::QueryRequest {
    let mut request = engine::QueryRequest::new(usize::try_from(limit).unwrap_or(usize::MAX));
    let nearest = engine::NamedQuery::new(engine::VectorInternal::Dense(probe), using);
    request.query = Some(engine::ScoringQuery::Vector(engine::QueryEnum::Nearest(nearest)));
    request
}

fn params(given: api::SearchParams) -> Answer<engine::SearchParams> {
    let understood = api::SearchParams { acorn: None, idf: None, ..given };
    require_understood(&given, &understood, "a search's parameters")?;
    require_positive(given.hnsw_ef, "hnsw_ef")?;
    let quantization = given.quantization.map(|quantization| engine::QuantizationSearchParams {
        ignore: quantization.ignore.unwrap_or_default(),
        rescore: quantization.rescore,
        oversampling: quantization.oversampling,
    });
    if quantization.is_some_and(|given| given.oversampling.is_some_and(|factor| factor < 1.0)) {
        return Err(wrong("oversampling must be 1.0 or larger"));
    }
    Ok(engine::SearchParams {
        hnsw_ef: given.hnsw_ef.map(|ef| usize::try_from(ef).unwrap_or(usize::MAX)),
        exact: given.exact.unwrap_or_default(),
        quantization,
        indexed_only: given.indexed_only.unwrap_or_default(),
        ..engine::SearchParams::default()
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn query() -> api::QueryPoints {
        let probe = api::VectorInput::from(vec![1.0, 0.0]);
        api::QueryPoints {
            query: Some(api::Query { variant: Some(Variant::Nearest(probe)) }),
            using: Some("face".to_owned()),
            ..Default::default()
        }
    }

    #[test]
    fn the_default_is_ten_points_without_payload() {
        let search = of_query(query()).unwrap();
        assert_eq!((search.request.limit, search.dimension), (10, 2));
        assert_eq!(search.request.with_payload, engine::WithPayloadInterface::Bool(false));
    }

    #[test]
    fn what_is_not_a_search_for_neighbours_is_refused() {
        let sample = api::Query { variant: Some(Variant::Sample(0)) };
        let prefetch = vec![api::PrefetchQuery::default()];
        for (query, code) in [
            (api::QueryPoints { limit: Some(0), ..query() }, Code::InvalidArgument),
            (api::QueryPoints { query: None, ..query() }, Code::Unimplemented),
            (api::QueryPoints { query: Some(sample), ..query() }, Code::Unimplemented),
            (api::QueryPoints { prefetch, ..query() }, Code::Unimplemented),
        ] {
            assert_eq!(of_query(query.clone()).err().map(|status| status.code()), Some(code), "{query:?}");
        }
    }
}
