//! Where a verifier listens.

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};
use thiserror::Error;

/// The longest path that fits into a socket's address, with the zero byte after it.
pub(crate) const MAX_PATH: usize = 107;

/// How many connections wait to be accepted; the operating system has a bound of its own as well.
const BACKLOG: i32 = 1024;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp(SocketAddress),
    /// A unix socket.
    Unix(UnixSocket),
}

/// An IP address and a port; port 0 is any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    /// The address, often one that stands for all.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
}

/// A unix socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    path: PathBuf,
    mode: u32,
}

/// Why a path cannot be that of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SocketPathError {
    /// There is none.
    #[error("a path after unix:, such as unix:/run/jwtproxy.sock")]
    Empty,
    /// The operating system has a bound on it.
    #[error("a socket's path of at most {MAX_PATH} bytes")]
    TooLong,
}

/// Where a listener turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl UnixSocket {
    /// A socket at this path, which is made absolute, with these permissions.
    pub fn new(path: impl AsRef<OsStr>, mode: u32) -> Result<Self, SocketPathError> {
        let path = std::path::absolute(Path::new(&path)).map_err(|_| SocketPathError::Empty)?;
        if path.as_os_str().as_bytes().len() > MAX_PATH {
            return Err(SocketPathError::TooLong);
        }
        Ok(Self { path, mode })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The permissions of its file.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Listens on it. A socket file that nobody listens on any more is replaced; one that somebody
    /// does listen on, and a file that is no socket, are errors.
    pub fn bind(&self) -> io::Result<UnixListener> {
        self.remove_stale()?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        // The file gets the socket's own mode, reduced by the umask: until the wanted one is set,
        // no other user can connect.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(&self.path)?)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(self.mode))?;
        listen(&socket, BACKLOG)?;
        Ok(UnixListener::from(socket))
    }

    fn remove_stale(&self) -> io::Result<()> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !found.file_type().is_socket() {
            let problem = "there is a file, and it is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
        }
        match UnixStream::connect(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(&self.path)
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        }
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(socket) => write!(f, "unix:{}", socket.path.display()),
        }
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_has_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let socket = UnixSocket::new(&path, 0o640).unwrap();
        let _listener = socket.bind().unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn what_somebody_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixSocket::new(&path, 0o755).unwrap();
        let _live = UnixListener::bind(&path).unwrap();
        assert_eq!(socket.bind().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        let error = UnixSocket::new(&file, 0o755).unwrap().bind().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn paths_that_no_socket_can_have_are_refused() {
        assert_eq!(UnixSocket::new("", 0o755), Err(SocketPathError::Empty));
        let long = format!("/{}", "a".repeat(MAX_PATH));
        assert_eq!(UnixSocket::new(long, 0o755), Err(SocketPathError::TooLong));
        let relative = UnixSocket::new("here.sock", 0o755).unwrap();
        assert!(relative.path().is_absolute());
    }
}
