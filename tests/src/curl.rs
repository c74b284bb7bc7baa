//! The client that most people have.

use std::process::Stdio;
use tokio::process::Command;

/// How a run of curl ended.
#[derive(Debug)]
pub struct Curl {
    /// 0, or one of curl's error codes.
    pub exit: i32,
    /// What the server sent.
    pub body: String,
    /// The protocol's version and the status, such as `2 403`.
    pub outcome: String,
    /// What curl said.
    pub stderr: String,
}

/// Runs curl with these arguments.
pub async fn curl(arguments: &[&str]) -> Curl {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--verbose", "--max-time", "30"])
        .args(["--write-out", "\n%{http_version} %{response_code}"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl is installed");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, outcome) = stdout.rsplit_once('\n').unwrap_or(("", &stdout));
    Curl {
        exit: output.status.code().unwrap_or(-1),
        body: body.to_owned(),
        outcome: outcome.to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
