use jwtproxy_tests::jwtproxy::{Finished, Jwtproxy};
use jwtproxy_tests::keys::{KeyWorld, ask_until, key_of_token};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::Approval;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Another user of the machine, `nobody`.
const ANOTHER: u32 = 65_534;

/// Only root can act as another user: without it there is nothing to show here.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Does it as the other user.
fn as_another(program: &str, arguments: &[&Path]) {
    let mut command = Command::new(program);
    let status = command.args(arguments).uid(ANOTHER).gid(ANOTHER).status();
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A key folder that the other user can write, as a shared volume is.
async fn world_with_shared_folder() -> KeyWorld {
    let world = KeyWorld::new(Approval::Automatic).await;
    world.let_others_in();
    fs::create_dir(world.key_folder()).unwrap();
    set_mode(&world.key_folder(), 0o777);
    world
}

async fn signs(world: &KeyWorld, signer: &Jwtproxy) -> String {
    let upstream = Upstream::start().await;
    let url = format!("http://{}/", upstream.address());
    let kid = key_of_token(&ask_until(signer, &url, 200).await.json());
    assert!(world.state(&kid).is_some());
    kid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_planted_in_the_key_folder_is_not_followed() {
    if !is_root() {
        return;
    }
    for suffix in [".pending.new", ".pending", ".lock", ""] {
        let world = world_with_shared_folder().await;
        let precious = world.key_folder().with_file_name("precious");
        fs::write(&precious, "precious").unwrap();
        set_mode(&precious, 0o640);
        let mut name = world.active_file().into_os_string();
        name.push(suffix);
        as_another("ln", &[Path::new("-s"), &precious, Path::new(&name)]);
        if suffix == ".pending.new" {
            signs(&world, &world.signer("1h").await).await;
        } else {
            let Finished { status, stderr } = Jwtproxy::run(&world.yaml("1h"), &[]).await;
            assert!(!status.success());
            assert!(stderr.contains("is a symbolic link"), "{stderr}");
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{suffix:?}");
        assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o777, 0o640);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_planted_in_the_key_folder_does_not_hang_the_start() {
    for suffix in [".pending", ".lock", ""] {
        let world = world_with_shared_folder().await;
        let mut name = world.active_file().into_os_string();
        name.push(suffix);
        assert!(Command::new("mkfifo").arg(name).status().unwrap().success());
        let Finished { status, stderr } = Jwtproxy::run(&world.yaml("1h"), &[]).await;
        assert!(!status.success());
        assert!(stderr.contains("is not a regular file"), "{stderr}");
    }
}

/// The one who made it knows it, and could sign with it once it was approved.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_planted_in_the_key_folder_is_not_published() {
    if !is_root() {
        return;
    }
    let elsewhere = KeyWorld::new(Approval::Automatic).await;
    signs(&elsewhere, &elsewhere.signer("1h").await).await;
    for suffix in [".pending", ""] {
        let world = world_with_shared_folder().await;
        let mut name = world.active_file().into_os_string();
        name.push(suffix);
        fs::copy(elsewhere.active_file(), &name).unwrap();
        chown(&name, Some(ANOTHER), Some(ANOTHER)).unwrap();
        let Finished { status, stderr } = Jwtproxy::run(&world.yaml("1h"), &[]).await;
        assert!(!status.success());
        assert!(
            stderr.contains("belongs to the user with id 65534"),
            "{stderr}"
        );
        assert!(world.published().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_volume_of_another_user_keys_are_in_a_folder_of_our_own() {
    if !is_root() {
        return;
    }
    let world = world_with_shared_folder().await;
    let kid = {
        let signer = Jwtproxy::start_as(ANOTHER, &world.yaml("1h")).await;
        signs(&world, &signer).await
    };
    let own = world.key_folder().join("jwtproxy-65534");
    let of = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.mode() & 0o777)
    };
    assert_eq!(of(&own), (ANOTHER, 0o700));
    let file = own.join(world.active_file().file_name().unwrap());
    assert_eq!(of(&file), (ANOTHER, 0o600));
    assert_eq!(of(&world.key_folder()), (0, 0o777));
    let signer = Jwtproxy::start_as(ANOTHER, &world.yaml("1h")).await;
    assert_eq!(signs(&world, &signer).await, kid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_key_that_another_user_can_change_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let key = folder.path().join("service.key");
    let pem = jwt_core::testing::TestSigner::SERVICE_PRIVATE_PEM;
    fs::write(&key, pem).unwrap();
    let yaml = format!(
        r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    signer:
      issuer: svc
      private_key:
        type: preshared
        options: {{key_id: k1, private_key_path: "{}"}}
"#,
        key.display()
    );
    let refused = async |problem: &str| {
        let Finished { status, stderr } = Jwtproxy::run(&yaml, &[]).await;
        assert!(!status.success());
        assert!(stderr.contains(problem), "{stderr}");
    };
    set_mode(&key, 0o646);
    refused("private_key_path: found").await;
    refused("can be changed by every user").await;
    // As Kubernetes mounts secrets.
    set_mode(&key, 0o644);
    let signer = Jwtproxy::start(&yaml, &[], &[]).await;
    signer
        .says("holds a secret that other users can read (mode 0644)")
        .await;
    if is_root() {
        set_mode(&key, 0o600);
        chown(&key, Some(ANOTHER), None).unwrap();
        refused("belongs to the user with id 65534").await;
        fs::remove_file(&key).unwrap();
        let theirs = folder.path().join("theirs");
        fs::write(&theirs, pem).unwrap();
        set_mode(folder.path(), 0o777);
        as_another("ln", &[Path::new("-s"), &theirs, &key]);
        refused("belongs to the user with id 65534").await;
    }
}
