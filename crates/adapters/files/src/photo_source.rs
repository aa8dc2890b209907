//! [`PhotoSource`] on a directory.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags, open, openat2};
use rustix::io::Errno;
use vidimus_domain::catalog::ImportPrefix;
use vidimus_ports::{Found, PhotoSource, PortError, PortErrorKind, PortResult, SourceEntry, SourceObject};

use crate::photo_walk::{BELOW, PhotoWalk};

/// Photos under a directory. Names are resolved by the kernel so that nothing above the prefix and no link can be reached
/// (`openat2`: `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS`).
#[derive(Clone, Debug)]
pub struct FilePhotoSource {
    root: PathBuf,
}

impl FilePhotoSource {
    /// Photos under `root`, which need not be there yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }
}

#[async_trait]
impl PhotoSource for FilePhotoSource {
    async fn get(&self, object: &SourceObject, bytes_max: u64) -> PortResult<Found> {
        // Files have no versions.
        if object.version.is_some() {
            return Ok(Found::Nothing);
        }
        let (root, object) = (self.root.clone(), object.clone());
        blocking("read photo", move || read(&root, &object, bytes_max)).await
    }

    async fn list(
        &self,
        prefix: &ImportPrefix,
        within: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<SourceEntry>> {
        let folder = self.root.join(prefix.as_str());
        let (within, after) = (within.to_owned(), after.map(str::to_owned));
        blocking("list photos", move || list(&folder, &within, after.as_deref(), limit)).await
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> PortResult<T> {
    let failed = |kind| PortError::new(kind, doing);
    let called = tokio::task::spawn_blocking(call).await;
    let called = called.map_err(|error| failed(PortErrorKind::Internal).because(error))?;
    called.map_err(|error| failed(PortErrorKind::Unavailable).because(error))
}

fn list(folder: &Path, within: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<SourceEntry>> {
    let folder = match open_folder(folder) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        folder => folder?,
    };
    let mut walk = PhotoWalk::new(folder, within, after)?;
    let mut entries = Vec::new();
    while entries.len() < limit {
        let Some(entry) = walk.next()? else { break };
        entries.push(entry);
    }
    Ok(entries)
}

fn read(root: &Path, object: &SourceObject, bytes_max: u64) -> io::Result<Found> {
    let opened = match open_object(root, object) {
        Ok(opened) => opened,
        // What is not there, leads away or is no plain name: all the same to the tenant.
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ACCESS
            | Errno::PERM
            | Errno::INVAL
            | Errno::NAMETOOLONG,
        ) => return Ok(Found::Nothing),
        Err(error) => return Err(error.into()),
    };
    let file = File::from(opened);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Found::Nothing);
    }
    // One byte more than is allowed: the file may have grown.
    let mut bytes = Vec::new();
    if metadata.len() <= bytes_max {
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    }
    let is_too_large = metadata.len() > bytes_max || bytes.len() as u64 > bytes_max;
    Ok(if is_too_large { Found::TooLarge } else { Found::Photo(Bytes::from(bytes)) })
}

/// The prefix is the administrator's and may be reached through links; what is below it is the tenant's word.
fn open_object(root: &Path, object: &SourceObject) -> Result<OwnedFd, Errno> {
    let folder = open_folder(&root.join(object.prefix.as_str()))?;
    // A pipe without a writer would block an open that waits for one.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat2(&folder, object.name.as_str(), flags, Mode::empty(), BELOW)
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use vidimus_ports::conformance;

    use super::*;

    fn object(name: &str) -> SourceObject {
        SourceObject { prefix: "acme/in".parse().unwrap(), name: name.to_owned(), version: None }
    }

    #[tokio::test]
    async fn only_plain_files_below_the_prefix_are_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("acme/in/deep");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(place.path().join("acme/secret"), "secret").unwrap();
        std::fs::write(folder.join("a b.jpg"), "photo").unwrap();
        std::os::unix::fs::symlink("../../secret", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.join("etc")).unwrap();
        let source = FilePhotoSource::new(place.path().to_owned());
        let photo = Found::Photo(Bytes::from_static(b"photo"));
        assert_eq!(source.get(&object("deep/a b.jpg"), 5).await.unwrap(), photo);
        assert_eq!(source.get(&object("deep/../deep/a b.jpg"), 5).await.unwrap(), photo);
        assert_eq!(source.get(&object("deep/a b.jpg"), 4).await.unwrap(), Found::TooLarge);
        let long = "x".repeat(1024);
        for name in [
            "../secret",
            "deep/../../secret",
            "/etc/passwd",
            "deep/link",
            "deep/etc/passwd",
            "deep",
            "none",
            "a\0b",
            &long,
        ] {
            assert_eq!(source.get(&object(name), 100).await.unwrap(), Found::Nothing, "{name:?}");
        }
        let versioned = SourceObject { version: Some("1".to_owned()), ..object("deep/a b.jpg") };
        assert_eq!(source.get(&versioned, 100).await.unwrap(), Found::Nothing);
        let elsewhere = SourceObject { prefix: "other".parse().unwrap(), ..object("x") };
        assert_eq!(source.get(&elsewhere, 100).await.unwrap(), Found::Nothing);
    }

    #[tokio::test]
    async fn conforms() {
        let place = tempfile::tempdir().unwrap();
        for photo in conformance::photo_source::photos() {
            let path = place.path().join(photo.prefix.as_str()).join(photo.name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, photo.bytes).unwrap();
        }
        let source = FilePhotoSource::new(place.path().to_owned());
        conformance::photo_source::conforms(&source).await.unwrap();
        let names = conformance::photo_source::NAMES;
        for after in ["", "2026", "2026/01/a/", "2026/01/a/1.jpg", "a", "a/", "a.", "a-b/2", "zz"] {
            let listed = source.list(&"acme/in".parse().unwrap(), "", Some(after), 1000).await.unwrap();
            let listed: Vec<String> = listed.into_iter().map(|entry| entry.name).collect();
            let expected: Vec<&str> = names.into_iter().filter(|name| *name > after).collect();
            assert_eq!(listed, expected, "in the order of bytes, after {after:?}");
        }
    }

    #[tokio::test]
    async fn listings_show_plain_files_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("acme/in");
        std::fs::create_dir_all(folder.join("deep/empty")).unwrap();
        std::fs::create_dir_all(place.path().join("elsewhere/deep")).unwrap();
        std::fs::write(place.path().join("elsewhere/deep/secret.jpg"), "secret").unwrap();
        std::fs::write(folder.join("deep/b.jpg"), "photo").unwrap();
        std::os::unix::fs::symlink("b.jpg", folder.join("deep/a-link.jpg")).unwrap();
        std::os::unix::fs::symlink("../../elsewhere", folder.join("folder-link")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        std::fs::write(folder.join(OsStr::from_bytes(b"no-text-\xff")), "photo").unwrap();
        let source = FilePhotoSource::new(place.path().to_owned());
        let prefix = object("").prefix;
        for (within, expected) in [
            ("", vec!["deep/b.jpg"]),
            ("deep/", vec!["deep/b.jpg"]),
            ("folder-link/", vec![]),
            ("deep/b.jpg/", vec![]),
        ] {
            let listed = source.list(&prefix, within, None, 100).await.unwrap();
            let names: Vec<String> = listed.into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, expected, "{within:?}");
        }
    }
}
