//! Searching, by a stored face or by a photo.

use std::sync::Arc;

use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::detected_to_proto;
use vidimus_domain::event::{Audit, AuditedAction, Probe};
use vidimus_domain::limits::{CANDIDATES_DEFAULT, CANDIDATES_MAX};
use vidimus_domain::point::PointBody;
use vidimus_domain::quality::QualityFilter;
use vidimus_domain::score::{Calibration, FMR_MIN, expected_strangers, false_match_rate_of_fpir};
use vidimus_domain::{ErrorCode, FaceId, Failure, Template};
use vidimus_ports::{Candidate, Hits, IndexSearch, Listing, StoredSearch};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::requests::{NamedCollection, face_view};
use vidimus_runtime::traces;

use crate::Query;
use crate::probe::no_face;

/// A search of a collection that is known.
struct Search {
    named: NamedCollection,
    collection: Arc<Collection>,
    caller: v1::Caller,
    by: By,
    faces_max: u32,
    threshold_similarity: f32,
    target_fpir: Option<f64>,
}

/// What is searched by.
enum By {
    /// A face of the collection.
    Stored(FaceId),
    /// The template of a photo's face, and the photo's digest.
    Photo(Template, [u8; 32]),
}

impl Query {
    pub(crate) async fn search_by_face(
        &self,
        request: v1::SearchFacesRequest,
    ) -> Result<v1::SearchResponse, Failure> {
        let (named, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let face = FaceId::from_bytes(&request.face_id)?;
        let search = Search {
            named,
            collection,
            caller: request.caller.unwrap_or_default(),
            by: By::Stored(face),
            faces_max: request.faces_max,
            threshold_similarity: request.threshold_similarity,
            target_fpir: request.target_fpir,
        };
        self.search(search).await
    }

    /// The template of a stored face that can match: the index checks that it is of this part (I1).
    pub(crate) async fn stored_template(
        &self,
        collection: &Collection,
        face: FaceId,
    ) -> Result<Template, Failure> {
        let index = &self.deps.index;
        let get = |gallery| async move { index.get(&gallery, &[face]).await };
        let points = self.looked_up(collection, get).await?;
        let horizon = collection.horizon(self.deps.clock.now());
        let template =
            points.into_iter().find(|point| point.face == face).and_then(|point| match point.body {
                PointBody::Live(live) if live.is_shown_at(horizon) => Some(live.template),
                _ => None,
            });
        template.ok_or_else(|| no_such_face(face))
    }

    pub(crate) async fn search_by_photo(
        &self,
        request: v1::SearchFacesByImageRequest,
    ) -> Result<v1::SearchResponse, Failure> {
        let (named, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let digest = *blake3::hash(&request.photo).as_bytes();
        let filter = QualityFilter::from(request.quality_filter());
        let by = (&collection.tenant, collection.face_model());
        let (face, _) = self.largest_and_others(by, request.photo, filter).await?;
        let face = face.ok_or_else(no_face)?;
        let search = Search {
            named,
            collection,
            caller: request.caller.unwrap_or_default(),
            by: By::Photo(face.template.clone(), digest),
            faces_max: request.faces_max,
            threshold_similarity: request.threshold_similarity,
            target_fpir: request.target_fpir,
        };
        let answer = self.search(search).await?;
        Ok(v1::SearchResponse { searched: Some(detected_to_proto(&face, false)), ..answer })
    }

    async fn search(&self, search: Search) -> Result<v1::SearchResponse, Failure> {
        let calibration = self.calibration(&search.collection)?;
        let asked = (search.threshold_similarity, search.target_fpir);
        let cosine_min = self.threshold(&search.collection, asked).await?;
        let hits = traces::step("search index", self.look_up(&search, cosine_min)).await?;
        self.audit_search(&search, cosine_min, &hits).await?;
        self.metrics.candidates.inc_by(hits.candidates.len() as u64);
        Ok(v1::SearchResponse {
            searched: None,
            candidates: hits.candidates.iter().map(|hit| candidate(calibration, hit)).collect(),
            meaning: Some(meaning(calibration, cosine_min, hits.gallery_faces)),
        })
    }

    /// The least cosine of a candidate: of the similarity that is asked for, or of the FPIR for a collection of this size.
    pub(crate) async fn threshold(
        &self,
        collection: &Collection,
        (similarity, target_fpir): (f32, Option<f64>),
    ) -> Result<f32, Failure> {
        let calibration = self.calibration(collection)?;
        let Some(target) = target_fpir else {
            return Ok(calibration.cosine_of_similarity(similarity));
        };
        let wrong = |message: String| Failure::new(ErrorCode::InvalidParameter, message);
        if target <= 0.0 || target >= 1.0 {
            return Err(wrong("the target FPIR must be more than 0 and less than 1".to_owned()));
        }
        let index = &self.deps.index;
        let listing = Listing::LiveAt(collection.horizon(self.deps.clock.now()));
        let count = |gallery| async move { index.count(&gallery, listing).await };
        let faces = self.looked_up(collection, count).await?;
        let rate = false_match_rate_of_fpir(target, faces);
        if rate < FMR_MIN {
            let needed = format!("among {faces} faces it takes a false match rate of {rate:.1e}");
            let known = format!("the calibration reaches {FMR_MIN:.0e}");
            return Err(wrong(format!("an FPIR of {target} cannot be promised: {needed}, {known}")));
        }
        Ok(calibration.cosine_of_false_match_rate(rate))
    }

    async fn look_up(&self, search: &Search, cosine_min: f32) -> Result<Hits, Failure> {
        let limit = faces_max(search.faces_max);
        let horizon = search.collection.horizon(self.deps.clock.now());
        let index = &self.deps.index;
        let began = tokio::time::Instant::now();
        let found = match &search.by {
            By::Stored(face) => {
                let ask = |gallery| {
                    index.search_stored(StoredSearch { gallery, face: *face, limit, cosine_min, horizon })
                };
                self.looked_up(&search.collection, ask).await?.ok_or_else(|| no_such_face(*face))?
            }
            By::Photo(template, _) => {
                let (without, with_user_only) = (None, false);
                let ask = |gallery| {
                    let probe = template.clone();
                    index.search(IndexSearch {
                        gallery,
                        probe,
                        without,
                        with_user_only,
                        limit,
                        cosine_min,
                        horizon,
                    })
                };
                self.looked_up(&search.collection, ask).await?
            }
        };
        self.metrics.index_seconds.observe(began.elapsed().as_secs_f64());
        let candidates = &found.candidates;
        let sorted = candidates.windows(2).all(|pair| pair[0].cosine >= pair[1].cosine);
        let bounded = candidates.len() <= limit as usize;
        let above = candidates.iter().all(|candidate| candidate.cosine >= cosine_min);
        self.deps.invariants.check("I6", sorted && bounded && above, "candidates of a search");
        Ok(found)
    }

    /// Appends the search's audit record; without it there is no answer (I8).
    async fn audit_search(&self, search: &Search, cosine_min: f32, hits: &Hits) -> Result<(), Failure> {
        let candidates = hits.candidates.iter().map(|hit| (hit.face, hit.cosine)).collect();
        let audit = Audit {
            part: search.named.part,
            collection: search.named.name.to_string(),
            request_id: search.caller.request_id.clone(),
            principal: search.caller.principal.clone(),
            at: self.deps.clock.now(),
            what: AuditedAction::Search {
                probe: match search.by {
                    By::Stored(face) => Probe::Face(face),
                    By::Photo(_, digest) => Probe::Photo(digest),
                },
                threshold_cosine: cosine_min,
                faces_max: faces_max(search.faces_max),
                gallery_faces: hits.gallery_faces,
                candidates,
            },
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(())
    }
}

fn no_such_face(face: FaceId) -> Failure {
    let message = format!("The face id: {face} was not found in the collection");
    Failure::new(ErrorCode::InvalidParameter, message)
}

/// Zero is the default.
fn faces_max(asked: u32) -> u32 {
    if asked == 0 { CANDIDATES_DEFAULT } else { asked.min(CANDIDATES_MAX) }
}

fn candidate(calibration: &Calibration, hit: &Candidate) -> v1::Candidate {
    v1::Candidate {
        face: Some(face_view(hit.face, &hit.shown)),
        similarity: calibration.similarity(hit.cosine),
        cosine: hit.cosine,
        false_match_rate: calibration.false_match_rate(hit.cosine).rate,
    }
}

pub(crate) fn meaning(calibration: &Calibration, cosine_min: f32, gallery_faces: u64) -> v1::ScoreMeaning {
    let fmr = calibration.false_match_rate(cosine_min);
    v1::ScoreMeaning {
        threshold_cosine: cosine_min,
        threshold_similarity: calibration.similarity(cosine_min),
        false_match_rate: fmr.rate,
        gallery_faces,
        expected_strangers: expected_strangers(fmr.rate, gallery_faces),
        extrapolated: fmr.extrapolated,
    }
}
