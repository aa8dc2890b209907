//! How hard a search tries.

/// How a search goes through a part.
///
/// Measured on galleries with the score quantiles of SFace (see `examples/recall.rs`, which repeats it): a graph
/// search finds the less the more faces there are, so its beam (`ef`) grows with the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEffort {
    /// Compares with every face at full precision: 2 ms at 10,000 faces of 128 components.
    Exact,
    /// Walks the part's graph with int8 components, keeps the best `ef`, compares those at full precision.
    Graph {
        /// Beam width. The engine takes at least twice the search's limit.
        ef: usize,
    },
}

impl SearchEffort {
    /// Below this many faces a scan is as fast as the graph and finds everything.
    pub const EXACT_BELOW_FACES: u64 = 10_000;

    /// The effort for a part of about so many faces: recall@10 of at least 0.99 for strangers, who have only far
    /// neighbours and are the hard case, and candidate recall of at least 0.999 at every calibrated threshold.
    /// Measured with the larger [`GraphShape`](crate::GraphShape), recall@10 and candidate recall at cosine 0.363 of
    /// strangers: 20,000 faces: `ef` 384 1.000 and 0.9999; 60,000: `ef` 256 0.998 and 0.988, `ef` 512 1.000 and 0.9993;
    /// 200,000: `ef` 768 0.9999 and 0.996 (at the default threshold, 0.424, 0.9986), `ef` 1,024 1.000 and 0.9991; a million: recall@10 at
    /// `ef` 256 0.982, at `ef` 512 0.997. Between these it is interpolated, to the safe side.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_are_scanned_and_large_ones_searched_harder() {
        for (faces, effort) in [
            (0, SearchEffort::Exact),
            (9_999, SearchEffort::Exact),
            (10_000, SearchEffort::Graph { ef: 384 }),
            (49_999, SearchEffort::Graph { ef: 384 }),
            (50_000, SearchEffort::Graph { ef: 512 }),
            (200_000, SearchEffort::Graph { ef: 1024 }),
            (20_000_000, SearchEffort::Graph { ef: 1536 }),
        ] {
            assert_eq!(SearchEffort::for_part(faces), effort, "{faces} faces");
        }
    }

    #[test]
    fn effort_never_falls_as_a_part_grows() {
        let ef = |faces| match SearchEffort::for_part(faces) {
            SearchEffort::Exact => 0,
            SearchEffort::Graph { ef } => ef,
        };
        let sizes: Vec<u64> = (0..25).map(|power| 1_u64 << power).collect();
        assert!(sizes.is_sorted_by_key(|faces| ef(*faces)));
    }
}
