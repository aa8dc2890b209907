//! Users: ingestion creates, deletes, associates and disassociates, by the protocol of `vidimus_domain::user`.

use std::collections::BTreeMap;

use vidimus_domain::record::{Record, Write, associate, disassociate, is_fresh};
use vidimus_domain::user::{Claim, Creation, Deletion, TokenKey, User, UserKey, create, delete};
use vidimus_domain::{FaceId, FaceNumber, ImageId, UnixMillis, UserId};

use crate::blobs::Put;
use crate::executor::{Lost, Process};
use crate::ingestion::project_now;
use crate::random::hours;
use crate::records::{Read, Written};
use crate::rules::Rule;
use crate::world::Cause;

const KEY: [u8; 32] = [7; 32];

pub fn key(user: &UserId) -> UserKey {
    UserKey::of(&KEY, user)
}

pub fn token(text: &str) -> TokenKey {
    TokenKey::of(&KEY, "operation", text)
}

/// A user as it was read, or its absence.
pub struct ReadUser {
    pub user: Option<User>,
    etag: Option<u64>,
    at: UnixMillis,
}

/// A claim and the record that is to hold it.
struct Claiming {
    read: Read,
    record: Record,
}

impl Process {
    fn write(&self) -> Write {
        Write { now: self.now(), nonce: self.nonce(), cutoffs: self.cutoffs() }
    }

    pub async fn read_user(&self, id: &UserId) -> Result<ReadUser, Lost> {
        let (at, key) = (self.now(), key(id));
        let stored = self.effect(format!("reads user {id}"), move |world| world.blobs.user(key)).await?;
        let (user, etag) = stored.map_or((None, None), |(user, etag)| (Some(user), Some(etag)));
        Ok(ReadUser { user, etag, at })
    }

    async fn write_user(&self, id: &UserId, user: &User, over: &ReadUser) -> Result<Written, Lost> {
        if !is_fresh(over.at, self.now()) {
            return Ok(Written::ReadAgain);
        }
        let (written, etag, key) = (user.clone(), over.etag, key(id));
        let name = format!("writes user {id}: live {}, {} faces", user.id.is_some(), user.faces.len());
        let put = self.effect(name, move |world| world.put_user(key, &written, etag)).await?;
        if put == Put::Done {
            return Ok(Written::Yes);
        }
        let now = self.read_user(id).await?;
        let ours = now.user.is_some_and(|stored| stored.nonce == user.nonce);
        self.count(if ours {
            "a writer of a user knew its write again"
        } else {
            "a writer of a user was too late"
        });
        Ok(if ours { Written::Yes } else { Written::ReadAgain })
    }
}

/// Creates a user, after it has ended what an earlier deletion left. False where there is one already.
pub async fn create_user(process: &Process, id: &UserId, token: TokenKey) -> Result<Option<User>, Lost> {
    loop {
        let read = process.read_user(id).await?;
        let part = process.with(|world| world.part);
        let mut before = read.user.clone();
        if let Some(before) = before.as_mut().filter(|_| !process.keeps(Rule::CreationEndsDeletion)) {
            before.faces.clear();
        }
        match create(before.as_ref(), (part, id.clone()), Some(token), process.write()) {
            Creation::Write(mut user) => {
                if !process.keeps(Rule::GenerationsGrow) {
                    user.generation = 1;
                }
                if process.write_user(id, &user, &read).await? == Written::Yes {
                    return Ok(Some(*user));
                }
            }
            Creation::AlreadyDone | Creation::Exists => return Ok(None),
            Creation::Unfinished => {
                process.count("a creation ended a deletion");
                release(process, id).await?;
            }
        }
    }
}

/// Deletes a user: on return no record and no point shows it. Returns the generation that is gone.
pub async fn delete_user(process: &Process, id: &UserId, token: TokenKey) -> Result<Option<u64>, Lost> {
    loop {
        let read = process.read_user(id).await?;
        match delete(read.user.as_ref(), Some(token), process.write()) {
            Deletion::Write(mut husk) => {
                if !process.keeps(Rule::HusksNameFaces) {
                    husk.faces.clear();
                }
                if process.write_user(id, &husk, &read).await? == Written::Yes {
                    release(process, id).await?;
                    return Ok(Some(husk.generation));
                }
            }
            Deletion::Unfinished => {
                process.count("a retry ended a deletion of a user");
                release(process, id).await?;
                return Ok(read.user.map(|user| user.generation));
            }
            Deletion::AlreadyDone => return Ok(read.user.map(|user| user.generation)),
            Deletion::Unknown => return Ok(None),
        }
    }
}

/// Ends what the deletion of a user has left.
async fn release(process: &Process, id: &UserId) -> Result<(), Lost> {
    loop {
        let read = process.read_user(id).await?;
        let left = read.user.as_ref().filter(|user| user.id.is_none() && !user.faces.is_empty());
        let Some(faces) = left.map(|user| user.faces.clone()) else { return Ok(()) };
        if release_faces(process, id, (read, &faces)).await? == Written::Yes {
            return Ok(());
        }
    }
}

/// Takes the claims of these faces out of their records, has that projected, and drops the faces over the user as read.
async fn release_faces(
    process: &Process,
    id: &UserId,
    (read, faces): (ReadUser, &[FaceId]),
) -> Result<Written, Lost> {
    let Some(user) = &read.user else { return Ok(Written::Yes) };
    let left = (id.clone(), user.generation);
    for (image, numbers) in by_image(faces) {
        unclaim(process, image, &numbers, &left).await?;
    }
    let over = if process.keeps(Rule::DroppedOverRead) { read } else { process.read_user(id).await? };
    let Some(user) = &over.user else { return Ok(Written::Yes) };
    let written = process.write_user(id, &user.released(faces, process.write()), &over).await?;
    if written == Written::ReadAgain {
        process.count("faces were released again");
    }
    Ok(written)
}

async fn unclaim(
    process: &Process,
    image: ImageId,
    numbers: &[FaceNumber],
    left: &Claim,
) -> Result<(), Lost> {
    loop {
        let read = process.read_record(image).await?;
        let Some(before) = &read.record else { return Ok(()) };
        let record = disassociate(before, numbers, left, process.write());
        let none_claimed = before.faces.iter().filter(|face| numbers.contains(&face.number)).all(|face| {
            face.live().is_none_or(|live| live.user.as_ref().is_none_or(|held| held.0 != left.0))
        });
        let record = record.filter(|_| !none_claimed || process.keeps(Rule::UnclaimingWrites));
        let horizon = process.write().horizon();
        let lives = before.live_faces(horizon).any(|(face, _)| numbers.contains(&face.number));
        let record = record.filter(|_| lives || process.keeps(Rule::UnclaimingSparesNoExpired));
        if let Some(record) = &record
            && process.write_record(record, &read, Cause::Disassociation).await? != Written::Yes
        {
            continue;
        }
        process.append_change_of(record.as_ref().unwrap_or(before)).await?;
        if process.keeps(Rule::ReleaseProjects) {
            project_now(process, image, hours(1)).await?;
        }
        return Ok(());
    }
}

/// Associates faces. Returns those that are the user's now; none where there is no such user.
pub async fn associate_faces(
    process: &Process,
    id: &UserId,
    faces: &[FaceId],
) -> Result<Option<(u64, Vec<FaceId>)>, Lost> {
    loop {
        let read = process.read_user(id).await?;
        let Some(user) = read.user.clone().filter(|user| user.id.is_some()) else { return Ok(None) };
        let (mut claimed, mut claiming) = decide(process, &user, faces).await?;
        let wanted = claiming
            .iter()
            .flat_map(|claiming| new_claims(&claiming.read, &claiming.record))
            .collect::<Vec<_>>();
        let named = wanted.iter().all(|face| user.faces.contains(face));
        if !wanted.is_empty() && (!named || process.keeps(Rule::ReservingWrites)) {
            let reserved = user.reserved(&wanted, &[], process.write()).expect("there is room for a few");
            if process.write_user(id, &reserved, &read).await? == Written::ReadAgain {
                continue;
            }
        }
        if !process.keeps(Rule::RecordsReadBeforeReserving) {
            (claimed, claiming) = decide(process, &user, faces).await?;
        }
        let mut lost = false;
        for Claiming { read, record } in &claiming {
            lost |= process.write_record(record, read, Cause::Association).await? == Written::ReadAgain;
        }
        if lost {
            process.count("a claim came too late");
            continue;
        }
        for image in by_image(&claimed).into_keys() {
            if let Some(record) = process.read_record(image).await?.record {
                process.append_change_of(&record).await?;
            }
            let _ = project_now(process, image, std::time::Duration::from_secs(1)).await;
        }
        return Ok(Some((user.generation, claimed)));
    }
}

/// Reads the records of `faces` and decides which are the user's, by this or before.
async fn decide(
    process: &Process,
    user: &User,
    faces: &[FaceId],
) -> Result<(Vec<FaceId>, Vec<Claiming>), Lost> {
    let (mut claimed, mut claiming) = (Vec::new(), Vec::new());
    let claim = user.claim().expect("it is live");
    for (image, numbers) in by_image(faces) {
        let read = process.read_record(image).await?;
        let Some(before) = &read.record else { continue };
        let stale = stale_claims(process, before, &numbers).await?;
        let association = associate(before, &numbers, &claim, &stale, process.write());
        claimed.extend(association.claimed.iter().map(|number| image.face(*number)));
        if let Some(record) = association.record {
            claiming.push(Claiming { record: *record, read });
        }
    }
    Ok((claimed, claiming))
}

fn new_claims(read: &Read, record: &Record) -> Vec<FaceId> {
    let had = |number| read.record.as_ref().and_then(|before| before.face(number)?.live()?.user.clone());
    let now = record.faces.iter().filter_map(|face| Some((face.number, face.live()?.user.clone()?)));
    now.filter(|(number, user)| had(*number).as_ref() != Some(user))
        .map(|(number, _)| record.face_id(number))
        .collect()
}

/// Takes faces from a user; none where there is no such user.
pub async fn disassociate_faces(
    process: &Process,
    id: &UserId,
    faces: &[FaceId],
) -> Result<Option<()>, Lost> {
    loop {
        let read = process.read_user(id).await?;
        let Some(user) = read.user.as_ref().filter(|user| user.id.is_some()) else { return Ok(None) };
        let own = user.faces.iter().copied().filter(|face| faces.contains(face)).collect::<Vec<_>>();
        if own.is_empty() || release_faces(process, id, (read, &own)).await? == Written::Yes {
            return Ok(Some(()));
        }
    }
}

/// Those of the claims on these faces whose user, or whose life of it, is no more.
pub async fn stale_claims(
    process: &Process,
    record: &Record,
    numbers: &[FaceNumber],
) -> Result<Vec<Claim>, Lost> {
    let held = record.faces.iter().filter(|face| numbers.contains(&face.number));
    let mut stale = Vec::new();
    for claim in held.filter_map(|face| face.live()?.user.clone()) {
        let user = process.read_user(&claim.0).await?.user;
        if user.is_none_or(|user| !user.is_current(&claim)) || !process.keeps(Rule::HeldFacesStay) {
            process.count("a stale claim was met");
            stale.push(claim);
        }
    }
    Ok(stale)
}

pub fn by_image(faces: &[FaceId]) -> BTreeMap<ImageId, Vec<FaceNumber>> {
    let mut images = BTreeMap::<_, Vec<_>>::new();
    for face in faces {
        if let Some(number) = face.number() {
            images.entry(face.image()).or_default().push(number);
        }
    }
    images
}
