//! One collection: a folder with the engine's shard and with what was asked for when it was made. Its calls block.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use prost::Message as _;
use qdrant_client::qdrant as api;
use qdrant_edge as engine;

use super::refusal::{self, Answer, wrong};
use super::search::Search;
use super::{field_index, settings};

/// What was asked for, as it came.
const SETTINGS: &str = "settings.bin";
/// The engine's folder.
const SHARD: &str = "shard";

/// One collection.
pub struct Collection {
    folder: PathBuf,
    asked: api::CreateCollection,
    shard: engine::EdgeShard,
    /// Written since the last flush.
    is_unflushed: AtomicBool,
    flushed_at: Mutex<Instant>,
    /// Written since the last optimisation.
    is_unoptimized: AtomicBool,
    is_optimizing: AtomicBool,
}

impl Collection {
    /// Makes one beside its place and moves it there whole, so that a folder in its place was finished.
    ///
    /// # Errors
    /// Where the disk or the engine fails.
    pub fn create(folder: &Path, asked: &api::CreateCollection, config: engine::EdgeConfig) -> Result<Self> {
        let draft = folder.with_extension("new");
        remove_if_there(&draft)?;
        fs::create_dir_all(&draft)?;
        let mut file = fs::File::create(draft.join(SETTINGS))?;
        file.write_all(&asked.encode_to_vec())?;
        file.sync_all()?;
        let shard = engine::EdgeShard::new(&draft.join(SHARD), config)?;
        shard.flush()?;
        drop(shard);
        fs::rename(&draft, folder)?;
        sync(folder.parent().context("a collection's folder lies in another")?)?;
        Self::open(folder)
    }

    /// Opens what [`Collection::create`] made, and does again what the engine's log has and its segments lack.
    ///
    /// # Errors
    /// Where files are missing or damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let settings = fs::read(folder.join(SETTINGS)).with_context(|| folder.display().to_string())?;
        let asked = api::CreateCollection::decode(settings.as_slice())?;
        // What an optimisation that was cut off had begun.
        remove_if_there(&folder.join(SHARD).join("temp_segments"))?;
        let shard = engine::EdgeShard::load(&folder.join(SHARD), None)?;
        Ok(Self {
            folder: folder.to_owned(),
            asked,
            shard,
            is_unflushed: AtomicBool::new(true),
            flushed_at: Mutex::new(Instant::now()),
            is_unoptimized: AtomicBool::new(true),
            is_optimizing: AtomicBool::new(false),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.asked.collection_name
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Inserts points, and replaces those of the same ids that a condition, where there is one, holds for.
    ///
    /// # Errors
    /// Where a vector has no such name or another dimension, before anything is written.
    pub fn upsert(
        &self,
        points: Vec<engine::PointStructPersisted>,
        condition: Option<engine::Filter>,
    ) -> Answer<()> {
        for point in &points {
            self.check_vectors(point)?;
        }
        let points_op = engine::PointInsertOperations::PointsList(points);
        let operation = match condition {
            None => engine::PointOperations::UpsertPoints(points_op),
            Some(condition) => {
                let conditional =
                    engine::ConditionalInsertOperation { points_op, condition, update_mode: None };
                engine::PointOperations::UpsertPointsConditional(conditional)
            }
        };
        self.update(engine::UpdateOperation::PointOperation(operation))
    }

    fn check_vectors(&self, point: &engine::PointStructPersisted) -> Answer<()> {
        let engine::VectorStructPersisted::Named(named) = &point.vector else { return Ok(()) };
        for (name, vector) in named {
            if let engine::VectorPersisted::Dense(values) = vector {
                self.check_vector(name, values.len())?;
            }
        }
        Ok(())
    }

    fn check_vector(&self, name: &str, given: usize) -> Answer<()> {
        match self.shard.config().vectors.get(name).map(|vector| vector.size) {
            None => Err(wrong(format!("Not existing vector name error: {name}"))),
            Some(size) if size != given => {
                Err(wrong(format!("Vector dimension error: expected dim: {size}, got {given}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Removes points by a condition.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn delete(&self, condition: engine::Filter) -> Answer<()> {
        let operation = engine::PointOperations::DeletePointsByFilter(condition);
        self.update(engine::UpdateOperation::PointOperation(operation))
    }

    /// Removes points by their ids.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn delete_ids(&self, ids: Vec<engine::PointId>) -> Answer<()> {
        let operation = engine::PointOperations::DeletePoints { ids };
        self.update(engine::UpdateOperation::PointOperation(operation))
    }

    /// Makes an index on a field of the payload.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn create_index(&self, field: engine::JsonPath, schema: engine::PayloadFieldSchema) -> Answer<()> {
        let create = engine::CreateIndex { field_name: field, field_schema: Some(schema) };
        let operation = engine::FieldIndexOperations::CreateIndex(create);
        self.update(engine::UpdateOperation::FieldIndexOperation(operation))
    }

    /// Removes an index.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn delete_index(&self, field: engine::JsonPath) -> Answer<()> {
        let operation = engine::FieldIndexOperations::DeleteIndex(field);
        self.update(engine::UpdateOperation::FieldIndexOperation(operation))
    }

    /// Adds a dense vector.
    ///
    /// # Errors
    /// Where there is one of that name with another dimension or distance.
    pub fn create_vector(&self, name: String, config: engine::VectorNameConfig) -> Answer<()> {
        let create = engine::CreateVectorName { vector_name: name, config };
        let operation = engine::VectorNameOperations::CreateVectorName(create);
        self.update(engine::UpdateOperation::VectorNameOperation(operation))
    }

    fn update(&self, operation: engine::UpdateOperation) -> Answer<()> {
        let outcome = self.shard.update(operation).map_err(|error| refusal::engine(&error));
        self.is_unflushed.store(true, Ordering::Release);
        self.is_unoptimized.store(true, Ordering::Release);
        outcome
    }

    /// Searches.
    ///
    /// # Errors
    /// Where the vector has no such name or another dimension.
    pub fn search(&self, search: Search) -> Answer<Vec<engine::ScoredPoint>> {
        self.check_vector(&search.using, search.dimension)?;
        self.shard.query(search.request).map_err(|error| refusal::engine(&error))
    }

    /// Gets points by their ids.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn get(&self, request: engine::RetrieveRequest) -> Answer<Vec<engine::Record>> {
        self.shard.retrieve(request).map_err(|error| refusal::engine(&error))
    }

    /// Lists points by their ids.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn scroll(
        &self,
        request: engine::ScrollRequest,
    ) -> Answer<(Vec<engine::Record>, Option<engine::PointId>)> {
        self.shard.scroll(request).map_err(|error| refusal::engine(&error))
    }

    /// Counts points.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn count(&self, request: engine::CountRequest) -> Answer<u64> {
        self.shard.count(request).map(|count| count as u64).map_err(|error| refusal::engine(&error))
    }

    /// How it stands.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn info(&self) -> Answer<api::CollectionInfo> {
        let info = self.shard.info().map_err(|error| refusal::engine(&error))?;
        let mut payload_schema = std::collections::HashMap::new();
        for (field, index) in info.payload_schema {
            payload_schema.insert(field.to_string(), field_index::told(index)?);
        }
        let mut told = api::CollectionInfo {
            optimizer_status: Some(api::OptimizerStatus { ok: true, error: String::new() }),
            segments_count: info.segments_count as u64,
            config: Some(settings::told(&self.asked, &self.shard.config())),
            payload_schema,
            points_count: Some(info.points_count as u64),
            indexed_vectors_count: Some(info.indexed_vectors_count as u64),
            ..api::CollectionInfo::default()
        };
        let is_busy =
            self.is_optimizing.load(Ordering::Acquire) || self.is_unoptimized.load(Ordering::Acquire);
        told.set_status(if is_busy { api::CollectionStatus::Yellow } else { api::CollectionStatus::Green });
        Ok(told)
    }

    /// Flushes what was written, when the time for it has come.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn flush_when_due(&self) -> Answer<()> {
        let interval = Duration::from_secs(settings::flush_interval_seconds(&self.asked));
        let flushed_at = *self.flushed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if flushed_at.elapsed() < interval { Ok(()) } else { self.flush() }
    }

    /// Flushes what was written.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn flush(&self) -> Answer<()> {
        if !self.is_unflushed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let outcome = self.shard.flush().map_err(|error| refusal::engine(&error));
        if outcome.is_err() {
            self.is_unflushed.store(true, Ordering::Release);
        }
        *self.flushed_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        outcome
    }

    /// Builds graphs, merges and vacuums segments, where something was written since it last did.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn optimize(&self) -> Answer<()> {
        self.is_optimizing.store(true, Ordering::Release);
        let outcome = if self.is_unoptimized.swap(false, Ordering::AcqRel) {
            self.shard.optimize().map(drop).map_err(|error| refusal::engine(&error))
        } else {
            Ok(())
        };
        self.is_optimizing.store(false, Ordering::Release);
        outcome
    }
}

/// Removes a folder with all that is in it; of no effect where it is not there.
pub fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what was made and removed in a folder durable.
pub fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
