//! Where a job's photos come from: a folder, or the configured place of imports.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use vidimus_domain::catalog::ImportPrefix;
use vidimus_domain::limits::PHOTO_OBJECT_BYTES_MAX;
use vidimus_ports::{Found, PhotoSource, SourceObject, SystemRandom};

use crate::adapters;
use crate::config::Config;

/// Names that are listed at a time. For each page a folder is read as a whole.
const PAGE: usize = 10_000;
/// The longest that a photo's external image id may be.
const EXTERNAL_IMAGE_ID_BYTES_MAX: usize = 255;

/// Photos by name.
pub(super) enum Source {
    /// A folder with all that is below it; the names are those of its files, from the folder on.
    Folder { root: PathBuf, names: Vec<String> },
    /// Objects of the place of imports.
    Imports { photos: Arc<dyn PhotoSource>, prefix: ImportPrefix, within: String },
}

/// What is found under a name.
pub(super) enum Photo {
    Bytes(Bytes),
    /// It cannot be brought in: why.
    Refused(String),
}

impl Source {
    /// Opens what `text` names.
    ///
    /// # Errors
    /// Where there is no such folder, or a URI is not below the place of imports.
    pub(super) async fn open(config: &Config, text: &str) -> anyhow::Result<Self> {
        if !text.contains("://") {
            let root = PathBuf::from(text);
            ensure!(root.is_dir(), "{text} is no folder");
            let mut found = Walked::default();
            found.walk(&root, "")?;
            if found.left_out > 0 {
                let what = "links, hidden files and folders, or no plain files";
                crate::output::note(&format!("left out, for they are {what}: {}", found.left_out));
            }
            let mut names = found.names;
            names.sort();
            return Ok(Self::Folder { root, names });
        }
        let Some(imports) = &config.imports else {
            bail!("{text}: no place of imports is configured (`imports`)");
        };
        let (prefix, within) = below(imports, text)
            .with_context(|| format!("{text} must lie below the configured place of imports, {imports}"))?;
        Ok(Self::Imports {
            photos: adapters::open_photos(config, Arc::new(SystemRandom)).await?,
            prefix,
            within,
        })
    }

    /// The names after `after`, in order; none where there are no more.
    pub(super) async fn names(&self, after: Option<&str>) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Folder { names, .. } => {
                let from = after.map_or(0, |after| names.partition_point(|name| name.as_str() <= after));
                Ok(names.iter().skip(from).take(PAGE).cloned().collect())
            }
            Self::Imports { photos, prefix, within } => {
                let listed = photos.list(prefix, within, after, PAGE).await.context("list photos")?;
                Ok(listed.into_iter().map(|entry| entry.name).collect())
            }
        }
    }

    /// Reads a photo.
    ///
    /// # Errors
    /// Where the place of imports fails. A file that cannot be read is one photo's affair.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Photo> {
        let too_large = || Photo::Refused(format!("it has more than {PHOTO_OBJECT_BYTES_MAX} bytes"));
        let found = match self {
            Self::Folder { root, .. } => {
                let path = root.join(name);
                match tokio::fs::metadata(&path).await {
                    Ok(metadata) if metadata.len() > PHOTO_OBJECT_BYTES_MAX as u64 => Found::TooLarge,
                    Ok(_) => match tokio::fs::read(&path).await {
                        Ok(bytes) => Found::Photo(bytes.into()),
                        Err(error) => return Ok(Photo::Refused(format!("it cannot be read: {error}"))),
                    },
                    Err(error) => return Ok(Photo::Refused(format!("it cannot be read: {error}"))),
                }
            }
            Self::Imports { photos, prefix, .. } => {
                let object = SourceObject { prefix: prefix.clone(), name: name.to_owned(), version: None };
                photos.get(&object, PHOTO_OBJECT_BYTES_MAX as u64).await.context("read photo")?
            }
        };
        Ok(match found {
            Found::Photo(bytes) => Photo::Bytes(bytes),
            Found::TooLarge => too_large(),
            Found::Nothing => Photo::Refused("it is not there any more".to_owned()),
        })
    }
}

/// The prefix and the rest of a URI below the place of imports.
fn below(imports: &str, text: &str) -> anyhow::Result<(ImportPrefix, String)> {
    let rest = text.strip_prefix(imports.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.context("it lies elsewhere")?;
    let (first, within) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = first.parse::<ImportPrefix>().context("name a folder below it")?;
    let ends = within.is_empty() || within.ends_with('/');
    Ok((prefix, if ends { within.to_owned() } else { format!("{within}/") }))
}

/// What a folder has.
#[derive(Default)]
struct Walked {
    names: Vec<String>,
    /// Hidden files and folders, links, and what is no plain file.
    left_out: u64,
}

impl Walked {
    /// Every plain file below `folder` that is not hidden. A name that is no text is said and left out.
    fn walk(&mut self, folder: &Path, above: &str) -> anyhow::Result<()> {
        let listing = || format!("list {}", folder.display());
        for entry in fs::read_dir(folder).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let kind = entry.file_type().with_context(listing)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let path = entry.path();
                crate::output::note(&format!("left out, for its name is no text: {}", path.display()));
                continue;
            };
            match name.starts_with('.') {
                false if kind.is_dir() => self.walk(&entry.path(), &format!("{above}{name}/"))?,
                false if kind.is_file() => self.names.push(format!("{above}{name}")),
                _ => self.left_out += 1,
            }
        }
        Ok(())
    }
}

/// A photo's name as an external image id: what that cannot have is `_`, and folders end in `:`. A name that is too long
/// keeps its end, which tells more.
pub(super) fn external_image_id(name: &str) -> String {
    let allowed = |character: char| match character {
        '/' => ':',
        '_' | '.' | '-' | ':' => character,
        _ if character.is_ascii_alphanumeric() => character,
        _ => '_',
    };
    let text = name.chars().map(allowed).collect::<String>();
    text[text.len().saturating_sub(EXTERNAL_IMAGE_ID_BYTES_MAX)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_with_all_below_it_in_order() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b.jpg", "a/2.jpg", "a/1.jpg", ".hidden", "a/.thumbs/x.jpg"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "photo").unwrap();
        }
        std::os::unix::fs::symlink("b.jpg", root.path().join("link.jpg")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = root.path().display().to_string();
        let source = runtime.block_on(Source::open(&Config::default(), &folder)).unwrap();
        let names = |after| runtime.block_on(source.names(after)).unwrap();
        assert_eq!(names(None), ["a/1.jpg", "a/2.jpg", "b.jpg"]);
        assert_eq!(names(Some("a/1.jpg")), ["a/2.jpg", "b.jpg"]);
        assert_eq!(names(Some("a/15")), ["a/2.jpg", "b.jpg"]);
        assert!(names(Some("b.jpg")).is_empty());
        let read = |name| runtime.block_on(source.read(name)).unwrap();
        assert!(matches!(read("a/1.jpg"), Photo::Bytes(bytes) if bytes.as_ref() == b"photo"));
        assert!(matches!(read("gone.jpg"), Photo::Refused(_)));
    }

    #[test]
    fn places_of_imports_are_below_the_configured_one() {
        for (text, prefix, within) in [
            ("s3://photos/in/acme", "acme", ""),
            ("s3://photos/in/acme/", "acme", ""),
            ("s3://photos/in/acme/2026/jan", "acme", "2026/jan/"),
        ] {
            let (found, rest) = below("s3://photos/in/", text).unwrap();
            assert_eq!((found.as_str(), rest.as_str()), (prefix, within), "{text}");
        }
        for elsewhere in ["s3://photos/in", "s3://photos/in/", "s3://photos/inner/acme", "s3://other/in/acme"]
        {
            assert!(below("s3://photos/in", elsewhere).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn names_become_external_image_ids() {
        assert_eq!(external_image_id("ada/pass port 1.jpg"), "ada:pass_port_1.jpg");
        assert_eq!(external_image_id("jörg.png"), "j_rg.png");
        let long = external_image_id(&format!("{}/end.jpg", "x".repeat(300)));
        assert!(long.len() == 255 && long.ends_with(":end.jpg"));
    }
}
