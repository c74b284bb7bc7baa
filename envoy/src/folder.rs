//! The folder of a running Envoy: its bootstrap, its module, the socket of its admin interface.
//!
//! It lies where every user of the machine can create files. A user who can write there replaces
//! the certificate or the filter; one who can read there gets what the bootstrap contains. So the
//! modes are explicit, whatever the umask is, and each write first checks that the folder is still
//! the one that was created.

use crate::address::MAX_PATH as MAX_SOCKET_PATH;
use rustix::fs::{self, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where temporary files are, unless TMPDIR names another folder.
const DEFAULT_PARENT: &str = "/tmp";

/// Read and write for the owner, nothing for others.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Read, write and search for the owner, nothing for others.
const FOLDER_MODE: Mode = Mode::RWXU;

/// What others may do to a folder in which they cannot replace anything: list it and search it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// In such a folder users can remove and rename only what belongs to them.
const STICKY: u32 = 0o1000;

/// A temporary folder of this user, which goes when this is dropped.
pub(crate) struct TemporaryFolder {
    folder: PrivateFolder,
    _remover: TempDir,
}

/// A folder that no other user can look into.
pub(crate) struct PrivateFolder {
    path: PathBuf,
    handle: OwnedFd,
}

impl TemporaryFolder {
    /// A new one in `$TMPDIR`, else in /tmp.
    pub(crate) fn create() -> io::Result<Self> {
        Self::create_in(&parent(std::env::var_os("TMPDIR"))?)
    }

    /// A folder that is already there is never taken, not even one of our own.
    fn create_in(parent: &Path) -> io::Result<Self> {
        check_ancestors(parent)?;
        // A short name leaves room for sockets, whose paths are bounded.
        let remover = tempfile::Builder::new()
            .prefix("jwtproxy-")
            .rand_bytes(10)
            .permissions(Permissions::from_mode(FOLDER_MODE.as_raw_mode()))
            .tempdir_in(parent)?;
        let folder = PrivateFolder::open(remover.path().to_owned())?;
        Ok(Self {
            folder,
            _remover: remover,
        })
    }
}

impl std::ops::Deref for TemporaryFolder {
    type Target = PrivateFolder;

    fn deref(&self) -> &PrivateFolder {
        &self.folder
    }
}

impl PrivateFolder {
    fn open(path: PathBuf) -> io::Result<Self> {
        let handle = fs::open(&path, FOLDER_FLAGS, Mode::empty())?;
        let this = Self { path, handle };
        this.check()?;
        Ok(this)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a socket that will be created in it.
    pub(crate) fn socket(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            let problem = format!(
                "{} is longer than the {MAX_SOCKET_PATH} bytes that a socket's path may have: name \
                 a shorter folder in TMPDIR",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, problem));
        }
        Ok(path)
    }

    /// A new folder in it.
    pub(crate) fn create_folder(&self, name: &str) -> io::Result<Self> {
        self.check()?;
        fs::mkdirat(&self.handle, name, FOLDER_MODE)?;
        let handle = fs::openat(&self.handle, name, FOLDER_FLAGS, Mode::empty())?;
        let path = self.path.join(name);
        let this = Self { path, handle };
        this.check()?;
        Ok(this)
    }

    /// A new file in it, and its path.
    pub(crate) fn create_file(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        self.check()?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.handle, name, flags, FILE_MODE)?;
        fs::fchmod(&file, FILE_MODE)?;
        File::from(file).write_all(content)?;
        Ok(self.path.join(name))
    }

    /// Puts a file there in one step, in the place of an older one if there is one. Envoy notices
    /// files that are moved, and no others.
    pub(crate) fn replace_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        // Left behind where the disk was full.
        match fs::unlinkat(&self.handle, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        self.create_file(&new, content)?;
        Ok(fs::renameat(&self.handle, &new, &self.handle, name)?)
    }

    /// Fails unless the folder is ours, closed to others, and still at its path.
    fn check(&self) -> io::Result<()> {
        let own = fs::fstat(self.handle.as_fd())?;
        let there = fs::lstat(&self.path)?;
        let problem = match () {
            () if identity(&own) != identity(&there) => "another file has taken its place",
            () if own.st_uid != geteuid().as_raw() => "it belongs to another user",
            () if own.st_mode & 0o077 != 0 => "other users have access to it",
            () => return Ok(()),
        };
        Err(refused(&self.path, problem))
    }
}

const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn parent(variable: Option<OsString>) -> io::Result<PathBuf> {
    let named = variable.filter(|value| !value.is_empty());
    let parent = named.map_or_else(|| PathBuf::from(DEFAULT_PARENT), PathBuf::from);
    // Envoy gets its paths, which must stay right if a symlink on the way changes.
    parent.canonicalize().map_err(|error| {
        let problem = format!("{} (TMPDIR): {error}", parent.display());
        io::Error::new(error.kind(), problem)
    })
}

/// A user who can rename a folder on the way can put another one in its place.
fn check_ancestors(parent: &Path) -> io::Result<()> {
    for folder in parent.ancestors() {
        let found = folder.metadata()?;
        let (owner, mode) = (found.uid(), found.mode());
        if owner != 0 && owner != geteuid().as_raw() {
            return Err(refused(folder, "it belongs to another user"));
        }
        if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
            let problem = "other users can replace what is in it: take their write permission \
                           away (chmod go-w), or name another folder in TMPDIR";
            return Err(refused(folder, problem));
        }
    }
    Ok(())
}

fn refused(folder: &Path, problem: &str) -> io::Error {
    let problem = format!("{} is not safe: {problem}", folder.display());
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs as files;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        files::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        files::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A private folder in one of the test's own.
    fn start() -> (tempfile::TempDir, TemporaryFolder) {
        let outer = tempfile::tempdir().unwrap();
        set_mode(outer.path(), 0o755);
        let folder = TemporaryFolder::create_in(outer.path()).unwrap();
        (outer, folder)
    }

    #[test]
    fn everything_is_closed_to_others() {
        let (outer, folder) = start();
        let inner = folder.create_folder("inner").unwrap();
        let file = inner.create_file("file", b"content").unwrap();
        inner.replace_file("other", b"1").unwrap();
        inner.replace_file("other", b"2").unwrap();
        let other = inner.path().join("other");
        assert_eq!(files::read(&other).unwrap(), b"2");
        assert_eq!(files::read_dir(inner.path()).unwrap().count(), 2);
        assert_eq!([mode(folder.path()), mode(inner.path())], [0o700; 2]);
        assert_eq!([mode(&file), mode(&other)], [0o600; 2]);
        drop(folder);
        assert_eq!(files::read_dir(outer.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_already_there_is_neither_taken_nor_followed() {
        let (outer, folder) = start();
        let target = outer.path().join("target");
        symlink(&target, folder.path().join("link")).unwrap();
        symlink(&target, folder.path().join("file.new")).unwrap();
        files::create_dir(folder.path().join("there")).unwrap();
        assert!(folder.create_file("link", b"").is_err());
        assert!(folder.create_folder("link").is_err());
        assert!(folder.create_folder("there").is_err());
        folder.replace_file("file", b"new").unwrap();
        assert!(!target.exists());
        assert_eq!(files::read(folder.path().join("file")).unwrap(), b"new");
    }

    #[test]
    fn a_folder_that_has_been_opened_or_replaced_is_not_written_to() {
        let (outer, folder) = start();
        set_mode(folder.path(), 0o770);
        let error = folder.replace_file("file", b"").unwrap_err().to_string();
        assert!(error.contains("other users have access"), "{error}");
        set_mode(folder.path(), 0o700);
        folder.replace_file("file", b"").unwrap();

        let aside = outer.path().join("aside");
        files::rename(folder.path(), &aside).unwrap();
        symlink(&aside, folder.path()).unwrap();
        let error = folder.create_file("new", b"").unwrap_err().to_string();
        assert!(
            error.contains("another file has taken its place"),
            "{error}"
        );
        assert!(PrivateFolder::open(folder.path().to_owned()).is_err());
    }

    #[test]
    fn a_parent_where_others_can_replace_files_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        set_mode(outer.path(), 0o755);
        let middle = outer.path().join("middle");
        files::create_dir(&middle).unwrap();
        for (writable, accepted) in [
            (0o755, true),
            (0o1777, true),
            (0o777, false),
            (0o775, false),
            (0o757, false),
        ] {
            set_mode(&middle, writable);
            let inner = middle.join(format!("inner{writable:o}"));
            files::create_dir(&inner).unwrap();
            set_mode(&inner, 0o755);
            for parent in [&middle, &inner] {
                let created = TemporaryFolder::create_in(parent).map(|_| ());
                assert_eq!(created.is_ok(), accepted, "{writable:o}: {created:?}");
            }
        }
    }

    #[test]
    fn tmpdir_is_followed_to_its_end() {
        let outer = tempfile::tempdir().unwrap().path().canonicalize().unwrap();
        files::create_dir(&outer).unwrap();
        let link = outer.join("link");
        symlink(&outer, &link).unwrap();
        assert_eq!(parent(Some(link.into())).unwrap(), outer);
        let tmp = Path::new(DEFAULT_PARENT).canonicalize().unwrap();
        assert_eq!(parent(Some(OsString::new())).unwrap(), tmp);
        assert_eq!(parent(None).unwrap(), tmp);
        assert!(parent(Some(".".into())).unwrap().is_absolute());
        let missing = parent(Some("/no/such/folder".into()))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("TMPDIR"), "{missing}");
        files::remove_dir_all(outer).unwrap();
    }
}
