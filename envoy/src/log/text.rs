//! Text from a hostile source, made safe to show.

/// What `--log-format-escaped` has done, undone. Other backslashes stay.
pub(super) fn unescaped(escaped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'\\' => escape(after).unwrap_or((b'\\', after)),
            byte => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// The byte that is meant by what follows a backslash, and what comes after it.
fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, after) = after.split_first()?;
    let byte = match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'\\' | b'\'' | b'"' | b'?' => *kind,
        b'x' => return number(after, 2, 16),
        b'0'..=b'3' => {
            let (low, after) = number(after, 2, 8)?;
            return Some(((kind - b'0') * 64 + low, after));
        }
        _ => return None,
    };
    Some((byte, after))
}

fn number(text: &[u8], digits: usize, radix: u32) -> Option<(u8, &[u8])> {
    let (digits, after) = text.split_at_checked(digits)?;
    let value = digits.iter().try_fold(0, |value, digit| {
        Some(value * radix + char::from(*digit).to_digit(radix)?)
    })?;
    Some((u8::try_from(value).ok()?, after))
}

/// What is not UTF-8 is replaced.
pub(super) fn decoded(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// On one line.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            printable.push(character);
        } else {
            printable.extend(character.escape_default());
        }
    }
    printable
}

/// On as many lines as it has.
pub(super) fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Neither commands a terminal nor ends a line nor changes the order of what stands beside it.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_other_backslashes_stay() {
        for (escaped, bytes) in [
            (r"a\n\t\\n\'\x1b", &b"a\n\t\\n'\x1b"[..]),
            (r"\303\251\0331", b"\xc3\xa9\x1b1"),
            (r"\q \x \xg0 \9 \38 \", br"\q \x \xg0 \9 \38 \"),
            (r"\777", br"\777"),
        ] {
            assert_eq!(unescaped(escaped.as_bytes()), bytes, "{escaped}");
        }
    }

    #[test]
    fn control_characters_become_visible() {
        for (text, shown) in [
            ("plain text, é, 日本", "plain text, é, 日本"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m \u{7f}\0", "\\u{9b}31m \\u{7f}\\u{0}"),
            (
                "a\u{202e}b\u{2066}c\u{2028}",
                "a\\u{202e}b\\u{2066}c\\u{2028}",
            ),
            ("tab\tline\nreturn\r", "tab\\tline\\nreturn\\r"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("a\n\x1bb"), "a\n\\u{1b}b");
    }
}
