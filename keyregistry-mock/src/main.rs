//! `keyregistry-mock`: the key registry as a process.

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jwt_core::config::duration;
use keyregistry_mock::{BasePath, Error, Options, Registry, Server, seed};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// A key registry that speaks the jwtproxy key registry protocol, its keys in memory.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 is a free port
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,

    /// How long fetched keys may be cached, unless they expire before: seconds, or 10m, 1h30m
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    max_age: Duration,

    /// The path below which the registry is served
    #[arg(long, value_name = "PATH", default_value = "/")]
    base_path: BasePath,

    /// A JSON file of services and their keys:
    /// {"services": {NAME: {"keys": [{"kid", "jwk", "state", "expires"}]}}}
    #[arg(long, value_name = "FILE")]
    seed: Vec<PathBuf>,

    /// Approved keys of one service: a file with a JWK, a JWK Set or the PEM of an RSA public key.
    /// A comma inside a value is written twice; a key without an id gets its RFC 7638 thumbprint
    #[arg(long, value_name = "service=NAME[,kid=ID],file=PATH")]
    key: Vec<String>,

    /// How much to log, on standard error
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level())]
    log_level: LevelFilter,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_max_level(args.log_level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let outcome = match seed::load(&args.seed, &args.key) {
        Ok(registry) => run(args, registry).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            exit_code(&error)
        }
    }
}

async fn run(args: Args, registry: Registry) -> Result<(), Error> {
    // Before anybody can know that it runs, and ask it to stop.
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;

    let options = Options {
        max_age: args.max_age,
        base_path: args.base_path,
        record_requests: false,
    };
    let server = Server::start(args.listen, registry, options).await?;
    // For whoever started it on port 0. That nobody reads it is no reason to fail.
    let _ = writeln!(
        std::io::stdout(),
        "listening on http://{}",
        server.local_addr()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    server.shutdown().await;
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::Signals)
}

fn complain(error: &Error) {
    let mut stderr = std::io::stderr();
    for line in error.to_string().lines() {
        let _ = writeln!(stderr, "error: {line}");
    }
}

/// 2 for what the user wrote, as for a wrong flag; 1 for what the machine refused.
fn exit_code(error: &Error) -> ExitCode {
    match error {
        Error::Seeds(_) => ExitCode::from(2),
        Error::Listen { .. } | Error::Signals(_) => ExitCode::FAILURE,
    }
}

fn log_level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

/// Whole seconds, or a duration as jwtproxy's configuration has them.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    seconds
        .or_else(|| duration::parse(text))
        .ok_or_else(|| format!("expected a number of seconds or {}", duration::EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["keyregistry-mock"].iter().chain(args))
    }

    #[test]
    fn without_flags_it_listens_on_the_loopback() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.listen.to_string(), "127.0.0.1:8888");
        assert_eq!(args.max_age, Duration::from_secs(600));
        assert_eq!(args.log_level, LevelFilter::INFO);
    }

    #[test]
    fn a_max_age_is_seconds_or_a_duration() {
        for (text, seconds) in [("0", 0), ("600", 600), ("10m", 600), ("1h30m5s", 5405)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-1", "10 m", "10x", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_flag_says_what_was_expected() {
        let cases = [
            (["--listen", "loopback"], "<IP:PORT>"),
            (["--max-age", "soon"], "such as 5m"),
            (["--base-path", "base"], "such as /base/"),
            (["--log-level", "loud"], "error, warn, info, debug, trace"),
        ];
        for (args, expected) in cases {
            let error = parse(&args).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
