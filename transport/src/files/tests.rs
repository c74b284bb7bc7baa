use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::process::Command;
use tempfile::TempDir;

/// `nobody`, who has nothing to do with this.
const ANOTHER: u32 = 65_534;

/// Files can be given to another user by root only; elsewhere there is none to test with.
fn is_root() -> bool {
    own_id() == 0
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(ANOTHER), Some(ANOTHER)).unwrap();
}

fn refused<T: std::fmt::Debug>(result: Result<T, FileError>, problem: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains(problem), "{error}");
}

#[test]
fn what_is_written_is_private_and_replaces_what_was_there() {
    let outside = folder();
    let path = outside.path().join("a/b");
    let folder = PrivateFolder::open(&path).unwrap();
    assert_eq!(folder.read("key").unwrap(), None);
    assert_eq!(folder.version_of("key"), None);
    folder.write("key", b"one").unwrap();
    let first = folder.version_of("key").unwrap();
    folder.write("key", b"two").unwrap();
    assert_ne!(folder.version_of("key"), Some(first));
    assert_eq!(folder.read("key").unwrap().unwrap(), b"two");
    for part in [&path, path.parent().unwrap()] {
        assert_eq!(mode(part), 0o700);
    }
    assert_eq!(mode(&path.join("key")), 0o600);
    folder.rename("key", "other").unwrap();
    folder.remove("other").unwrap();
    folder.remove("other").unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn a_planted_link_is_neither_read_nor_written_through() {
    let outside = folder();
    let target = outside.path().join("target");
    fs::write(&target, "precious").unwrap();
    set_mode(&target, 0o600);
    let folder = PrivateFolder::open(&outside.path().join("keys")).unwrap();
    let link = folder.path_of("key");
    symlink(&target, &link).unwrap();
    refused(folder.read("key"), "is a symbolic link");
    refused(folder.lock_file("key"), "is a symbolic link");
    folder.write("key", b"new").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert_eq!(folder.read("key").unwrap().unwrap(), b"new");
    symlink(&target, folder.path_of("dangling")).unwrap();
    fs::remove_file(&target).unwrap();
    assert!(create_new(&folder.path_of("dangling")).is_err());
    refused(folder.lock_file("dangling"), "is a symbolic link");
    assert!(!target.exists());
}

/// Opened as usual, it would keep the start waiting for ever.
#[test]
fn a_planted_pipe_does_not_hang_the_start() {
    let outside = folder();
    let folder = PrivateFolder::open(outside.path()).unwrap();
    for name in ["pipe", "socket", "folder"] {
        let path = folder.path_of(name);
        match name {
            "pipe" => drop(Command::new("mkfifo").arg(&path).status().unwrap()),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => fs::create_dir(&path).unwrap(),
        }
        refused(folder.read(name), "is not a regular file");
        refused(folder.lock_file(name), "is not a regular file");
    }
}

#[test]
fn a_file_that_others_can_read_or_write_is_refused_and_not_repaired() {
    let outside = folder();
    let folder = PrivateFolder::open(outside.path()).unwrap();
    folder.write("key", b"secret").unwrap();
    for open in [0o644, 0o640, 0o620, 0o602, 0o666, 0o601] {
        set_mode(&folder.path_of("key"), open);
        refused(folder.read("key"), "is open to other users");
        assert_eq!(mode(&folder.path_of("key")), open);
    }
    set_mode(&folder.path_of("key"), 0o400);
    assert!(folder.read("key").unwrap().is_some());
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let outside = folder();
    let folder = PrivateFolder::open(outside.path()).unwrap();
    folder.write("key", b"theirs").unwrap();
    give_away(&folder.path_of("key"));
    refused(folder.read("key"), "belongs to the user with id 65534");
    refused(folder.lock_file("key"), "belongs to the user with id 65534");
}

#[test]
fn a_huge_file_is_refused() {
    let outside = folder();
    let folder = PrivateFolder::open(outside.path()).unwrap();
    folder.lock_file("key").unwrap().set_len(1 << 40).unwrap();
    refused(folder.read("key"), "is larger");
}

#[test]
fn an_open_folder_of_this_user_is_closed() {
    let outside = folder();
    let path = outside.path().join("keys");
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o1777);
    PrivateFolder::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}

/// The root of a mounted volume, for example.
#[test]
fn in_a_folder_of_another_user_there_is_one_of_our_own() {
    if !is_root() {
        return;
    }
    let outside = folder();
    set_mode(outside.path(), 0o777);
    give_away(outside.path());
    let folder = PrivateFolder::open(outside.path()).unwrap();
    folder.write("key", b"ours").unwrap();
    let inside = outside.path().join("jwtproxy-0");
    assert_eq!(folder.path_of("key"), inside.join("key"));
    assert_eq!((mode(&inside), mode(outside.path())), (0o700, 0o777));
    let again = PrivateFolder::open(outside.path()).unwrap();
    assert_eq!(again.read("key").unwrap().unwrap(), b"ours");

    // Another user was there first.
    fs::remove_dir_all(&inside).unwrap();
    fs::create_dir(&inside).unwrap();
    give_away(&inside);
    let open = || PrivateFolder::open(outside.path());
    refused(open(), "belongs to the user with id 65534");
    fs::remove_dir(&inside).unwrap();
    symlink("/tmp", &inside).unwrap();
    refused(open(), "is not a folder");
}

#[test]
fn what_an_earlier_version_kept_in_a_folder_of_another_user_is_taken_over() {
    if !is_root() {
        return;
    }
    let outside = folder();
    let place = |name: &str| outside.path().join(name);
    for name in ["ours", "both", "theirs", "open", "linked", "link"] {
        fs::write(place(name), name).unwrap();
        set_mode(&place(name), 0o600);
    }
    set_mode(&place("open"), 0o660);
    give_away(&place("theirs"));
    fs::hard_link(place("linked"), place("second name")).unwrap();
    fs::remove_file(place("link")).unwrap();
    symlink(place("ours"), place("link")).unwrap();
    give_away(outside.path());
    let folder = PrivateFolder::open(outside.path()).unwrap();
    folder.write("both", b"newer").unwrap();
    for name in ["ours", "both", "theirs", "open", "linked", "link", "none"] {
        folder.adopt(name).unwrap();
    }
    assert_eq!(folder.read("ours").unwrap().unwrap(), b"ours");
    assert_eq!(folder.read("both").unwrap().unwrap(), b"newer");
    assert!(!place("ours").exists());
    for name in ["theirs", "open", "linked", "link", "none"] {
        assert_eq!(folder.read(name).unwrap(), None, "{name}");
    }
}

#[test]
fn a_link_of_another_user_is_no_folder_for_secrets() {
    if !is_root() {
        return;
    }
    let outside = folder();
    let (target, link) = (outside.path().join("target"), outside.path().join("link"));
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    assert!(PrivateFolder::open(&link).is_ok());
    give_away(&link);
    let problem = "belongs to the user with id 65534";
    refused(PrivateFolder::open(&link), problem);
}

#[test]
fn a_configured_file_may_be_a_link_as_in_kubernetes() {
    let outside = folder();
    let place = |name: &str| outside.path().join(name);
    fs::create_dir(place("..2026")).unwrap();
    fs::write(place("..2026/key"), "secret").unwrap();
    set_mode(&place("..2026/key"), 0o644);
    symlink("..2026", place("..data")).unwrap();
    symlink("..data/key", place("key")).unwrap();
    let file = read_trusted(&place("key")).unwrap();
    assert_eq!(file.content, b"secret");
    assert_eq!(file.readable_by_others, Some(0o644));
    set_mode(&place("..2026/key"), 0o600);
    assert_eq!(
        read_trusted(&place("key")).unwrap().readable_by_others,
        None
    );
}

#[test]
fn a_configured_file_that_every_user_can_write_is_refused() {
    let outside = folder();
    let path = outside.path().join("key");
    fs::write(&path, "").unwrap();
    for (open, refuse) in [(0o666, true), (0o602, true), (0o660, false), (0o644, false)] {
        set_mode(&path, open);
        match refuse {
            true => refused(read_trusted(&path), "can be changed by every user"),
            false => drop(read_trusted(&path).unwrap()),
        }
    }
}

#[test]
fn a_configured_file_or_link_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let outside = folder();
    let (target, link) = (outside.path().join("target"), outside.path().join("link"));
    fs::write(&target, "").unwrap();
    symlink(&target, &link).unwrap();
    assert!(read_trusted(&link).is_ok());
    give_away(&link);
    refused(read_trusted(&link), "belongs to the user with id 65534");
    fs::remove_file(&link).unwrap();
    symlink(&target, &link).unwrap();
    chown(&target, Some(ANOTHER), None).unwrap();
    refused(read_trusted(&link), "belongs to the user with id 65534");
    refused(read_trusted(&target), "belongs to the user with id 65534");
}

/// Its owner can write into it, and keep the start waiting by not writing.
#[test]
fn a_configured_pipe_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let outside = folder();
    let (pipe, link) = (outside.path().join("pipe"), outside.path().join("link"));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    give_away(&pipe);
    refused(read_trusted(&pipe), "belongs to the user with id 65534");
    symlink(&pipe, &link).unwrap();
    let writer = Command::new("sh")
        .args(["-c", "echo theirs >\"$0\""])
        .arg(&pipe)
        .spawn();
    refused(read_trusted(&link), "belongs to the user with id 65534");
    assert!(writer.unwrap().wait().is_ok());
}

#[test]
fn a_configured_pipe_is_read() {
    let (mut pipe, writer) = io::pipe().unwrap();
    io::Write::write_all(&mut { writer }, b"key").unwrap();
    let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    // Whichever user made it, as in `sudo`: others cannot open it.
    rustix::fs::fchown(
        &pipe,
        is_root().then(|| rustix::fs::Uid::from_raw(ANOTHER)),
        None,
    )
    .unwrap();
    assert_eq!(read_trusted(Path::new(&path)).unwrap().content, b"key");
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
    assert!(
        read_trusted(Path::new("/dev/null"))
            .unwrap()
            .content
            .is_empty()
    );
}

#[test]
fn a_file_for_a_library_is_created_private_or_checked() {
    let outside = folder();
    let path = outside.path().join("database");
    assert_eq!(prepare(&path).unwrap(), None);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(prepare(&path).unwrap(), None);
    set_mode(&path, 0o664);
    assert!(prepare(&path).unwrap().unwrap().contains("mode 0664"));
    set_mode(&path, 0o666);
    refused(prepare(&path), "can be changed by every user");
    let link = outside.path().join("link");
    symlink(outside.path().join("nowhere"), &link).unwrap();
    assert!(prepare(&link).is_err());
    refused(prepare(outside.path()), "is not a regular file");
    if is_root() {
        set_mode(&path, 0o600);
        give_away(&path);
        refused(prepare(&path), "belongs to the user with id 65534");
    }
}
