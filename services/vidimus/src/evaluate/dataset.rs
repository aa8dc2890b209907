//! A folder of labelled photos.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Photos at most: their pairs' scores take 800 MB.
const PHOTOS_MAX: usize = 20_000;

/// A person's photos, in the order of their names.
#[derive(Debug)]
pub struct Person {
    /// The photos.
    pub photos: Vec<PathBuf>,
}

/// People, in the order of their names.
#[derive(Debug)]
pub struct Dataset {
    /// The people; each has a photo.
    pub people: Vec<Person>,
}

impl Dataset {
    /// Lists a folder that has a folder for each person. Files beside those, and hidden ones, are left out.
    ///
    /// # Errors
    /// Where a folder cannot be read, or there is no photo, or too many.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut people = Vec::new();
        for person in visible(folder)?.into_iter().filter(|path| path.is_dir()) {
            let photos: Vec<PathBuf> = visible(&person)?.into_iter().filter(|path| path.is_file()).collect();
            if !photos.is_empty() {
                people.push(Person { photos });
            }
        }
        let dataset = Self { people };
        let photos = dataset.photo_count();
        ensure!(photos > 0, "{} has no folder with photos", folder.display());
        ensure!(photos <= PHOTOS_MAX, "{} has {photos} photos, more than {PHOTOS_MAX}", folder.display());
        Ok(dataset)
    }

    /// All photos.
    pub fn photo_count(&self) -> usize {
        self.people.iter().map(|person| person.photos.len()).sum()
    }
}

/// What is in a folder, sorted, without what is hidden.
fn visible(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
