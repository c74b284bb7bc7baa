//! `Cache-Control` of a key server's answer (RFC 9111 §5.2).

use std::time::Duration;

/// How long an answer may be used without asking again: at most `longest`, which it is where the
/// field says nothing. `value` is that of all its lines, joined by commas (RFC 9110 §5.3).
pub(crate) fn lifetime(value: &[u8], longest: Duration) -> Duration {
    let text = String::from_utf8_lossy(value);
    let mut lifetime = longest;
    for directive in elements(&text) {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name.trim(), Some(unquoted(argument.trim()))),
            None => (directive.trim(), None),
        };
        match name.to_ascii_lowercase().as_str() {
            // §5.2.2.4: with the names of fields it is about these only, but caches may treat it as
            // without.
            "no-store" | "no-cache" => return Duration::ZERO,
            // §4.2.1: of several, one counts, or the answer is stale.
            "max-age" => lifetime = lifetime.min(delta_seconds(argument.unwrap_or_default())),
            _ => {}
        }
    }
    lifetime
}

/// §1.2.2: a number too large to represent is 2147483648. §4.2.1: what makes no sense is stale.
fn delta_seconds(text: &str) -> Duration {
    const LARGE: u64 = 1 << 31;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| text.parse().unwrap_or(LARGE).min(LARGE));
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The elements of a list, in which a comma may stand in a quoted string (RFC 9110 §5.6.4). A
/// quoted string without an end goes to the end.
fn elements(text: &str) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_separator = |c: char| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    };
    text.split(is_separator).collect()
}

fn unquoted(text: &str) -> &str {
    let inside = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inside.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn an_answer_lives_as_long_as_both_sides_permit() {
        for (value, seconds) in [
            ("", 600),
            ("max-age=60", 60),
            ("public, MAX-AGE=60", 60),
            ("max-age=\"60\"", 60),
            ("max-age = 60", 60),
            ("max-age= 60 ,public", 60),
            ("\tmax-age\t=\t60", 60),
            (",,max-age=60,", 60),
            ("max-age=060", 60),
            ("max-age=6000", 600),
            ("max-age=2147483648", 600),
            ("max-age=99999999999999999999", 600),
            ("max-age=99999999999999999999, max-age=60", 60),
            ("private", 600),
            ("x-max-age=1", 600),
            ("private=\"a, max-age=1\"", 600),
            ("private=\"a\\\", max-age=1\", max-age=60", 60),
            ("private=\"a\", max-age=60", 60),
            ("s-maxage=1", 600),
        ] {
            let lifetime = lifetime(value.as_bytes(), Duration::from_secs(600));
            assert_eq!(lifetime.as_secs(), seconds, "{value}");
        }
    }

    #[test]
    fn what_forbids_it_or_makes_no_sense_is_stale_at_once() {
        for value in [
            "no-store",
            "No-Cache",
            " no-cache , max-age=60",
            "max-age=60, no-cache",
            "max-age=60,no-store",
            "no-cache=\"set-cookie\"",
            "max-age",
            "max-age=",
            "max-age=x",
            "max-age=-1",
            "max-age=+60",
            "max-age=6 0",
            "max-age=60s",
            "max-age=6.5",
            "max-age=\"60",
            "max-age=60, max-age=0",
        ] {
            assert!(
                lifetime(value.as_bytes(), Duration::MAX).is_zero(),
                "{value}"
            );
        }
        assert!(lifetime(b"max-age=\xff", Duration::MAX).is_zero());
    }
}
