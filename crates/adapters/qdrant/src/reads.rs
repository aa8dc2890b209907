//! Reading points.

use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::{
    CountPoints, Filter, GetPoints, PointId, Query, QueryPoints, RetrievedPoint, ScoredPoint, ScrollPoints,
    VectorInput, VectorsOutput, vector_output,
};
use uuid::Uuid;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody};
use vidimus_domain::{FaceId, Part, Placement, Template};
use vidimus_ports::{Candidate, Hits, IndexSearch, ListedPoint, Listing};

use crate::counts::{Counted, Known, Writes};
use crate::effort::SearchEffort;
use crate::error::{QdrantError, QdrantResult};
use crate::filter;
use crate::index::QdrantIndex;
use crate::layout::VECTOR;
use crate::payload::{self, Stored};
use crate::request::{REQUEST_POINTS_MAX, majority, points, seconds};

/// Nothing found.
const NO_HITS: Hits = Hits { candidates: Vec::new(), gallery_faces: 0 };

/// What the server found.
struct Nearest {
    /// Best first.
    candidates: Vec<Candidate>,
    /// Whether expired faces may have taken the places of others.
    lacks_some: bool,
}

/// What a point is that the server found.
enum Scored {
    Candidate(Candidate),
    Expired,
    /// The probe, below the threshold, or erased meanwhile.
    Other,
}

impl QdrantIndex {
    pub(crate) async fn get_points(&self, gallery: &Gallery, faces: &[FaceId]) -> QdrantResult<Vec<Point>> {
        let wait = self.config.try_timeout;
        let mut found = Vec::with_capacity(faces.len());
        for faces in faces.chunks(REQUEST_POINTS_MAX) {
            let message = GetPoints {
                collection_name: self.layout.collection(&gallery.placement),
                ids: faces.iter().map(|face| filter::point_id(*face)).collect(),
                with_payload: crate::request::payload(true),
                with_vectors: crate::request::vectors(true),
                read_consistency: majority(),
                timeout: seconds(wait),
                ..GetPoints::default()
            };
            let answer = self
                .connections
                .call(wait, message, |service, request| async move { points(service).get(request).await })
                .await?;
            for retrieved in answer.result {
                found.extend(point(&gallery.part, retrieved)?);
            }
        }
        Ok(found)
    }

    /// The faces of the part are counted beside the search where their number was known before, and else first: the effort
    /// depends on it. What is known may be a few seconds old, so nothing is left out for its sake.
    pub(crate) async fn search_points(
        &self,
        search: &IndexSearch,
        effort: Option<SearchEffort>,
    ) -> QdrantResult<Hits> {
        let Some(expected) = self.layout.dimension(&search.gallery.placement).await? else {
            return Ok(NO_HITS);
        };
        let given = search.probe.dimension();
        if given != expected {
            return Err(QdrantError::Dimension { expected, given });
        }
        let counted = Counted { gallery: search.gallery.clone(), with_user_only: search.with_user_only };
        let by_size = |faces: u64| effort.unwrap_or_else(|| SearchEffort::for_part(faces));
        let (gallery_faces, candidates) = match self.counts.known(&counted) {
            Known::Fresh(faces) => (faces, self.candidates(search, by_size(faces)).await?),
            Known::Stale(faces, writes) => {
                tokio::try_join!(self.count_about(&counted, writes), self.candidates(search, by_size(faces)))?
            }
            Known::Nothing(writes) => {
                let faces = self.count_about(&counted, writes).await?;
                (faces, self.candidates(search, by_size(faces)).await?)
            }
        };
        Ok(Hits { candidates, gallery_faces })
    }

    /// Best first. Conditions are checked on every point that a search comes by, so the server is asked for expired faces too and for
    /// one more than the probe, and these are left out here; only where expired faces have taken the places of others is it asked
    /// again, for those that have not expired.
    async fn candidates(&self, search: &IndexSearch, effort: SearchEffort) -> QdrantResult<Vec<Candidate>> {
        if search.limit == 0 {
            return Ok(Vec::new());
        }
        let part = &search.gallery.part;
        let nearest = self.nearest(search, effort, filter::live(part)).await?;
        if !nearest.lacks_some {
            return Ok(nearest.candidates);
        }
        Ok(self.nearest(search, effort, filter::live_at(part, search.horizon)).await?.candidates)
    }

    /// The candidates among the points of a filter. The server may or may not take what equals the threshold; so it is given a
    /// smaller one, and the candidates are compared here. A face that was erased while the server collected the payloads is left out.
    async fn nearest(
        &self,
        search: &IndexSearch,
        effort: SearchEffort,
        mut filter: Filter,
    ) -> QdrantResult<Nearest> {
        if search.with_user_only {
            filter = filter::with_user(filter, &search.gallery.part);
        }
        let wait = self.config.try_timeout;
        let probe = VectorInput::from(search.probe.values().to_vec());
        let limit = search.limit as usize + usize::from(search.without.is_some());
        let message = QueryPoints {
            collection_name: self.layout.collection(&search.gallery.placement),
            query: Some(Query { variant: Some(Variant::Nearest(probe)) }),
            using: Some(VECTOR.to_owned()),
            filter: Some(filter),
            params: Some(effort.params()),
            score_threshold: Some(search.cosine_min.next_down()),
            limit: Some(limit as u64),
            with_payload: crate::request::payload(true),
            with_vectors: crate::request::vectors(false),
            read_consistency: majority(),
            timeout: seconds(wait),
            ..QueryPoints::default()
        };
        let answer = self
            .connections
            .call(wait, message, |service, request| async move { points(service).query(request).await })
            .await?;
        let there_may_be_more = answer.result.len() >= limit;
        let mut candidates = Vec::with_capacity(answer.result.len());
        let mut has_expired = false;
        for scored in answer.result {
            match candidate(search, scored)? {
                Scored::Candidate(candidate) => candidates.push(candidate),
                Scored::Expired => has_expired = true,
                Scored::Other => {}
            }
        }
        candidates.truncate(search.limit as usize);
        Ok(Nearest { candidates, lacks_some: has_expired && there_may_be_more })
    }

    /// As the tenant index counts them.
    async fn count_about(&self, counted: &Counted, writes: Writes) -> QdrantResult<u64> {
        let part = &counted.gallery.part;
        let filter = if counted.with_user_only { filter::live_with_user(part) } else { filter::live(part) };
        let faces = self.count_filtered(&counted.gallery, filter, false).await?;
        self.counts.keep(counted, faces, writes);
        Ok(faces)
    }

    pub(crate) async fn count_points(&self, gallery: &Gallery, listing: Listing) -> QdrantResult<u64> {
        self.count_filtered(gallery, filter_of(&gallery.part, listing), true).await
    }

    async fn count_filtered(&self, gallery: &Gallery, filter: Filter, exact: bool) -> QdrantResult<u64> {
        self.count_in(&gallery.placement, Some(filter), exact).await
    }

    /// How many points the placement has, whosoever they are: the one call that has no part, for it says nothing but a number to
    /// whoever may drop it.
    pub(crate) async fn count_everybodys(&self, placement: &Placement) -> QdrantResult<u64> {
        self.count_in(placement, None, true).await
    }

    async fn count_in(
        &self,
        placement: &Placement,
        filter: Option<Filter>,
        exact: bool,
    ) -> QdrantResult<u64> {
        let wait = self.config.try_timeout;
        let message = CountPoints {
            collection_name: self.layout.collection(placement),
            filter,
            exact: Some(exact),
            read_consistency: majority(),
            timeout: seconds(wait),
            ..CountPoints::default()
        };
        let answer = self
            .connections
            .call(wait, message, |service, request| async move { points(service).count(request).await })
            .await?;
        Ok(answer.result.ok_or(QdrantError::Incomplete("a count"))?.count)
    }

    /// A page of the part's points, by id. The server orders UUIDs as numbers and begins *at* an id.
    pub(crate) async fn scroll_points(
        &self,
        gallery: &Gallery,
        listing: Listing,
        page: Page,
    ) -> QdrantResult<Vec<ListedPoint>> {
        let mut from = match page.after.map(|face| face.as_u128().checked_add(1)) {
            None => None,
            Some(Some(next)) => Some(PointId::from(Uuid::from_u128(next).to_string())),
            Some(None) => return Ok(Vec::new()),
        };
        let mut listed = Vec::new();
        while listed.len() < page.limit {
            let limit = (page.limit - listed.len()).min(REQUEST_POINTS_MAX);
            let (retrieved, next) =
                self.retrieved(gallery, filter_of(&gallery.part, listing), from, limit).await?;
            for point in retrieved {
                listed.extend(listed_point(&gallery.part, listing, point)?);
            }
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        Ok(listed)
    }

    async fn retrieved(
        &self,
        gallery: &Gallery,
        filter: Filter,
        from: Option<PointId>,
        limit: usize,
    ) -> QdrantResult<(Vec<RetrievedPoint>, Option<PointId>)> {
        let wait = self.config.try_timeout;
        let message = ScrollPoints {
            collection_name: self.layout.collection(&gallery.placement),
            filter: Some(filter),
            offset: from,
            limit: Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            with_payload: crate::request::payload(true),
            with_vectors: crate::request::vectors(false),
            read_consistency: majority(),
            timeout: seconds(wait),
            ..ScrollPoints::default()
        };
        let answer = self
            .connections
            .call(wait, message, |service, request| async move { points(service).scroll(request).await })
            .await?;
        Ok((answer.result, answer.next_page_offset))
    }
}

/// Which points a listing is to have.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Those after this one.
    pub after: Option<FaceId>,
    /// So many at most.
    pub limit: usize,
}

fn filter_of(part: &Part, listing: Listing) -> Filter {
    match listing {
        Listing::LiveAt(horizon) => filter::live_at(part, horizon),
        Listing::ExpiredAt(horizon) => filter::expired_at(part, horizon),
        Listing::Everything => filter::any(part),
    }
}

fn candidate(search: &IndexSearch, scored: ScoredPoint) -> QdrantResult<Scored> {
    let id = scored.id.ok_or(QdrantError::Incomplete("a point's id"))?;
    let face = payload::face_id(&id)?;
    if search.without == Some(face) || scored.score < search.cosine_min {
        return Ok(Scored::Other);
    }
    Ok(match payload::decode(&search.gallery.part, &id, scored.payload)? {
        Some(Stored::Live { shown, enrolled_at, expires_at, .. }) => {
            match search.horizon.shows(enrolled_at, expires_at) {
                true => Scored::Candidate(Candidate { face, cosine: scored.score, shown }),
                false => Scored::Expired,
            }
        }
        _ => Scored::Other,
    })
}

fn listed_point(
    part: &Part,
    listing: Listing,
    retrieved: RetrievedPoint,
) -> QdrantResult<Option<ListedPoint>> {
    let id = retrieved.id.ok_or(QdrantError::Incomplete("a point's id"))?;
    let face = payload::face_id(&id)?;
    let listed = payload::decode(part, &id, retrieved.payload)?.map(|stored| stored.listed(face));
    let is_wanted = |point: &ListedPoint| listing == Listing::Everything || point.erased_at.is_none();
    Ok(listed.filter(is_wanted))
}

fn point(part: &Part, retrieved: RetrievedPoint) -> QdrantResult<Option<Point>> {
    let id = retrieved.id.ok_or(QdrantError::Incomplete("a point's id"))?;
    let face = payload::face_id(&id)?;
    Ok(match payload::decode(part, &id, retrieved.payload)? {
        None => None,
        Some(Stored::Erased { version, erased_at }) => {
            Some(Point { face, version, body: PointBody::Erased { erased_at } })
        }
        Some(Stored::Live { version, enrolled_at, expires_at, shown }) => {
            let template = template(face, retrieved.vectors)?;
            let body = PointBody::Live(LivePoint { template, enrolled_at, expires_at, shown });
            Some(Point { face, version, body })
        }
    })
}

fn template(face: FaceId, vectors: Option<VectorsOutput>) -> QdrantResult<Template> {
    let template = match vectors.and_then(|vectors| vectors.get_vector_by_name(VECTOR)) {
        Some(vector_output::Vector::Dense(dense)) => Template::stored(dense.data).ok(),
        _ => None,
    };
    let reason = "it is live and has no template".to_owned();
    template.ok_or_else(|| QdrantError::Payload { point: face.to_string(), reason })
}
