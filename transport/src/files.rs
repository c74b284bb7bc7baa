//! Files that other users of the machine must not change, and secrets that they must not read.
//!
//! Everything that a process creates is created here:
//!
//! - New files are new (`O_EXCL`, never through a symbolic link) and for their owner only. What
//!   replaces a file is written beside it under a random name, synced, and renamed over it.
//! - Files that the process made earlier are read only where they are still its own, see
//!   [`PrivateFolder`].
//! - Files that a configuration names may be symbolic links, as in Kubernetes, see
//!   [`read_trusted`].
//!
//! What belongs to another user is refused. It is not repaired: its content may already be theirs.

mod folder;
#[cfg(test)]
mod tests;

pub use folder::PrivateFolder;

use jwt_keys::pem;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Why a file or folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system says no.
    #[error("{path}: cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another user has, or had, a hand in it.
    #[error("{path} {problem}")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl FileError {
    /// For the errors of one action with one file.
    pub fn system<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl Fn(E) -> Self {
        let path = path.to_owned();
        move |source| Self::System {
            action,
            path: path.clone(),
            source: source.into(),
        }
    }

    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn untrusted(path: &Path, problem: impl Into<String>) -> Self {
        Self::Untrusted {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A file that a configuration names.
#[derive(Debug)]
pub struct TrustedFile {
    /// What is in it.
    pub content: Vec<u8>,
    /// Its mode, where users other than the owner can read it.
    pub readable_by_others: Option<u32>,
}

/// Reads a file that a configuration names. It may be a symbolic link, as in Kubernetes.
///
/// File and link must belong to root or to the user of this process: any other owner could replace
/// the content at any time. A file that every user can write is refused. Containers get secrets
/// with mode 0644, or 0660 for one group, so those are not; whether others can read it is for the
/// caller to judge.
///
/// The same holds for a named pipe, into which its owner can write. The pipe of a shell's process
/// substitution has no name by which others could open it.
pub fn read_trusted(path: &Path) -> Result<TrustedFile, FileError> {
    let failed = |source: io::Error| FileError::system("read", path)(source);
    let named = rustix::fs::lstat(path).map_err(|error| failed(error.into()))?;
    let is_ours =
        |found: &Stat| check_owner(found).map_err(|problem| FileError::untrusted(path, problem));
    if !is(&named, FileType::RegularFile) {
        // Before it is opened: that would wait for a writer.
        is_ours(&named)?;
    }
    let mut file = File::open(path).map_err(failed)?;
    let found = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    let mut readable_by_others = None;
    if is(&found, FileType::RegularFile) || is_named_pipe(&file, &found) {
        is_ours(&found)?;
        let mode = permissions(&found);
        if mode & 0o002 != 0 {
            let problem = format!("can be changed by every user (mode {mode:04o}): chmod o-w it");
            return Err(FileError::untrusted(path, problem));
        }
        readable_by_others = (mode & 0o044 != 0).then_some(mode);
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(failed)?;
    Ok(TrustedFile {
        content,
        readable_by_others,
    })
}

/// The same, for a file that holds text.
pub fn read_trusted_text(path: &Path) -> Result<String, FileError> {
    let content = read_trusted(path)?.content;
    // What is around the blocks of PEM may be in any encoding.
    if let Some(text) = pem::as_text(&content) {
        return Ok(text.into_owned());
    }
    String::from_utf8(content).map_err(|_| {
        let error = io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
        FileError::system("read", path)(error)
    })
}

/// Makes sure of a file that a library is going to open by its path, such as a database: creates
/// it for its owner only, or checks the one that is there. Returns what to warn of.
pub fn prepare(path: &Path) -> Result<Option<String>, FileError> {
    match create_new(path) {
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(FileError::system("create", path)(error)),
    }
    let failed = FileError::system::<Errno>("open", path);
    let named = rustix::fs::lstat(path).map_err(&failed)?;
    let found = rustix::fs::stat(path).map_err(&failed)?;
    let untrusted = |problem: String| FileError::untrusted(path, problem);
    check_owner(&named).map_err(untrusted)?;
    check_owner(&found).map_err(untrusted)?;
    if !is(&found, FileType::RegularFile) {
        return Err(untrusted("is not a regular file".into()));
    }
    let mode = permissions(&found);
    if mode & 0o002 != 0 {
        let problem = format!("can be changed by every user (mode {mode:04o}): chmod 600 it");
        return Err(untrusted(problem));
    }
    let open = mode & 0o077 != 0;
    Ok(open.then(|| {
        let path = path.display();
        format!("{path} is open to other users (mode {mode:04o}): chmod 600 it")
    }))
}

/// A file that was not there before, for its owner only, whatever the umask is.
pub fn create_new(path: &Path) -> io::Result<File> {
    create_at(rustix::fs::CWD, path)
}

fn create_at(folder: impl std::os::fd::AsFd, path: &Path) -> io::Result<File> {
    // With O_EXCL a symbolic link is an existing file, wherever it leads.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, path, flags, PRIVATE)?);
    // A umask can only take away, and may have taken too much.
    file.set_permissions(Permissions::from_mode(PRIVATE.bits()))?;
    Ok(file)
}

const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Pipes without a name lie in a file system of their own.
fn is_named_pipe(file: &File, found: &Stat) -> bool {
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    let file_system = || rustix::fs::fstatfs(file).map(|found| found.f_type as u64);
    is(found, FileType::Fifo) && file_system() != Ok(PIPEFS_MAGIC)
}

/// Root can do everything anyway.
fn check_owner(found: &Stat) -> Result<(), String> {
    let own = own_id();
    if found.st_uid == own || found.st_uid == 0 {
        return Ok(());
    }
    let owner = found.st_uid;
    Err(format!(
        "belongs to the user with id {owner}, who can change it: expected root or this process's \
         own user (id {own}); chown it"
    ))
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn is(found: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(found.st_mode) == kind
}

fn permissions(found: &Stat) -> u32 {
    found.st_mode & 0o7777
}
