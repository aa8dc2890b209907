//! Secrets that the embedded mode keeps in its data directory, one file each, mode 0600.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vidimus_ports::Random;

/// The secrets of one data directory.
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// The secrets of `data`; made when they are first asked for.
    pub(crate) fn new(data: &Path) -> Self {
        Self { folder: data.join("keys") }
    }

    /// Seals page tokens.
    pub(crate) fn page_tokens(&self, random: &dyn Random) -> anyhow::Result<[u8; 32]> {
        let text = self.read_or_make("page-tokens", random)?;
        parse(&text).with_context(|| format!("{} is damaged", self.folder.join("page-tokens").display()))
    }

    /// Opens the service's administration.
    pub(crate) fn admin_token(&self, random: &dyn Random) -> anyhow::Result<String> {
        let token = self.read_or_make("admin-token", random)?;
        parse(&token).with_context(|| format!("{} is damaged", self.folder.join("admin-token").display()))?;
        Ok(token)
    }

    /// The token as a running service has it.
    pub(crate) fn existing_admin_token(&self) -> anyhow::Result<String> {
        let path = self.folder.join("admin-token");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    fn read_or_make(&self, name: &str, random: &dyn Random) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(text.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.write(&path, &text).with_context(|| format!("write {}", path.display()))?;
        Ok(text)
    }

    /// Writes beside and renames, so that no reader sees half a secret.
    fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let beside = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(&self.folder)?.sync_all()
    }
}

fn parse(text: &str) -> anyhow::Result<[u8; 32]> {
    if text.len() != 64 {
        bail!("it must have 64 hexadecimal digits");
    }
    let mut key = [0; 32];
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16)?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use vidimus_ports::random::SystemRandom;

    #[test]
    fn secrets_stay_and_are_the_owners_alone() {
        let data = tempfile::tempdir().unwrap();
        let keys = Keys::new(data.path());
        let first = keys.page_tokens(&SystemRandom).unwrap();
        assert_eq!(keys.page_tokens(&SystemRandom).unwrap(), first);
        let mode = fs::metadata(data.path().join("keys/page-tokens")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(keys.existing_admin_token().is_err());
        let token = keys.admin_token(&SystemRandom).unwrap();
        assert_eq!(keys.existing_admin_token().unwrap(), token);
    }
}
