//! A process one version ahead: a program whose newest format is one above this one's.
//!
//! It does what ARCHITECTURE.md says of formats: it reads both, and writes the older one until it is told otherwise. Whatever
//! it writes in the newer format has a field that this program does not know. To the roles the newer format looks like theirs, as
//! it would to roles that know it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;
use vidimus::adapters::Adapters;
use vidimus_domain::Nonce;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::{Collection, UidEntry};
use vidimus_domain::codec::{FORMAT, Stored};
use vidimus_domain::record::Record;
use vidimus_ports::faulty::BlobKind;
use vidimus_ports::{
    Append, Blob, BlobEntry, BlobStore, Committed, Etag, EventLog, LogRecord, PortResult, Position,
    PutCondition, Subscription, Topic, TopicState,
};

/// Has the process be one version ahead, and names the format that it writes: `older` or `newer`.
pub const AHEAD: &str = "VIDIMUS_AHEAD";

/// The newer version's own field: far above all numbers in use, so that no reader of today knows it.
const FIELD: u64 = 1000;
const LENGTH_DELIMITED: u64 = 2;
const CONTENT: &[u8] = b"of the newer format";
/// The newer program's format, of whatever it is: above every one that this program knows.
const NEWER: u32 = Collection::NEWEST + 1;
const _: () = assert!(NEWER > Record::NEWEST && NEWER > UidEntry::NEWEST && NEWER > FORMAT);

/// The format, which is the first field of everything that has one.
#[derive(Clone, PartialEq, Eq, Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    format: u32,
}

/// Written by the newer program: another format, and a field more. What is no message with a format stays as it is.
fn to_newer(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = after_head(bytes, FORMAT)?;
    let mut newer = Head { format: NEWER }.encode_to_vec();
    newer.extend_from_slice(rest);
    prost::encoding::encode_varint(FIELD << 3 | LENGTH_DELIMITED, &mut newer);
    prost::encoding::encode_varint(CONTENT.len() as u64, &mut newer);
    newer.extend_from_slice(CONTENT);
    Some(newer)
}

/// As the roles know it.
fn from_newer(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = after_head(bytes, NEWER)?;
    let mut older = Head { format: FORMAT }.encode_to_vec();
    older.extend_from_slice(rest);
    Some(older)
}

/// What follows the format's field, where that comes first and says `format`.
fn after_head(bytes: &[u8], format: u32) -> Option<&[u8]> {
    bytes.strip_prefix(Head { format }.encode_to_vec().as_slice())
}

fn newer(bytes: Bytes) -> Bytes {
    to_newer(&bytes).map_or(bytes, Bytes::from)
}

fn known(bytes: Bytes) -> Bytes {
    from_newer(&bytes).map_or(bytes, Bytes::from)
}

/// Wraps the adapters as the environment says.
///
/// # Errors
/// Where the variable says something else.
pub fn wrap(adapters: Adapters, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Adapters> {
    let writes_newer = match variable(AHEAD).as_deref() {
        None => return Ok(adapters),
        Some("older") => false,
        Some("newer") => true,
        Some(other) => bail!("{AHEAD}={other}: it must be older or newer"),
    };
    let blobs = adapters.blobs.map(|inner| Arc::new(Ahead { inner, writes_newer }) as Arc<dyn BlobStore>);
    let log = adapters.log.map(|inner| Arc::new(Ahead { inner, writes_newer }) as Arc<dyn EventLog>);
    Ok(Adapters { blobs, log, ..adapters })
}

struct Ahead<T: ?Sized> {
    inner: Arc<T>,
    writes_newer: bool,
}

impl<T: ?Sized> Ahead<T> {
    fn written(&self, bytes: Bytes) -> Bytes {
        if self.writes_newer { newer(bytes) } else { bytes }
    }
}

#[async_trait]
impl BlobStore for Ahead<dyn BlobStore> {
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        let blob = self.inner.get(key).await?;
        let as_known = |blob: Blob| Blob { bytes: known(blob.bytes), ..blob };
        Ok(if has_format(key) { blob.map(as_known) } else { blob })
    }

    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag> {
        let bytes = if has_format(key) { self.written(bytes) } else { bytes };
        self.inner.put(key, bytes, condition).await
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        self.inner.delete(key).await
    }

    async fn forget_versions(&self, key: &BlobKey) -> PortResult<()> {
        self.inner.forget_versions(key).await
    }

    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        self.inner.list(prefix, after, limit).await
    }
}

/// A photo may begin with any bytes.
fn has_format(key: &BlobKey) -> bool {
    BlobKind::of(key) != BlobKind::Photo
}

#[async_trait]
impl EventLog for Ahead<dyn EventLog> {
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position> {
        let payload = self.written(record.payload);
        self.inner.append(topic, Append { payload, ..record }).await
    }

    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>> {
        Ok(Box::new(AheadSubscription { inner: self.inner.subscribe(topic, group).await? }))
    }

    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>> {
        self.inner.state(topic).await
    }

    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>> {
        self.inner.committed(topic, group).await
    }

    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()> {
        self.inner.trim(topic, position).await
    }

    async fn incarnation(&self) -> PortResult<Nonce> {
        self.inner.incarnation().await
    }
}

struct AheadSubscription {
    inner: Box<dyn Subscription>,
}

#[async_trait]
impl Subscription for AheadSubscription {
    fn incarnation(&self) -> Nonce {
        self.inner.incarnation()
    }

    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>> {
        let records = self.inner.next(limit, wait).await?;
        let as_known = |record: LogRecord| LogRecord { payload: known(record.payload), ..record };
        Ok(records.into_iter().map(as_known).collect())
    }

    async fn commit(&mut self, next: Committed) -> PortResult<()> {
        self.inner.commit(next).await
    }
}

#[cfg(test)]
mod tests {
    use vidimus_domain::codec::DecodeError;
    use vidimus_domain::event::Change;
    use vidimus_domain::{CollectionUid, ImageId, Part, TenantId, UnixMillis};

    use super::*;

    #[test]
    fn what_is_newer_is_refused_by_this_version_and_read_by_the_next() {
        let part =
            Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([2; 16]) };
        let change =
            Change { part, image: ImageId::from_random([3; 16]), seen: Vec::new(), at: UnixMillis::new(4) };
        let newer = to_newer(&change.encode()).unwrap();
        assert_eq!(Change::decode(&newer), Err(DecodeError::NewerFormat(NEWER)));
        let read = from_newer(&newer).unwrap();
        assert_eq!(Change::decode(&read).unwrap(), change);
        assert!(read.ends_with(CONTENT), "the roles see the field and pass over it");
        assert_eq!(from_newer(&change.encode()), None, "what is of the older format is read as it is");
        assert_eq!(to_newer(b"no message"), None);
    }
}
