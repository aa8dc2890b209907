//! The projection: what is searchable.

use async_trait::async_trait;
use vidimus_domain::point::{Gallery, Point, PointBody, ShownFace};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, Placement, Template, UnixMillis, Version};

use crate::error::PortResult;

/// A search of one gallery.
#[derive(Clone, Debug)]
pub struct IndexSearch {
    /// Whose faces.
    pub gallery: Gallery,
    /// What is searched for.
    pub probe: Template,
    /// A face that is not to be among the candidates: the probe itself.
    pub without: Option<FaceId>,
    /// Whether only faces are searched that have a user.
    pub with_user_only: bool,
    /// Candidates at most.
    pub limit: u32,
    /// Candidates have at least this cosine.
    pub cosine_min: f32,
    /// Faces that have expired by then do not match: for their own expiry, or for their age.
    pub horizon: Horizon,
}

/// A search by a face that is stored: for its other photos.
#[derive(Clone, Debug)]
pub struct StoredSearch {
    /// Whose faces.
    pub gallery: Gallery,
    /// Whom to search for. It is not among the candidates.
    pub face: FaceId,
    /// Candidates at most.
    pub limit: u32,
    /// Candidates have at least this cosine.
    pub cosine_min: f32,
    /// Faces that have expired by then neither match nor are searched for.
    pub horizon: Horizon,
}

impl StoredSearch {
    /// The template to search by: of the face's point, where that can match.
    #[must_use]
    pub fn probe(&self, points: Vec<Point>) -> Option<Template> {
        let own = points.into_iter().find(|point| point.face == self.face)?;
        match own.body {
            PointBody::Live(live) if live.is_shown_at(self.horizon) => Some(live.template),
            _ => None,
        }
    }

    /// The search by that template.
    #[must_use]
    pub fn by(self, probe: Template) -> IndexSearch {
        let Self { gallery, face, limit, cosine_min, horizon } = self;
        IndexSearch { gallery, probe, without: Some(face), with_user_only: false, limit, cosine_min, horizon }
    }
}

/// A candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub face: FaceId,
    /// Exact cosine of the full-precision templates.
    pub cosine: f32,
    /// What an answer shows of it.
    pub shown: ShownFace,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hits {
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Faces that were searched, about: those of the gallery, or of them those that have a user; some may have expired and wait to
    /// be erased.
    pub gallery_faces: u64,
}

/// Which points a scroll lists and a count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Those that are live and have not expired by then.
    LiveAt(Horizon),
    /// Those that have expired by then and are not erased yet.
    ExpiredAt(Horizon),
    /// Erased ones too, and expired ones. Points come without their templates.
    Everything,
}

/// A point that is to go, if it still is what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveIf {
    /// The point.
    pub face: FaceId,
    /// It goes only where its version is this or less.
    pub version_max: Version,
}

/// An entry of a scroll: a point without its template.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedPoint {
    /// Its id.
    pub face: FaceId,
    /// Its version.
    pub version: Version,
    /// When it was erased; none for a live point.
    pub erased_at: Option<UnixMillis>,
    /// What an answer shows of it; none for an erased point.
    pub shown: Option<ShownFace>,
}

/// A searchable index of points. Calls for a placement that does not exist yet find nothing; writes make it.
#[async_trait]
pub trait FaceIndex: Send + Sync {
    /// Writes points; on return they are what every later search sees. Each is written only where there is no such
    /// point or an older version of it in the same part (I5); else it is left alone, without an error. (While it
    /// recovers from a start an index may write the same version again.) All points of a call MUST be of one dimension per placement.
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()>;

    /// The points of these faces with their templates, in any order; those that are not there, or are of another part
    /// (I1), are left out.
    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>>;

    /// The candidates of a search, best first; none that is erased, expired, of another part, under the threshold, or without a
    /// user where one is asked for. A search for faces that have a user MUST find them however few they are.
    async fn search(&self, search: IndexSearch) -> PortResult<Hits>;

    /// A search by a stored face; none where the face is not there, is of another part (I1), erased or expired. As [`FaceIndex::get`]
    /// and [`FaceIndex::search`], which an index may do on one way.
    async fn search_stored(&self, search: StoredSearch) -> PortResult<Option<Hits>> {
        let points = self.get(&search.gallery, &[search.face]).await?;
        match search.probe(points) {
            Some(probe) => self.search(search.by(probe)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Up to `limit` points of the gallery after `after`, in the order of their ids. Fewer than `limit` means that
    /// there are no more.
    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>>;

    /// How many points such a listing has, exactly.
    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64>;

    /// Removes points for good, each on its condition.
    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()>;

    /// Removes all points of the gallery, erased ones too.
    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()>;

    /// Drops a placement that holds no point of any gallery, with what it takes on disk and in memory. False where it holds one, or
    /// is being worked on: then it stays. Where it does not exist, that is done.
    ///
    /// What is written meanwhile may go with it, so whoever calls this MUST know that nothing is written there that must stay; and it
    /// may take effect late, as every call.
    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool>;

    /// Makes writes durable against power loss, and returns the time before which every write that had returned is so
    /// (by the given clock reading, taken before the call). `kill -9` alone loses no write that returned.
    ///
    /// An index that may lose writes on its own (see [`FaceIndex::losses`]) MUST NOT cover more after a loss than before it, until
    /// it is told that whoever commits on its word has [begun again](FaceIndex::begun_again): who has not noticed the loss then stands
    /// still instead of losing something. From then on it speaks of what was written since the loss.
    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis>;

    /// The same for whoever commits nothing and has seen so many `losses` before it wrote: the time before which every write since then
    /// is durable; none where more has been lost meanwhile.
    async fn flush_since(&self, called_at: UnixMillis, losses: u64) -> PortResult<Option<UnixMillis>> {
        let covered = self.flush(called_at).await?;
        Ok((self.losses() == losses).then_some(covered))
    }

    /// Asks whether the index is there, and so finds out what it may have lost (see [`FaceIndex::losses`]) though nobody else calls. One
    /// that is where the caller is has nothing to look for.
    async fn look(&self) -> PortResult<()> {
        Ok(())
    }

    /// How often, since this index was opened, writes that had returned and that no flush had covered may have been lost
    /// without this process ending: the server behind it was away. It only grows, and it does so before a flush covers more
    /// than was durable before the loss.
    ///
    /// Whoever commits on the word of [`FaceIndex::flush`] MUST read it before it begins at its commit, and again after each
    /// flush: where it has grown, nothing is committed, and what lies behind the commit is written again.
    fn losses(&self) -> u64;

    /// Says that whoever commits on the word of [`FaceIndex::flush`] has begun again at its commit since there were `losses`: it
    /// commits nothing of what it was told before. Later losses are not meant. This does not wait until all of the log is written
    /// again: processes that share it each learn by the others' commits that it is.
    fn begun_again(&self, losses: u64);

    /// Says that all that lies behind the commit was written again since there were `losses`. Later losses are not made good by
    /// it. While a loss is not made good, and from opening on until the first call, the index recovers: a write replaces its
    /// own version too, since what a server brings back after it died may be of different moments.
    fn made_good(&self, losses: u64);
}
