//! The keys and the used nonces in SQLite.
//!
//! What was committed survives `kill -9` and the loss of power: the journal is a write-ahead log,
//! and `synchronous=FULL` has it on the disk before a commit returns. The file belongs to one
//! process at a time, because keys are served from memory: a second one is refused.

use super::key::{Key, KeyState, Origin};
use super::nonces::{Nonces, UnwrittenNonces};
use super::tombstones::Tombstone;
use super::{Change, Name, Source, State, migrations};
use crate::jwk::PublicJwk;
use jwt_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, Row, Transaction, params};
use std::path::{Path, PathBuf};
use std::time::Duration;
use transport::files::FileError;

/// Why keys cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file belongs to another registry that is running.
    #[error("{0}: another process uses this database")]
    InUse(PathBuf),
    /// A newer version of this program wrote it.
    #[error("the database has schema version {0}, which is newer than this program")]
    Newer(i64),
    /// It holds something that this program did not write.
    #[error("the database holds a key that cannot be read: {0}")]
    Damaged(String),
    /// Its file is not this user's alone.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another user can change a file beside it.
    #[error(
        "{0} is not this user's alone, and SQLite would take keys from it: find out who made it, \
         and remove it"
    )]
    Companion(PathBuf),
    /// What SQLite said.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// How many bytes of the write-ahead log are kept once a large change has gone through it.
const MAX_IDLE_JOURNAL: u32 = 4 << 20;

/// An open database.
pub(super) struct Storage {
    connection: Connection,
    unwritten: UnwrittenNonces,
}

impl Storage {
    /// Nothing outlives the process.
    pub(super) fn in_memory() -> Result<Self, StorageError> {
        let connection = Connection::open_in_memory()?;
        prepare(connection)
    }

    /// Opens a file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        secure(path)?;
        for suffix in COMPANIONS {
            secure_companion(path, suffix)?;
        }
        let in_use = |error| match error {
            StorageError::Sqlite(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) =>
            {
                StorageError::InUse(path.to_owned())
            }
            other => other,
        };
        let connection = Connection::open(path)?;
        let open = || {
            // Freed pages can go back to the file system. It is only heard before there is
            // anything in the file.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            // Whoever has the file keeps it.
            connection.busy_timeout(Duration::ZERO)?;
            // The lock is taken with the first access, and kept until the end.
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "journal_size_limit", MAX_IDLE_JOURNAL)?;
            prepare(connection)
        };
        let storage = open().map_err(in_use)?;
        // SQLite makes a new one where it has removed the one that was there.
        secure_companion(path, WRITE_AHEAD_LOG)?;
        Ok(storage)
    }

    /// All that was kept.
    pub(super) fn load(&self) -> Result<State, StorageError> {
        let mut state = State::default();
        let mut statement = self.connection.prepare("SELECT * FROM keys")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            state.apply(Change::Put(read_name(row)?, read_key(row)?));
        }
        let mut statement = self.connection.prepare("SELECT * FROM tombstones")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let thumbprint: String = row.get("thumbprint")?;
            let tombstone = Tombstone {
                name: read_name(row)?,
                thumbprint: thumbprint.into(),
            };
            state.apply(Change::Bury(row.get("number")?, tombstone));
        }
        Ok(state)
    }

    /// Gives the space of what was removed back to the file system.
    pub(super) fn release_space(&self) -> Result<(), StorageError> {
        // A page at a time comes as a row.
        let mut statement = self.connection.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Begins a change that happens whole or not at all.
    pub(super) fn transaction(&mut self) -> Result<Nonces<'_>, StorageError> {
        let transaction = self.connection.transaction()?;
        Ok(Nonces::new(transaction, &mut self.unwritten))
    }
}

const WRITE_AHEAD_LOG: &str = "-wal";

/// What SQLite reads beside a database when it opens it, whichever user made it: pages that replace those
/// of the database among them. Each is made here before, so that no other user can make it later.
const COMPANIONS: [&str; 3] = ["-journal", WRITE_AHEAD_LOG, "-shm"];

fn secure_companion(path: &Path, suffix: &str) -> Result<(), StorageError> {
    // SQLite puts them beside the file that a link leads to.
    let real = path.canonicalize();
    let mut name = real.unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push(suffix);
    let path = PathBuf::from(name);
    secure(&path).map_err(|error| match error {
        StorageError::File(FileError::Untrusted { .. }) => StorageError::Companion(path),
        other => other,
    })
}

/// Makes a file for this user alone, or checks that the one that is there is.
fn secure(path: &Path) -> Result<(), StorageError> {
    if let Some(warning) = transport::files::prepare(path)? {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn prepare(mut connection: Connection) -> Result<Storage, StorageError> {
    migrations::run(&mut connection)?;
    Ok(Storage {
        connection,
        unwritten: UnwrittenNonces::default(),
    })
}

fn read_name(row: &Row<'_>) -> Result<Name, StorageError> {
    let (service, kid): (String, String) = (row.get("service")?, row.get("kid")?);
    Ok(Name::new(&service, &kid))
}

fn read_key(row: &Row<'_>) -> Result<Key, StorageError> {
    let jwk: String = row.get("jwk")?;
    let state: String = row.get("state")?;
    let expires: Option<i64> = row.get("expires")?;
    let damaged = |problem: String| StorageError::Damaged(problem);
    Ok(Key {
        jwk: PublicJwk::parse(&jwk).map_err(|error| damaged(error.to_string()))?,
        state: KeyState::from_name(&state)
            .ok_or_else(|| damaged(format!("its state is {state:?}")))?,
        expires: expires.map(time).transpose()?,
        rotation: row.get("rotation")?,
        origin: read_origin(row)?,
    })
}

fn read_origin(row: &Row<'_>) -> Result<Option<Origin>, StorageError> {
    let Some(source) = row.get::<_, Option<String>>("source")? else {
        return Ok(None);
    };
    Ok(Some(Origin {
        source: Source::from(source),
        published: time(row.get("published")?)?,
        pending_until: time(row.get("pending_until")?)?,
        serial: row.get("serial")?,
    }))
}

fn time(seconds: i64) -> Result<Timestamp, StorageError> {
    Timestamp::from_seconds(seconds)
        .ok_or_else(|| StorageError::Damaged(format!("it has the time {seconds}")))
}

/// Writes a change within a transaction.
pub(super) fn write(transaction: &Transaction<'_>, change: &Change) -> Result<(), StorageError> {
    match change {
        Change::Put(name, key) => put(transaction, name, key)?,
        Change::Remove(name) => transaction
            .prepare_cached("DELETE FROM keys WHERE service = ? AND kid = ?")?
            .execute([name.service(), name.kid()])?,
        Change::Bury(number, tombstone) => transaction
            .prepare_cached(
                "INSERT INTO tombstones (number, service, kid, thumbprint) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![
                number,
                &**tombstone.name.service(),
                tombstone.name.kid(),
                &*tombstone.thumbprint,
            ])?,
        Change::Lift(number) => transaction
            .prepare_cached("DELETE FROM tombstones WHERE number = ?")?
            .execute([number])?,
    };
    Ok(())
}

fn put(transaction: &Transaction<'_>, name: &Name, key: &Key) -> rusqlite::Result<usize> {
    let origin = key.origin.as_ref();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO keys (service, kid, jwk, state, expires, rotation,
                                          source, published, pending_until, serial)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            &**name.service(),
            name.kid(),
            key.jwk.to_json().to_string(),
            key.state.name(),
            key.expires.map(Timestamp::seconds),
            key.rotation,
            origin.map(|origin| origin.source.as_str()),
            origin.map(|origin| origin.published.seconds()),
            origin.map(|origin| origin.pending_until.seconds()),
            origin.map(|origin| origin.serial),
        ])
}
