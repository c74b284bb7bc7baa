//! `keyregistry-mock serve`.

use super::{Failure, read_token};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jwt_core::config::duration;
use keyregistry_mock::publication::ACCEPT_LEGACY_TOKENS;
use keyregistry_mock::{
    AdminServer, Approval, BasePath, Bounds, Clock, Error, NamedKey, Options, Registry, Server,
    TlsIdentity, seed,
};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use transport::descriptors::DescriptorLimit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
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

    /// Approved keys of one service: a file with a JWK, a JWK Set or the PEM of a public key.
    /// A comma inside a value is written twice; a key without an id gets its RFC 7638 thumbprint
    #[arg(long, value_name = "service=NAME[,kid=ID],file=PATH")]
    key: Vec<String>,

    /// Where keys are kept, in SQLite; by default in memory, until the process ends
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,

    /// The registry's own address as its clients write it, which tokens on requests must name as
    /// their "aud"; by default the address it listens on
    #[arg(long, value_name = "URL")]
    audience: Option<String>,

    /// Whether a new key awaits approval by hand, or is good at once
    #[arg(long, value_enum, default_value_t = ApprovalFlag::Manual)]
    approval: ApprovalFlag,

    /// How long a key is served on after a rotation has replaced it
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    rotation_grace: Duration,

    /// How long a new key awaits approval, before it is forgotten
    #[arg(long, value_name = "DURATION", default_value = "168h", value_parser = duration)]
    pending_life: Duration,

    /// How many keys may await approval; beyond that, the latest of the source that has most give
    /// way
    #[arg(long, value_name = "NUMBER", default_value_t = Bounds::default().pending)]
    max_pending: usize,

    /// How many of them may be from one source, an IPv4 address or an IPv6 /64
    #[arg(long, value_name = "NUMBER", default_value_t = Bounds::default().pending_from_source)]
    max_pending_per_source: usize,

    /// Over how many proxies of yours requests come, each of which appends the address of its
    /// client to X-Forwarded-For; it says which source a key is from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    trusted_hops: usize,
    /// Also take the tokens of older signers, which every request through such a
    /// signer carries: its clients can replace its keys. Only until all signers are updated
    #[arg(long)]
    accept_legacy_tokens: bool,

    /// How far the clock of whoever publishes may be ahead
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    max_skew: Duration,

    /// The longest lifetime of a token on a request
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    max_ttl: Duration,

    /// A PEM file with the certificate chain: HTTPS is spoken
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// A PEM file with the certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Where to listen for those who manage keys
    #[arg(long, value_name = "IP:PORT", requires = "admin_token_file")]
    admin_listen: Option<SocketAddr>,

    /// A file with the token that they must show
    #[arg(long, value_name = "FILE", requires = "admin_listen")]
    admin_token_file: Option<PathBuf>,

    /// How much to log, on standard error
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level())]
    log_level: LevelFilter,
}

/// However many file descriptors there are: each connection takes some memory too.
const MAX_CONNECTIONS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ApprovalFlag {
    Manual,
    Auto,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_max_level(args.log_level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // Before anybody can know that it runs, and ask it to stop.
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;

    let registry = args.registry()?;
    let descriptors = DescriptorLimit::raise();
    if let Some(warning) = descriptors.warning() {
        tracing::warn!("{warning}");
    }
    let options = args.options(descriptors)?;
    tracing::info!(
        connections = options.max_connections,
        "connections at a time"
    );
    let admin = args.start_admin(&registry).await?;
    let scheme = options.tls.as_ref().map_or("http", |_| "https");
    args.advise();
    let server = Server::start(args.listen, registry, options).await?;
    announce(&format!("listening on {scheme}://{}", server.local_addr()));
    if let Some(admin) = &admin {
        announce(&format!("admin listening on http://{}", admin.local_addr()));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    tokio::join!(server.shutdown(), async {
        if let Some(admin) = admin {
            admin.shutdown().await;
        }
    });
    Ok(())
}

impl Args {
    fn registry(&self) -> Result<Registry, Error> {
        let seeds = seed::load(&self.seed, &self.key)?;
        let registry = match &self.database {
            Some(path) => Registry::open(path)?,
            None => Registry::in_memory()?,
        };
        registry.seed(seeds)?.iter().for_each(warn_of_revoked_seed);
        Ok(registry)
    }

    fn options(&self, descriptors: DescriptorLimit) -> Result<Options, Error> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsIdentity::load(certificate, key)?),
            _ => None,
        };
        Ok(Options {
            max_age: self.max_age,
            base_path: self.base_path.clone(),
            record_requests: false,
            audience: self.audience.clone(),
            approval: match self.approval {
                ApprovalFlag::Manual => Approval::Manual,
                ApprovalFlag::Auto => Approval::Automatic,
            },
            grace: self.rotation_grace,
            pending_life: self.pending_life,
            bounds: Bounds {
                pending: self.max_pending,
                pending_from_source: self.max_pending_per_source,
                ..Bounds::default()
            },
            trusted_hops: self.trusted_hops,
            accept_legacy_tokens: self.accept_legacy_tokens,
            max_skew: self.max_skew,
            max_ttl: self.max_ttl,
            max_connections: descriptors.connections(1, MAX_CONNECTIONS),
            tls,
            clock: Clock::System,
        })
    }

    async fn start_admin(&self, registry: &Registry) -> Result<Option<AdminServer>, Failure> {
        let (Some(address), Some(file)) = (self.admin_listen, &self.admin_token_file) else {
            return Ok(None);
        };
        let token = read_token(file)?;
        let admin = AdminServer::start(address, registry.clone(), token, Clock::System).await?;
        Ok(Some(admin))
    }

    /// What surprises people later.
    fn advise(&self) {
        if self.approval == ApprovalFlag::Manual && self.admin_listen.is_none() {
            tracing::warn!(
                "new keys await approval, and nobody can approve them: give --admin-listen, or \
                 --approval auto"
            );
        }
        if self.accept_legacy_tokens {
            tracing::warn!(
                "{ACCEPT_LEGACY_TOKENS}: a client that can send a request to this registry through \
                 a service's signer can replace the service's keys; update the signers and leave \
                 the flag out"
            );
        }
        if self.audience.is_none() && self.listen.ip().is_unspecified() {
            tracing::warn!(
                "nobody can publish keys at {}: give --audience, the URL that clients use",
                self.listen
            );
        }
    }
}

fn warn_of_revoked_seed(seed: &NamedKey) {
    tracing::warn!(
        service = seed.service,
        kid = seed.kid,
        "left out a key to start with: it, or a key of its id, was revoked or replaced; to use it \
         all the same, import it with --restore"
    );
}

/// For whoever started it on port 0. That nobody reads it is no reason to fail.
fn announce(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::Signals)
}

fn log_level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

/// Whole seconds, or a duration as jwtproxy's configuration has them.
fn duration(text: &str) -> Result<Duration, String> {
    // A number of seconds is the duration with that unit, and has no sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| duration::parse(&format!("{text}s")));
    seconds
        .unwrap_or_else(|| duration::parse(text))
        .filter(|_| !text.starts_with('+'))
        .ok_or_else(|| format!("expected a number of seconds or {}", duration::EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let args = ["keyregistry-mock"].iter().chain(args);
        crate::CommandLine::try_parse_from(args).map(|line| line.serve)
    }

    #[test]
    fn without_flags_it_listens_on_the_loopback() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.listen.to_string(), "127.0.0.1:8888");
        assert_eq!(args.max_age, Duration::from_secs(600));
        assert_eq!(args.log_level, LevelFilter::INFO);
        assert_eq!(args.approval, ApprovalFlag::Manual);
    }

    #[test]
    fn a_max_age_is_seconds_or_a_duration() {
        for (text, seconds) in [("0", 0), ("600", 600), ("10m", 600), ("1h30m5s", 5405)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let too_long = "9223372037";
        for text in ["", "-1", "+5", "+5m", "10 m", "10x", "soon", too_long] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_flag_says_what_was_expected() {
        let cases = [
            (["--listen", "loopback"], "<IP:PORT>"),
            (["--max-age", "soon"], "such as 5m"),
            (["--base-path", "base"], "such as /base/"),
            (["--approval", "never"], "manual, auto"),
            (["--log-level", "loud"], "error, warn, info, debug, trace"),
        ];
        for (args, expected) in cases {
            let error = parse(&args).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
