//! The command line.

use clap::{Parser, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;

/// Authenticates requests between services: signs those going out, verifies those coming in.
#[derive(Debug, Parser)]
#[command(name = "jwtproxy", version)]
pub struct Arguments {
    /// The YAML configuration file; environment variables in the path are expanded
    #[arg(long, value_name = "FILE", value_parser = expanded_path)]
    pub config: PathBuf,
    /// How much to log
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Worker threads of Envoy, for the verifiers; by default one for each hardware thread
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// The levels of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What somebody should look at.
    Warn,
    /// What does not work.
    Error,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

impl Arguments {
    /// Reads the command line; with a mistake in it the process ends with status 2.
    pub fn read() -> Self {
        Self::parse_from(std::env::args_os().map(with_two_dashes))
    }
}

/// The Go flags have one dash, and compose files and unit files do as well.
fn with_two_dashes(argument: OsString) -> OsString {
    const LONG: [&str; 4] = ["config", "log-level", "log-format", "workers"];
    let text = argument.to_str().unwrap_or_default();
    let name = text
        .strip_prefix('-')
        .and_then(|flag| flag.split('=').next());
    match name {
        Some(name) if LONG.contains(&name) => format!("-{text}").into(),
        _ => argument,
    }
}

fn expanded_path(text: &str) -> Result<PathBuf, String> {
    let path = shellexpand::full(text).map_err(|error| error.to_string())?;
    Ok(PathBuf::from(&*path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        let arguments = ["jwtproxy"].iter().chain(arguments).map(OsString::from);
        Arguments::try_parse_from(arguments.map(with_two_dashes))
    }

    #[test]
    fn flags_have_one_dash_or_two() {
        for arguments in [
            ["-config", "c.yaml", "-log-level", "debug"].as_slice(),
            &["--config", "c.yaml", "--log-level", "debug"],
            &["-config=c.yaml", "-log-level=debug"],
        ] {
            let parsed = parse(arguments).unwrap();
            assert_eq!(parsed.config, PathBuf::from("c.yaml"));
            assert_eq!(parsed.log_level, LogLevel::Debug);
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for arguments in [
            [].as_slice(),
            &["-config"],
            &["-config", "c.yaml", "-log-level", "loud"],
            &["-config", "c.yaml", "-log-format", "xml"],
            &["-config", "c.yaml", "-workers", "0"],
            &["-config", "$JWTPROXY_NO_SUCH_VARIABLE/c.yaml"],
            &["c.yaml"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
