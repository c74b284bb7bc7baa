//! The command line.

mod manage;
mod serve;

use clap::{Parser, Subcommand};
use keyregistry_mock::{AdminToken, Error, Unexpected};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use transport::files::read_trusted_text;

/// A key registry that speaks the jwtproxy key registry protocol.
///
/// Without a command it serves; the other commands manage the keys of one that runs, through its
/// admin listener.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve keys
    Serve(Box<serve::Args>),
    #[command(flatten)]
    Manage(manage::Command),
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The registry does not run.
    #[error(transparent)]
    Registry(#[from] Error),
    /// A file the user named is not what it should be.
    #[error("{0}: {1}")]
    File(PathBuf, Unexpected),
    /// The registry that runs cannot be asked.
    #[error("cannot ask {0}: {1}")]
    Ask(String, String),
    /// The user did not say what the command needs to know.
    #[error("{0}")]
    Unconfirmed(&'static str),
    /// It has answered no.
    #[error("the registry answered {0}: {1}")]
    Refused(u16, String),
}

impl Failure {
    /// 2 for what the user wrote, as for a wrong flag; 1 for what the machine refused.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Registry(Error::Seeds(_)) | Self::File(..) | Self::Unconfirmed(_) => {
                ExitCode::from(2)
            }
            _ => ExitCode::FAILURE,
        }
    }
}

impl CommandLine {
    /// Does what the command line asks for.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            None => serve::run(self.serve).await,
            Some(Command::Serve(args)) => serve::run(*args).await,
            Some(Command::Manage(command)) => command.run().await,
        }
    }
}

fn read_token(path: &Path) -> Result<AdminToken, Failure> {
    let failed = |unexpected| Failure::File(path.to_owned(), unexpected);
    let text = read_text(path, "a file with the admin token")?;
    AdminToken::new(&text).map_err(failed)
}

fn read_text(path: &Path, expected: &str) -> Result<String, Failure> {
    read_trusted_text(path).map_err(|error| {
        let unexpected = Unexpected::of_file(error, expected);
        Failure::File(path.to_owned(), unexpected)
    })
}
