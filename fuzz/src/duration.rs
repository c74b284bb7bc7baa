//! Durations.

use jwt_core::config::duration::{format, parse};
use std::time::Duration;

/// A text. It is read as Go reads it, and what is written is read again.
pub fn duration(data: &[u8]) {
    if let Some(nanos) = data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) {
        let duration = Duration::from_nanos(nanos / 2);
        assert_eq!(parse(&format(duration)), Some(duration));
    }
    if let Ok(text) = str::from_utf8(data) {
        let expected = parse_duration(text).filter(|nanos| *nanos >= 0);
        let expected = expected.map(|nanos| Duration::from_nanos(nanos.unsigned_abs()));
        assert_eq!(parse(text), expected);
    }
}

/// `time.ParseDuration` of Go 1.22, line by line.
fn parse_duration(text: &str) -> Option<i64> {
    let mut s = text.as_bytes();
    let mut d: u64 = 0;
    let mut neg = false;
    if let Some((c @ (b'-' | b'+'), rest)) = s.split_first() {
        neg = *c == b'-';
        s = rest;
    }
    if s == b"0" {
        return Some(0);
    }
    if s.is_empty() {
        return None;
    }
    while !s.is_empty() {
        let (mut f, mut scale) = (0_u64, 1_f64);
        if !(s[0] == b'.' || s[0].is_ascii_digit()) {
            return None;
        }
        let pl = s.len();
        let mut v: u64 = 0;
        while let Some(c) = s.first().filter(|c| c.is_ascii_digit()) {
            if v > (1 << 63) / 10 {
                return None;
            }
            v = v * 10 + u64::from(c - b'0');
            if v > 1 << 63 {
                return None;
            }
            s = &s[1..];
        }
        let pre = pl != s.len();
        let mut post = false;
        if s.first() == Some(&b'.') {
            s = &s[1..];
            let pl = s.len();
            let mut overflow = false;
            while let Some(c) = s.first().filter(|c| c.is_ascii_digit()) {
                if !overflow {
                    if f > ((1 << 63) - 1) / 10 {
                        overflow = true;
                    } else {
                        let y = f * 10 + u64::from(c - b'0');
                        if y > 1 << 63 {
                            overflow = true;
                        } else {
                            f = y;
                            scale *= 10.0;
                        }
                    }
                }
                s = &s[1..];
            }
            post = pl != s.len();
        }
        if !pre && !post {
            return None;
        }
        let end = s.iter().position(|c| *c == b'.' || c.is_ascii_digit());
        let (unit, rest) = s.split_at(end.unwrap_or(s.len()));
        s = rest;
        let unit: u64 = match str::from_utf8(unit).ok()? {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        if v > (1 << 63) / unit {
            return None;
        }
        v *= unit;
        if f > 0 {
            v += (f as f64 * (unit as f64 / scale)) as u64;
            if v > 1 << 63 {
                return None;
            }
        }
        d = d.checked_add(v).filter(|d| *d <= 1 << 63)?;
    }
    if neg {
        return Some((d as i64).wrapping_neg());
    }
    i64::try_from(d).ok()
}
