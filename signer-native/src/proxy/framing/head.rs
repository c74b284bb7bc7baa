//! The header section of a request, as far as it says where the request ends.

use crate::proxy::error::Malformed;

/// Where the message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// What follows may be of another protocol.
    Unknown,
}

/// How long the header section is, with the empty lines that may stand before it (RFC 9112 §2.2)
/// and the one that ends it; `None` when it is not all there.
pub(super) fn length(input: &[u8]) -> Option<usize> {
    let start = blank(input);
    let rest = input.get(start..)?;
    let end = rest.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(start + end + 4)
}

/// What is wrong with the beginning of a header section already: without this a client that ends
/// its lines with LF alone would wait for ever.
pub(super) fn begins_wrong(input: &[u8]) -> Option<Malformed> {
    let start = blank(input);
    let rest = input.get(start..)?;
    let bare = rest.iter().enumerate().any(|(at, byte)| {
        *byte == b'\n' && at.checked_sub(1).and_then(|at| rest.get(at)) != Some(&b'\r')
    });
    bare.then_some(Malformed::LineEnd)
}

/// Reads a header section with all that stands before and after it.
pub(super) fn framing(head: &[u8]) -> Result<Framing, Malformed> {
    let section = head.get(blank(head)..).unwrap_or_default();
    let section = section.strip_suffix(b"\r\n\r\n").unwrap_or(section);
    let mut lines = Lines(Some(section));
    let request_line = lines.next().unwrap_or_default();
    if has_control(request_line) {
        return Err(Malformed::LineEnd);
    }
    let mut fields = Fields::default();
    for line in lines {
        fields.read(line)?;
    }
    if request_line.starts_with(b"CONNECT ") || request_line.starts_with(b"PRI * HTTP/2") {
        fields.upgrade = true;
    }
    fields.framing()
}

/// The fields that matter here.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if has_control(line) {
            return Err(Malformed::LineEnd);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Malformed::Fold);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(Malformed::Name)?);
        if name.is_empty() || !name.iter().all(is_token) {
            return Err(Malformed::Name);
        }
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = digits(value).ok_or(Malformed::Lengths)?;
            if self.length.replace(length).is_some() {
                return Err(Malformed::Lengths);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::TransferCoding);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }

    fn framing(self) -> Result<Framing, Malformed> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Malformed::BothLengths),
            _ if self.upgrade => Ok(Framing::Unknown),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// RFC 9112 §6.2: `1*DIGIT`. No sign, no list.
fn digits(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

/// The bytes of empty lines.
fn blank(input: &[u8]) -> usize {
    let lines = input.chunks(2).take_while(|two| two == b"\r\n");
    lines.count() * 2
}

/// What stands between lines that end with CRLF.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let (line, after) = match end {
            Some(end) => (rest.get(..end)?, rest.get(end + 2..)),
            None => (rest, None),
        };
        self.0 = after;
        Some(line)
    }
}

fn has_control(line: &[u8]) -> bool {
    line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &str) -> Result<Framing, Malformed> {
        framing(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn one_length_or_chunks_are_understood() {
        assert_eq!(of("Host: a\r\n"), Ok(Framing::Length(0)));
        assert_eq!(of("content-LENGTH:  12 \r\n"), Ok(Framing::Length(12)));
        assert_eq!(of("Transfer-Encoding: chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(
            of("Upgrade: x\r\nContent-Length: 1\r\n"),
            Ok(Framing::Unknown)
        );
    }

    #[test]
    fn every_shape_with_two_readings_is_refused() {
        for (fields, problem) in [
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                Malformed::BothLengths,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
                Malformed::BothLengths,
            ),
            (
                "Content-Length: 1\r\nContent-Length: 1\r\n",
                Malformed::Lengths,
            ),
            ("Content-Length: 1, 1\r\n", Malformed::Lengths),
            ("Content-Length: +1\r\n", Malformed::Lengths),
            ("Content-Length: \r\n", Malformed::Lengths),
            (
                "Content-Length: 99999999999999999999\r\n",
                Malformed::Lengths,
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: chunked, identity\r\n",
                Malformed::TransferCoding,
            ),
            ("Transfer-Encoding: xchunked\r\n", Malformed::TransferCoding),
            (
                "Transfer-Encoding: \"chunked\"\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: chunked\x0b\r\n",
                Malformed::TransferCoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Malformed::TransferCoding,
            ),
            ("X: 1\r\n folded\r\n", Malformed::Fold),
            ("X: 1\r\n\tContent-Length: 1\r\n", Malformed::Fold),
            ("Content-Length : 1\r\n", Malformed::Name),
            (" X: 1\r\n", Malformed::Fold),
            ("no colon\r\n", Malformed::Name),
            (": no name\r\n", Malformed::Name),
            ("X\0: 1\r\n", Malformed::LineEnd),
            ("X: 1\nContent-Length: 1\r\n", Malformed::LineEnd),
            ("X: 1\rContent-Length: 1\r\n", Malformed::LineEnd),
        ] {
            assert_eq!(of(fields), Err(problem), "{fields:?}");
        }
    }

    #[test]
    fn line_feeds_alone_are_found_before_the_end() {
        assert_eq!(
            begins_wrong(b"GET / HTTP/1.1\n\n"),
            Some(Malformed::LineEnd)
        );
        assert_eq!(begins_wrong(b"\n"), Some(Malformed::LineEnd));
        assert_eq!(begins_wrong(b"\r\nGET / HTTP/1.1\r\nHost"), None);
    }

    #[test]
    fn a_header_section_ends_with_an_empty_line() {
        assert_eq!(length(b"\r\n\r\nGET / HTTP/1.1\r\n\r\nrest"), Some(22));
        assert_eq!(length(b"GET / HTTP/1.1\r\n\r"), None);
        assert_eq!(length(b"\r\n\r\n"), None);
    }
}
