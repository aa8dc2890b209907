//! A world of fakes with one tenant and one collection whose templates are directions in a plane.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{Audit, UserCandidate, UserSearch};
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::record::Write;
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::score::Calibration;
use vidimus_domain::user::{Claim, Creation, Deletion, create, delete};
use vidimus_domain::{ErrorCode, FaceId, FaceNumber, ImageId, Template, UnixMillis, UserId, Version};
use vidimus_ports::clock::ManualClock;
use vidimus_ports::faulty::{FaultPlan, FaultyEventLog, FaultyFaceIndex};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog, MemoryFaceIndex};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{Clock, EventLog, FaceIndex, Random, Topic};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_query::{Query, QueryDeps};
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::errors::failure_from_status;
use vidimus_runtime::invariants::Invariants;
use vidimus_runtime::models::{FaceModels, KnownModel};
use vidimus_runtime::records::Written;
use vidimus_runtime::users::Users;

pub const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

/// Everything that query stands on.
pub struct World {
    pub log: Arc<MemoryEventLog>,
    pub index: Arc<MemoryFaceIndex>,
    pub clock: Arc<ManualClock>,
    pub catalog: Arc<Catalog>,
    pub collection: Arc<Collection>,
    pub faults: Arc<FaultPlan>,
    pub query: Arc<Query>,
    pub users: Users,
    random: Arc<SeededRandom>,
}

/// Finds faces in the directions, in degrees, that the photo's text lists; of one marked by `?` it is hardly sure. Only those
/// that are asked for have templates.
struct FakeEmbedding;

#[async_trait]
impl Embedding for FakeEmbedding {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let v1::EmbedRequest { photo, faces_max, face_model, .. } = request.into_inner();
        let text = String::from_utf8_lossy(&photo).into_owned();
        let face = |(nth, degrees): (usize, &str)| {
            let template = direction(degrees.trim_end_matches('?').parse().unwrap());
            let template = by_model(&template, &face_model).values().to_vec();
            let has_template = faces_max == 0 || nth < faces_max as usize;
            let left = 0.1 * nth as f32;
            v1::DetectedFace {
                bounding_box: Some(v1::BoundingBox { left, top: 0.0, width: 0.5, height: 0.5 }),
                landmarks: vec![v1::Point::default(); 5],
                confidence: if degrees.ends_with('?') { 0.1 } else { 0.99 },
                template: if has_template { template } else { Vec::new() },
                ..v1::DetectedFace::default()
            }
        };
        let faces = text.split_whitespace().enumerate().map(face).collect();
        Ok(Response::new(v1::EmbedResponse { faces, width_px: 1_000, height_px: 1_000 }))
    }

    async fn embed_at(
        &self,
        _: Request<v1::EmbedAtRequest>,
    ) -> Result<Response<v1::EmbedAtResponse>, Status> {
        Err(Status::unimplemented("searches embed no face that was found before"))
    }
}

fn direction(degrees: f32) -> Template {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    Template::normalised(vec![cosine, sine]).unwrap()
}

/// The newer model's templates have one component more.
pub fn by_model(template: &Template, model: &str) -> Template {
    let mut values = template.values().to_vec();
    values.resize(if model == "newer" { 3 } else { 2 }, 0.0);
    Template::stored(values).unwrap()
}

/// Similarity is a hundred times the cosine.
fn face_models() -> FaceModels {
    let fmr = vec![(0.3, 1e-3), (0.9, 1e-6)];
    let known = |name: &str, version: &str, dimension| KnownModel {
        face_model: name.parse().unwrap(),
        face_model_version: version.to_owned(),
        dimension,
        calibration: Calibration::new(fmr.clone(), vec![(0.0, 0.0), (1.0, 100.0)]).unwrap(),
    };
    FaceModels { first: known("model", "1.0", 2), others: vec![known("newer", "2.0", 3)] }
}

async fn catalog(deps: CatalogDeps) -> (Arc<Catalog>, Arc<Collection>) {
    let catalog = Arc::new(Catalog::new(deps, None));
    let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
    let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
    let new = NewCollection::new(tenant.id, name, face_model, "1.0".to_owned());
    let collection = catalog.create_collection(new).await.unwrap();
    (catalog, collection)
}

impl World {
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let random = Arc::new(SeededRandom::new(7));
        let log = Arc::new(MemoryEventLog::new(random.nonce()));
        let index = Arc::new(MemoryFaceIndex::new());
        let faults = FaultPlan::scripted();
        let deps = CatalogDeps { blobs: blobs.clone(), clock: clock.clone(), random: random.clone() };
        let (catalog, collection) = catalog(deps).await;
        let mut registry = Registry::default();
        let deps = QueryDeps {
            blobs: blobs.clone(),
            index: Arc::new(FaultyFaceIndex::new(index.clone(), faults.clone())),
            embedding: Arc::new(FakeEmbedding),
            log: Arc::new(FaultyEventLog::new(log.clone(), faults.clone())),
            catalog: catalog.clone(),
            face_models: Arc::new(face_models()),
            clock: clock.clone(),
            searchable: watch::channel(true).1,
            is_told_by_others: false,
            invariants: Invariants::new(&mut registry),
        };
        let query = Arc::new(Query::new(deps, &mut registry));
        let users = Users::new(blobs, clock.clone());
        Self { log, index, clock, catalog, collection, faults, query, users, random }
    }

    pub fn reference(&self) -> Option<v1::CollectionRef> {
        Some(v1::CollectionRef {
            tenant: self.collection.tenant.to_string(),
            uid: self.collection.uid.to_string(),
            name: self.collection.name.to_string(),
        })
    }

    fn write(&self) -> Write {
        Write { now: self.clock.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() }
    }

    /// A face in that direction, of a user or of nobody.
    pub async fn face(&self, degrees: f32, user: Option<&Claim>) -> FaceId {
        self.face_until(degrees, user, UnixMillis::NEVER).await
    }

    pub async fn face_until(&self, degrees: f32, user: Option<&Claim>, expires_at: UnixMillis) -> FaceId {
        let face = ImageId::from_random(self.random.bytes16()).face(FaceNumber::FIRST);
        let shown = ShownFace {
            bounding_box: BoundingBox::default(),
            confidence: 0.9,
            external_image_id: None,
            user: user.cloned(),
        };
        let body = LivePoint { template: direction(degrees), enrolled_at: NOW, expires_at, shown };
        let point = Point { face, version: Version::new(1), body: PointBody::Live(body) };
        self.index.write(&self.collection.gallery(), &[point]).await.unwrap();
        if let Some((id, generation)) = user {
            let read = self.users.read(&self.collection, id).await.unwrap();
            if let Some(user) = read.live().filter(|user| user.generation == *generation) {
                let reserved = user.reserved(&[face], &[], self.write()).unwrap();
                assert_eq!(self.users.write(&reserved, &read).await.unwrap(), Written::Yes);
            }
        }
        face
    }

    /// Creates a user and returns what its faces claim.
    pub async fn user(&self, id: &str) -> Claim {
        let id = id.parse::<UserId>().unwrap();
        let read = self.users.read(&self.collection, &id).await.unwrap();
        let new = (self.collection.part(), id.clone());
        let Creation::Write(user) = create(read.user.as_ref(), new, None, self.write()) else {
            panic!("it can be created")
        };
        assert_eq!(self.users.write(&user, &read).await.unwrap(), Written::Yes);
        (id, user.generation)
    }

    /// A user with a face in each of these directions.
    pub async fn user_with(&self, id: &str, degrees: &[f32]) -> Claim {
        let claim = self.user(id).await;
        for degrees in degrees {
            self.face(*degrees, Some(&claim)).await;
        }
        claim
    }

    /// Deletes a user's object alone: its faces' points still show it.
    pub async fn delete_object(&self, id: &UserId) {
        let read = self.users.read(&self.collection, id).await.unwrap();
        let Deletion::Write(husk) = delete(read.user.as_ref(), None, self.write()) else {
            panic!("it can be deleted")
        };
        let husk = husk.released(&husk.faces, self.write());
        assert_eq!(self.users.write(&husk, &read).await.unwrap(), Written::Yes);
    }

    /// The searches for users that were audited.
    pub async fn audited(&self) -> Vec<UserSearch> {
        let group = format!("test-{}", self.random.nonce());
        let mut reader = self.log.subscribe(Topic::Audit, &group).await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        let audits = records.iter().map(|record| Audit::decode(&record.payload).unwrap().what);
        let search = |what| match what {
            vidimus_domain::event::AuditedAction::UserSearch(search) => search,
            other => panic!("not a search for users: {other:?}"),
        };
        audits.map(search).collect()
    }
}

/// What was answered, or the failure's code.
pub fn code<T>(answer: Result<Response<T>, Status>) -> Result<T, ErrorCode> {
    answer.map(Response::into_inner).map_err(|status| failure_from_status(&status).code)
}

/// The answer's users with their similarities, rounded.
pub fn named(answer: &v1::SearchUsersResponse) -> Vec<(&str, u32)> {
    answer.users.iter().map(|user| (user.user_id.as_str(), user.similarity.round() as u32)).collect()
}

/// The audited users.
pub fn audited_names(candidates: &[UserCandidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.user.as_str()).collect()
}
