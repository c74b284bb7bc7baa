//! A folder for secrets that only this process's user can enter.

use super::{FileError, check_owner, create_at, is, own_id, permissions};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tracing::warn;

/// An open folder: once checked it stays the same one, whatever becomes of its path.
///
/// It is the folder that was asked for where that is this user's own. In a folder of another user,
/// such as the root of a mounted volume, it is `jwtproxy-<user id>` within.
#[derive(Debug)]
pub struct PrivateFolder {
    folder: OwnedFd,
    path: PathBuf,
    /// The folder of another user that this one is in. Versions before this rule kept files there.
    around: Option<OwnedFd>,
}

const OPEN_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Far more than a key has.
const LARGEST_FILE: u64 = 1 << 20;

impl PrivateFolder {
    /// Opens a folder, or creates it with all those it is in.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(path)
            .map_err(FileError::system("create the folder", path))?;
        let failed = FileError::system::<Errno>("open the folder", path);
        let link = rustix::fs::lstat(path).map_err(&failed)?;
        if is(&link, FileType::Symlink) {
            check_owner(&link).map_err(|problem| FileError::untrusted(path, problem))?;
        }
        let folder = rustix::fs::open(path, OPEN_FOLDER, Mode::empty()).map_err(&failed)?;
        if rustix::fs::fstat(&folder).map_err(&failed)?.st_uid == own_id() {
            let this = Self {
                folder,
                path: path.to_owned(),
                around: None,
            };
            this.keep_others_out()?;
            return Ok(this);
        }
        Self::within(folder, path)
    }

    /// The folder of this user in one of another user.
    fn within(around: OwnedFd, path: &Path) -> Result<Self, FileError> {
        let name = format!("jwtproxy-{}", own_id());
        let path = path.join(&name);
        match rustix::fs::mkdirat(&around, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(FileError::system("create the folder", &path)(error)),
        }
        let flags = OPEN_FOLDER | OFlags::NOFOLLOW;
        let folder =
            rustix::fs::openat(&around, &name, flags, Mode::empty()).map_err(
                |error| match error {
                    Errno::LOOP | Errno::NOTDIR => FileError::untrusted(
                        &path,
                        "is not a folder, and was not made by this user: remove it",
                    ),
                    other => FileError::system("open the folder", &path)(other),
                },
            )?;
        let this = Self {
            folder,
            path,
            around: Some(around),
        };
        let owner = this.stat()?.st_uid;
        if owner != own_id() {
            let problem = format!(
                "belongs to the user with id {owner}, not to this process's own user: remove it"
            );
            return Err(FileError::untrusted(&this.path, problem));
        }
        this.keep_others_out()?;
        Ok(this)
    }

    /// Takes away what others may do with a folder of this user. What they may have put there
    /// meanwhile is theirs, and refused for that.
    fn keep_others_out(&self) -> Result<(), FileError> {
        let mode = permissions(&self.stat()?);
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let path = self.path.display();
        warn!("{path} was open to others (mode {mode:04o}): it gets mode 0700");
        rustix::fs::fchmod(&self.folder, Mode::RWXU)
            .map_err(FileError::system("change the mode of", &self.path))
    }

    fn stat(&self) -> Result<Stat, FileError> {
        rustix::fs::fstat(&self.folder).map_err(FileError::system("look at", &self.path))
    }

    /// The path of a file in this folder, for the log.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a file of this folder holds; `None` where there is none.
    ///
    /// It is refused unless it is a regular file of root or this user that no other user can read
    /// or write. A named pipe is noticed, not waited for.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.path_of(name);
        let Some(file) = self.open_checked(name, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.take(LARGEST_FILE)
            .read_to_end(&mut content)
            .map_err(FileError::system("read", &path))?;
        Ok(Some(content))
    }

    /// An empty file to hold a lock on. It is created where there is none.
    pub fn lock_file(&self, name: &str) -> Result<File, FileError> {
        // Another process can create or remove it at the same time, so there may be a second try.
        for _ in 0..2 {
            match create_at(&self.folder, Path::new(name)) {
                Ok(file) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(FileError::system("create", &self.path_of(name))(error)),
            }
            if let Some(file) = self.open_checked(name, OFlags::RDWR)? {
                return Ok(file);
            }
        }
        let vanished = io::Error::from(io::ErrorKind::NotFound);
        Err(FileError::system("open", &self.path_of(name))(vanished))
    }

    /// Writes a file, in place of any other of this name. When this returns, it is on the disk.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let path = self.path_of(name);
        let failed = FileError::system::<io::Error>("write", &path);
        let random = getrandom::u64().map_err(|error| failed(io::Error::other(error)))?;
        let new = format!("{}{random:016x}{NEW}", new_prefix(name));
        let written = create_at(&self.folder, Path::new(&new)).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        if let Err(error) = written {
            // It is of no use to anyone; that it failed is all that matters.
            let _ = rustix::fs::unlinkat(&self.folder, &new, AtFlags::empty());
            return Err(failed(error));
        }
        self.rename(&new, name)
    }

    /// Gives a file another name, over any file that has it. When this returns, that is on the
    /// disk.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        rustix::fs::renameat(&self.folder, from, &self.folder, to)
            .map_err(FileError::system("rename", &self.path_of(from)))?;
        self.sync()
    }

    /// Removes a file, where there is one. When this returns, that is on the disk.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => self.sync(),
            Err(error) => Err(FileError::system("remove", &self.path_of(name))(error)),
        }
    }

    /// Removes what writers of this file that were killed have left.
    pub fn remove_unfinished(&self, name: &str) -> Result<(), FileError> {
        let failed = FileError::system::<io::Error>("list", &self.path);
        for entry in std::fs::read_dir(&self.path).map_err(&failed)? {
            let entry = entry.map_err(&failed)?.file_name();
            let Some(found) = entry.to_str() else {
                continue;
            };
            if found.starts_with(&new_prefix(name)) && found.ends_with(NEW) {
                self.remove(found)?;
            }
        }
        Ok(())
    }

    /// A renaming is on the disk when its folder is.
    pub fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.folder).map_err(FileError::system("sync", &self.path))
    }

    /// What changes whenever a file is replaced; `None` where there is none.
    pub fn version_of(&self, name: &str) -> Option<(u64, SystemTime)> {
        let found = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let seconds = u64::try_from(found.st_mtime).ok()?;
        let nanoseconds = u32::try_from(found.st_mtime_nsec).ok()?;
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))?;
        Some((found.st_ino, modified))
    }

    /// Takes over a file that an earlier version kept in the folder of another user, where it is
    /// this user's own still and there is none of this name here.
    pub fn adopt(&self, name: &str) -> Result<(), FileError> {
        let Some(around) = &self.around else {
            return Ok(());
        };
        if self.version_of(name).is_some() {
            return Ok(());
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let Ok(found) = rustix::fs::statat(around, name, flags) else {
            return Ok(());
        };
        let outside = self.path.parent().unwrap_or(&self.path).join(name);
        let own = is(&found, FileType::RegularFile)
            && found.st_uid == own_id()
            && found.st_nlink == 1
            && permissions(&found) & 0o077 == 0;
        if !own {
            let outside = outside.display();
            warn!("{outside} is not a private file of this user: it is not used");
            return Ok(());
        }
        rustix::fs::renameat(around, name, &self.folder, name)
            .map_err(FileError::system("move", &outside))?;
        let here = self.path_of(name);
        warn!("{} becomes {}", outside.display(), here.display());
        self.sync()
    }

    fn open_checked(&self, name: &str, access: OFlags) -> Result<Option<File>, FileError> {
        let path = self.path_of(name);
        let untrusted = |problem: &str| FileError::untrusted(&path, problem);
        // What has no writer or reader, such as a named pipe, is not waited for.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(untrusted("is a symbolic link, which was not made here"));
            }
            Err(Errno::NXIO | Errno::ISDIR) => return Err(untrusted(NOT_REGULAR)),
            Err(error) => return Err(FileError::system("open", &path)(error)),
        };
        let found = rustix::fs::fstat(&file).map_err(FileError::system("look at", &path))?;
        if !is(&found, FileType::RegularFile) {
            return Err(untrusted(NOT_REGULAR));
        }
        check_owner(&found).map_err(|problem| untrusted(&problem))?;
        let mode = permissions(&found);
        if mode & 0o077 != 0 {
            return Err(untrusted(&format!(
                "is open to other users (mode {mode:04o}), who may know or have changed what is \
                 in it: remove it, or chmod 600 it if you trust it"
            )));
        }
        if found.st_size > i64::try_from(LARGEST_FILE).unwrap_or(i64::MAX) {
            return Err(untrusted("is larger than anything that was written here"));
        }
        Ok(Some(file))
    }
}

const NOT_REGULAR: &str = "is not a regular file, and was not made here: remove it";

/// How the files that are being written are called.
const NEW: &str = ".new";

fn new_prefix(name: &str) -> String {
    format!(".{name}.")
}
