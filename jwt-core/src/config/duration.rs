//! Durations as Go writes them: `5m`, `1m30s`, `250ms`.

use std::time::Duration;

/// What to say of something else.
pub const EXPECTED: &str = "a duration such as 5m, 1m30s or 250ms";

/// Where Go's durations end: an `i64` of nanoseconds, after 292 years.
const LONGEST: u64 = i64::MAX as u64;

/// Reads a Go duration that is not negative: one or more numbers, each with a unit out of
/// `ns`, `us` (or `µs`), `ms`, `s`, `m`, `h`; or `0`. Numbers may have a fraction.
///
/// It takes what Go's `time.ParseDuration` takes, and finds the same nanoseconds.
pub fn parse(text: &str) -> Option<Duration> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut nanos = 0_u64;
    let mut rest = text;
    while !rest.is_empty() && text != "0" {
        let (element, next) = element(rest)?;
        nanos = nanos.checked_add(element).filter(|sum| *sum <= LONGEST)?;
        rest = next;
    }
    let is_below_zero = is_negative && nanos > 0;
    (!text.is_empty() && !is_below_zero).then(|| Duration::from_nanos(nanos))
}

/// The nanoseconds of a number with its unit, and what comes after them.
fn element(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (unit, rest) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
    let unit = unit_nanos(unit)?;
    let whole = match whole {
        "" => 0,
        digits => digits.parse::<u64>().ok()?,
    };
    let nanos = whole.checked_mul(unit)?;
    Some((nanos.checked_add(fraction_of(unit, fraction))?, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// As Go computes it. Digits that an `i64` has no room for cannot matter.
fn fraction_of(unit: u64, digits: &str) -> u64 {
    let (mut fraction, mut scale) = (0_u64, 1_f64);
    for digit in digits.bytes().map(|digit| u64::from(digit - b'0')) {
        match fraction.checked_mul(10).map(|tens| tens + digit) {
            Some(longer) if fraction <= LONGEST / 10 && longer <= LONGEST + 1 => fraction = longer,
            _ => break,
        }
        scale *= 10.0;
    }
    (fraction as f64 * (unit as f64 / scale)) as u64
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

fn unit_nanos(unit: &str) -> Option<u64> {
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
        for zero in ["-0", "+0", "-0s", "0h0m", "00s"] {
            assert_eq!(parse(zero), Some(Duration::ZERO), "{zero}");
        }
    }

    /// Among them those of Go's own tests of `time.ParseDuration`.
    #[test]
    fn fractions_have_the_nanoseconds_of_go() {
        for (text, nanos) in [
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9007199254.740993ms", 9_007_199_254_740_993),
            ("0.9223372036854775807s", 922_337_203),
            ("0.9223372036854775808s", 922_337_203),
            ("1.0000000000000000009s", 1_000_000_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
            ("2562047h47m16.854775807s", 9_223_372_036_854_775_807),
            ("1.9ns", 1),
        ] {
            let parsed = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.as_nanos(), nanos, "{text}");
        }
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
            "1.000000000000000000.5s",
            "1.5.5s",
            ".",
            "..5s",
            "--0",
            "+-1s",
            "-",
            "-1ns",
            "-.5s",
            "1s-1s",
            "1s+1s",
            "٣s",
            "3000000h",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "2562047h47m16.854775808s",
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
