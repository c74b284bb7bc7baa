//! The command `jwtproxy`.

use signer_native::command_line::{Arguments, LogFormat};
use signer_native::config::Config;
use signer_native::run::run;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;
use tracing::error;
use tracing::level_filters::LevelFilter;

/// An open connection has two buffers of 8 KiB, of which it uses the beginnings. This allocator lets
/// each begin with a page, so that the rest of it is never touched: that is a third of the memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::read();
    start_log(&arguments);
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    let options = envoy::Options {
        workers: arguments.workers,
        ..envoy::Options::default()
    };
    match run(config, &options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn start_log(arguments: &Arguments) {
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(arguments.log_level))
        .with_target(false)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_ansi(ansi).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// On a terminal and in a log alike, whatever the level.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    error!("{error}");
    ExitCode::FAILURE
}
