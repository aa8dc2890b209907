//! The file that an export is.
//!
//! It begins with [`MAGIC`] and the format version (`u32`), then come entries, of which the last is [`Kind::End`]. Numbers are big-endian.
//!
//! | bytes | |
//! |---|---|
//! | 1 | kind |
//! | 2 | length of the key |
//! | 4 | length of the body |
//! | … | the key: the object's in the blob store |
//! | … | the body: the object as it is stored, sealed where it is stored so |
//! | 32 | BLAKE3 of all of the entry before |
//!
//! The last entry's body is the number of entries before it (`u64`) and the BLAKE3 of their digests one after the other, so that a file
//! that was cut off, or lost an entry in its middle, is noticed. A record's photo follows it at once.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use vidimus_domain::Failure;

use super::refused;

/// How an export begins. A transfer that changes line ends changes it.
pub const MAGIC: &[u8; 16] = b"vidimus export\r\n";
/// The format version that this code writes and the newest that it reads.
pub const FORMAT: u32 = 1;
/// Largest body: more than a record of a thousand of the largest templates, or the largest photo, takes.
pub const BODY_BYTES_MAX: usize = 32 << 20;

const KEY_BYTES_MAX: usize = 1024;
const HEAD_BYTES: usize = 1 + 2 + 4;
const DIGEST_BYTES: usize = 32;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The first: what the export is of, as JSON.
    Manifest = 1,
    /// The tenant's entry in the catalog.
    Tenant = 2,
    /// An access key of the tenant.
    AccessKey = 3,
    /// A bucket of the tenant.
    Bucket = 4,
    /// A collection's entry in the catalog. What follows is of it.
    Collection = 5,
    /// A user.
    User = 6,
    /// A record.
    Record = 7,
    /// The photo of the record before.
    Photo = 8,
    /// The husk of a record that is gone.
    Gone = 9,
    /// The export failed; the body says why.
    Failed = 254,
    /// The last.
    End = 255,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Manifest,
        Self::Tenant,
        Self::AccessKey,
        Self::Bucket,
        Self::Collection,
        Self::User,
        Self::Record,
        Self::Photo,
        Self::Gone,
        Self::Failed,
        Self::End,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The object's key.
    pub key: String,
    /// The object.
    pub body: Bytes,
}

/// Why a file is no export that can be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It begins otherwise.
    #[error("this is no export of Vidimus")]
    NotAnExport,
    /// Written by a newer version of the program.
    #[error("the export has format {0}, which is newer than this program reads")]
    NewerFormat(u32),
    /// It ends before its last entry.
    #[error("the export is cut off after {0} entries")]
    Truncated(u64),
    /// A digest, length or count is not what it should be, or something comes after the end.
    #[error("the export is damaged: {what}, after {entries} entries")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// How many entries are fine.
        entries: u64,
    },
    /// Whoever exported could not go on.
    #[error("the export failed: {0}")]
    Failed(String),
    /// It cannot be read.
    #[error("read the export: {0}")]
    Read(#[from] std::io::Error),
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        refused(error.to_string())
    }
}

/// Counts and chains the entries of an export, on either side.
#[derive(Default)]
struct Chain {
    entries: u64,
    digests: blake3::Hasher,
}

impl Chain {
    fn add(&mut self, digest: &[u8]) {
        self.entries += 1;
        self.digests.update(digest);
    }

    fn trailer(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(8 + DIGEST_BYTES);
        body.put_u64(self.entries);
        body.put_slice(self.digests.finalize().as_bytes());
        body.freeze()
    }
}

/// Makes an export's bytes.
#[derive(Default)]
pub struct Writer {
    chain: Chain,
}

impl Writer {
    /// What comes first.
    #[must_use]
    pub fn start() -> Bytes {
        let mut bytes = BytesMut::with_capacity(MAGIC.len() + 4);
        bytes.put_slice(MAGIC);
        bytes.put_u32(FORMAT);
        bytes.freeze()
    }

    /// An entry's bytes, the next of the export.
    ///
    /// # Errors
    /// Where the key or the body is longer than any is.
    pub fn entry(&mut self, entry: &Entry) -> Result<Bytes, FormatError> {
        let damaged = |what| FormatError::Damaged { what, entries: self.chain.entries };
        let key_length = u16::try_from(entry.key.len()).ok().filter(|len| usize::from(*len) <= KEY_BYTES_MAX);
        let key_length = key_length.ok_or_else(|| damaged("an object's key is too long"))?;
        let body_length = u32::try_from(entry.body.len()).ok().filter(|_| entry.body.len() <= BODY_BYTES_MAX);
        let body_length = body_length.ok_or_else(|| damaged("an object is too large"))?;
        let length = HEAD_BYTES + entry.key.len() + entry.body.len() + DIGEST_BYTES;
        let mut bytes = BytesMut::with_capacity(length);
        bytes.put_u8(entry.kind as u8);
        bytes.put_u16(key_length);
        bytes.put_u32(body_length);
        bytes.put_slice(entry.key.as_bytes());
        bytes.put_slice(&entry.body);
        let digest = blake3::hash(&bytes);
        bytes.put_slice(digest.as_bytes());
        self.chain.add(digest.as_bytes());
        Ok(bytes.freeze())
    }

    /// The last entry's bytes.
    ///
    /// # Errors
    /// None that an end can have.
    pub fn end(mut self) -> Result<Bytes, FormatError> {
        let body = self.chain.trailer();
        self.entry(&Entry { kind: Kind::End, key: String::new(), body })
    }
}

/// Reads an export from chunks of any size. Holds one entry at most, and a chunk.
pub struct Reader<S> {
    chunks: S,
    buffer: BytesMut,
    chain: Chain,
    is_begun: bool,
}

impl<S> Reader<S>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    /// Reads these chunks.
    pub fn new(chunks: S) -> Self {
        Self { chunks, buffer: BytesMut::new(), chain: Chain::default(), is_begun: false }
    }

    /// Entries read so far.
    pub const fn entries(&self) -> u64 {
        self.chain.entries
    }

    /// The chunks, to be read to their end by whoever has lost interest in the entries.
    pub fn into_chunks(self) -> S {
        self.chunks
    }

    /// The next entry; none after the last, when the whole was found to be as it was written.
    ///
    /// # Errors
    /// Where it is not, or cannot be read.
    pub async fn next(&mut self) -> Result<Option<Entry>, FormatError> {
        if !self.is_begun {
            self.begin().await?;
        }
        let entry = self.read_entry().await?;
        match entry.kind {
            Kind::End => self.check_end(&entry.body).await.map(|()| None),
            Kind::Failed => Err(FormatError::Failed(String::from_utf8_lossy(&entry.body).into_owned())),
            _ => Ok(Some(entry)),
        }
    }

    async fn begin(&mut self) -> Result<(), FormatError> {
        if !self.fill(MAGIC.len() + 4).await? {
            return Err(FormatError::NotAnExport);
        }
        let start = self.buffer.split_to(MAGIC.len() + 4);
        let (magic, format) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(FormatError::NotAnExport);
        }
        match format.try_into().map(u32::from_be_bytes) {
            Ok(FORMAT) => self.is_begun = true,
            Ok(newer) if newer > FORMAT => return Err(FormatError::NewerFormat(newer)),
            _ => return Err(FormatError::NotAnExport),
        }
        Ok(())
    }

    async fn read_entry(&mut self) -> Result<Entry, FormatError> {
        self.need(HEAD_BYTES).await?;
        let head = &self.buffer;
        let kind = Kind::of(head[0]).ok_or_else(|| self.damaged("an entry of no known kind"))?;
        let key_length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let body_length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        if key_length > KEY_BYTES_MAX || body_length > BODY_BYTES_MAX {
            return Err(self.damaged("an entry is longer than any is"));
        }
        let length = HEAD_BYTES + key_length + body_length;
        self.need(length + DIGEST_BYTES).await?;
        let bytes = self.buffer.split_to(length + DIGEST_BYTES).freeze();
        let digest = blake3::hash(&bytes[..length]);
        if digest.as_bytes() != &bytes[length..] {
            return Err(self.damaged("an entry is not what was written"));
        }
        let key = std::str::from_utf8(&bytes[HEAD_BYTES..HEAD_BYTES + key_length]);
        let key = key.map_err(|_| self.damaged("a key is no text"))?.to_owned();
        if kind != Kind::End {
            self.chain.add(digest.as_bytes());
        }
        Ok(Entry { kind, key, body: bytes.slice(HEAD_BYTES + key_length..length) })
    }

    async fn check_end(&mut self, trailer: &[u8]) -> Result<(), FormatError> {
        if *trailer != *self.chain.trailer() {
            return Err(self.damaged("entries are missing or in another order"));
        }
        match self.fill(1).await? {
            true => Err(self.damaged("something comes after its end")),
            false => Ok(()),
        }
    }

    /// Reads until so much is there; false where the chunks end before.
    async fn fill(&mut self, length: usize) -> Result<bool, FormatError> {
        while self.buffer.len() < length {
            match self.chunks.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn need(&mut self, length: usize) -> Result<(), FormatError> {
        let is_there = self.fill(length).await?;
        is_there.then_some(()).ok_or(FormatError::Truncated(self.chain.entries))
    }

    const fn damaged(&self, what: &'static str) -> FormatError {
        FormatError::Damaged { what, entries: self.chain.entries }
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
