//! What can go wrong, in the words the user sees.

use crate::server::TlsError;
use crate::store::StorageError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use transport::files::FileError;

/// Why a registry does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The process cannot be told about SIGTERM and SIGINT.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// The keys cannot be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The certificate and its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The seeds hold mistakes: all of them, one a line.
    #[error("{}", lines(.0))]
    Seeds(Vec<Mistake>),
}

/// A mistake in what the user wrote, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file or flag, and the path of the value in it.
    pub place: String,
    /// What is wrong there.
    pub unexpected: Unexpected,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.unexpected)
    }
}

/// Input that is not what it should be.
///
/// Neither text ever repeats key material: the input may be a private key by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; expected {expected}")]
pub struct Unexpected {
    /// What the input is.
    pub found: String,
    /// What it should have been.
    pub expected: String,
}

impl Unexpected {
    pub(crate) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// A file that cannot be read, or that another user could change.
    pub fn of_file(error: FileError, expected: impl Into<String>) -> Self {
        let found = match error {
            FileError::System { source, .. } => format!("cannot be read: {source}"),
            FileError::Untrusted { problem, .. } => format!("a file that {problem}"),
        };
        Self::new(found, expected)
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}
