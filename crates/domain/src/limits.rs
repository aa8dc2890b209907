//! A limit on everything. Where a figure is not ours its source stands beside it.

use std::time::Duration;

/// Largest photo sent as bytes: 5 MB (Amazon Rekognition Developer Guide, "Guidelines and quotas").
pub const PHOTO_BYTES_MAX: usize = 5_242_880;
/// Largest photo in a bucket: 15 MB (Amazon Rekognition Developer Guide, "Guidelines and quotas").
pub const PHOTO_OBJECT_BYTES_MAX: usize = 15 * 1024 * 1024;
/// Largest photo in pixels: a decoded image of that size takes 300 MB as RGB.
pub const PHOTO_PIXELS_MAX: u64 = 100_000_000;
/// Smallest side of a photo in pixels (Amazon Rekognition Developer Guide, "Guidelines and quotas").
pub const PHOTO_SIDE_PX_MIN: u32 = 80;
/// Most faces of one photo: the largest are taken (Amazon Rekognition API, IndexFaces).
pub const FACES_PER_PHOTO_MAX: usize = 100;
/// Most candidates of a search (Amazon Rekognition API, SearchFaces).
pub const CANDIDATES_MAX: u32 = 4096;
/// Candidates of a search that names no number.
pub const CANDIDATES_DEFAULT: u32 = 100;
/// Most entries of a page (Amazon Rekognition API, PageSize).
pub const PAGE_MAX: u32 = 4096;
/// Entries of a page of a listing that names no number.
pub const PAGE_DEFAULT: u32 = 1000;
/// Most faces of a user (Amazon Rekognition Developer Guide, "Guidelines and quotas").
pub const FACES_PER_USER_MAX: usize = 100;
/// Most users of a page or of a search's answer (Amazon Rekognition API, ListUsers and SearchUsers).
pub const USERS_MAX: u32 = 500;
/// Components of a template at most, for any face model.
pub const TEMPLATE_DIMENSION_MAX: usize = 2048;
/// The shortest that a retention rule keeps: a shorter one would let faces go before their enrolment is answered.
pub const RETENTION_MIN: Duration = Duration::from_secs(1);
/// The longest that a retention rule keeps: a hundred years. Who wants longer wants no rule.
pub const RETENTION_MAX: Duration = Duration::from_secs(36_525 * 24 * 3600);
/// Enrolment requests that one record remembers: past it the photo is enrolled too often in a day.
pub const REQUESTS_PER_RECORD_MAX: usize = 1000;
/// Ready templates of one record at most.
pub const TEMPLATES_PER_RECORD_MAX: usize = 1000;
