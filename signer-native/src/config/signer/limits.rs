//! `shutdown_timeout` and `limits`.

use crate::proxy::Settings;
use jwt_core::config::reader::{self, Expected, Section};
use serde_json::Value;
use std::ops::RangeInclusive;

/// hyper's smallest buffer.
const SMALLEST_HEADER: u32 = 8 << 10;
const LARGEST_HEADER: u32 = 16 << 20;

pub(super) fn settings(section: &mut Section<'_>) -> Option<Settings> {
    let default = Settings::default();
    let shutdown_timeout = section
        .field("shutdown_timeout")
        .or(default.shutdown_timeout, reader::duration);
    let limited = section
        .field("limits")
        .section(|limits| read(limits, default));
    Some(Settings {
        shutdown_timeout: shutdown_timeout?,
        ..limited?
    })
}

fn read(section: &mut Section<'_>, default: Settings) -> Option<Settings> {
    let connections = section
        .field("connections")
        .or(default.max_connections, size(1..=1_000_000));
    let header_size = section.field("header_size").or(
        default.max_header_size,
        size(SMALLEST_HEADER..=LARGEST_HEADER),
    );
    let header_timeout = section
        .field("header_timeout")
        .or(default.header_read_timeout, reader::duration);
    let idle_timeout = section
        .field("idle_timeout")
        .or(default.idle_timeout, reader::duration);
    let connect_timeout = section
        .field("connect_timeout")
        .or(default.connect_timeout, reader::duration);
    Some(Settings {
        max_connections: connections?,
        max_header_size: header_size?,
        header_read_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        connect_timeout: connect_timeout?,
        ..default
    })
}

fn size(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Result<usize, Expected> {
    let integer = reader::integer(range);
    move |value| usize::try_from(integer(value)?).map_err(|error| error.to_string())
}
