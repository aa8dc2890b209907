//! How hard a search tries.

use qdrant_client::qdrant::{QuantizationSearchParams, SearchParams};

/// How a search goes through a part. The engine is that of Qdrant Edge, so what was measured there holds here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEffort {
    /// Compares with every face at full precision: 2 ms at 10,000 faces of 128 components.
    Exact,
    /// Walks the part's graph with int8 components, keeps the best `ef`, compares those at full precision.
    Graph {
        /// Beam width. The engine takes at least twice the search's limit.
        ef: u64,
    },
}

impl SearchEffort {
    /// Below this many faces a scan is as fast as the graph and finds everything.
    pub const EXACT_BELOW_FACES: u64 = 10_000;

    /// The effort for a part of about so many faces: recall@10 of at least 0.99 for strangers, and candidate recall of at
    /// least 0.999 at every calibrated threshold.
    #[must_use]
    pub const fn for_part(faces: u64) -> Self {
        let ef = match faces {
            0..Self::EXACT_BELOW_FACES => return Self::Exact,
            Self::EXACT_BELOW_FACES..50_000 => 384,
            50_000..150_000 => 512,
            150_000..500_000 => 1024,
            _ => 1536,
        };
        Self::Graph { ef }
    }

    /// What the server is asked for. Nothing is left to its defaults: without rescoring a search would answer from int8.
    pub(crate) fn params(self) -> SearchParams {
        match self {
            Self::Exact => SearchParams { exact: Some(true), ..SearchParams::default() },
            Self::Graph { ef } => SearchParams {
                hnsw_ef: Some(ef),
                exact: Some(false),
                indexed_only: Some(false),
                quantization: Some(QuantizationSearchParams {
                    ignore: Some(false),
                    rescore: Some(true),
                    oversampling: Some(2.0),
                }),
                ..SearchParams::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_are_scanned_and_large_ones_searched_harder() {
        assert_eq!(SearchEffort::for_part(0), SearchEffort::Exact);
        assert_eq!(SearchEffort::for_part(9_999), SearchEffort::Exact);
        let mut last = 0;
        for power in 14..30 {
            let SearchEffort::Graph { ef } = SearchEffort::for_part(1 << power) else { panic!("a scan") };
            assert!(ef >= last, "effort falls at 2^{power}");
            last = ef;
        }
    }

    #[test]
    fn a_graph_search_asks_for_rescoring() {
        let params = SearchEffort::Graph { ef: 384 }.params();
        let quantization = params.quantization.unwrap();
        assert_eq!((params.hnsw_ef, quantization.rescore), (Some(384), Some(true)));
        assert_eq!(SearchEffort::Exact.params().exact, Some(true));
    }
}
