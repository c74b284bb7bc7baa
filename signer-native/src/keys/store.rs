//! The keys of one issuer on the disk.
//!
//! Beside each other in one folder: `<issuer>.jwk`, the active key; `<issuer>.jwk.pending`, one
//! that is being published; `<issuer>.jwk.lock`, held by the process that looks after them. A file
//! is replaced by renaming a complete one over it, so that after a crash there is the old or the
//! new one, never a part. The pending key becomes the active one by a single renaming.

use super::generated::GeneratedKey;
use jwt_core::registry::RESERVED;
use percent_encoding::utf8_percent_encode;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tracing::error;
use transport::files::{FileError, PrivateFolder};

/// The folder, for whoever may look after the keys or only use them.
#[derive(Clone, Debug)]
pub(super) struct KeyFolder {
    folder: Arc<PrivateFolder>,
    active: String,
    pending: String,
    lock: String,
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
    pub(super) fn open(folder: &Path, issuer: &str) -> Result<Self, FileError> {
        let name = utf8_percent_encode(issuer, RESERVED);
        let file = |suffix: &str| format!("{name}.jwk{suffix}");
        Ok(Self {
            active: file(""),
            pending: file(".pending"),
            lock: file(".lock"),
            folder: Arc::new(PrivateFolder::open(folder)?),
        })
    }

    /// Becomes the one that looks after the keys; `None` while another one is.
    pub(super) fn try_lock(&self) -> Result<Option<KeyStore>, FileError> {
        let lock = self.folder.lock_file(&self.lock)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(KeyStore {
                files: self.clone(),
                _lock: lock,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                let path = self.folder.path_of(&self.lock);
                Err(FileError::system::<io::Error>("lock", &path)(error))
            }
        }
    }

    /// What changes whenever the active key does; `None` where there is none.
    pub(super) fn active_version(&self) -> Option<(u64, SystemTime)> {
        self.folder.version_of(&self.active)
    }

    /// The key that is active by the word of whoever looks after it.
    pub(super) fn read_active(&self) -> Result<Option<GeneratedKey>, FileError> {
        let found = self.folder.read(&self.active)?;
        Ok(found.and_then(|json| GeneratedKey::from_json(&json).ok()))
    }
}

impl KeyStore {
    /// Both keys. A file that holds none is put aside, not overwritten: somebody may want it.
    pub(super) fn load(&self) -> Result<StoredKeys, FileError> {
        let KeyFolder {
            folder,
            pending,
            active,
            ..
        } = &self.files;
        folder.remove_unfinished(pending)?;
        // As versions before random names called it.
        folder.remove(&format!("{pending}.new"))?;
        for name in [active, pending] {
            folder.adopt(name)?;
        }
        Ok(StoredKeys {
            active: self.load_file(active)?,
            pending: self.load_file(pending)?,
        })
    }

    fn load_file(&self, name: &str) -> Result<Option<GeneratedKey>, FileError> {
        let folder = &self.files.folder;
        let Some(json) = folder.read(name)? else {
            return Ok(None);
        };
        match GeneratedKey::from_json(&json) {
            Ok(key) => Ok(Some(key)),
            Err(problem) => {
                let aside = format!("{name}.unreadable");
                error!(
                    "{} holds no usable key ({problem}): it becomes {aside}",
                    folder.path_of(name).display(),
                );
                folder.rename(name, &aside)?;
                Ok(None)
            }
        }
    }

    /// Keeps a pending key, in place of any other. When this returns, it is on the disk.
    pub(super) fn save_pending(&self, key: &GeneratedKey) -> Result<(), FileError> {
        self.files.folder.write(&self.files.pending, &key.to_json())
    }

    /// The pending key, which has this id, becomes the active one. Where it did before, and only
    /// its folder could not be synced, that is what is left to do.
    pub(super) fn activate(&self, id: &str) -> Result<(), FileError> {
        let KeyFolder {
            folder,
            pending,
            active,
            ..
        } = &self.files;
        match folder.rename(pending, active) {
            Err(error) if !error.is_not_found() || !self.is_active(id)? => Err(error),
            Err(_) => folder.sync(),
            Ok(()) => Ok(()),
        }
    }

    fn is_active(&self, id: &str) -> Result<bool, FileError> {
        let active = self.files.read_active()?;
        Ok(active.is_some_and(|key| key.id() == id))
    }

    /// Forgets the pending key, if there is one.
    pub(super) fn discard_pending(&self) -> Result<(), FileError> {
        self.files.folder.remove(&self.files.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    const ACTIVE: &str = "keys/https%3A%2F%2Fa%2Fb.jwk";

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

        let file = folder.path().join(ACTIVE);
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
    fn an_open_folder_is_closed_and_an_open_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(&folder);
        let key = GeneratedKey::make().unwrap();
        first.save_pending(&key).unwrap();
        first.activate(key.id()).unwrap();
        let keys = folder.path().join("keys");
        let file = folder.path().join(ACTIVE);
        fs::set_permissions(&keys, Permissions::from_mode(0o755)).unwrap();
        drop(first);
        let again = store(&folder);
        assert_eq!(ids(&again), [Some(key.id().to_owned()), None]);
        assert_eq!(mode(&keys), 0o700);
        for open in [0o644, 0o640, 0o620, 0o602] {
            fs::set_permissions(&file, Permissions::from_mode(open)).unwrap();
            let error = again.load().unwrap_err().to_string();
            assert!(error.contains("is open to other users"), "{error}");
            assert_eq!(mode(&file), open);
        }
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
    fn what_a_crash_left_half_written_is_no_key_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let keys = folder.path().join("keys");
        let pending = format!("{ACTIVE}.pending").replace("keys/", "");
        let halves = [format!("{pending}.new"), format!(".{pending}.0123.new")];
        for half in &halves {
            fs::write(keys.join(half), "{\"kty\": \"RS").unwrap();
        }
        let of_another = keys.join(".another.jwk.pending.0123.new");
        fs::write(&of_another, "").unwrap();
        assert_eq!(ids(&store), [None, None]);
        assert!(halves.iter().all(|half| !keys.join(half).exists()));
        assert!(of_another.exists());
    }

    /// Where an earlier version wrote through it.
    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let target = folder.path().join("target");
        fs::write(&target, "precious").unwrap();
        let link = folder.path().join(format!("{ACTIVE}.pending.new"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        store.save_pending(&GeneratedKey::make().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert!(ids(&store)[1].is_some());
        assert!(!link.exists());
    }

    #[test]
    fn a_file_that_holds_no_key_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let active = folder.path().join(ACTIVE);
        fs::write(&active, "garbage").unwrap();
        fs::set_permissions(&active, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(ids(&store), [None, None]);
        let aside = folder.path().join(format!("{ACTIVE}.unreadable"));
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
