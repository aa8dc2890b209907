//! AssociateFaces: records → decision → reservation in the user → claims over the records as read → change → answer.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use vidimus_domain::event::UserChange;
use vidimus_domain::record::{LiveFace, Record, associate};
use vidimus_domain::retention::Horizon;
use vidimus_domain::score::Calibration;
use vidimus_domain::user::{Claim, User};
use vidimus_domain::{ErrorCode, FaceId, FaceModelName, Failure, ImageId, Template, UserId};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::{Read, Written};
use vidimus_runtime::requests::{face_ids, no_such_collection, no_such_user, user_status};
use vidimus_runtime::users::ReadUser;

use super::{ATTEMPTS_MAX, Asked, UserRequest, too_many_at_once};
use crate::Ingestion;
use crate::delete::{by_image, distinct};

/// What is to become of one face.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// It is the user's already.
    Own,
    /// It is to be claimed.
    Claim,
    Unknown,
    HeldByOther(UserId),
    /// It is less like the user's faces than asked for: this cosine at best.
    TooUnlike(f32),
}

/// A decision upon what was read.
struct Decision {
    fates: Vec<(FaceId, Fate)>,
    /// Faces that the user names and that are erased.
    dead: Vec<FaceId>,
    /// Other faces that the user names and that are not its own: of attempts that died or are under way, or expired.
    idle: Vec<FaceId>,
}

/// When a face is like another, and which ones count.
struct Likeness<'a> {
    /// Whose templates are compared (I7).
    face_model: &'a FaceModelName,
    cosine_min: f32,
    horizon: Horizon,
}

impl Likeness<'_> {
    /// Fails where one of these faces can match and has no template of the model: the collection has turned to another one.
    fn check<'f>(&self, seen: &Seen, faces: impl Iterator<Item = &'f FaceId>) -> Result<(), Failure> {
        let lacks = |face: &FaceId| {
            let (record, face) = stored(&seen.records, *face)?;
            let live = face.live_at(self.horizon)?;
            Some(record.template_of(live, self.face_model).is_none())
        };
        match faces.filter_map(lacks).any(|lacks| lacks) {
            true => Err(Failure::unavailable(
                "the collection has turned to another face model; try again",
                Duration::from_secs(1),
            )),
            false => Ok(()),
        }
    }
}

/// What one attempt read.
struct Seen {
    user: ReadUser,
    records: BTreeMap<ImageId, Read>,
    stale: Vec<Claim>,
}

/// What came of an association.
struct Associated {
    user: User,
    fates: Vec<(FaceId, Fate)>,
    /// The records that hold its faces.
    records: Vec<Record>,
}

impl Ingestion {
    pub(crate) async fn associate(
        &self,
        mut request: v1::AssociateFacesRequest,
    ) -> Result<v1::AssociateFacesResponse, Failure> {
        let caller = request.caller.take();
        let asked = Asked {
            operation: "AssociateFaces",
            collection: request.collection.as_ref(),
            caller,
            user_id: &request.user_id,
            client_token: &request.client_token,
            parameters: request.encode_to_vec(),
        };
        let faces = distinct(face_ids(&request.face_ids)?);
        let threshold_similarity = request.threshold_similarity;
        let request = self.user_request(asked).await?;
        let known = self.deps.face_models.of(request.collection.face_model())?;
        self.backlog.check().await?;
        let cosine_min = known.calibration.cosine_of_similarity(threshold_similarity);
        let done = self.claim_faces(&request, &faces, cosine_min).await?;
        for record in &done.records {
            self.say_changed(record).await?;
        }
        let own = done.fates.iter().filter(|(_, fate)| matches!(fate, Fate::Own | Fate::Claim));
        let own = own.map(|(face, _)| *face).collect::<Vec<_>>();
        if !own.is_empty() {
            self.audit_user(&request, UserChange::Associated, own).await?;
            self.await_shown(&request, &done.records).await;
        }
        let live = self.deps.catalog.read_by_part(&request.named.part).await?;
        live.ok_or_else(|| no_such_collection(&request.named.name))?;
        Ok(association_response(&done, &known.calibration))
    }

    /// Reads, decides and writes until every face that is to be the user's is claimed in its record.
    async fn claim_faces(
        &self,
        request: &UserRequest,
        faces: &[FaceId],
        cosine_min: f32,
    ) -> Result<Associated, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let seen = self.look_at(request, faces).await?;
            let user = seen.user.live().ok_or_else(|| no_such_user(&request.user))?;
            let horizon = request.collection.retention.horizon(self.deps.clock.now());
            let likeness = Likeness { face_model: request.collection.face_model(), cosine_min, horizon };
            likeness.check(&seen, user.faces.iter().chain(faces))?;
            let decision = decide(user, &seen, faces, &likeness);
            let Some(user) = self.reserve(request, &seen, &decision).await? else { continue };
            if let Some(records) = self.claim(request, &user, &seen, &decision).await? {
                return Ok(Associated { user, fates: decision.fates, records });
            }
            self.metrics.lost_races.inc();
        }
        Err(too_many_at_once())
    }

    /// Reads the user, and then the records of its faces and of those that are to join them.
    async fn look_at(&self, request: &UserRequest, faces: &[FaceId]) -> Result<Seen, Failure> {
        let user = self.read_user(request).await?;
        let own = user.live().map(|user| user.faces.clone()).unwrap_or_default();
        let all = own.iter().chain(faces).copied().collect::<Vec<_>>();
        let records = self.read_records(request, &all).await?;
        let claims = faces.iter().filter_map(|face| stored(&records, *face)?.1.live()?.user.clone());
        let claims = claims.collect::<Vec<_>>();
        let stale = self.users.stale(&request.collection, &claims).await.map_err(failure_from_port)?;
        Ok(Seen { user, records, stale })
    }

    /// Names the faces in the user; none where that is to be decided anew.
    async fn reserve(
        &self,
        request: &UserRequest,
        seen: &Seen,
        decision: &Decision,
    ) -> Result<Option<User>, Failure> {
        let user = seen.user.live().ok_or_else(|| no_such_user(&request.user))?;
        let claimed = decision.claimed();
        if claimed.is_empty() {
            return Ok(Some(user.clone()));
        }
        let reserved = match user.reserved(&claimed, &decision.dead, self.write(request)) {
            Ok(reserved) => reserved,
            Err(full) => {
                let idle = decision.idle.iter().filter(|face| !claimed.contains(face)).copied();
                let idle = idle.collect::<Vec<_>>();
                if idle.is_empty() {
                    return Err(Failure::new(ErrorCode::QuotaExceeded, full.to_string()));
                }
                let images = self.unclaim(request, &seen.user, &idle).await?;
                self.drop_faces(request, &seen.user, (&idle, &images)).await?;
                return Ok(None);
            }
        };
        let written = self.users.write(&reserved, &seen.user).await.map_err(failure_from_port)?;
        Ok((written == Written::Yes).then_some(reserved))
    }

    /// Claims the faces over the records as they were read before the reservation. None where another was faster in one of
    /// them. Returns all records that hold faces of the request that are the user's.
    async fn claim(
        &self,
        request: &UserRequest,
        user: &User,
        seen: &Seen,
        decision: &Decision,
    ) -> Result<Option<Vec<Record>>, Failure> {
        let Some(claim) = user.claim() else { return Ok(None) };
        let (mut records, mut all_written) = (Vec::new(), true);
        for (image, numbers) in by_image(&decision.own()) {
            let Some((read, before)) =
                seen.records.get(&image).and_then(|read| Some((read, read.record.as_ref()?)))
            else {
                return Ok(None);
            };
            let association = associate(before, &numbers, &claim, &seen.stale, self.write(request));
            all_written &= association.claimed.len() == numbers.len();
            match association.record {
                None => records.push(before.clone()),
                Some(record) => {
                    let written = self.records.write(&record, read).await.map_err(failure_from_port)?;
                    all_written &= written == Written::Yes;
                    records.push(*record);
                }
            }
        }
        Ok(all_written.then_some(records))
    }

    /// Waits for the projection as long as configured, and no longer: the consumer of the log is the safety net.
    async fn await_shown(&self, request: &UserRequest, records: &[Record]) {
        let images = records.iter().map(|record| record.origin.image).collect::<Vec<_>>();
        let wait = self.config.searchable_wait;
        if let Err(failure) = self.project(&request.named.part, &images, wait).await {
            tracing::warn!(%failure, "an association is answered before it is searchable");
        }
    }
}

fn association_response(done: &Associated, calibration: &Calibration) -> v1::AssociateFacesResponse {
    let mut response = v1::AssociateFacesResponse {
        status: user_status(&done.user).into(),
        ..v1::AssociateFacesResponse::default()
    };
    for (face, fate) in &done.fates {
        let face_id = face.to_bytes().to_vec();
        let (reason, user_id, similarity) = match fate {
            Fate::Own | Fate::Claim => {
                response.associated.push(face_id);
                continue;
            }
            Fate::Unknown => ("FACE_NOT_FOUND", String::new(), 0.0),
            Fate::HeldByOther(user) => ("ASSOCIATED_TO_A_DIFFERENT_USER", user.to_string(), 0.0),
            Fate::TooUnlike(cosine) => {
                ("LOW_MATCH_CONFIDENCE", String::new(), calibration.similarity(*cosine))
            }
        };
        let reason = reason.to_owned();
        response.unassociated.push(v1::UnassociatedFace { face_id, user_id, similarity, reason });
    }
    response
}

impl Decision {
    fn claimed(&self) -> Vec<FaceId> {
        let claimed = self.fates.iter().filter(|(_, fate)| *fate == Fate::Claim);
        claimed.map(|(face, _)| *face).collect()
    }

    fn own(&self) -> Vec<FaceId> {
        let own = self.fates.iter().filter(|(_, fate)| matches!(fate, Fate::Own | Fate::Claim));
        own.map(|(face, _)| *face).collect()
    }
}

fn stored(
    records: &BTreeMap<ImageId, Read>,
    face: FaceId,
) -> Option<(&Record, &vidimus_domain::record::Face)> {
    let record = records.get(&face.image())?.record.as_ref()?;
    Some((record, record.face(face.number()?)?))
}

/// A face joins where it is enough like one of the user's, or of those that joined before it; the first of an empty user
/// joins whatever it looks like.
fn decide(user: &User, seen: &Seen, faces: &[FaceId], likeness: &Likeness<'_>) -> Decision {
    let live = |face: FaceId| -> Option<(&LiveFace, &Template)> {
        let (record, face) = stored(&seen.records, face)?;
        let live = face.live_at(likeness.horizon)?;
        Some((live, record.template_of(live, likeness.face_model)?))
    };
    let is_own = |live: &LiveFace| live.user.as_ref().is_some_and(|claim| user.is_current(claim));
    let mut like: Vec<&Template> = Vec::new();
    let (mut dead, mut idle) = (Vec::new(), Vec::new());
    for face in &user.faces {
        let is_there = stored(&seen.records, *face).is_some_and(|(_, face)| face.live().is_some());
        match live(*face) {
            Some((live, template)) if is_own(live) => like.push(template),
            // Whether a face has expired others may see otherwise for a while: it is let go as one that is not its own.
            _ if is_there => idle.push(*face),
            _ => dead.push(*face),
        }
    }
    let mut fates = Vec::with_capacity(faces.len());
    for face in faces {
        let fate = match live(*face) {
            None => Fate::Unknown,
            Some((live, _)) if is_own(live) => Fate::Own,
            Some((LiveFace { user: Some(claim), .. }, _)) if !seen.stale.contains(claim) => {
                Fate::HeldByOther(claim.0.clone())
            }
            Some((_, template)) => {
                let best = like.iter().map(|other| other.cosine(template)).max_by(f32::total_cmp);
                match best.filter(|best| *best < likeness.cosine_min) {
                    Some(best) => Fate::TooUnlike(best),
                    None => {
                        like.push(template);
                        Fate::Claim
                    }
                }
            }
        };
        fates.push((*face, fate));
    }
    Decision { fates, dead, idle }
}
