use jwtproxy_tests::jwtproxy::binary;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// The commands of docs/registry.md, as they stand there.
#[test]
fn the_whole_life_of_a_key_with_curl_and_openssl() {
    let script = script_of_the_docs();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("admin.token");
    std::fs::write(&token, "an-admin-token-for-the-test").unwrap();
    let mut registry = Command::new(binary("keyregistry-mock"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--log-level", "error", "--admin-token-file"])
        .arg(&token)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(registry.stdout.take().unwrap()).lines();
    let mut url = || {
        let line = lines.next().unwrap().unwrap();
        line.split("listening on ").nth(1).unwrap().to_owned()
    };
    let (url, admin) = (url(), url());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("REGISTRY", url)
        .env("ADMIN", admin)
        .env("TOKEN_FILE", &token)
        .env("PATH", path_with_binaries())
        .output()
        .unwrap();
    registry.kill().unwrap();
    registry.wait().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout.trim_end(), expected_of_the_docs(), "{stderr}");
}

/// The one fenced block of that language.
fn block(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/registry.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    let (block, _) = rest.split_once("\n```").unwrap();
    block.to_owned()
}

fn script_of_the_docs() -> String {
    block("bash")
}

fn expected_of_the_docs() -> String {
    block("text")
}

fn path_with_binaries() -> String {
    let binary = binary("keyregistry-mock");
    let folder = binary.parent().unwrap().display().to_string();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}
