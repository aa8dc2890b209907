//! Reading points. Blocking.

use std::collections::HashMap;

use qdrant_edge::{
    CountRequest, Filter, NamedQuery, Payload, PointId, QuantizationSearchParams, QueryEnum, QueryRequest,
    Record, RetrieveRequest, ScoringQuery, ScrollRequest, SearchParams, VectorInternal, VectorStructInternal,
    WithPayloadInterface, WithVector,
};
use uuid::Uuid;
use vidimus_domain::point::{LivePoint, Point, PointBody};
use vidimus_domain::{FaceId, Part, Template};
use vidimus_ports::{Candidate, Hits, IndexSearch, ListedPoint, Listing, StoredSearch};

use crate::effort::SearchEffort;
use crate::error::{EdgeError, EdgeResult};
use crate::filter;
use crate::payload::{self, Stored};
use crate::shard::{Shard, VECTOR};

/// Which points a listing is to have.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Those after this one.
    pub after: Option<FaceId>,
    /// So many at most.
    pub limit: usize,
}

/// What the engine found.
struct Nearest {
    /// Best first.
    candidates: Vec<Candidate>,
    /// Whether expired faces may have taken the places of others.
    lacks_some: bool,
}

impl Shard {
    /// The points of these faces that are the part's.
    ///
    /// # Errors
    /// [`EdgeError::Payload`] where a point cannot be read; else where the engine fails.
    pub fn get(&self, part: &Part, faces: &[FaceId]) -> EdgeResult<Vec<Point>> {
        let request = RetrieveRequest {
            point_ids: faces.iter().map(|face| filter::point_id(*face)).collect(),
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: Some(WithVector::Bool(true)),
        };
        let mut points = Vec::with_capacity(faces.len());
        for record in self.engine.retrieve(request)? {
            let face = payload::face_id(record.id)?;
            if let Some(stored) = payload::decode(part, record.id, record.payload)? {
                points.push(point(face, stored, record.vector)?);
            }
        }
        Ok(points)
    }

    /// Searches with the given effort, or with that of the part's size.
    ///
    /// The engine checks each condition on every point that it comes by, a fifth of a search's time. So it is asked for one candidate more
    /// rather than to leave the probe out, and for expired ones too: few are there, since the ledger erases them, and only where one
    /// has taken the place of another candidate the engine is asked again for those that have not expired.
    ///
    /// The engine's own threshold leaves out what equals it, so it is not used. What an answer shows is read after the
    /// scores are known, only of candidates, and a face that was erased between is left out.
    ///
    /// # Errors
    /// [`EdgeError::Dimension`] where the probe has another; else where the engine fails.
    pub fn search(&self, search: &IndexSearch, effort: Option<SearchEffort>) -> EdgeResult<Hits> {
        let part = &search.gallery.part;
        let Some(expected) = self.dimension() else {
            return Ok(Hits { candidates: Vec::new(), gallery_faces: 0 });
        };
        let given = search.probe.dimension();
        if given != expected {
            return Err(EdgeError::Dimension { expected, given });
        }
        let gallery_faces = self.live_about(part, search.with_user_only)?;
        if search.limit == 0 || gallery_faces == 0 {
            return Ok(Hits { candidates: Vec::new(), gallery_faces });
        }
        let effort = effort.unwrap_or_else(|| SearchEffort::for_part(gallery_faces));
        let mut found = self.nearest(search, effort, filter::live(part))?;
        if found.lacks_some {
            found = self.nearest(search, effort, filter::live_at(part, search.horizon))?;
        }
        Ok(Hits { candidates: found.candidates, gallery_faces })
    }

    /// Searches by a face of the part; none where it is not there or cannot match.
    ///
    /// # Errors
    /// As [`Shard::get`] and [`Shard::search`].
    pub fn search_stored(&self, search: StoredSearch) -> EdgeResult<Option<Hits>> {
        let points = self.get(&search.gallery.part, &[search.face])?;
        search.probe(points).map(|probe| self.search(&search.by(probe), None)).transpose()
    }

    /// The candidates among the points of a filter.
    fn nearest(&self, search: &IndexSearch, effort: SearchEffort, mut filter: Filter) -> EdgeResult<Nearest> {
        if search.with_user_only {
            filter = filter::with_user(filter, &search.gallery.part);
        }
        let probe = VectorInternal::Dense(search.probe.values().to_vec());
        let limit = search.limit as usize + usize::from(search.without.is_some());
        let mut request = QueryRequest::new(limit);
        request.query = Some(ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery::new(probe, VECTOR))));
        request.filter = Some(filter);
        request.params = Some(params(effort));
        let mut scored: Vec<_> =
            self.engine.query(request)?.into_iter().map(|point| (point.id, point.score)).collect();
        scored.retain(|(_, cosine)| *cosine >= search.cosine_min);
        let there_may_be_more = scored.len() == limit;
        let without = search.without.map(filter::point_id);
        scored.retain(|(id, _)| Some(*id) != without);
        scored.truncate(search.limit as usize);
        let (candidates, has_expired) = self.candidates(search, scored)?;
        Ok(Nearest { candidates, lacks_some: has_expired && there_may_be_more })
    }

    /// What an answer shows of scored points, and whether some have expired and so are not among them.
    fn candidates(
        &self,
        search: &IndexSearch,
        scored: Vec<(PointId, f32)>,
    ) -> EdgeResult<(Vec<Candidate>, bool)> {
        let request = RetrieveRequest {
            point_ids: scored.iter().map(|(id, _)| *id).collect(),
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: Some(WithVector::Bool(false)),
        };
        let records = self.engine.retrieve(request)?;
        let mut payloads: HashMap<PointId, Option<Payload>> =
            records.into_iter().map(|record| (record.id, record.payload)).collect();
        let mut candidates = Vec::with_capacity(scored.len());
        let mut has_expired = false;
        for (id, cosine) in scored {
            let Some(found) = payloads.remove(&id) else { continue };
            let stored = payload::decode(&search.gallery.part, id, found)?;
            let Some(Stored::Live { shown, enrolled_at, expires_at, .. }) = stored else { continue };
            if search.horizon.shows(enrolled_at, expires_at) {
                candidates.push(Candidate { face: payload::face_id(id)?, cosine, shown });
            } else {
                has_expired = true;
            }
        }
        Ok((candidates, has_expired))
    }

    /// Live faces of the part, expired ones too, as the tenant index counts them: a look-up in each segment, exact but for
    /// what changed in segments that are just being optimised. Or those of them that have a user, in the same way.
    fn live_about(&self, part: &Part, with_user_only: bool) -> EdgeResult<u64> {
        let filter = if with_user_only { filter::live_with_user(part) } else { filter::live(part) };
        let request = CountRequest { filter: Some(filter), exact: false };
        Ok(self.engine.count(request)? as u64)
    }

    /// Points of such a listing, one by one.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn count(&self, part: &Part, listing: Listing) -> EdgeResult<u64> {
        let request = CountRequest { filter: Some(filter_of(part, listing)), exact: true };
        Ok(self.engine.count(request)? as u64)
    }

    /// A page of the part's points, by id. The engine orders UUIDs as numbers and begins *at* an id.
    ///
    /// # Errors
    /// [`EdgeError::Payload`] where a point cannot be read; else where the engine fails.
    pub fn scroll(&self, part: &Part, listing: Listing, page: Page) -> EdgeResult<Vec<ListedPoint>> {
        let limit = page.limit;
        let mut from = match page.after.map(|face| face.as_u128().checked_add(1)) {
            None => None,
            Some(Some(next)) => Some(PointId::Uuid(Uuid::from_u128(next))),
            Some(None) => return Ok(Vec::new()),
        };
        let mut listed = Vec::new();
        // A page is short where points changed while it was read: then it is filled from where it ended.
        while listed.len() < limit {
            let (records, next) = self.records(filter_of(part, listing), from, limit - listed.len())?;
            for record in records {
                listed.extend(listed_point(part, listing, record)?);
            }
            match next {
                Some(_) => from = next,
                None => break,
            }
        }
        Ok(listed)
    }

    fn records(
        &self,
        filter: Filter,
        from: Option<PointId>,
        limit: usize,
    ) -> EdgeResult<(Vec<Record>, Option<PointId>)> {
        let request = ScrollRequest {
            offset: from,
            limit: Some(limit),
            filter: Some(filter),
            with_payload: Some(WithPayloadInterface::Bool(true)),
            ..ScrollRequest::new()
        };
        Ok(self.engine.scroll(request)?)
    }
}

fn params(effort: SearchEffort) -> SearchParams {
    match effort {
        SearchEffort::Exact => SearchParams { exact: true, ..SearchParams::default() },
        SearchEffort::Graph { ef } => SearchParams {
            hnsw_ef: Some(ef),
            quantization: Some(QuantizationSearchParams {
                ignore: false,
                rescore: Some(true),
                oversampling: Some(2.0),
            }),
            ..SearchParams::default()
        },
    }
}

fn filter_of(part: &Part, listing: Listing) -> Filter {
    match listing {
        Listing::LiveAt(horizon) => filter::live_at(part, horizon),
        Listing::ExpiredAt(horizon) => filter::expired_at(part, horizon),
        Listing::Everything => filter::any(part),
    }
}

fn listed_point(part: &Part, listing: Listing, record: Record) -> EdgeResult<Option<ListedPoint>> {
    let face = payload::face_id(record.id)?;
    let listed = payload::decode(part, record.id, record.payload)?.map(|stored| stored.listed(face));
    let is_wanted = |point: &ListedPoint| listing == Listing::Everything || point.erased_at.is_none();
    Ok(listed.filter(is_wanted))
}

fn point(face: FaceId, stored: Stored, vector: Option<VectorStructInternal>) -> EdgeResult<Point> {
    match stored {
        Stored::Erased { version, erased_at } => {
            Ok(Point { face, version, body: PointBody::Erased { erased_at } })
        }
        Stored::Live { version, enrolled_at, expires_at, shown } => {
            let template = template(face, vector)?;
            let body = PointBody::Live(LivePoint { template, enrolled_at, expires_at, shown });
            Ok(Point { face, version, body })
        }
    }
}

fn template(face: FaceId, vector: Option<VectorStructInternal>) -> EdgeResult<Template> {
    let dense = match vector {
        Some(VectorStructInternal::Named(mut named)) => match named.remove(VECTOR) {
            Some(VectorInternal::Dense(values)) => Template::stored(values).ok(),
            _ => None,
        },
        _ => None,
    };
    let reason = "it is live and has no template".to_owned();
    dense.ok_or_else(|| EdgeError::Payload { point: face.to_string(), reason })
}
