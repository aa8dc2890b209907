//! One placement's shard: opening, making, keeping it in shape. Its calls block.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use qdrant_edge::{
    CountRequest, CreateIndex, CreateVectorName, EdgeShard, FieldIndexOperations, IntegerIndexParams,
    OperationError, PayloadFieldSchema, PayloadSchemaParams, UpdateOperation, UuidIndexParams,
    VectorNameConfig, VectorNameOperations,
};
use serde_json::json;
use vidimus_domain::Placement;

use crate::config::EdgeConfig;
use crate::disk;
use crate::error::{EdgeError, EdgeResult};
use crate::filter::key;
use crate::payload::field;

/// The vector's name.
pub const VECTOR: &str = "face";

/// One placement's points.
pub struct Shard {
    pub(crate) engine: EdgeShard,
    pub(crate) free_bytes_min: u64,
    placement: Placement,
    optimizing: AtomicBool,
}

/// How one placement stands, for metrics and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementStatistics {
    /// The placement.
    pub placement: Placement,
    /// Points, erased ones too; about, while the optimiser works.
    pub points: u64,
    /// Segments; every search goes through all of them.
    pub segments: usize,
    /// Vectors that lie in segments with graphs; the others are scanned.
    pub indexed_vectors: u64,
    /// Bytes of the graphs. A segment in which no part was large enough for a graph has next to none, so some 4 ×
    /// `payload_m` bytes an indexed vector say that the parts' graphs are there.
    pub graph_bytes: u64,
    /// Bytes on disk, all in all.
    pub disk_bytes: u64,
    /// Whether the optimiser is at it.
    pub optimizing: bool,
}

/// Where a placement lies under `root`. A name may be `..`, a folder's may not: hence the ending.
pub fn folder(root: &Path, placement: &Placement) -> PathBuf {
    root.join(format!("{placement}.index"))
}

/// The placement that lies in a folder of that name.
pub fn placement_of(folder_name: &str) -> Option<Placement> {
    folder_name.strip_suffix(".index").and_then(|name| name.parse().ok())
}

/// Where a placement's files lie until they are removed.
fn discarded(root: &Path, placement: &Placement) -> PathBuf {
    root.join(format!("{placement}.dropped"))
}

/// Removes the files of shards that were discarded.
///
/// # Errors
/// Where the disk fails.
pub fn remove_discarded(root: &Path) -> EdgeResult<()> {
    for entry in fs::read_dir(root).map_err(EdgeError::io(root))? {
        let path = entry.map_err(EdgeError::io(root))?.path();
        if path.extension().is_some_and(|ending| ending == "dropped") {
            fs::remove_dir_all(&path).map_err(EdgeError::io(&path))?;
        }
    }
    sync_folder(root)
}

impl Shard {
    /// Opens what [`Shard::create`] made, and does again what the engine's log has and its segments lack.
    ///
    /// # Errors
    /// [`EdgeError::Damaged`] where files are missing or cannot be read.
    pub fn open(config: &EdgeConfig, placement: &Placement) -> EdgeResult<Self> {
        let path = folder(&config.root, placement);
        let damaged = |reason: String| EdgeError::Damaged { path: path.clone(), reason };
        if !path.join("edge_config.json").is_file() {
            return Err(damaged("edge_config.json is missing".to_owned()));
        }
        let has_segments =
            fs::read_dir(path.join("segments")).is_ok_and(|mut entries| entries.next().is_some());
        if !has_segments || !path.join("wal").is_dir() {
            return Err(damaged("segments or log are missing".to_owned()));
        }
        // What an optimisation that was cut off had begun.
        let leftover = path.join("temp_segments");
        if leftover.exists() {
            fs::remove_dir_all(&leftover).map_err(EdgeError::io(&leftover))?;
        }
        let engine =
            EdgeShard::load(&path, Some(config.engine())).map_err(|error| damaged(error.to_string()))?;
        Ok(Self {
            engine,
            free_bytes_min: config.free_bytes_min,
            placement: placement.clone(),
            optimizing: AtomicBool::new(false),
        })
    }

    /// Makes an empty shard beside its place and moves it there whole: a folder in its place was finished, so whatever it
    /// lacks is damage. Then opens it.
    ///
    /// # Errors
    /// Where the disk or the engine fails.
    pub fn create(config: &EdgeConfig, placement: &Placement) -> EdgeResult<Self> {
        let draft = config.root.join(format!("{placement}.new"));
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(EdgeError::io(&draft))?;
        }
        let engine = EdgeShard::new(&draft, config.engine())?;
        create_indexes(&engine)?;
        engine.flush()?;
        drop(engine);
        let path = folder(&config.root, placement);
        fs::rename(&draft, &path).map_err(EdgeError::io(&path))?;
        sync_folder(&config.root)?;
        Self::open(config, placement)
    }

    /// Whether it holds no point, erased ones counted too.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn is_empty(&self) -> EdgeResult<bool> {
        let everything = CountRequest { filter: None, exact: true };
        Ok(self.engine.count(everything)? == 0)
    }

    /// Ends it, and moves its files aside for [`remove_discarded`], so that what a crash leaves of them is never taken for a damaged shard.
    ///
    /// # Errors
    /// Where the disk fails; then the shard is given back.
    pub fn discard(self, root: &Path) -> Result<(), Box<(Self, EdgeError)>> {
        let path = folder(root, &self.placement);
        match fs::rename(&path, discarded(root, &self.placement)) {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new((self, EdgeError::io(&path)(error)))),
        }
    }

    /// The placement.
    pub const fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The templates' dimension; none where no template was ever written.
    pub fn dimension(&self) -> Option<usize> {
        self.engine.config().vectors.get(VECTOR).map(|vector| vector.size)
    }

    /// Makes the vector with the first template.
    ///
    /// # Errors
    /// [`EdgeError::Dimension`] where the placement's dimension is another.
    pub fn require_dimension(&self, given: usize) -> EdgeResult<()> {
        if self.dimension().is_none() {
            let config: VectorNameConfig = serde_json::from_value(json!({
                "dense": { "size": given, "distance": "Dot" }
            }))
            .map_err(|error| OperationError::service_error_light(error.to_string()))?;
            let create = CreateVectorName { vector_name: VECTOR.to_owned(), config };
            let operation = VectorNameOperations::CreateVectorName(create);
            self.engine.update(UpdateOperation::VectorNameOperation(operation))?;
        }
        match self.dimension() {
            Some(expected) if expected != given => Err(EdgeError::Dimension { expected, given }),
            _ => Ok(()),
        }
    }

    /// Makes writes durable against power loss.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn flush(&self) -> EdgeResult<()> {
        Ok(self.engine.flush()?)
    }

    /// Builds graphs, merges and vacuums segments until nothing is left to do; returns at once where nothing is. Needs
    /// about the shard's size on disk besides.
    ///
    /// # Errors
    /// [`EdgeError::DiskFull`] where there is no room; else where the engine fails. Reads and writes go on.
    pub fn optimize(&self) -> EdgeResult<bool> {
        let path = self.engine.path();
        let free_bytes = disk::free_bytes(path).map_err(EdgeError::io(path))?;
        let needed_bytes = self.free_bytes_min.saturating_add(disk::used_bytes(path));
        if free_bytes < needed_bytes {
            return Err(EdgeError::DiskFull { path: path.to_owned(), free_bytes, needed_bytes });
        }
        self.optimizing.store(true, Ordering::Relaxed);
        let result = self.engine.optimize();
        self.optimizing.store(false, Ordering::Relaxed);
        Ok(result?)
    }

    /// How it stands.
    ///
    /// # Errors
    /// Where the engine fails.
    pub fn statistics(&self) -> EdgeResult<PlacementStatistics> {
        let info = self.engine.info()?;
        let path = self.engine.path();
        Ok(PlacementStatistics {
            placement: self.placement.clone(),
            points: info.points_count as u64,
            segments: info.segments_count,
            indexed_vectors: info.indexed_vectors_count as u64,
            graph_bytes: graph_bytes(&path.join("segments")),
            disk_bytes: disk::used_bytes(path),
            optimizing: self.optimizing.load(Ordering::Relaxed),
        })
    }
}

/// Each segment keeps the graph of vector `V` in its folder `vector_index-V`.
fn graph_bytes(segments: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(segments) else { return 0 };
    let graph =
        |segment: fs::DirEntry| disk::used_bytes(&segment.path().join(format!("vector_index-{VECTOR}")));
    entries.flatten().map(graph).sum()
}

/// `part` is the tenant index, the only field with graphs. Graphs for ranges or for the dead would cross tenants.
fn create_indexes(engine: &EdgeShard) -> EdgeResult<()> {
    // A keyword would be compared as text with every point that a search comes by: a quarter of its time.
    let key_of_part = |is_tenant: bool| {
        PayloadSchemaParams::Uuid(UuidIndexParams {
            is_tenant: Some(is_tenant),
            enable_hnsw: Some(is_tenant),
            ..UuidIndexParams::default()
        })
    };
    let range = || {
        PayloadSchemaParams::Integer(IntegerIndexParams {
            lookup: Some(false),
            range: Some(true),
            enable_hnsw: Some(false),
            ..IntegerIndexParams::default()
        })
    };
    for (name, schema) in [
        (field::PART, key_of_part(true)),
        (field::DEAD_PART, key_of_part(false)),
        (field::USER_PART, key_of_part(false)),
        (field::VERSION, range()),
        (field::EXPIRES_AT, range()),
        (field::ENROLLED_AT, range()),
    ] {
        let field_schema = Some(PayloadFieldSchema::FieldParams(schema));
        let create = CreateIndex { field_name: key(name), field_schema };
        engine.update(UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(create)))?;
    }
    Ok(())
}

fn sync_folder(path: &Path) -> EdgeResult<()> {
    fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(EdgeError::io(path))
}
