//! What a registry keeps when it is killed.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod process;

use jwt_core::key::KeyName;
use jwt_core::registry_token::RegistryCall;
use jwt_core::testing::TestSigner;
use jwt_core::time::Timestamp;
use keyregistry_mock::jwk::PublicJwk;
use keyregistry_mock::publication::{self, Publication, PurgeFilter};
use keyregistry_mock::{Clock, Key, KeyState, NamedKey, Origin, Registry, Source, StorageError};
use process::{Process, command, stderr};
use serde_json::json;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A token of the key `kid` of `svc`, and the body of its publication.
fn publication(address: &str, kid: &str) -> (String, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = Clock::System.now().seconds();
    let claims = json!({
        "iss": "svc",
        "aud": format!("http://{address}"),
        "iat": now,
        "nbf": now - 60,
        "exp": now + 120,
        "jti": NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
    });
    let key = TestSigner::service();
    let jwk = key.public_key().to_jwk(kid).to_string();
    let name = KeyName::new("svc".into(), kid.into()).unwrap();
    let call = RegistryCall::publish(&name, None, None, jwk.as_bytes());
    let token = key.sign_call(kid, &claims, &call);
    (format!("Bearer {token}"), jwk)
}

/// Publishes keys with new names, one after the other, until there is no answer any more, and
/// notes the names whose publication was acknowledged.
fn publish_until_killed(process: &Process, writer: u32, acknowledged: &Mutex<Vec<String>>) {
    for number in 0.. {
        let kid = format!("{writer}-{number}");
        let path = format!("/services/svc/keys/{kid}");
        let (authorization, jwk) = publication(&process.address, &kid);
        match process.try_exchange("PUT", &path, &authorization, &jwk) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                acknowledged.lock().unwrap().push(kid);
            }
            _ => break,
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let args = [
        "--database",
        database.to_str().unwrap(),
        "--approval",
        "auto",
    ];
    let mut expected = Vec::new();
    for round in 0..5 {
        let process = Arc::new(Process::start(&args));
        for kid in &expected {
            let answer = process.get(&format!("/services/svc/keys/{kid}"));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{kid}: {answer}");
        }
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (process, acknowledged) = (process.clone(), acknowledged.clone());
                thread::spawn(move || {
                    publish_until_killed(&process, round * 10 + writer, &acknowledged);
                })
            })
            .collect();
        while acknowledged.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(u64::from(50 + 70 * round)));
        process.signal("-KILL");
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        let acknowledged = acknowledged.lock().unwrap();
        expected.extend(acknowledged.iter().cloned());
    }
    let registry = Registry::open(&database).unwrap();
    for kid in &expected {
        assert!(registry.get("svc", kid).is_some(), "{kid} is lost");
    }
    // At most one publication of each writer was on its way when the process was killed.
    let stored = registry.all().len();
    assert!(stored <= expected.len() + 5 * 4, "{stored} keys");
}

#[test]
fn a_token_that_was_used_before_the_restart_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let args = [
        "--database",
        database.to_str().unwrap(),
        "--approval",
        "auto",
    ];
    let process = Process::start(&args);
    let path = "/services/svc/keys/a";
    let (authorization, jwk) = publication(&process.address, "a");
    let put = |process: &Process| {
        process
            .try_exchange("PUT", path, &authorization, &jwk)
            .unwrap()
    };
    assert!(put(&process).starts_with("HTTP/1.1 200 "));
    let address = process.address.clone();
    process.signal("-KILL");
    drop(process);

    let process = Process::start_at(&address, &args);
    let answer = put(&process);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("used before"), "{answer}");
}

#[test]
fn a_database_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let args = ["--database", database.to_str().unwrap()];
    let mut process = Process::start(&args);
    let output = command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another process uses this database"));
    assert!(matches!(
        Registry::open(&database),
        Err(StorageError::InUse(_))
    ));
    process.signal("-TERM");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    Registry::open(&database).unwrap();
}

/// SQLite reads what it finds beside a database as the latest state of it. In a folder in which all
/// users can create files, another one could put a journal there that has keys of their own.
#[test]
fn a_journal_planted_beside_the_database_is_not_replayed() {
    let folder = tempfile::tempdir().unwrap();
    if folder.path().metadata().unwrap().uid() != 0 {
        // Only root can give files to another user.
        return;
    }
    let path = |name: &str| folder.path().join(name);
    let with_key = |database: &str, kid: &str, signal: &str| {
        let database = path(database);
        let args = [
            "--approval",
            "auto",
            "--database",
            database.to_str().unwrap(),
        ];
        let mut process = Process::start(&args);
        let (authorization, jwk) = publication(&process.address, kid);
        let key = format!("/services/svc/keys/{kid}");
        let answer = process.try_exchange("PUT", &key, &authorization, &jwk);
        assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
        process.signal(signal);
        process.child.wait().unwrap();
    };
    with_key("theirs", "evil", "-KILL");
    with_key("keys.db", "good", "-TERM");
    symlink(path("keys.db"), path("link")).unwrap();
    for (database, suffix) in [
        ("keys.db", "-wal"),
        ("keys.db", "-journal"),
        ("keys.db", "-shm"),
        ("link", "-wal"),
    ] {
        let planted = path(&format!("keys.db{suffix}"));
        let _ = fs::remove_file(&planted);
        fs::copy(path("theirs-wal"), &planted).unwrap();
        lchown(&planted, Some(65_534), None).unwrap();
        let database = path(database);
        let args = ["--listen", "127.0.0.1:0", "--database"];
        let refused = command(&args).arg(&database).output().unwrap();
        assert!(!refused.status.success(), "{suffix}");
        let problem = "SQLite would take keys from it";
        assert!(stderr(&refused).contains(problem), "{suffix}: {refused:?}");
        fs::remove_file(&planted).unwrap();
    }
    let registry = Registry::open(&path("keys.db")).unwrap();
    assert!(registry.get("svc", "good").is_some());
    assert!(registry.get("svc", "evil").is_none());
}

#[test]
fn every_member_of_a_key_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let key = |state, expires: Option<i64>, rotation| Key {
        jwk: PublicJwk::parse(&jwk_of_state(state)).unwrap(),
        state,
        expires: expires.and_then(Timestamp::from_seconds),
        rotation,
        origin: expires.map(|seconds| Origin {
            source: Source::from("192.0.2.1".parse::<IpAddr>().unwrap()),
            published: Timestamp::from_seconds(seconds + 1).unwrap(),
            pending_until: Timestamp::from_seconds(seconds + 2).unwrap(),
            serial: 9,
        }),
    };
    let named = |service: &str, kid: &str, key| NamedKey {
        service: service.into(),
        kid: kid.into(),
        key,
    };
    let keys = vec![
        named("a/b", "k", key(KeyState::Pending, Some(5), None)),
        named("a/b", "ü\0", key(KeyState::Retired, Some(5), Some(7))),
        named("svc", "k", key(KeyState::Approved, Some(1 << 33), None)),
    ];
    Registry::open(&database)
        .unwrap()
        .put_all(keys.clone())
        .unwrap();
    let registry = Registry::open(&database).unwrap();
    assert_eq!(registry.all(), keys);
    let name = KeyName::new("a/b".into(), "k".into()).unwrap();
    let thumbprint = keys[0].key.jwk.thumbprint();
    let now = Clock::System.now();
    publication::approve(&registry, &name, &thumbprint, now).unwrap_err();
    drop(registry);
    let registry = Registry::open(&database).unwrap();
    assert_eq!(registry.all(), keys);
}

#[test]
fn a_revoked_key_does_not_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let jwk = TestSigner::service().public_key().to_jwk("k").to_string();
    let jwk = PublicJwk::parse(&jwk).unwrap();
    let registry = Registry::open(&database).unwrap();
    registry
        .publish("svc", "k", jwk.clone(), KeyState::Approved)
        .unwrap();
    let seed = registry.all();
    assert!(registry.remove("svc", "k").unwrap());
    drop(registry);

    let registry = Registry::open(&database).unwrap();
    assert!(registry.is_revoked("svc", "k"));
    assert_eq!(registry.seed(seed.clone()).unwrap(), seed);
    let import = |kid: &str, restore| {
        let name = KeyName::new("svc".into(), kid.into()).unwrap();
        let jwk = TestSigner::service().public_key().to_jwk(kid).to_string();
        let now = Clock::System.now();
        let publication = Publication::new(name, jwk.as_bytes(), None, None, now).unwrap();
        publication::import(&registry, &publication, restore)
    };
    import("k", false).unwrap_err();
    import("other", false).unwrap_err();
    import("k", true).unwrap();
    drop(registry);

    let registry = Registry::open(&database).unwrap();
    assert!(!registry.is_revoked("svc", "k"));
    assert_eq!(registry.seed(seed).unwrap(), []);
}

/// A key that was replaced is another one than those that are served.
fn jwk_of_state(state: KeyState) -> String {
    let key = match state {
        KeyState::Retired => TestSigner::stranger(),
        KeyState::Pending | KeyState::Approved => TestSigner::service(),
    };
    key.public_key().to_jwk("k").to_string()
}

/// The tables of the first version, and a key of each state.
fn write_first_version(database: &Path) {
    let connection = rusqlite::Connection::open(database).unwrap();
    let tables = "
        CREATE TABLE keys (
            service TEXT NOT NULL, kid TEXT NOT NULL, jwk TEXT NOT NULL, state TEXT NOT NULL,
            expires INTEGER, rotation INTEGER, PRIMARY KEY (service, kid)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE nonces (
            issuer TEXT NOT NULL, token_id TEXT NOT NULL, expires INTEGER NOT NULL,
            PRIMARY KEY (issuer, token_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX nonces_by_expiry ON nonces (expires);
        PRAGMA user_version = 1;";
    connection.execute_batch(tables).unwrap();
    for (kid, state, expires) in [
        ("approved", "approved", None),
        ("one", "pending", None),
        ("retired", "retired", Some(9_999_999_999_i64)),
        ("two", "pending", None),
    ] {
        let insert = "INSERT INTO keys VALUES ('svc', ?, ?, ?, ?, NULL)";
        let jwk = jwk_of_state(KeyState::from_name(state).unwrap());
        connection
            .execute(insert, rusqlite::params![kid, jwk, state, expires])
            .unwrap();
    }
}

#[test]
fn a_database_of_an_older_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    write_first_version(&database);
    for _ in 0..2 {
        let registry = Registry::open(&database).unwrap();
        let now = Clock::System.now();
        let keys = registry.all();
        assert_eq!(keys.len(), 4);
        for NamedKey { kid, key, .. } in keys {
            let Some(origin) = key.origin else {
                assert_ne!(key.state, KeyState::Pending, "{kid}");
                continue;
            };
            assert_eq!(key.state, KeyState::Pending, "{kid}");
            assert_eq!(origin.source, Source::unknown());
            let life = origin.pending_until.since(now).as_secs();
            assert!((600_000..=604_800).contains(&life), "{life}");
        }
        assert!(registry.is_revoked("svc", "retired"));
        assert!(!registry.is_revoked("svc", "approved"));
    }
}

#[test]
fn space_of_what_was_removed_goes_back_to_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let jwk = TestSigner::service().public_key().to_jwk("k").to_string();
    let keys = (0..5_000).map(|number| NamedKey {
        service: "s".repeat(1_000),
        kid: number.to_string(),
        key: Key {
            jwk: PublicJwk::parse(&jwk).unwrap(),
            state: KeyState::Pending,
            expires: None,
            rotation: None,
            origin: None,
        },
    });
    let registry = Registry::open(&database).unwrap();
    registry.put_all(keys.collect()).unwrap();
    let filter = PurgeFilter {
        service: Some("s".repeat(1_000)),
        ..PurgeFilter::default()
    };
    let purged = publication::purge(&registry, &filter, false, Clock::System.now()).unwrap();
    assert_eq!(purged.len(), 5_000);
    drop(registry);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let size = file.unwrap().metadata().unwrap().len();
        assert!(size < 200_000, "{size} bytes");
    }
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    let text = "no database at all, but much longer than the header of one would be. ".repeat(9);
    std::fs::write(&file, &text).unwrap();
    let output = command(&["--database", file.to_str().unwrap()]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("not a database"),
        "{}",
        stderr(&output)
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_publication_that_changes_nothing_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let args = [
        "--database",
        database.to_str().unwrap(),
        "--approval",
        "auto",
    ];
    let process = Process::start(&args);
    let path = "/services/svc/keys/a";
    let put = |authorization: &str, jwk: &str| {
        let answer = process.try_exchange("PUT", path, authorization, jwk);
        answer.unwrap().lines().next().unwrap().to_owned()
    };
    let (first, jwk) = publication(&process.address, "a");
    assert_eq!(put(&first, &jwk), "HTTP/1.1 200 OK");
    let size = || -> u64 {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    let before = size();
    for _ in 0..300 {
        let (again, jwk) = publication(&process.address, "a");
        assert_eq!(put(&again, &jwk), "HTTP/1.1 200 OK");
        assert_eq!(put(&again, &jwk), "HTTP/1.1 400 Bad Request", "a replay");
    }
    assert_eq!(put(&first, &jwk), "HTTP/1.1 400 Bad Request", "a replay");
    assert_eq!(size(), before);
}
