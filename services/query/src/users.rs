//! Searching for users, and listing them. There are no user vectors: a search for users is a search over the faces that have
//! one, grouped by user, and a user's score is its best face's. What a face's point says of its user is checked with the user
//! itself: one that is deleted, or created anew since, is not answered.
//!
//! A search by a stored face may answer the face's own user, by that very face: it belongs to it. A search by a user leaves
//! that user out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::detected_to_proto;
use vidimus_domain::event::{Audit, AuditedAction, UserCandidate, UserProbe, UserSearch};
use vidimus_domain::limits::{CANDIDATES_DEFAULT, FACES_PER_USER_MAX, USERS_MAX};
use vidimus_domain::point::PointBody;
use vidimus_domain::quality::QualityFilter;
use vidimus_domain::user::{Claim, User, UserKey};
use vidimus_domain::{ErrorCode, FaceId, Failure, Template, UserId};
use vidimus_ports::IndexSearch;
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::search_users_request::Probe;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::requests::{
    NamedCollection, face_view, named_collection, no_such_collection, no_such_user, user_status,
};
use vidimus_runtime::traces;

use crate::Query;
use crate::search::meaning;

/// Faces that one search of the index is first asked for, for each user that is wanted: it is asked for more where they
/// are of fewer users.
const FACES_PER_USER_GUESSED: u32 = 4;
/// Faces that the index is asked for at most: those of as many users as an answer may have.
const FACES_MAX: u32 = USERS_MAX * FACES_PER_USER_MAX as u32;

/// A search for users of a collection that is known.
struct Search {
    named: NamedCollection,
    collection: Arc<Collection>,
    caller: v1::Caller,
    probe: UserProbe,
    /// All that is searched for.
    templates: Vec<Template>,
    /// The probe's own user, which is left out.
    without: Option<UserId>,
    users_max: u32,
    threshold_similarity: f32,
    target_fpir: Option<f64>,
}

/// Users as found so far.
#[derive(Default)]
struct Found {
    /// The best face of each.
    best: HashMap<UserId, (FaceId, f32)>,
    /// Whether the user of a claim is there in that very life.
    is_current: HashMap<Claim, bool>,
    /// Faces that were searched.
    gallery_faces: u64,
}

impl Query {
    pub(crate) async fn search_users_by_stored(
        &self,
        request: v1::SearchUsersRequest,
    ) -> Result<v1::SearchUsersResponse, Failure> {
        let (named, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let (probe, templates, without) = match request.probe {
            Some(Probe::FaceId(bytes)) => {
                let face = FaceId::from_bytes(&bytes)?;
                let template = self.stored_template(&collection, face).await?;
                (UserProbe::Face(face), vec![template], None)
            }
            Some(Probe::UserId(id)) => {
                let user = self.live_user(&collection, &id.parse()?).await?;
                let id = id.parse::<UserId>()?;
                let templates = self.templates_of(&collection, &user).await?;
                (UserProbe::User(id.clone()), templates, Some(id))
            }
            None => {
                let message = "the request names neither a face nor a user";
                return Err(Failure::new(ErrorCode::InvalidParameter, message));
            }
        };
        let search = Search {
            named,
            collection,
            caller: request.caller.unwrap_or_default(),
            probe,
            templates,
            without,
            users_max: users_max(request.users_max, CANDIDATES_DEFAULT),
            threshold_similarity: request.threshold_similarity,
            target_fpir: request.target_fpir,
        };
        self.search_for_users(search).await
    }

    pub(crate) async fn search_users_by_photo(
        &self,
        request: v1::SearchUsersByImageRequest,
    ) -> Result<v1::SearchUsersResponse, Failure> {
        let (named, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let digest = *blake3::hash(&request.photo).as_bytes();
        let filter = QualityFilter::from(request.quality_filter());
        let by = (&collection.tenant, collection.face_model());
        let (searched, unsearched) = self.largest_and_others(by, request.photo, filter).await?;
        let search = Search {
            named,
            collection,
            caller: request.caller.unwrap_or_default(),
            probe: UserProbe::Photo(digest),
            templates: searched.iter().map(|face| face.template.clone()).collect(),
            without: None,
            users_max: users_max(request.users_max, CANDIDATES_DEFAULT),
            threshold_similarity: request.threshold_similarity,
            target_fpir: request.target_fpir,
        };
        let answer = self.search_for_users(search).await?;
        let searched = searched.map(|face| detected_to_proto(&face, false));
        Ok(v1::SearchUsersResponse { searched, unsearched, ..answer })
    }

    async fn live_user(&self, collection: &Collection, id: &UserId) -> Result<User, Failure> {
        let read = self.users.read(collection, id).await.map_err(failure_from_port)?;
        read.live().cloned().ok_or_else(|| no_such_user(id))
    }

    /// The templates of a user's live faces, as the index has them.
    async fn templates_of(&self, collection: &Collection, user: &User) -> Result<Vec<Template>, Failure> {
        let index = &self.deps.index;
        let get = |gallery| async move { index.get(&gallery, &user.faces).await };
        let points = self.looked_up(collection, get).await?;
        let horizon = collection.horizon(self.deps.clock.now());
        let own = points.into_iter().filter_map(|point| match point.body {
            PointBody::Live(live) if live.is_shown_at(horizon) && live.shown.user == user.claim() => {
                Some(live.template)
            }
            _ => None,
        });
        Ok(own.collect())
    }

    async fn search_for_users(&self, search: Search) -> Result<v1::SearchUsersResponse, Failure> {
        let calibration = self.calibration(&search.collection)?;
        let asked = (search.threshold_similarity, search.target_fpir);
        let cosine_min = self.threshold(&search.collection, asked).await?;
        let mut found = Found::default();
        for template in &search.templates {
            self.add_users_near(&search, (template, cosine_min), &mut found).await?;
        }
        let candidates = found.candidates(search.users_max as usize);
        let sorted = candidates.is_sorted_by(|left, right| left.cosine >= right.cosine);
        let above = candidates.iter().all(|candidate| candidate.cosine >= cosine_min);
        self.deps.invariants.check("I6", sorted && above, "users of a search");
        self.audit_user_search(&search, (cosine_min, found.gallery_faces), &candidates).await?;
        let candidate = |candidate: &UserCandidate| v1::UserCandidate {
            user_id: candidate.user.to_string(),
            similarity: calibration.similarity(candidate.cosine),
            cosine: candidate.cosine,
            false_match_rate: calibration.false_match_rate(candidate.cosine).rate,
            // It was found by one of its faces.
            status: v1::UserStatus::Active.into(),
        };
        let mut meaning = meaning(calibration, cosine_min, found.gallery_faces);
        // Each template is compared with every face.
        meaning.expected_strangers *= search.templates.len() as f64;
        Ok(v1::SearchUsersResponse {
            users: candidates.iter().map(candidate).collect(),
            meaning: Some(meaning),
            searched: None,
            unsearched: Vec::new(),
        })
    }

    /// Adds the users nearest to one template: as many as are wanted, or all that reach the threshold. The index is asked for
    /// more and more faces until they are of as many users.
    async fn add_users_near(
        &self,
        search: &Search,
        (template, cosine_min): (&Template, f32),
        found: &mut Found,
    ) -> Result<(), Failure> {
        let mut limit = (search.users_max * FACES_PER_USER_GUESSED).min(FACES_MAX);
        loop {
            let horizon = search.collection.horizon(self.deps.clock.now());
            let ask = |gallery| {
                let (probe, without, with_user_only) = (template.clone(), None, true);
                self.deps.index.search(IndexSearch {
                    gallery,
                    probe,
                    without,
                    with_user_only,
                    limit,
                    cosine_min,
                    horizon,
                })
            };
            let began = tokio::time::Instant::now();
            let hits = traces::step("search index", self.looked_up(&search.collection, ask)).await?;
            self.metrics.index_seconds.observe(began.elapsed().as_secs_f64());
            let claims = hits.candidates.iter().filter_map(|hit| hit.shown.user.clone()).collect::<Vec<_>>();
            self.look_at(&search.collection, &claims, found).await?;
            found.gallery_faces = found.gallery_faces.max(hits.gallery_faces);
            let mut users = HashSet::new();
            for hit in &hits.candidates {
                let claim =
                    hit.shown.user.as_ref().filter(|claim| found.is_current.get(claim) == Some(&true));
                let Some((user, _)) = claim.filter(|claim| Some(&claim.0) != search.without.as_ref()) else {
                    continue;
                };
                users.insert(user.clone());
                let best = found.best.entry(user.clone()).or_insert((hit.face, hit.cosine));
                if hit.cosine > best.1 {
                    *best = (hit.face, hit.cosine);
                }
            }
            let all = hits.candidates.len() < limit as usize || limit == FACES_MAX;
            if all || users.len() >= search.users_max as usize {
                return Ok(());
            }
            limit = (limit * 4).min(FACES_MAX);
        }
    }

    /// Finds out of which claims the users are there.
    async fn look_at(
        &self,
        collection: &Collection,
        claims: &[Claim],
        found: &mut Found,
    ) -> Result<(), Failure> {
        let new = claims.iter().filter(|claim| !found.is_current.contains_key(*claim)).cloned();
        let new = new.collect::<Vec<_>>();
        let stale = self.users.stale(collection, &new).await.map_err(failure_from_port)?;
        for claim in new {
            let is_current = !stale.contains(&claim);
            found.is_current.insert(claim, is_current);
        }
        Ok(())
    }

    /// Appends the search's audit record; without it there is no answer (I8).
    async fn audit_user_search(
        &self,
        search: &Search,
        (threshold_cosine, gallery_faces): (f32, u64),
        candidates: &[UserCandidate],
    ) -> Result<(), Failure> {
        let audit = Audit {
            part: search.named.part,
            collection: search.named.name.to_string(),
            request_id: search.caller.request_id.clone(),
            principal: search.caller.principal.clone(),
            at: self.deps.clock.now(),
            what: AuditedAction::UserSearch(UserSearch {
                probe: search.probe.clone(),
                threshold_cosine,
                users_max: search.users_max,
                gallery_faces,
                candidates: candidates.to_vec(),
            }),
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(())
    }

    pub(crate) async fn list_live_users(
        &self,
        request: v1::ListUsersRequest,
    ) -> Result<v1::ListUsersResponse, Failure> {
        let named = named_collection(request.collection.as_ref())?;
        let live = self.deps.catalog.collection_by_part(&named.part).await?;
        live.ok_or_else(|| no_such_collection(&named.name))?;
        let after = match request.after.as_slice() {
            [] => None,
            bytes => Some(UserKey::from_bytes(bytes)?),
        };
        let limit = users_max(request.users_max, USERS_MAX) as usize;
        let page = self.users.page(&named.part, after, limit).await.map_err(failure_from_port)?;
        let more = page.len() == limit;
        let last = page.last().filter(|_| more).map(|(key, _)| key.to_bytes().to_vec());
        let listed = page.iter().filter_map(|(_, user)| {
            let user_id = user.id.as_ref()?.to_string();
            Some(v1::ListedUser { user_id, status: user_status(user).into() })
        });
        Ok(v1::ListUsersResponse { users: listed.collect(), last: last.unwrap_or_default() })
    }

    /// A page of a user's live faces, in the order of their ids; of `among` where that is not empty.
    pub(crate) async fn faces_of_user(
        &self,
        collection: &Collection,
        user: &UserId,
        (among, after, limit): (&[FaceId], Option<FaceId>, usize),
    ) -> Result<v1::ListFacesResponse, Failure> {
        let user = self.live_user(collection, user).await?;
        let named = user.faces.iter().filter(|face| among.is_empty() || among.contains(face)).copied();
        let named = named.collect::<Vec<_>>();
        let (index, named) = (&self.deps.index, &named);
        let get = |gallery| async move { index.get(&gallery, named).await };
        let mut points = self.looked_up(collection, get).await?;
        points.sort_by_key(|point| point.face);
        let horizon = collection.horizon(self.deps.clock.now());
        let mut views = points
            .iter()
            .filter(|point| after.is_none_or(|after| point.face > after))
            .filter_map(|point| match &point.body {
                PointBody::Live(live) if live.is_shown_at(horizon) && live.shown.user == user.claim() => {
                    Some(face_view(point.face, &live.shown))
                }
                _ => None,
            });
        let faces = views.by_ref().take(limit).collect::<Vec<_>>();
        let last = faces.last().filter(|_| views.next().is_some()).map(|face| face.face_id.clone());
        Ok(v1::ListFacesResponse { faces, last_face_id: last.unwrap_or_default() })
    }
}

impl Found {
    /// The best users, best first.
    fn candidates(&self, users_max: usize) -> Vec<UserCandidate> {
        let candidate = |(user, (face, cosine)): (&UserId, &(FaceId, f32))| UserCandidate {
            user: user.clone(),
            face: *face,
            cosine: *cosine,
        };
        let mut candidates = self.best.iter().map(candidate).collect::<Vec<_>>();
        candidates.sort_by(|left, right| {
            right.cosine.total_cmp(&left.cosine).then_with(|| left.user.cmp(&right.user))
        });
        candidates.truncate(users_max);
        candidates
    }
}

/// Zero is the default.
fn users_max(asked: u32, default: u32) -> u32 {
    if asked == 0 { default } else { asked.min(USERS_MAX) }
}
