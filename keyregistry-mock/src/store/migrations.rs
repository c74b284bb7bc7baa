//! The tables, and how those of older versions become them.

use super::storage::StorageError;
use rusqlite::{Connection, Transaction, TransactionBehavior};

/// Each leads from the version of its place to the next.
const MIGRATIONS: [&str; 3] = [FIRST, ORIGINS_AND_TOMBSTONES, HASHED_NONCES];

const FIRST: &str = "
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
";

/// Keys that awaited approval before have a week from now on, and come from one unknown source.
const ORIGINS_AND_TOMBSTONES: &str = "
    ALTER TABLE keys ADD COLUMN source TEXT;
    ALTER TABLE keys ADD COLUMN published INTEGER;
    ALTER TABLE keys ADD COLUMN pending_until INTEGER;
    ALTER TABLE keys ADD COLUMN serial INTEGER;
    WITH pending AS (
        SELECT service AS its_service, kid AS its_kid, row_number() OVER () AS number
        FROM keys WHERE state = 'pending'
    )
    UPDATE keys SET
        source = 'unknown',
        published = unixepoch(),
        pending_until = unixepoch() + 7 * 24 * 3600,
        serial = number
    FROM pending WHERE service = its_service AND kid = its_kid;
    CREATE TABLE tombstones (
        number INTEGER PRIMARY KEY,
        service TEXT NOT NULL,
        kid TEXT NOT NULL,
        thumbprint TEXT NOT NULL
    ) STRICT;
";

/// The nonces of before are of tokens of older signers.
const HASHED_NONCES: &str = "
    DROP TABLE nonces;
    CREATE TABLE used_nonces (
        hash BLOB PRIMARY KEY,
        expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX used_nonces_by_expiry ON used_nonces (expires);
";

/// Brings the tables up to date.
pub(super) fn run(connection: &mut Connection) -> Result<(), StorageError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = usize::try_from(found).ok();
    let missing = missing.and_then(|version| MIGRATIONS.get(version..));
    let missing = missing.ok_or(StorageError::Newer(found))?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    finish(transaction)?;
    if found > 0 && !missing.is_empty() {
        // What older versions left in the file, and so that it can shrink from now on.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}

fn finish(transaction: Transaction<'_>) -> Result<(), StorageError> {
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    Ok(transaction.commit()?)
}
