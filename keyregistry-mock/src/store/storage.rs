//! The keys and the used nonces in SQLite.
//!
//! What was committed survives `kill -9` and the loss of power: the journal is a write-ahead log,
//! and `synchronous=FULL` has it on the disk before a commit returns. The file belongs to one
//! process at a time, because keys are served from memory: a second one is refused.

use super::key::{Key, KeyState};
use super::{Change, Services};
use crate::jwk::PublicJwk;
use jwt_core::nonce::{Nonce, NonceClaim, NonceStore};
use jwt_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, params};
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
    /// What SQLite said.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// An open database.
pub(super) struct Storage {
    connection: Connection,
}

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE keys (
        service TEXT NOT NULL,
        kid TEXT NOT NULL,
        jwk TEXT NOT NULL,
        state TEXT NOT NULL,
        expires INTEGER,
        rotation INTEGER,
        PRIMARY KEY (service, kid)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE nonces (
        issuer TEXT NOT NULL,
        token_id TEXT NOT NULL,
        expires INTEGER NOT NULL,
        PRIMARY KEY (issuer, token_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX nonces_by_expiry ON nonces (expires);
    PRAGMA user_version = 1;
";

impl Storage {
    /// Nothing outlives the process.
    pub(super) fn in_memory() -> Result<Self, StorageError> {
        let connection = Connection::open_in_memory()?;
        prepare(connection)
    }

    /// Opens a file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        // SQLite gives the files that it makes beside it the same mode.
        if let Some(warning) = transport::files::prepare(path)? {
            tracing::warn!("{warning}");
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
            // Whoever has the file keeps it.
            connection.busy_timeout(Duration::ZERO)?;
            // The lock is taken with the first access, and kept until the end.
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            prepare(connection)
        };
        open().map_err(in_use)
    }

    /// Every key there is.
    pub(super) fn load(&self) -> Result<Services, StorageError> {
        let mut statement = self
            .connection
            .prepare("SELECT service, kid, jwk, state, expires, rotation FROM keys")?;
        let mut rows = statement.query([])?;
        let mut services = Services::new();
        while let Some(row) = rows.next()? {
            let (service, kid) = (row.get("service")?, row.get("kid")?);
            services
                .entry(service)
                .or_default()
                .insert(kid, read_key(row)?);
        }
        Ok(services)
    }

    /// Begins a change that happens whole or not at all.
    pub(super) fn transaction(&mut self) -> Result<Transaction<'_>, StorageError> {
        Ok(self.connection.transaction()?)
    }
}

fn prepare(mut connection: Connection) -> Result<Storage, StorageError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
    match transaction.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => transaction.execute_batch(SCHEMA)?,
        SCHEMA_VERSION => {}
        newer => return Err(StorageError::Newer(newer)),
    }
    transaction.commit()?;
    Ok(Storage { connection })
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
    })
}

fn time(seconds: i64) -> Result<Timestamp, StorageError> {
    Timestamp::from_seconds(seconds)
        .ok_or_else(|| StorageError::Damaged(format!("it expires at {seconds}")))
}

/// Writes a change within a transaction.
pub(super) fn write(transaction: &Transaction<'_>, change: &Change) -> Result<(), StorageError> {
    match change {
        Change::Put { service, kid, key } => transaction.execute(
            "INSERT OR REPLACE INTO keys (service, kid, jwk, state, expires, rotation)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![
                service,
                kid,
                key.jwk.to_json().to_string(),
                key.state.name(),
                key.expires.map(Timestamp::seconds),
                key.rotation,
            ],
        )?,
        Change::Remove { service, kid } => transaction.execute(
            "DELETE FROM keys WHERE service = ? AND kid = ?",
            params![service, kid],
        )?,
    };
    Ok(())
}

/// Claims nonces within a transaction: they are used when it is committed, with whatever else it
/// holds, and remembered after a restart.
pub(super) struct Nonces<'a>(pub(super) &'a Transaction<'a>);

impl Nonces<'_> {
    fn try_claim(&self, nonce: &Nonce<'_>, now: Timestamp) -> rusqlite::Result<NonceClaim> {
        self.0
            .execute("DELETE FROM nonces WHERE expires <= ?", [now.seconds()])?;
        let inserted = self
            .0
            .query_row(
                "INSERT INTO nonces (issuer, token_id, expires) VALUES (?, ?, ?)
                 ON CONFLICT DO NOTHING RETURNING 1",
                params![
                    nonce.issuer,
                    nonce.token_id,
                    // Forgotten a little late rather than while the token is still good.
                    nonce.expires.seconds_rounded_up(),
                ],
                |_| Ok(()),
            )
            .optional()?;
        Ok(inserted.map_or(NonceClaim::Replayed, |()| NonceClaim::Fresh))
    }
}

impl NonceStore for Nonces<'_> {
    fn claim(&mut self, nonce: &Nonce<'_>, now: Timestamp) -> NonceClaim {
        self.try_claim(nonce, now).unwrap_or_else(|error| {
            tracing::error!(%error, "a nonce cannot be kept");
            NonceClaim::Unavailable
        })
    }
}
