//! Where the stores are: a URI each, whose scheme picks the adapter.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vidimus_qdrant::Address;
use vidimus_s3::S3Location;

use super::Config;
use crate::roles::Store;

/// Where records, photos, catalog and audit batches lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobsPlace {
    /// In a directory of this machine, which is one process's alone.
    Files(PathBuf),
    /// In a bucket.
    S3(S3Location),
}

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// In a directory of this machine, which is one process's alone.
    Files(PathBuf),
    /// On these brokers, named by a URI.
    Kafka(String),
}

/// Where the index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexPlace {
    /// In a directory of this machine, the engine in this process.
    Edge(PathBuf),
    /// On servers.
    Qdrant(Address),
}

/// Where the photos lie that tenants name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportsPlace {
    /// In a directory of this machine.
    Files(PathBuf),
    /// In a bucket.
    S3(S3Location),
}

/// Where photos that tenants name lie where neither they nor a data directory are set.
const IMPORTS_DEFAULT: &str = "/var/lib/vidimus/imports";

impl Config {
    /// Where blobs lie.
    ///
    /// # Errors
    /// Where nothing says it, or the URI is none that there is.
    pub fn blobs_place(&self) -> anyhow::Result<BlobsPlace> {
        let Some(uri) = &self.blobs else { return Ok(BlobsPlace::Files(self.data()?.join("blobs"))) };
        match uri.split_once("://") {
            Some(("file", path)) => Ok(BlobsPlace::Files(absolute("blobs", uri, path)?)),
            Some(("s3", _)) => Ok(BlobsPlace::S3(uri.parse().context("blobs")?)),
            _ => bail!("blobs = {uri:?}: it must be file:///ABSOLUTE/PATH or s3://BUCKET/PREFIX"),
        }
    }

    /// Where the log is.
    ///
    /// # Errors
    /// As [`Config::blobs_place`].
    pub fn log_place(&self) -> anyhow::Result<LogPlace> {
        let Some(uri) = &self.log else { return Ok(LogPlace::Files(self.data()?.join("log"))) };
        match uri.split_once("://") {
            Some(("file", path)) => Ok(LogPlace::Files(absolute("log", uri, path)?)),
            Some(("kafka", brokers)) if !brokers.is_empty() => Ok(LogPlace::Kafka(uri.clone())),
            _ => bail!("log = {uri:?}: it must be file:///ABSOLUTE/PATH or kafka://HOST:PORT[,HOST:PORT…]"),
        }
    }

    /// Where the index is.
    ///
    /// # Errors
    /// As [`Config::blobs_place`].
    pub fn index_place(&self) -> anyhow::Result<IndexPlace> {
        let Some(uri) = &self.index else { return Ok(IndexPlace::Edge(self.data()?.join("index"))) };
        match uri.split_once("://") {
            Some(("edge", path)) => Ok(IndexPlace::Edge(absolute("index", uri, path)?)),
            Some(("qdrant" | "qdrants", _)) => {
                Ok(IndexPlace::Qdrant(uri.parse().with_context(|| format!("index = {uri:?}"))?))
            }
            _ => {
                bail!("index = {uri:?}: it must be edge:///ABSOLUTE/PATH or qdrant://HOST:PORT[,HOST:PORT…]")
            }
        }
    }

    /// Where the photos lie that tenants name.
    ///
    /// # Errors
    /// Where the URI is none that there is.
    pub fn imports_place(&self) -> anyhow::Result<ImportsPlace> {
        let Some(uri) = &self.imports else {
            let default = self.data.as_ref().map(|data| data.join("imports"));
            return Ok(ImportsPlace::Files(default.unwrap_or_else(|| PathBuf::from(IMPORTS_DEFAULT))));
        };
        match uri.split_once("://") {
            Some(("file", path)) => Ok(ImportsPlace::Files(absolute("imports", uri, path)?)),
            Some(("s3", _)) => Ok(ImportsPlace::S3(uri.parse().context("imports")?)),
            _ => bail!("imports = {uri:?}: it must be file:///ABSOLUTE/PATH or s3://BUCKET/PREFIX"),
        }
    }

    /// Whether a store is one process's alone: one that nothing is said of lies in the data directory.
    ///
    /// # Errors
    /// Where the URI is none that there is.
    pub fn is_embedded(&self, store: Store) -> anyhow::Result<bool> {
        let uri = match store {
            Store::Blobs => &self.blobs,
            Store::Log => &self.log,
            Store::Index => &self.index,
        };
        if uri.is_none() {
            return Ok(true);
        }
        Ok(match store {
            Store::Blobs => matches!(self.blobs_place()?, BlobsPlace::Files(_)),
            Store::Log => matches!(self.log_place()?, LogPlace::Files(_)),
            Store::Index => matches!(self.index_place()?, IndexPlace::Edge(_)),
        })
    }

    /// Whether it is said where a store is.
    ///
    /// # Errors
    /// Where nothing says it, or the URI is none that there is.
    pub(super) fn check_place(&self, store: Store) -> anyhow::Result<()> {
        match store {
            Store::Blobs => self.blobs_place().map(drop),
            Store::Log => self.log_place().map(drop),
            Store::Index => self.index_place().map(drop),
        }
    }
}

fn absolute(name: &str, uri: &str, path: &str) -> anyhow::Result<PathBuf> {
    if !Path::new(path).is_absolute() {
        bail!("{name} = {uri:?}: the path must be absolute, as in file:///PATH or edge:///PATH");
    }
    Ok(PathBuf::from(path))
}
