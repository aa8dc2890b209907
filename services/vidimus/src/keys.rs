//! The service's own secrets. Where the blobs are in a directory they lie in the data directory, one file each, mode 0600. Where
//! processes share the blobs, what all gateways must have alike is an object there, made by whoever comes first; the
//! administration's token is the operators' to make and to name.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::{BlobStore, PortErrorKind, PutCondition, Random};

/// The secret that seals page tokens.
const PAGE_TOKENS: &str = "page-tokens";

/// What seals page tokens, of all gateways that share these blobs: made where there is none yet. It is as secret as the tenants' keys,
/// which lie beside it.
pub(crate) async fn shared_page_tokens(
    blobs: &dyn BlobStore,
    random: &dyn Random,
) -> anyhow::Result<[u8; 32]> {
    let key = BlobKey::service_secret(PAGE_TOKENS);
    let context = "read the key of page tokens";
    if let Some(blob) = blobs.get(&key).await.context(context)? {
        return parse(&String::from_utf8_lossy(&blob.bytes)).context("the key of page tokens is damaged");
    }
    let made = new_secret(random);
    match blobs.put(&key, made.into_bytes().into(), PutCondition::IfAbsent).await {
        Err(error) if error.kind() != PortErrorKind::Conflict => {
            return Err(error).context("write the key of page tokens");
        }
        // Whoever won, what is there now is everybody's.
        _ => {}
    }
    let blob = blobs.get(&key).await.context(context)?.context("the key of page tokens is gone again")?;
    parse(&String::from_utf8_lossy(&blob.bytes)).context("the key of page tokens is damaged")
}

/// The token that a file holds: any text of at least 16 characters.
pub(crate) fn token_of(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let token = text.trim();
    if token.len() < 16 {
        bail!("admin.token_file = {}: the token must have at least 16 characters", file.display());
    }
    Ok(token.to_owned())
}

fn new_secret(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

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
        let text = self.read_or_make(PAGE_TOKENS, random)?;
        parse(&text).with_context(|| format!("{} is damaged", self.folder.join(PAGE_TOKENS).display()))
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
        let text = new_secret(random);
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
    use vidimus_ports::memory::MemoryBlobStore;
    use vidimus_ports::random::SystemRandom;

    #[tokio::test]
    async fn gateways_that_share_blobs_share_the_key() {
        let blobs = MemoryBlobStore::new(std::sync::Arc::new(vidimus_ports::clock::SystemClock));
        let (first, second) = tokio::join!(
            shared_page_tokens(&blobs, &SystemRandom),
            shared_page_tokens(&blobs, &SystemRandom)
        );
        let first = first.unwrap();
        assert_eq!(second.unwrap(), first);
        assert_eq!(shared_page_tokens(&blobs, &SystemRandom).await.unwrap(), first);
    }

    #[test]
    fn a_token_file_holds_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(token_of(&file).is_err());
        fs::write(&file, "short\n").unwrap();
        assert!(token_of(&file).is_err());
        fs::write(&file, "long enough to be one\n").unwrap();
        assert_eq!(token_of(&file).unwrap(), "long enough to be one");
    }

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
