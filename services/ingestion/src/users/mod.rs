//! CreateUser, DeleteUser, DisassociateFaces, by the protocol of [`vidimus_domain::user`]. What takes a user or its faces away
//! answers only when no face shows it any more; where that cannot be said yet, the answer is a retryable error: it is
//! decided and will be carried out.

mod associate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::{Audit, AuditedAction, UserChange};
use vidimus_domain::record::{Record, Write, disassociate};
use vidimus_domain::user::{Claim, Creation, Deletion, User, create, delete};
use vidimus_domain::{ErrorCode, FaceId, FaceNumber, Failure, ImageId, UserId};
use vidimus_proto::internal::v1;
use vidimus_runtime::client_tokens::{SeenToken, TokenUse};
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::{Read, Written};
use vidimus_runtime::requests::{
    NamedCollection, face_ids, named_collection, no_such_collection, no_such_user, user_status,
};
use vidimus_runtime::users::ReadUser;

use crate::Ingestion;
use crate::delete::{by_image, distinct};

/// Records that one request works on at a time.
const CONCURRENT_RECORDS: usize = 16;
/// How often a user or a record is read and decided anew before a request gives up.
const ATTEMPTS_MAX: usize = 64;

/// A request about a user of a collection that is there.
struct UserRequest {
    named: NamedCollection,
    collection: Arc<Collection>,
    caller: v1::Caller,
    user: UserId,
    token: SeenToken,
}

/// What every request about a user brings.
struct Asked<'a> {
    operation: &'static str,
    collection: Option<&'a v1::CollectionRef>,
    caller: Option<v1::Caller>,
    user_id: &'a str,
    client_token: &'a str,
    /// The request without its caller, whose trace id changes from one attempt to the next.
    parameters: Vec<u8>,
}

/// What became of one face that was to be taken from a user.
enum Fate {
    Taken,
    Unknown,
    HeldByOther(UserId),
}

impl Ingestion {
    pub(crate) async fn create_user(
        &self,
        mut request: v1::CreateUserRequest,
    ) -> Result<v1::CreateUserResponse, Failure> {
        let caller = request.caller.take();
        let asked = Asked {
            operation: "CreateUser",
            collection: request.collection.as_ref(),
            caller,
            user_id: &request.user_id,
            client_token: &request.client_token,
            parameters: request.encode_to_vec(),
        };
        let request = self.user_request(asked).await?;
        self.write_new_user(&request).await?;
        let live = self.deps.catalog.read_by_part(&request.named.part).await?;
        live.ok_or_else(|| no_such_collection(&request.named.name))?;
        self.audit_user(&request, UserChange::Created, Vec::new()).await?;
        Ok(v1::CreateUserResponse {})
    }

    async fn write_new_user(&self, request: &UserRequest) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read_user(request).await?;
            let new = (request.named.part, request.user.clone());
            match create(read.user.as_ref(), new, request.token.key, self.write(request)) {
                Creation::Write(user) => {
                    if self.users.write(&user, &read).await.map_err(failure_from_port)? == Written::Yes {
                        return Ok(());
                    }
                }
                Creation::AlreadyDone => return Ok(()),
                Creation::Exists => {
                    let message = format!("The user id: {} already exists", request.user);
                    return Err(Failure::new(ErrorCode::Conflict, message));
                }
                Creation::Unfinished => self.end_deletion(request).await?,
            }
        }
        Err(too_many_at_once())
    }

    pub(crate) async fn delete_user(
        &self,
        mut request: v1::DeleteUserRequest,
    ) -> Result<v1::DeleteUserResponse, Failure> {
        let caller = request.caller.take();
        let asked = Asked {
            operation: "DeleteUser",
            collection: request.collection.as_ref(),
            caller,
            user_id: &request.user_id,
            client_token: &request.client_token,
            parameters: request.encode_to_vec(),
        };
        let request = self.user_request(asked).await?;
        let husk = self.write_husk(&request).await?;
        // It is decided now, so it is audited now, whatever becomes of the answer.
        self.audit_user(&request, UserChange::Deleted, husk.faces).await?;
        self.end_deletion(&request).await?;
        Ok(v1::DeleteUserResponse {})
    }

    /// Brings the user to be deleted. Its faces are still to be released.
    async fn write_husk(&self, request: &UserRequest) -> Result<User, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read_user(request).await?;
            match (delete(read.user.as_ref(), request.token.key, self.write(request)), read.user.clone()) {
                (Deletion::Write(husk), _) => {
                    if self.users.write(&husk, &read).await.map_err(failure_from_port)? == Written::Yes {
                        return Ok(*husk);
                    }
                }
                (Deletion::Unfinished | Deletion::AlreadyDone, Some(husk)) => return Ok(husk),
                _ => return Err(no_such_user(&request.user)),
            }
        }
        Err(too_many_at_once())
    }

    /// Releases all faces of a deleted user.
    async fn end_deletion(&self, request: &UserRequest) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read_user(request).await?;
            let husk = read.user.as_ref().filter(|user| user.id.is_none() && !user.faces.is_empty());
            let Some(faces) = husk.map(|husk| husk.faces.clone()) else { return Ok(()) };
            let images = self.unclaim(request, &read, &faces).await?;
            if self.drop_faces(request, &read, (&faces, &images)).await? == Written::Yes {
                return Ok(());
            }
        }
        Err(too_many_at_once())
    }

    pub(crate) async fn disassociate(
        &self,
        mut request: v1::DisassociateFacesRequest,
    ) -> Result<v1::DisassociateFacesResponse, Failure> {
        let caller = request.caller.take();
        let asked = Asked {
            operation: "DisassociateFaces",
            collection: request.collection.as_ref(),
            caller,
            user_id: &request.user_id,
            client_token: &request.client_token,
            parameters: request.encode_to_vec(),
        };
        let faces = distinct(face_ids(&request.face_ids)?);
        let request = self.user_request(asked).await?;
        let read = self.read_user(&request).await?;
        let user = read.live().ok_or_else(|| no_such_user(&request.user))?;
        let fates = self.fates(&request, user, &faces).await?;
        let taken = faces.iter().copied().filter(|face| matches!(fates.get(face), Some(Fate::Taken)));
        let user = self.take_faces(&request, read.clone(), &taken.collect::<Vec<_>>()).await?;
        Ok(response(&faces, &fates, user_status(&user)))
    }

    /// What is to become of each face. One that is named by the user counts as its own even where its record does not claim
    /// it: an attempt before this one may have got so far.
    async fn fates(
        &self,
        request: &UserRequest,
        user: &User,
        faces: &[FaceId],
    ) -> Result<BTreeMap<FaceId, Fate>, Failure> {
        let records = self.read_records(request, faces).await?;
        let horizon = request.collection.retention.horizon(self.deps.clock.now());
        let held = |face: &FaceId| {
            let record = records.get(&face.image())?.record.as_ref()?;
            Some(record.face(face.number()?)?.live_at(horizon)?.user.clone())
        };
        let claims = faces.iter().filter_map(|face| held(face)?).collect::<Vec<_>>();
        let stale = self.users.stale(&request.collection, &claims).await.map_err(failure_from_port)?;
        let fate = |face: &FaceId| match held(face) {
            None => Fate::Unknown,
            Some(Some(claim)) if user.is_current(&claim) => Fate::Taken,
            Some(Some(claim)) if !stale.contains(&claim) => Fate::HeldByOther(claim.0),
            Some(_) if user.faces.contains(face) || request.token.again => Fate::Taken,
            Some(_) => Fate::Unknown,
        };
        Ok(faces.iter().map(|face| (*face, fate(face))).collect())
    }

    /// Takes faces from a user. Returns the user as it is then.
    async fn take_faces(
        &self,
        request: &UserRequest,
        mut read: ReadUser,
        faces: &[FaceId],
    ) -> Result<User, Failure> {
        for attempt in 0..ATTEMPTS_MAX {
            let user = read.live().ok_or_else(|| no_such_user(&request.user))?.clone();
            let own = user.faces.iter().copied().filter(|face| faces.contains(face)).collect::<Vec<_>>();
            let images = self.unclaim(request, &read, &own).await?;
            if attempt == 0 && !faces.is_empty() {
                self.audit_user(request, UserChange::Disassociated, faces.to_vec()).await?;
            }
            if own.is_empty() {
                return Ok(user);
            }
            if self.drop_faces(request, &read, (&own, &images)).await? == Written::Yes {
                return Ok(user.released(&own, self.write(request)));
            }
            read = self.read_user(request).await?;
        }
        Err(too_many_at_once())
    }

    /// Takes the claims of the user as read out of the records of these faces, and says so on the log. Returns what is to be
    /// projected.
    async fn unclaim(
        &self,
        request: &UserRequest,
        read: &ReadUser,
        faces: &[FaceId],
    ) -> Result<Vec<ImageId>, Failure> {
        let Some(user) = &read.user else { return Ok(Vec::new()) };
        let left: Claim = (request.user.clone(), user.generation);
        let images = by_image(faces);
        let unclaiming = images
            .iter()
            .map(|(image, numbers)| self.unclaim_image(request, (*image, numbers.as_slice()), &left));
        let unclaiming = unclaiming.collect::<Vec<_>>();
        stream::iter(unclaiming).buffer_unordered(CONCURRENT_RECORDS).try_collect::<Vec<()>>().await?;
        Ok(images.into_keys().collect())
    }

    async fn unclaim_image(
        &self,
        request: &UserRequest,
        (image, numbers): (ImageId, &[FaceNumber]),
        left: &Claim,
    ) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.records.read(&request.named.part, image).await.map_err(failure_from_port)?;
            let Some(before) = &read.record else { return Ok(()) };
            let Some(record) = disassociate(before, numbers, left, self.write(request)) else {
                // Nobody claims a face that is erased. Its point may not know yet that it is.
                return self.say_changed(before).await;
            };
            if self.records.write(&record, &read).await.map_err(failure_from_port)? == Written::Yes {
                return self.say_changed(&record).await;
            }
            self.metrics.lost_races.inc();
        }
        Err(too_many_at_once())
    }

    /// Has it projected that the faces are free, and drops them from the user as it was read.
    async fn drop_faces(
        &self,
        request: &UserRequest,
        read: &ReadUser,
        (faces, images): (&[FaceId], &[ImageId]),
    ) -> Result<Written, Failure> {
        let Some(user) = &read.user else { return Ok(Written::Yes) };
        let projected = self.project(&request.named.part, images, self.config.deletion_wait).await;
        projected.map_err(decided)?;
        let released = user.released(faces, self.write(request));
        self.users.write(&released, read).await.map_err(failure_from_port)
    }

    async fn user_request(&self, asked: Asked<'_>) -> Result<UserRequest, Failure> {
        let named = named_collection(asked.collection)?;
        let user = asked.user_id.parse::<UserId>()?;
        let live = self.deps.catalog.collection_by_part(&named.part).await?;
        let collection = live.ok_or_else(|| no_such_collection(&named.name))?;
        let token = TokenUse {
            operation: asked.operation,
            token: asked.client_token,
            parameters: *blake3::hash(&asked.parameters).as_bytes(),
        };
        let token = self.tokens.check(&collection, token).await?;
        Ok(UserRequest { named, collection, caller: asked.caller.unwrap_or_default(), user, token })
    }

    async fn read_user(&self, request: &UserRequest) -> Result<ReadUser, Failure> {
        self.users.read(&request.collection, &request.user).await.map_err(failure_from_port)
    }

    async fn read_records(
        &self,
        request: &UserRequest,
        faces: &[FaceId],
    ) -> Result<BTreeMap<ImageId, Read>, Failure> {
        let images = faces.iter().map(|face| face.image()).collect::<BTreeSet<_>>();
        let part = &request.named.part;
        let reads = images.into_iter().map(|image| async move {
            let read = self.records.read(part, image).await.map_err(failure_from_port)?;
            Ok::<_, Failure>((image, read))
        });
        let reads = reads.collect::<Vec<_>>();
        stream::iter(reads).buffer_unordered(CONCURRENT_RECORDS).try_collect().await
    }

    fn write(&self, request: &UserRequest) -> Write {
        let now = self.deps.clock.now();
        let cutoffs = request.collection.retention.cutoffs(now);
        Write { now, nonce: self.deps.random.nonce(), cutoffs }
    }

    async fn audit_user(
        &self,
        request: &UserRequest,
        change: UserChange,
        faces: Vec<FaceId>,
    ) -> Result<(), Failure> {
        let audit = Audit {
            part: request.named.part,
            collection: request.named.name.to_string(),
            request_id: request.caller.request_id.clone(),
            principal: request.caller.principal.clone(),
            at: self.deps.clock.now(),
            what: AuditedAction::UserChange { change, user: request.user.clone(), faces },
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(())
    }

    /// The claims on these faces whose user is no more: they hold up nothing.
    pub(crate) async fn stale_claims(
        &self,
        collection: &Collection,
        record: &Record,
        numbers: &[FaceNumber],
    ) -> Result<Vec<Claim>, Failure> {
        let held = record.faces.iter().filter(|face| numbers.contains(&face.number));
        let claims = held.filter_map(|face| face.live()?.user.clone()).collect::<Vec<_>>();
        self.users.stale(collection, &claims).await.map_err(failure_from_port)
    }
}

fn too_many_at_once() -> Failure {
    Failure::new(ErrorCode::Throttled, "the user or its faces are being changed by many at once; try again")
}

/// No record claims the faces for the user any more; only the caller cannot be told so yet.
fn decided(failure: Failure) -> Failure {
    tracing::warn!(%failure, "faces were taken from a user, and that is not projected yet");
    Failure::unavailable(
        "it is decided and will be carried out; ask again to hear that it is done",
        failure.retry_after.unwrap_or(Duration::from_secs(1)),
    )
}

fn response(
    faces: &[FaceId],
    fates: &BTreeMap<FaceId, Fate>,
    status: v1::UserStatus,
) -> v1::DisassociateFacesResponse {
    let mut response =
        v1::DisassociateFacesResponse { status: status.into(), ..v1::DisassociateFacesResponse::default() };
    for face in faces {
        let face_id = face.to_bytes().to_vec();
        let refused = |reason: &str, user_id: String| v1::UnassociatedFace {
            face_id: face_id.clone(),
            user_id,
            similarity: 0.0,
            reason: reason.to_owned(),
        };
        match fates.get(face) {
            Some(Fate::Taken) => response.disassociated.push(face_id),
            Some(Fate::HeldByOther(user)) => {
                response.not_disassociated.push(refused("ASSOCIATED_TO_A_DIFFERENT_USER", user.to_string()))
            }
            Some(Fate::Unknown) | None => {
                response.not_disassociated.push(refused("FACE_NOT_FOUND", String::new()));
            }
        }
    }
    response
}
