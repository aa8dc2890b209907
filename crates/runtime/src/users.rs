//! Users in the blob store: read, and changed by compare-and-swap.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::Stored;
use vidimus_domain::record::is_fresh;
use vidimus_domain::user::{Claim, User, UserKey};
use vidimus_domain::{Part, UnixMillis, UserId};
use vidimus_ports::{BlobEntry, BlobStore, Clock, Etag, PortError, PortErrorKind, PortResult, PutCondition};

use crate::records::Written;
use crate::stored;

/// Objects that one page of a listing of the store has.
const PAGE: usize = 1000;
/// Users that are read at a time.
const CONCURRENT_READS: usize = 16;

/// Reads and writes users.
#[derive(Clone)]
pub struct Users {
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
}

/// A user as it was read, or its absence: what a write goes over.
#[derive(Clone, Debug)]
pub struct ReadUser {
    /// The user, deleted ones too; none where there never was one.
    pub user: Option<User>,
    key: BlobKey,
    etag: Option<Etag>,
    /// When the reading began.
    pub at: UnixMillis,
}

impl ReadUser {
    /// The user, unless it is deleted.
    #[must_use]
    pub fn live(&self) -> Option<&User> {
        self.user.as_ref().filter(|user| user.id.is_some())
    }
}

impl Users {
    /// Keeps users in this store.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        Self { blobs, clock }
    }

    /// Reads a user.
    ///
    /// # Errors
    /// Where the store fails, or holds something that is no user (`Corrupt`): it is never taken for absent.
    pub async fn read(&self, collection: &Collection, id: &UserId) -> PortResult<ReadUser> {
        let part = collection.part();
        let key = BlobKey::user(&part, UserKey::of(&collection.image_id_key, id));
        let read = self.read_at(&part, key).await?;
        match read.user.as_ref().and_then(|user| user.id.as_ref()) {
            Some(stored) if stored != id => Err(corrupt("the user has another id".to_owned())),
            _ => Ok(read),
        }
    }

    async fn read_at(&self, part: &Part, key: BlobKey) -> PortResult<ReadUser> {
        let at = self.clock.now();
        let Some(blob) = self.blobs.get(&key).await? else {
            return Ok(ReadUser { user: None, key, etag: None, at });
        };
        let user: User = stored::decode("read user", &blob.bytes)?;
        if user.part != *part {
            return Err(corrupt("the user is of another collection".to_owned()));
        }
        Ok(ReadUser { user: Some(user), key, etag: Some(blob.etag), at })
    }

    /// Writes a user over what was read, as [`crate::records::Records::write`] does a record.
    ///
    /// # Errors
    /// Where the store fails; the write may have taken place.
    pub async fn write(&self, user: &User, over: &ReadUser) -> PortResult<Written> {
        if !is_fresh(over.at, self.clock.now()) {
            return Ok(Written::ReadAgain);
        }
        let condition = over.etag.clone().map_or(PutCondition::IfAbsent, PutCondition::IfMatch);
        match self.blobs.put(&over.key, user.encode().into(), condition).await {
            Ok(_) => {}
            Err(error) if error.kind() == PortErrorKind::Conflict => {
                let now = self.read_at(&user.part, over.key.clone()).await?;
                if now.user.is_none_or(|stored| stored.nonce != user.nonce) {
                    return Ok(Written::ReadAgain);
                }
            }
            Err(error) => return Err(error),
        }
        if user.id.is_none() {
            // A husk has no name; nor must its older versions, where the store keeps such.
            self.blobs.forget_versions(&over.key).await?;
        }
        Ok(Written::Yes)
    }

    /// Of these claims those of a user, or of a life of it, that is no more. They never count again.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn stale(&self, collection: &Collection, claims: &[Claim]) -> PortResult<Vec<Claim>> {
        let mut distinct = claims.to_vec();
        distinct.sort();
        distinct.dedup();
        let looks = distinct.into_iter().map(|claim| async {
            let read = self.read(collection, &claim.0).await?;
            let current = read.user.is_some_and(|user| user.is_current(&claim));
            PortResult::Ok((!current).then_some(claim))
        });
        let looks = looks.collect::<Vec<_>>();
        let found: Vec<Option<Claim>> =
            stream::iter(looks).buffer_unordered(CONCURRENT_READS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Up to `limit` live users after `after`, in the order of their keys. Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn page(
        &self,
        part: &Part,
        after: Option<UserKey>,
        limit: usize,
    ) -> PortResult<Vec<(UserKey, User)>> {
        let mut found = Vec::new();
        let mut after = after.map(|key| BlobKey::user(part, key));
        while found.len() < limit {
            let page = self.blobs.list(&BlobPrefix::users(part), after.as_ref(), PAGE).await?;
            // No more are read than may be wanted: most are live.
            for entries in page.chunks(limit.min(PAGE)) {
                let live = self.read_live(part, entries).await?;
                found.extend(live.into_iter().take(limit - found.len()));
                if found.len() == limit {
                    break;
                }
            }
            if page.len() < PAGE {
                break;
            }
            after = page.last().map(|entry| entry.key.clone());
        }
        Ok(found)
    }

    async fn read_live(&self, part: &Part, entries: &[BlobEntry]) -> PortResult<Vec<(UserKey, User)>> {
        let reads = entries.iter().map(|entry| async {
            let key = UserKey::listed(entry.key.name())
                .ok_or_else(|| corrupt("an object among the users is no user".to_owned()))?;
            let user = self.read_at(part, entry.key.clone()).await?.user;
            PortResult::Ok(user.filter(|user| user.id.is_some()).map(|user| (key, user)))
        });
        let reads = reads.collect::<Vec<_>>();
        let read: Vec<Option<_>> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// How many live users there are. It reads every user.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn count(&self, part: &Part) -> PortResult<u64> {
        let mut count = 0;
        let mut after = None;
        loop {
            let page = self.page(part, after, PAGE).await?;
            count += page.len() as u64;
            if page.len() < PAGE {
                return Ok(count);
            }
            after = page.last().map(|(key, _)| *key);
        }
    }
}

fn corrupt(cause: String) -> PortError {
    PortError::new(PortErrorKind::Corrupt, "read user").because(cause)
}
