//! Durations as Go writes them: `5m`, `1m30s`, `250ms`.

use std::time::Duration;

/// What to say of something else.
pub const EXPECTED: &str = "a duration such as 5m, 1m30s or 250ms";

/// Reads a Go duration that is not negative: one or more numbers, each with a unit out of
/// `ns`, `us` (or `µs`), `ms`, `s`, `m`, `h`; or `0`. Numbers may have a fraction.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        nanos = nanos.checked_add(nanos_of(number, unit_nanos(unit)?)?)?;
        rest = next;
    }
    // Go's durations end where an i64 of nanoseconds does, after 292 years.
    let nanos = i64::try_from(nanos).ok()?;
    (!text.is_empty()).then(|| Duration::from_nanos(nanos.unsigned_abs()))
}

/// Writes a duration so that [`parse`] reads the same one, to the millisecond where it has no
/// finer part.
pub fn format(duration: Duration) -> String {
    match (duration.as_nanos(), duration.subsec_nanos()) {
        (_, 0) => format!("{}s", duration.as_secs()),
        (nanos, fine) if fine % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        (nanos, _) => format!("{nanos}ns"),
    }
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn nanos_of(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Digits beyond 10⁻¹⁸ of a unit cannot matter.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let parts: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(parts * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn go_durations_are_read() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("5m", 300_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("+2s", 2_000),
            ("1h0m0.25s", 3_600_250),
            ("1500us", 1),
        ] {
            let parsed = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.as_millis(), millis, "{text}");
        }
        assert_eq!(parse("3µs"), Some(Duration::from_micros(3)));
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "5min",
            "-5m",
            "1d",
            ".s",
            "1..5s",
            "1,5s",
            "5m ",
            "s5",
            "+",
            "999999999999999999999999999999999999999999h",
            "300000h300000000h",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for duration in [
            Duration::ZERO,
            Duration::from_millis(1500),
            Duration::from_nanos(7),
        ] {
            assert_eq!(parse(&format(duration)), Some(duration));
        }
    }
}
