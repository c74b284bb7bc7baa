//! The keys of one issuer on the disk.
//!
//! Beside each other in one folder: `<issuer>.jwk`, the active key; `<issuer>.jwk.pending`, one
//! that is being published; `<issuer>.jwk.lock`, held by the process that looks after them. A file
//! is replaced by renaming a complete one over it, so that after a crash there is the old or the
//! new one, never a part. The pending key becomes the active one by a single renaming.

use super::generated::GeneratedKey;
use jwt_core::registry::RESERVED;
use percent_encoding::utf8_percent_encode;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tracing::{error, warn};

/// Why a folder cannot hold keys.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot {action}: {source}")]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder, for whoever may look after the keys or only use them.
#[derive(Clone, Debug)]
pub(super) struct KeyFolder {
    folder: PathBuf,
    active: PathBuf,
    pending: PathBuf,
    lock: PathBuf,
}

/// The folder, for the one process that looks after the keys.
#[derive(Debug)]
pub(super) struct KeyStore {
    files: KeyFolder,
    /// Held as long as it is open, and given up by the system when the process ends.
    _lock: File,
}

/// What was found.
#[derive(Debug)]
pub(super) struct StoredKeys {
    pub(super) active: Option<GeneratedKey>,
    pub(super) pending: Option<GeneratedKey>,
}

impl KeyFolder {
    /// Makes the folder where there is none, and keeps others out of it.
    pub(super) fn open(folder: &Path, issuer: &str) -> Result<Self, StoreError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(folder)
            .map_err(failed("create the folder", folder))?;
        keep_private(folder, 0o700)?;
        let name = utf8_percent_encode(issuer, RESERVED);
        let file = |suffix: &str| folder.join(format!("{name}.jwk{suffix}"));
        Ok(Self {
            active: file(""),
            pending: file(".pending"),
            lock: file(".lock"),
            folder: folder.to_owned(),
        })
    }

    /// Becomes the one that looks after the keys; `None` while another one is.
    pub(super) fn try_lock(&self) -> Result<Option<KeyStore>, StoreError> {
        let failed = failed("lock", &self.lock);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.lock)
            .map_err(&failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(KeyStore {
                files: self.clone(),
                _lock: lock,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// What changes whenever the active key does; `None` where there is none.
    pub(super) fn active_version(&self) -> Option<(u64, SystemTime)> {
        let metadata = self.active.metadata().ok()?;
        Some((metadata.ino(), metadata.modified().ok()?))
    }

    /// The key that is active by the word of whoever looks after it.
    pub(super) fn read_active(&self) -> Result<Option<GeneratedKey>, StoreError> {
        let found = read(&self.active)?;
        Ok(found.and_then(|json| GeneratedKey::from_json(&json).ok()))
    }
}

impl KeyStore {
    /// Both keys. A file that holds none is put aside, not overwritten: somebody may want it.
    pub(super) fn load(&self) -> Result<StoredKeys, StoreError> {
        Ok(StoredKeys {
            active: self.load_file(&self.files.active)?,
            pending: self.load_file(&self.files.pending)?,
        })
    }

    fn load_file(&self, path: &Path) -> Result<Option<GeneratedKey>, StoreError> {
        let Some(json) = read(path)? else {
            return Ok(None);
        };
        keep_private(path, 0o600)?;
        match GeneratedKey::from_json(&json) {
            Ok(key) => Ok(Some(key)),
            Err(problem) => {
                let aside = with_suffix(path, ".unreadable");
                error!(
                    "{} holds no usable key ({problem}): it becomes {}",
                    path.display(),
                    aside.display()
                );
                self.rename(path, &aside)?;
                Ok(None)
            }
        }
    }

    /// Keeps a pending key, in place of any other. When this returns, it is on the disk.
    pub(super) fn save_pending(&self, key: &GeneratedKey) -> Result<(), StoreError> {
        let path = &self.files.pending;
        let new = with_suffix(path, ".new");
        write_new(&new, &key.to_json()).map_err(failed("write", &new))?;
        self.rename(&new, path)
    }

    /// The pending key, which has this id, becomes the active one. Where it did before, and only
    /// its folder could not be synced, that is what is left to do.
    pub(super) fn activate(&self, id: &str) -> Result<(), StoreError> {
        let KeyFolder {
            pending, active, ..
        } = &self.files;
        match std::fs::rename(pending, active) {
            Err(error) if error.kind() != ErrorKind::NotFound || !self.is_active(id)? => {
                Err(failed("rename", pending)(error))
            }
            _ => self.sync_folder(),
        }
    }

    fn is_active(&self, id: &str) -> Result<bool, StoreError> {
        let active = self.files.read_active()?;
        Ok(active.is_some_and(|key| key.id() == id))
    }

    /// Forgets the pending key, if there is one.
    pub(super) fn discard_pending(&self) -> Result<(), StoreError> {
        let path = &self.files.pending;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
            _ => self.sync_folder(),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        std::fs::rename(from, to).map_err(failed("rename", from))?;
        self.sync_folder()
    }

    /// A renaming is on the disk when its folder is.
    fn sync_folder(&self) -> Result<(), StoreError> {
        let folder = &self.files.folder;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("sync", folder))
    }
}

/// A complete file, on the disk, for its owner only. What a crash left there is overwritten.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Takes away what others may do with a file or folder.
fn keep_private(path: &Path, mode: u32) -> Result<(), StoreError> {
    let metadata = path.metadata().map_err(failed("look at", path))?;
    let found = metadata.permissions().mode() & 0o777;
    if found & !mode == 0 {
        return Ok(());
    }
    warn!(
        "{} was open to others (mode {found:03o}): it gets mode {mode:03o}",
        path.display()
    );
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(failed("change the mode of", path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn store(folder: &TempDir) -> KeyStore {
        let files = KeyFolder::open(&folder.path().join("keys"), "https://a/b").unwrap();
        files.try_lock().unwrap().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn ids(store: &KeyStore) -> [Option<String>; 2] {
        let StoredKeys { active, pending } = store.load().unwrap();
        [active, pending].map(|key| key.map(|key| key.id().to_owned()))
    }

    #[test]
    fn a_key_is_pending_then_active_then_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert_eq!(ids(&store), [None, None]);
        let [one, two] = [(); 2].map(|()| GeneratedKey::make().unwrap());
        let id = |key: &GeneratedKey| Some(key.id().to_owned());

        store.save_pending(&one).unwrap();
        assert_eq!(ids(&store), [None, id(&one)]);
        store.activate(one.id()).unwrap();
        assert_eq!(ids(&store), [id(&one), None]);
        store.save_pending(&two).unwrap();
        assert_eq!(ids(&store), [id(&one), id(&two)]);
        store.discard_pending().unwrap();
        store.discard_pending().unwrap();
        assert_eq!(ids(&store), [id(&one), None]);
        store.save_pending(&two).unwrap();
        store.activate(two.id()).unwrap();
        assert_eq!(ids(&store), [id(&two), None]);

        let file = folder.path().join("keys/https%3A%2F%2Fa%2Fb.jwk");
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn an_activation_that_was_only_not_synced_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let [one, two] = [(); 2].map(|()| GeneratedKey::make().unwrap());
        store.save_pending(&one).unwrap();
        store.activate(one.id()).unwrap();
        store.activate(one.id()).unwrap();
        assert_eq!(ids(&store), [Some(one.id().to_owned()), None]);
        let error = store.activate(two.id()).unwrap_err();
        assert!(error.to_string().contains("cannot rename"), "{error}");
    }

    #[test]
    fn what_others_may_do_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(&folder);
        let key = GeneratedKey::make().unwrap();
        first.save_pending(&key).unwrap();
        first.activate(key.id()).unwrap();
        let keys = folder.path().join("keys");
        let file = keys.join("https%3A%2F%2Fa%2Fb.jwk");
        fs::set_permissions(&keys, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        drop(first);
        store(&folder).load().unwrap();
        assert_eq!((mode(&keys), mode(&file)), (0o700, 0o600));
    }

    #[test]
    fn one_process_looks_after_the_keys_and_others_may_read_the_active_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(&folder);
        let other = first.files.clone();
        assert!(other.try_lock().unwrap().is_none());
        assert!(other.read_active().unwrap().is_none());
        let key = GeneratedKey::make().unwrap();
        first.save_pending(&key).unwrap();
        assert!(other.read_active().unwrap().is_none());
        first.activate(key.id()).unwrap();
        assert_eq!(other.read_active().unwrap().unwrap().id(), key.id());
        drop(first);
        assert!(other.try_lock().unwrap().is_some());
    }

    #[test]
    fn what_a_crash_left_half_written_is_no_key_and_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let half = with_suffix(&store.files.pending, ".new");
        fs::write(&half, "{\"kty\": \"RS").unwrap();
        assert_eq!(ids(&store), [None, None]);
        store.save_pending(&GeneratedKey::make().unwrap()).unwrap();
        assert!(ids(&store)[1].is_some() && !half.exists());
    }

    #[test]
    fn a_file_that_holds_no_key_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        fs::write(&store.files.active, "garbage").unwrap();
        assert_eq!(ids(&store), [None, None]);
        let aside = with_suffix(&store.files.active, ".unreadable");
        assert_eq!(fs::read(aside).unwrap(), b"garbage");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = KeyFolder::open(&file.join("keys"), "svc").unwrap_err();
        assert!(
            error.to_string().contains("file/keys: cannot create"),
            "{error}"
        );
    }
}
