//! A world of fakes with one tenant and one collection.
#![expect(dead_code, reason = "each test file uses its part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tonic::{Request, Response, Status};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{Audit, AuditedAction, Change};
use vidimus_domain::record::{PhotoKey, Record};
use vidimus_domain::score::Calibration;
use vidimus_domain::{ErrorCode, FaceId, Failure, UnixMillis};
use vidimus_ingestion::{Ingestion, IngestionConfig, IngestionDeps};
use vidimus_ports::clock::ManualClock;
use vidimus_ports::faulty::{FaultPlan, FaultyBlobStore, FaultyEventLog};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{BlobStore, EventLog, Random, Topic};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_proto::internal::v1::indexing_server::Indexing;
use vidimus_proto::internal::v1::ingestion_server::Ingestion as _;
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::errors::{failure_from_status, status_from_failure};
use vidimus_runtime::models::{FaceModels, KnownModel};

/// Everything that ingestion stands on.
pub struct World {
    pub blobs: Arc<MemoryBlobStore>,
    pub log: Arc<MemoryEventLog>,
    pub catalog: Arc<Catalog>,
    pub collection: Arc<Collection>,
    pub clock: Arc<ManualClock>,
    pub indexing: Arc<FakeIndexing>,
    pub faults: Arc<FaultPlan>,
    pub ingestion: Arc<Ingestion>,
}

/// Finds as many faces as the photo's first byte says.
struct FakeEmbedding;

/// The faces of such a photo, side by side, largest first. What follows an `@` is the direction of their templates in degrees.
fn faces(photo: &[u8]) -> Vec<v1::DetectedFace> {
    let count = photo.first().copied().unwrap_or_default().saturating_sub(b'0');
    let text = String::from_utf8_lossy(photo);
    let degrees = text.split_once('@').map_or(0.0, |(_, degrees)| degrees.parse::<f32>().unwrap());
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let face = |number: u8| v1::DetectedFace {
        bounding_box: Some(v1::BoundingBox {
            left: f32::from(number) * 0.1,
            top: 0.0,
            width: 0.1,
            height: 0.1,
        }),
        landmarks: vec![v1::Point::default(); 5],
        confidence: 0.9,
        template: vec![cosine, sine],
        ..v1::DetectedFace::default()
    };
    (0..count).map(face).collect()
}

/// The newer model's templates have one component more.
fn by_model(template: &[f32], model: &str) -> Vec<f32> {
    let mut template = template.to_vec();
    template.resize(if model == "newer" { 3 } else { 2 }, 0.0);
    template
}

#[async_trait]
impl Embedding for FakeEmbedding {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let request = request.into_inner();
        let mut faces = faces(&request.photo);
        faces.iter_mut().for_each(|face| face.template = by_model(&face.template, &request.face_model));
        Ok(Response::new(v1::EmbedResponse { faces, width_px: 100, height_px: 100 }))
    }

    async fn embed_at(
        &self,
        request: Request<v1::EmbedAtRequest>,
    ) -> Result<Response<v1::EmbedAtResponse>, Status> {
        let request = request.into_inner();
        let face = |_| v1::EmbeddedFace { template: by_model(&[1.0, 0.0], &request.face_model) };
        Ok(Response::new(v1::EmbedAtResponse { faces: request.faces.iter().map(face).collect() }))
    }
}

/// Projects nothing; may be away, or never answer.
#[derive(Default)]
pub struct FakeIndexing {
    pub is_away: AtomicBool,
    pub is_slow: AtomicBool,
}

#[async_trait]
impl Indexing for FakeIndexing {
    async fn project(&self, _: Request<v1::ProjectRequest>) -> Result<Response<v1::ProjectResponse>, Status> {
        if self.is_slow.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_away.load(Ordering::SeqCst) {
            let failure = Failure::unavailable("away", Duration::from_secs(3));
            return Err(status_from_failure(&failure));
        }
        Ok(Response::new(v1::ProjectResponse {}))
    }
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

impl World {
    pub async fn new() -> Self {
        Self::with_backlog_photos_max(IngestionConfig::default().backlog_photos_max).await
    }

    /// One in which only so many photos may wait to be embedded.
    pub async fn with_backlog_photos_max(backlog_photos_max: u64) -> Self {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let random = Arc::new(SeededRandom::new(7));
        let log = Arc::new(MemoryEventLog::new(random.nonce()));
        let faults = FaultPlan::scripted();
        let deps = CatalogDeps { blobs: blobs.clone(), clock: clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(deps, None));
        let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
        let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
        let new = NewCollection::new(tenant.id, name, face_model, "1.0".to_owned());
        let collection = catalog.create_collection(new).await.unwrap();
        let indexing = Arc::new(FakeIndexing::default());
        let deps = IngestionDeps {
            blobs: Arc::new(FaultyBlobStore::new(blobs.clone(), faults.clone())),
            log: Arc::new(FaultyEventLog::new(log.clone(), faults.clone())),
            embedding: Arc::new(FakeEmbedding),
            indexing: indexing.clone(),
            catalog: catalog.clone(),
            face_models: Arc::new(face_models()),
            clock: clock.clone(),
            random,
        };
        let config = IngestionConfig {
            searchable_wait: Duration::from_millis(20),
            deletion_wait: Duration::from_millis(20),
            backlog_photos_max,
            ..IngestionConfig::default()
        };
        let ingestion = Arc::new(Ingestion::new(config, deps, &mut Registry::default()));
        Self { blobs, log, catalog, collection, clock, indexing, faults, ingestion }
    }

    pub fn reference(&self) -> Option<v1::CollectionRef> {
        Some(v1::CollectionRef {
            tenant: self.collection.tenant.to_string(),
            uid: self.collection.uid.to_string(),
            name: self.collection.name.to_string(),
        })
    }

    /// A request for a photo that has as many faces as its first digit says.
    pub fn photo(&self, photo: &'static str) -> v1::IndexFacesRequest {
        v1::IndexFacesRequest {
            collection: self.reference(),
            photo: photo.as_bytes().into(),
            ..v1::IndexFacesRequest::default()
        }
    }

    /// Enrols and returns the face ids, or the code of the failure.
    pub async fn enrol(&self, request: v1::IndexFacesRequest) -> Result<Vec<FaceId>, ErrorCode> {
        let answer = self.ingestion.index_faces(Request::new(request)).await;
        let answer = answer.map_err(|status| failure_from_status(&status).code)?.into_inner();
        let id = |face: &v1::IndexedFace| FaceId::from_bytes(&face.face.as_ref().unwrap().face_id).unwrap();
        Ok(answer.faces.iter().map(id).collect())
    }

    /// Deletes and returns what was answered, or the failure.
    pub async fn delete(&self, faces: &[FaceId]) -> Result<v1::DeleteFacesResponse, Failure> {
        let request = v1::DeleteFacesRequest {
            collection: self.reference(),
            caller: None,
            face_ids: faces.iter().map(|face| face.to_bytes().to_vec()).collect(),
        };
        let answer = self.ingestion.delete_faces(Request::new(request)).await;
        answer.map(Response::into_inner).map_err(|status| failure_from_status(&status))
    }

    /// All records.
    pub async fn records(&self) -> Vec<Record> {
        let prefix = BlobPrefix::records(&self.collection.part());
        let mut records = Vec::new();
        for entry in self.blobs.list(&prefix, None, 100).await.unwrap() {
            let blob = self.blobs.get(&entry.key).await.unwrap().unwrap();
            records.push(Record::decode(&blob.bytes).unwrap());
        }
        records
    }

    /// Whether the photo is stored that the only record names so.
    pub async fn has_photo(&self, photo: &PhotoKey) -> bool {
        let image = self.records().await[0].origin.image;
        let key = BlobKey::photo(&self.collection.part(), image, photo);
        self.blobs.get(&key).await.unwrap().is_some()
    }

    /// How many photos are stored.
    pub async fn photos(&self) -> usize {
        let prefix = BlobPrefix::photos(&self.collection.part());
        self.blobs.list(&prefix, None, 100).await.unwrap().len()
    }

    /// How many changes were said.
    pub async fn changes(&self) -> usize {
        let payloads = self.payloads(Topic::Changes).await;
        let changes: Vec<Change> = payloads.iter().map(|payload| Change::decode(payload).unwrap()).collect();
        changes.len()
    }

    /// What was audited.
    pub async fn audited(&self) -> Vec<AuditedAction> {
        let payloads = self.payloads(Topic::Audit).await;
        payloads.iter().map(|payload| Audit::decode(payload).unwrap().what).collect()
    }

    async fn payloads(&self, topic: Topic) -> Vec<bytes::Bytes> {
        // A group of its own each time: it reads from the first record.
        let group = format!("test-{}", self.log.state(topic).await.unwrap().len());
        let mut reader = self.log.subscribe(topic, &group).await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        records.into_iter().map(|record| record.payload).collect()
    }
}
