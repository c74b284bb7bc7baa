//! `keyregistry-mock`: the key registry as a process, and the commands that manage its keys.

mod command;

use clap::Parser as _;
use command::{CommandLine, Failure};
use std::io::Write as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match CommandLine::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            failure.exit_code()
        }
    }
}

fn complain(failure: &Failure) {
    let mut stderr = std::io::stderr();
    for line in failure.to_string().lines() {
        let _ = writeln!(stderr, "error: {line}");
    }
}
